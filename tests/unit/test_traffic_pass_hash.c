/* Hashes of passwords: which are taken, and that they are right for one password only. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "support/suite.h"
#include "traffic/pass_hash.h"

/* Of "s3:cret", made once. */
START_TEST(made_ones_are_right)
{
    static const char *const methods[] = {"yescrypt", "bcrypt", "sha512"};
    char hash[PASS_HASH_MAX], other[PASS_HASH_MAX];

    ck_assert_int_eq(pass_hash_make(methods[_i], "s3:cret", hash, sizeof(hash)), 0);
    ck_assert_int_eq(pass_hash_make(methods[_i], "s3:cret", other, sizeof(other)), 0);
    ck_assert_str_ne(hash, other); /* the salt */
    ck_assert_ptr_null(pass_hash_fault(hash));
    ck_assert(pass_hash_is_right(hash, "s3:cret"));
    ck_assert(!pass_hash_is_right(hash, "s3:cret "));
    ck_assert(!pass_hash_is_right(hash, ""));
    for (size_t cut = 1; cut < 5; cut++) { /* a part of it is none */
        hash[strlen(hash) - 1] = '\0';
        ck_assert_ptr_nonnull(pass_hash_fault(hash));
    }
}
END_TEST

START_TEST(what_is_refused)
{
    static const char *const bad[] = {
        "",
        "plain",
        "$1$salt$qJH7.N4xYta3aEG/dfqo/0",                                /* MD5 */
        "ab1FYDgUd1Dxc",                                                 /* DES */
        "$2b$31$abcdefghijklmnopqrstuuXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX", /* hours */
        "$6$rounds=999999999$salt$"
        "86aHlUTbUDrMVCtvlcnsXMxb6G/dOb0kWy4Fn7TEQfM8L3xWzYb4OwOYqHo0PEzvOKBnhHMcrS7zZZfDR0CiW1",
        "$6$salt",
        "$y$j9T$salt",
        "$2b$05$abcdefghijklmnopqrstuu",
        "$6$sa:t$x",
        "$6$sa t$x",
        "*0",
    };

    ck_assert_msg(pass_hash_fault(bad[_i]) != NULL, "%s", bad[_i]);
}
END_TEST

START_TEST(other_methods)
{
    char hash[PASS_HASH_MAX];

    ck_assert_int_eq(pass_hash_make("md5", "x", hash, sizeof(hash)), -ERR_NOT_FOUND);
    ck_assert_int_eq(pass_hash_make("yescrypt", "x", hash, 10), -ERR_SYS);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("pass_hash");

    tcase_add_loop_test(tcase, made_ones_are_right, 0, 3);
    tcase_add_loop_test(tcase, what_is_refused, 0, 12);
    tcase_add_test(tcase, other_methods);
    return suite_run("traffic_pass_hash", tcase);
}
