/* Every verdict about a certificate, by the time that it is looked at. */
#include "doctor/certificate.h"
#include "doctor_fixture.h"
#include "support/tls_pem.h"
#include "tls/tls.h"

#define DAY 86400

START_TEST(by_time_and_name)
{
    struct tls_pem pem;
    struct tls_cert *cert = NULL;
    char why[160];
    int64_t from, until;

    tls_pem_make(&pem, &(struct tls_pem_options){.name = "a.test"});
    ck_assert_int_eq(tls_cert_parse(&cert, pem.chain, pem.key, why, sizeof(why)), 0);
    from = tls_cert_not_before(cert, 0);
    until = tls_cert_not_after(cert, 0);
    certificate_check(&r, "c", cert, 0, "a.test", from - 1);
    expect(REPORT_FAIL, "c", "clocks is wrong");
    certificate_check(&r, "c", cert, 0, "a.test", until);
    expect(REPORT_FAIL, "c", "it ended on");
    certificate_check(&r, "c", cert, 0, "a.test", MAX(from, until - DAY));
    expect(REPORT_WARN, "c", "it ends on");
    tls_cert_unref(cert);
    tls_pem_fini(&pem);
}
END_TEST

START_TEST(long_lived)
{
    char *chain, *key, why[160];
    struct tls_cert *cert = NULL;
    int64_t from;

    ck_assert_int_eq(tls_cert_make_pem("a.test", &chain, &key), 0); /* for 10 years */
    ck_assert_int_eq(tls_cert_parse(&cert, chain, key, why, sizeof(why)), 0);
    from = tls_cert_not_before(cert, 0);
    certificate_check(&r, "c", cert, 0, "a.test", from);
    expect(REPORT_OK, "c", "good until");
    certificate_check(&r, "c", cert, 0, NULL, from);
    expect(REPORT_OK, "c", "good until");
    certificate_check(&r, "c", cert, 0, "b.test", from);
    expect(REPORT_WARN, "c", "does not cover b.test");
    tls_cert_unref(cert);
    free(chain);
    free(key);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {by_time_and_name, long_lived};

    return run_suite("doctor_certificate", tests, ARRAY_LEN(tests));
}
