/* test_tls_name - what passes as a host name, and how it is spelled then. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tls/tls_internal.h"

START_TEST(names)
{
    static const char label63[] =
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b";
    static const char label64[] =
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b";
    static const struct {
        const char *name, *expect; /* NULL: refused */
    } row[] = {
        {"a.test", "a.test"},
        {"A.TeSt", "a.test"},
        {"a.test.", "a.test"},
        {"localhost", "localhost"},
        {"_dmarc.x-1.test", "_dmarc.x-1.test"},
        {"xn--bcher-kva.test", "xn--bcher-kva.test"},
        {label63, label63},
        {label64, NULL},
        {"", NULL},
        {".", NULL},
        {"..", NULL},
        {"a..test", NULL},
        {".a.test", NULL},
        {"a.test..", NULL},
        {"*.test", NULL},
        {"a b.test", NULL},
        {"a/../b", NULL},
        {"b\xc3\xbc"
         "cher.test",
         NULL},
        {"a:443", NULL},
        {"[::1]", NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        char out[TLS_SNI_MAX + 1];
        int rc = tls_name_normalise(out, row[i].name, strlen(row[i].name));

        ck_assert_msg(rc == (row[i].expect ? 0 : -ERR_SYNTAX), "%s: %d", row[i].name, rc);
        ck_assert_str_eq(out, row[i].expect ? row[i].expect : "");
    }
}
END_TEST

START_TEST(zero_byte_is_no_part_of_a_name)
{
    char out[TLS_SNI_MAX + 1];

    ck_assert_int_eq(tls_name_normalise(out, "a.test\0.evil", 12), -ERR_SYNTAX);
    ck_assert_str_eq(out, "");
    ck_assert_int_eq(tls_name_normalise(out, "a.test\0", 7), -ERR_SYNTAX);
}
END_TEST

START_TEST(longest_name)
{
    char name[TLS_SNI_MAX + 3], out[TLS_SNI_MAX + 1];

    for (size_t i = 0; i < sizeof(name); i++)
        name[i] = i % 2 ? '.' : 'a'; /* 253 ends in a letter */
    ck_assert_int_eq(tls_name_normalise(out, name, 253), 0);
    ck_assert_uint_eq(strlen(out), 253);
    ck_assert_int_eq(tls_name_normalise(out, name, 254), 0); /* with a dot at the end */
    ck_assert_uint_eq(strlen(out), 253);
    ck_assert_int_eq(tls_name_normalise(out, name, 255), -ERR_SYNTAX);
}
END_TEST

START_TEST(addresses)
{
    uint8_t out[16];

    ck_assert_uint_eq(tls_name_address("127.0.0.1", out), 4);
    ck_assert_int_eq(out[0], 127);
    ck_assert_uint_eq(tls_name_address("::1", out), 16);
    ck_assert_int_eq(out[15], 1);
    ck_assert_uint_eq(tls_name_address("a.test", out), 0);
    ck_assert_uint_eq(tls_name_address("1.2.3", out), 0);
    ck_assert_uint_eq(tls_name_address("", out), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tls_name");
    TCase *tcase = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, names);
    tcase_add_test(tcase, zero_byte_is_no_part_of_a_name);
    tcase_add_test(tcase, longest_name);
    tcase_add_test(tcase, addresses);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
