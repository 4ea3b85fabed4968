/* Tests of loop/addr: what is read, what is refused, how it is written, when two are the same. */
#include <arpa/inet.h>
#include <check.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "loop/addr.h"

START_TEST(addresses_are_read_and_written)
{
    static const struct {
        const char *text, *again, *host;
        int family;
        uint16_t port;
    } table[] = {
        {"192.0.2.1:443", "192.0.2.1:443", "192.0.2.1", AF_INET, 443},
        {"0.0.0.0:0", "0.0.0.0:0", "0.0.0.0", AF_INET, 0},
        {"255.255.255.255:65535", "255.255.255.255:65535", "255.255.255.255", AF_INET, 65535},
        {"[2001:db8::1]:443", "[2001:db8::1]:443", "2001:db8::1", AF_INET6, 443},
        {"[2001:DB8:0:0:0:0:0:1]:1", "[2001:db8::1]:1", "2001:db8::1", AF_INET6, 1},
        {"[::]:443", "[::]:443", "::", AF_INET6, 443},
        {":443", "[::]:443", "::", AF_INET6, 443},
        {"[::ffff:192.0.2.1]:80", "192.0.2.1:80", "192.0.2.1", AF_INET6, 80},
        {"[fe80::1%lo]:22", "[fe80::1%lo]:22", "fe80::1%lo", AF_INET6, 22},
        {"[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
         "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", AF_INET6, 65535},
    };

    for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
        union addr a;
        char text[ADDR_TEXT_MAX];

        ck_assert_msg(addr_parse(&a, table[i].text) == 0, "refused: %s", table[i].text);
        ck_assert_int_eq(a.sa.sa_family, table[i].family);
        ck_assert_uint_eq(addr_port(&a), table[i].port);
        ck_assert_str_eq(addr_format(&a, text), table[i].again);
        ck_assert_str_eq(addr_format_host(&a, text), table[i].host);
        ck_assert_uint_eq(addr_len(&a), table[i].family == AF_INET ? sizeof(struct sockaddr_in)
                                                                   : sizeof(struct sockaddr_in6));
    }
}
END_TEST

START_TEST(what_is_no_address_is_refused_and_leaves_out_untouched)
{
    static const char *const wrong[] = {
        "",
        ":",
        "443",
        "192.0.2.1",
        "192.0.2.1:",
        "192.0.2.1:65536",
        "192.0.2.1:-1",
        "192.0.2.1:+1",
        "192.0.2.1: 1",
        "192.0.2.1:1 ",
        "192.0.2.1:0x50",
        "192.0.2.1:080",
        "192.0.2.1:100000",
        "192.0.2.1:18446744073709551696",
        "192.0.2:80",
        "1:80",
        "0x7f000001:80",
        "192.0.2.256:80",
        "192.0.2.01:80x",
        "2001:db8::1:443",
        "::1:80",
        "::",
        "[2001:db8::1]",
        "[2001:db8::1]443",
        "2001:db8::1]:443",
        "[2001:db8::1:443",
        "[]:443",
        "[192.0.2.1]:443",
        "[::1]x:443",
        "localhost:80",
        "[fe80::1%nosuchif]:1",
        "[fe80::1%]:1",
        "[fe80::1%0]:1",
        "[fe80::1%99999999999999999999]:1",
        "*:80",
        "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0001]:1",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        ":1",
    };

    for (unsigned i = 0; i < ARRAY_LEN(wrong); i++) {
        union addr a;

        memset(&a, 0x5a, sizeof(a));
        ck_assert_msg(addr_parse(&a, wrong[i]) == -ERR_SYNTAX, "taken: %s", wrong[i]);
        for (size_t n = 0; n < sizeof(a); n++)
            ck_assert_uint_eq(((uint8_t *)&a)[n], 0x5a);
    }
}
END_TEST

START_TEST(hosts_are_read_without_port)
{
    static const char *const right[] = {"192.0.2.1", "::1", "[::1]", "fe80::1%lo", "[fe80::1%lo]"};
    static const char *const wrong[] = {"",          "[]",           "[192.0.2.1]", "[::1", "::1]",
                                        "localhost", "192.0.2.1:80", "[::1]:80",    "1",    "%lo"};
    union addr a;

    for (unsigned i = 0; i < ARRAY_LEN(right); i++) {
        ck_assert_msg(addr_parse_host(&a, right[i], 77) == 0, "refused: %s", right[i]);
        ck_assert_uint_eq(addr_port(&a), 77);
    }
    for (unsigned i = 0; i < ARRAY_LEN(wrong); i++)
        ck_assert_msg(addr_parse_host(&a, wrong[i], 77) == -ERR_SYNTAX, "taken: %s", wrong[i]);
}
END_TEST

