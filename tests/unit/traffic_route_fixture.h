/* traffic_route_fixture - certificates with fixed dates for the tests of routes:
 * made once, of no use elsewhere.
 * a.test and *.a.test from 2020 to 2099, old.test until 2021, new.test from 2090. */
#ifndef TESTS_TRAFFIC_ROUTE_FIXTURE_H
#define TESTS_TRAFFIC_ROUTE_FIXTURE_H

static const char a_test_chain[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBRDCB66ADAgECAhRyywvqzaL3ZNfxWzzKVUCy4uI3NzAKBggqhkjOPQQDAjAR\n"
    "MQ8wDQYDVQQDDAZhLnRlc3QwIBcNMjAwMTAxMDAwMDAwWhgPMjA5OTAxMDEwMDAw\n"
    "MDBaMBExDzANBgNVBAMMBmEudGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IA\n"
    "BBzpAlx38KKsnRjVNe9Z26FMOAiKLX6vH36kPwvc/7Ni/wjXnyBNJ7V6hhH94I38\n"
    "R7QU/dZdJ+Ge9xMDW/MUiimjHzAdMBsGA1UdEQQUMBKCBmEudGVzdIIIKi5hLnRl\n"
    "c3QwCgYIKoZIzj0EAwIDSAAwRQIgXGXIiq9xFOVT01NmTZKq/nEuVZlbIVKzfoPT\n"
    "//lvnnUCIQCMIZjgk2GcxNpCVkfRKnFbGtN91a70smcqZOoYjdjNdQ==\n"
    "-----END CERTIFICATE-----\n";
static const char a_test_key[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgm+T7Hu08XZL+KFM8\n"
    "Q7bEeuR29XBfXr98n6HTD5X0Wi+hRANCAAQc6QJcd/CirJ0Y1TXvWduhTDgIii1+\n"
    "rx9+pD8L3P+zYv8I158gTSe1eoYR/eCN/Ee0FP3WXSfhnvcTA1vzFIop\n"
    "-----END PRIVATE KEY-----\n";

static const char expired_chain[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBPjCB5aADAgECAhRPs3ZoVjYd2LaqFr04y0mAy53SZjAKBggqhkjOPQQDAjAT\n"
    "MREwDwYDVQQDDAhvbGQudGVzdDAeFw0yMDAxMDEwMDAwMDBaFw0yMTAxMDEwMDAw\n"
    "MDBaMBMxETAPBgNVBAMMCG9sZC50ZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcD\n"
    "QgAEF15jR/3ZLq5mNQg/lF22ZAkqjMvskftep2HLhtAGhhOzOFKZxban2+LEB7UM\n"
    "TASGz8XZlU+co8Y8oFyusRNxZ6MXMBUwEwYDVR0RBAwwCoIIb2xkLnRlc3QwCgYI\n"
    "KoZIzj0EAwIDSAAwRQIhAMB5L2To8klTU7nkohbTV02koDoNXtkwIvN/ES+YHBcR\n"
    "AiA+h4v/PnQez8WSCAtBtUvAbpTDAgH1q9NV6U9QsEzU0A==\n"
    "-----END CERTIFICATE-----\n";
static const char expired_key[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgw1dRYcyykj8gLbR+\n"
    "O+6KFenkLyjeupVYA0+ETMI5jYqhRANCAAQXXmNH/dkurmY1CD+UXbZkCSqMy+yR\n"
    "+16nYcuG0AaGE7M4UpnFtqfb4sQHtQxMBIbPxdmVT5yjxjygXK6xE3Fn\n"
    "-----END PRIVATE KEY-----\n";

static const char future_chain[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBQjCB6aADAgECAhQyAUGvU8ta/zfS946zmY7HMrVshzAKBggqhkjOPQQDAjAT\n"
    "MREwDwYDVQQDDAhuZXcudGVzdDAiGA8yMDkwMDEwMTAwMDAwMFoYDzIwOTkwMTAx\n"
    "MDAwMDAwWjATMREwDwYDVQQDDAhuZXcudGVzdDBZMBMGByqGSM49AgEGCCqGSM49\n"
    "AwEHA0IABLtok6nrw4aZyz8Ll/4fQdKx4x6ao8q0yT5n6zctE2I5DdNBQ+DwEuRS\n"
    "flN4rS++Acn//8IUfl66l12RshwP2ayjFzAVMBMGA1UdEQQMMAqCCG5ldy50ZXN0\n"
    "MAoGCCqGSM49BAMCA0gAMEUCIQCKlsa5cR4ue+FVQdpO7k7Z6axgytXHoIu5SqFR\n"
    "r3mhugIgEDV10mGTcE0i/P4TVrr6l5CYBgKpJmFErSME+wqEL2k=\n"
    "-----END CERTIFICATE-----\n";
static const char future_key[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg7jmERUOqNAWKGst+\n"
    "Djxu1p9K8aAhfma3ctsDPlrWAiChRANCAAS7aJOp68OGmcs/C5f+H0HSseMemqPK\n"
    "tMk+Z+s3LRNiOQ3TQUPg8BLkUn5TeK0vvgHJ///CFH5eupddkbIcD9ms\n"
    "-----END PRIVATE KEY-----\n";

#endif
