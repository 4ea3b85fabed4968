/* The hub's own listeners: which addresses reach one of them. */
#include "hub/own_listeners.h"
#include "hub_fixture.h"

static const struct {
    const char *listen, *host;
    unsigned port;
    bool is_own;
} rows[] = {
    {"127.0.0.1:9001", "127.0.0.1", 9001, true},
    {"127.0.0.1:9001", "127.0.0.1", 9002, false},
    {"127.0.0.1:9001", "localhost", 9001, true},
    {"127.0.0.1:9001", "LocalHost", 9001, true},
    {"127.0.0.1:9001", "::ffff:127.0.0.1", 9001, true},
    {"127.0.0.1:9001", "0.0.0.0", 9001, true}, /* Linux: loopback */
    {"127.0.0.1:9001", "127.0.0.2", 9001, false},
    {"127.0.0.1:9001", "192.0.2.1", 9001, false},
    {"0.0.0.0:8443", "127.0.0.2", 8443, true},
    {"[::]:8443", "127.0.0.1", 8443, true},
    {"[::]:8443", "::1", 8443, true},
    {"[::]:8443", "192.0.2.1", 8443, false}, /* of another machine */
    {"[::1]:8443", "localhost", 8443, true},
    {"[::1]:8443", "::", 8443, true},
    {"[::]:8443", "traffic.example", 8443, false}, /* looked at when it is dialled */
};

START_TEST(finds)
{
    struct own_listeners own;
    union addr at;
    const char *name;

    own_listeners_init(&own);
    ck_assert_int_eq(addr_parse(&at, rows[_i].listen), 0);
    own_listeners_add(&own, &at, "tunnel");
    name = own_listeners_find(&own, rows[_i].host, (uint16_t)rows[_i].port);
    if (rows[_i].is_own)
        ck_assert_str_eq(name, "tunnel");
    else
        ck_assert_ptr_null(name);
}
END_TEST

START_TEST(own_interfaces)
{
    struct own_listeners own;
    union addr any, to;

    own_listeners_init(&own);
    ck_assert_int_eq(addr_parse(&any, "[::]:8443"), 0);
    own_listeners_add(&own, &any, "tunnel");
    ck_assert_uint_gt(own.local_count, 0);
    for (size_t i = 0; i < own.local_count; i++) {
        to = own.local[i];
        addr_set_port(&to, 8443);
        ck_assert_str_eq(own_listeners_find_addr(&own, &to), "tunnel");
        addr_set_port(&to, 8444);
        ck_assert_ptr_null(own_listeners_find_addr(&own, &to));
    }
}
END_TEST

START_TEST(port_0_is_none)
{
    struct own_listeners own;
    union addr at;

    own_listeners_init(&own);
    ck_assert_int_eq(addr_parse(&at, "127.0.0.1:0"), 0);
    own_listeners_add(&own, &at, "tunnel");
    ck_assert_uint_eq(own.count, 0);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("own_listeners");

    tcase_add_loop_test(tcase, finds, 0, (int)(sizeof(rows) / sizeof(rows[0])));
    tcase_add_test(tcase, own_interfaces);
    tcase_add_test(tcase, port_0_is_none);
    return suite_run("hub_own_listeners", tcase);
}
