/* Certificates by content: parsed once, whoever names them; what is alike is one. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "support/suite.h"
#include "support/tls_pem.h"
#include "traffic/route_cert.h"
#include "unit/traffic_route_fixture.h"

static struct tls_pem rsa;
static struct route_certs certs;
static struct json_check faults;

static void setup(void)
{
    tls_pem_make(&rsa, &(struct tls_pem_options){.name = "a.test", .rsa_bits = 2048});
    route_certs_init(&certs, NULL, 8);
    json_check_init(&faults);
}

static void teardown(void)
{
    json_check_fini(&faults);
    route_certs_fini(&certs);
    tls_pem_fini(&rsa);
}

static struct route_cert *get(const struct route_pair *pairs, unsigned count)
{
    static const char *const bases[] = {"/0", "/0/moreKeys/0", "/0/moreKeys/1"};

    return route_certs_get(&certs, &faults, bases, pairs, count);
}

START_TEST(shared_by_content)
{
    const struct route_pair one = {a_test_chain, a_test_key}, other = {expired_chain, expired_key};
    struct route_cert *a = get(&one, 1), *b = get(&one, 1), *c = get(&other, 1);

    ck_assert_ptr_eq(a, b);
    ck_assert_ptr_ne(a, c);
    ck_assert_uint_eq(certs.parsed, 2);
    ck_assert_uint_eq(certs.reused, 1);
    ck_assert_str_eq(a->texts[0].chain_pem, a_test_chain);
    ck_assert_str_eq(a->texts[0].key_pem, a_test_key);
    route_cert_unref(a);
    route_cert_unref(b);
    route_cert_unref(c);
}
END_TEST

/* The same first pair with another beside it is another certificate. */
START_TEST(pairs)
{
    const struct route_pair two[] = {{a_test_chain, a_test_key}, {rsa.chain, rsa.key}};
    struct route_cert *a = get(two, 1), *b = get(two, 2);

    ck_assert_ptr_ne(a, b);
    ck_assert_uint_eq(b->count, 2);
    ck_assert_uint_eq(tls_cert_count(b->cert), 2);
    route_cert_unref(a);
    route_cert_unref(b);
}
END_TEST

START_TEST(faults_name_the_pair)
{
    const struct route_pair mixed[] = {{a_test_chain, a_test_key}, {rsa.chain, a_test_key}};
    const struct route_pair rubbish[] = {{"x", "y"}, {rsa.chain, rsa.key}};

    ck_assert_ptr_null(get(mixed, 2));
    ck_assert_str_eq(faults.faults[0].pointer, "/0/moreKeys/0/privateKey");
    ck_assert_str_eq(faults.faults[0].code, "mismatch");
    ck_assert_ptr_null(get(rubbish, 2));
    ck_assert_str_eq(faults.faults[1].pointer, "/0/publicKey");
    ck_assert_str_eq(faults.faults[2].pointer, "/0/privateKey");
    ck_assert_uint_eq(faults.count, 3);
    ck_assert_uint_eq(certs.parsed, 0);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("cert");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, shared_by_content);
    tcase_add_test(tcase, pairs);
    tcase_add_test(tcase, faults_name_the_pair);
    return suite_run("traffic_route_cert", tcase);
}
