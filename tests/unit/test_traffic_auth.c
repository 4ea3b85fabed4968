/* Basic authentication: credentials are read strictly, names and passwords compared by their MACs.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "support/suite.h"
#include "traffic/auth.h"

static struct auth_key key;

static enum auth_verdict check(const struct route_auth *auth, const char *value)
{
    return route_auth_check(auth, value, value ? strlen(value) : 0);
}

static struct route_auth *alice(void)
{
    auth_key_init(&key);
    return route_auth_new(&key, "alice", "s3cret:with:colons", 18);
}

static const struct {
    const char *value;
    enum auth_verdict expect;
} rows[] = {
    {"Basic YWxpY2U6czNjcmV0OndpdGg6Y29sb25z", AUTH_OK},   /* alice:s3cret:with:colons */
    {"basic YWxpY2U6czNjcmV0OndpdGg6Y29sb25z", AUTH_OK},   /* a scheme has no case */
    {"BASIC   YWxpY2U6czNjcmV0OndpdGg6Y29sb25z", AUTH_OK}, /* 1*SP */
    {NULL, AUTH_MISSING},
    {"", AUTH_MALFORMED},
    {"Basic", AUTH_MALFORMED},
    {"Basic ", AUTH_MALFORMED},
    {"BasicYWxpY2U6czNjcmV0OndpdGg6Y29sb25z", AUTH_MALFORMED},
    {"Bearer YWxpY2U6czNjcmV0OndpdGg6Y29sb25z", AUTH_MALFORMED},
    {"Basic\tYWxpY2U6czNjcmV0OndpdGg6Y29sb25z", AUTH_MALFORMED},
    {"Basic YWxpY2U6czNjcmV0OndpdGg6Y29sb25z ", AUTH_MALFORMED}, /* blanks are not base64 */
    {"Basic YWxpY2U6czNjcmV0OndpdGg6Y29sb25", AUTH_MALFORMED},   /* cut */
    {"Basic YWxpY2U6czNjcmV0OndpdGg6Y29sb2-_", AUTH_MALFORMED},  /* base64url */
    {"Basic ====", AUTH_MALFORMED},
    {"Basic YQ=", AUTH_MALFORMED},
    {"Basic YTpi=", AUTH_MALFORMED},
    {"Basic YTp=iYg=", AUTH_MALFORMED},
    {"Basic YTpiYR==", AUTH_MALFORMED},     /* bits behind the last byte: not canonical */
    {"Basic YWxpY2U=", AUTH_MALFORMED},     /* "alice": no colon */
    {"Basic YTpiAA==", AUTH_MALFORMED},     /* "a:b\0" */
    {"Basic YTpiCg==", AUTH_MALFORMED},     /* "a:b\n" */
    {"Basic Og==", AUTH_WRONG},             /* ":" */
    {"Basic YWxpY2U6", AUTH_WRONG},         /* "alice:" */
    {"Basic YWxpY2U6czNjcmV0", AUTH_WRONG}, /* "alice:s3cret" */
    {"Basic Ym9iOnMzY3JldDp3aXRoOmNvbG9ucw==", AUTH_WRONG}, /* bob with alice's password */
    {"Basic QWxpY2U6czNjcmV0OndpdGg6Y29sb25z", AUTH_WRONG}, /* Alice: a name has case */
    {"Basic czNjcmV0OndpdGg6Y29sb25zOmFsaWNl", AUTH_WRONG}, /* the two swapped */
};

START_TEST(verdicts)
{
    struct route_auth *auth = alice();

    ck_assert_msg(check(auth, rows[_i].value) == rows[_i].expect, "%s: verdict %d", rows[_i].value,
                  (int)check(auth, rows[_i].value));
    route_auth_free(auth);
}
END_TEST

/* The longest credentials that are taken, and one byte more of each part. */
START_TEST(longest)
{
    struct route_auth *auth = alice();
    size_t n = AUTH_USER_MAX + 1 + AUTH_PASS_MAX; /* 1281 = 427 x 3: no padding */
    char *value = malloc(6 + n / 3 * 4 + 5);

    ck_assert_uint_eq(n % 3, 0);
    memcpy(value, "Basic ", 6);
    for (size_t i = 0; i < n / 3; i++)
        memcpy(value + 6 + 4 * i, "Ojo6", 4); /* ":::" */
    value[6 + n / 3 * 4] = '\0';
    ck_assert_int_eq(check(auth, value), AUTH_WRONG);
    memcpy(value + 6 + n / 3 * 4, "Og==", 5);
    ck_assert_int_eq(check(auth, value), AUTH_MALFORMED);
    free(value);
    route_auth_free(auth);
}
END_TEST

START_TEST(utf8_passes)
{
    auth_key_init(&key);
    struct route_auth *auth = route_auth_new(&key, "j\xc3\xb6rg", "\xc3\xa4", 2);

    ck_assert_int_eq(check(auth, "Basic asO2cmc6w6Q="), AUTH_OK);
    route_auth_free(auth);
}
END_TEST

START_TEST(a_copy_is_its_own)
{
    struct route_auth *auth = alice(), *copy = route_auth_copy(auth);

    route_auth_free(auth);
    ck_assert_int_eq(check(copy, rows[0].value), AUTH_OK);
    ck_assert_str_eq(copy->user, "alice");
    route_auth_free(copy);
    ck_assert_ptr_null(route_auth_copy(NULL));
    route_auth_free(NULL);
}
END_TEST

/* What is kept says nothing without the key: another key gives other MACs, and the same text as
 * name and as password gives two. */
START_TEST(macs_are_keyed)
{
    struct auth_key other;
    struct route_auth *a, *b;

    auth_key_init(&key);
    auth_key_init(&other);
    a = route_auth_new(&key, "same", "same", 4);
    b = route_auth_new(&other, "same", "same", 4);
    ck_assert_mem_ne(a->pass_mac, b->pass_mac, AUTH_MAC_BYTES);
    ck_assert_mem_ne(a->user_mac, b->user_mac, AUTH_MAC_BYTES);
    ck_assert_mem_ne(a->user_mac, a->pass_mac, AUTH_MAC_BYTES);
    route_auth_free(a);
    route_auth_free(b);
    auth_key_fini(&other);
    ck_assert_mem_eq(other.bytes, (uint8_t[32]){0}, sizeof(other.bytes));
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("auth");

    tcase_add_loop_test(tcase, verdicts, 0, (int)(sizeof(rows) / sizeof(rows[0])));
    tcase_add_test(tcase, longest);
    tcase_add_test(tcase, utf8_passes);
    tcase_add_test(tcase, a_copy_is_its_own);
    tcase_add_test(tcase, macs_are_keyed);
    return suite_run("traffic_auth", tcase);
}