START_TEST(a_scope_without_a_name_is_written_as_its_number)
{
    union addr a;
    char text[ADDR_TEXT_MAX];

    ck_assert_int_eq(addr_parse(&a, "[fe80::1%4000000000]:1"), 0);
    ck_assert_uint_eq(a.in6.sin6_scope_id, 4000000000u);
    ck_assert_str_eq(addr_format(&a, text), "[fe80::1%4000000000]:1");
}
END_TEST

START_TEST(no_address_is_written_as_a_dash)
{
    union addr none = {0};
    char text[ADDR_TEXT_MAX];

    ck_assert_str_eq(addr_format(&none, text), "-");
    ck_assert_str_eq(addr_format_host(&none, text), "-");
    ck_assert_uint_eq(addr_len(&none), 0);
    ck_assert_uint_eq(addr_port(&none), 0);
    ck_assert(!addr_is_any(&none));
    ck_assert(!addr_is_same(&none, &none));
}
END_TEST

START_TEST(a_mapped_address_becomes_ipv4)
{
    union addr a, plain;

    ck_assert_int_eq(addr_parse(&a, "[::ffff:192.0.2.1]:80"), 0);
    ck_assert_int_eq(addr_parse(&plain, "192.0.2.1:80"), 0);
    ck_assert(addr_is_same(&a, &plain));
    addr_unmap(&a);
    ck_assert_int_eq(a.sa.sa_family, AF_INET);
    ck_assert_mem_eq(&a, &plain, sizeof(a)); /* nothing of the old one is left behind */
    addr_unmap(&a);
    ck_assert_mem_eq(&a, &plain, sizeof(a));
}
END_TEST

START_TEST(same_and_same_host)
{
    static const struct {
        const char *a, *b;
        bool is_same, is_same_host;
    } table[] = {
        {"192.0.2.1:80", "192.0.2.1:80", true, true},
        {"192.0.2.1:80", "192.0.2.1:81", false, true},
        {"192.0.2.1:80", "192.0.2.2:80", false, false},
        {"[::1]:80", "[::1]:80", true, true},
        {"[::1]:80", "[::1]:1", false, true},
        {"[::1]:80", "[::2]:80", false, false},
        {"[fe80::1%1]:80", "[fe80::1%2]:80", false, false},
        {"[::]:80", "0.0.0.0:80", false, false},
        {"[::ffff:192.0.2.1]:80", "192.0.2.1:80", true, true},
    };

    for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
        union addr a, b;

        ck_assert_int_eq(addr_parse(&a, table[i].a), 0);
        ck_assert_int_eq(addr_parse(&b, table[i].b), 0);
        ck_assert_msg(addr_is_same(&a, &b) == table[i].is_same, "%s %s", table[i].a, table[i].b);
        ck_assert_msg(addr_is_same_host(&b, &a) == table[i].is_same_host, "%s %s", table[i].a,
                      table[i].b);
    }
}
END_TEST

START_TEST(loopback_is_known_in_both_families)
{
    static const struct {
        const char *text;
        bool is_loopback;
    } cases[] = {{"127.0.0.1", true},    {"127.255.0.9", true},
                 {"::1", true},          {"::ffff:127.0.0.1", true},
                 {"128.0.0.1", false},   {"0.0.0.0", false},
                 {"::", false},          {"::2", false},
                 {"2001:db8::1", false}, {"::ffff:192.0.2.1", false},
                 {"192.0.2.127", false}};
    union addr a;

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ck_assert_int_eq(addr_parse_host(&a, cases[i].text, 80), 0);
        ck_assert_msg(addr_is_loopback(&a) == cases[i].is_loopback, "%s", cases[i].text);
    }
    a.sa.sa_family = AF_UNSPEC;
    ck_assert(!addr_is_loopback(&a));
}
END_TEST

START_TEST(any_is_any_in_both_families)
{
    union addr a;

    ck_assert_int_eq(addr_parse(&a, ":1"), 0);
    ck_assert(addr_is_any(&a));
    ck_assert_int_eq(addr_parse(&a, "0.0.0.0:1"), 0);
    ck_assert(addr_is_any(&a));
    ck_assert_int_eq(addr_parse(&a, "[::1]:1"), 0);
    ck_assert(!addr_is_any(&a));
    addr_set_port(&a, 65535);
    ck_assert_uint_eq(addr_port(&a), 65535);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("loop_addr");
    TCase *tc = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tc, addresses_are_read_and_written);
    tcase_add_test(tc, what_is_no_address_is_refused_and_leaves_out_untouched);
    tcase_add_test(tc, hosts_are_read_without_port);
    tcase_add_test(tc, a_scope_without_a_name_is_written_as_its_number);
    tcase_add_test(tc, no_address_is_written_as_a_dash);
    tcase_add_test(tc, a_mapped_address_becomes_ipv4);
    tcase_add_test(tc, same_and_same_host);
    tcase_add_test(tc, any_is_any_in_both_families);
    tcase_add_test(tc, loopback_is_known_in_both_families);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
