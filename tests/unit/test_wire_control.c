/* Tests of wire/control: port lists, and the JSON of CONFIG, CONFIG_ACK, DRAIN and GOODBYE. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "wire/control.h"
#include "wire/frame.h"

static const uint8_t *bytes(const char *s)
{
    return (const uint8_t *)s;
}

START_TEST(a_port_list_is_sorted_and_without_doubles)
{
    static const uint16_t given[] = {443, 80, 0, 443, 65535, 1, 80};
    struct port_list l = {0}, copy = {0}, empty = {0};

    port_list_set(&l, given, ARRAY_LEN(given));
    ck_assert_uint_eq(l.count, 4);
    ck_assert_mem_eq(l.ports, ((uint16_t[]){1, 80, 443, 65535}), 8);
    ck_assert(port_list_has(&l, 443));
    ck_assert(!port_list_has(&l, 444));
    ck_assert(!port_list_has(&empty, 443));
    port_list_copy(&copy, &l);
    ck_assert(port_list_is_equal(&l, &copy));
    copy.ports[0] = 2;
    ck_assert(!port_list_is_equal(&l, &copy));
    copy.ports[0] = 1;
    copy.count--;
    ck_assert(!port_list_is_equal(&l, &copy));
    port_list_fini(&l);
    port_list_fini(&l);
    ck_assert(port_list_is_equal(&l, &empty));
    port_list_copy(&l, &empty);
    ck_assert_ptr_null(l.ports);
    port_list_fini(&copy);
}
END_TEST

#define CONFIG(revision, tcp, udp, stun)                                                           \
    "{\"revision\":" revision ",\"listenPorts\":" tcp ",\"listenPortsUdp\":" udp                   \
    ",\"stunIntervalSecs\":" stun "}"

START_TEST(a_config_comes_back_as_it_went)
{
    static const char text[] = CONFIG("7", "[80,443]", "[53]", "300");
    struct wire_config c = {.revision = 7, .stun_interval_secs = 300}, back;
    struct wire_why why;
    size_t len;

    port_list_set(&c.ports, (uint16_t[]){443, 80}, 2);
    port_list_set(&c.ports_udp, (uint16_t[]){53}, 1);
    char *out = wire_config_emit(&c, &len);
    ck_assert_str_eq(out, text);
    ck_assert_uint_eq(len, strlen(text));
    ck_assert_int_eq(wire_config_parse(&back, bytes(out), len, &why), 0);
    free(out);
    ck_assert_uint_eq(back.revision, 7);
    ck_assert_uint_eq(back.stun_interval_secs, 300);
    ck_assert(port_list_is_equal(&back.ports, &c.ports));
    ck_assert(port_list_is_equal(&back.ports_udp, &c.ports_udp));
    wire_config_fini(&c);
    wire_config_fini(&back);
    wire_config_fini(&back);
    ck_assert_uint_eq(back.revision, 0);
}
END_TEST

static const char *const good_configs[] = {
    CONFIG("0", "[]", "[]", "0"),
    CONFIG("9223372036854775807", "[1]", "[1]", "4294967295"),
    CONFIG("1", "[65535]", "[]", "1,\"more\":{\"x\":[null]}"),
    " \n{ \"stunIntervalSecs\" : 0 , \"listenPortsUdp\" : [ ] , \"listenPorts\" : [ 1 , 2 ] , "
    "\"revision\" : 3 } ",
};

START_TEST(configs_at_the_edges_are_taken)
{
    struct wire_config c;
    struct wire_why why;
    const char *s = good_configs[_i];

    ck_assert_int_eq(wire_config_parse(&c, bytes(s), strlen(s), &why), 0);
    wire_config_fini(&c);
}
END_TEST

static const struct {
    const char *text, *why;
} bad_configs[] = {
    {"", "the text ends"},
    {"[]", "must be an object"},
    {"null", "must be an object"},
    {"{}", "revision: is missing"},
    {"{\"revision\":1,\"listenPortsUdp\":[],\"stunIntervalSecs\":0}", "listenPorts: is missing"},
    {"{\"revision\":1,\"listenPorts\":[],\"stunIntervalSecs\":0}", "listenPortsUdp: is missing"},
    {"{\"revision\":1,\"listenPorts\":[],\"listenPortsUdp\":[]}", "stunIntervalSecs: is missing"},
    {CONFIG("-1", "[]", "[]", "0"), "revision: "},
    {CONFIG("1.0", "[]", "[]", "0"), "revision: "},
    {CONFIG("9223372036854775808", "[]", "[]", "0"), "revision: "},
    {CONFIG("\"1\"", "[]", "[]", "0"), "revision: "},
    {CONFIG("1", "[]", "[]", "4294967296"), "stunIntervalSecs: "},
    {CONFIG("1", "null", "[]", "0"), "listenPorts: "},
    {CONFIG("1", "[0]", "[]", "0"), "listenPorts: entry 0 must be 1 to 65535"},
    {CONFIG("1", "[1,65536]", "[]", "0"), "listenPorts: entry 1 must be 1 to 65535"},
    {CONFIG("1", "[99999999999999999999]", "[]", "0"), "listenPorts: entry 0 must be 1 to"},
    {CONFIG("1", "[\"80\"]", "[]", "0"), "listenPorts: entry 0 must be an integer"},
    {CONFIG("1", "[80.0]", "[]", "0"), "listenPorts: entry 0 must be an integer"},
    {CONFIG("1", "[null]", "[]", "0"), "listenPorts: entry 0 must be an integer"},
    {CONFIG("1", "[80,80]", "[]", "0"), "listenPorts: entry 1 is not above"},
    {CONFIG("1", "[443,80]", "[]", "0"), "listenPorts: entry 1 is not above"},
    {CONFIG("1", "[]", "[53,52]", "0"), "listenPortsUdp: entry 1 is not above"},
    {CONFIG("1", "[]", "[]", "0,\"revision\":1"), "twice"},
    {CONFIG("1", "[]", "[]", "0") "x", "follows"},
};

START_TEST(other_configs_are_refused_and_leave_nothing)
{
    struct wire_config c;
    struct wire_why why;
    const char *s = bad_configs[_i].text;

    ck_assert_int_eq(wire_config_parse(&c, bytes(s), strlen(s), &why), -ERR_PROTO);
    ck_assert_msg(strstr(why.text, bad_configs[_i].why), "%s: %s", s, why.text);
    ck_assert_ptr_null(c.ports.ports);
    ck_assert_ptr_null(c.ports_udp.ports);
}
END_TEST

/* A config of so many ports; the text is the caller's. */
static char *config_of(unsigned tcp, unsigned udp)
{
    char *out = NULL;
    size_t n;
    FILE *f = open_memstream(&out, &n);

    ck_assert_ptr_nonnull(f);
    fprintf(f, "{\"revision\":1,\"stunIntervalSecs\":0,\"listenPorts\":[");
    for (unsigned i = 1; i <= tcp; i++)
        fprintf(f, "%s%u", i > 1 ? "," : "", i);
    fprintf(f, "],\"listenPortsUdp\":[");
    for (unsigned i = 1; i <= udp; i++)
        fprintf(f, "%s%u", i > 1 ? "," : "", i);
    fprintf(f, "]}");
    fclose(f);
    return out;
}

START_TEST(a_config_has_at_most_1024_ports)
{
    static const struct {
        unsigned tcp, udp;
        int rc;
    } sums[] = {{1024, 0, 0},          {0, 1024, 0},          {512, 512, 0},
                {1025, 0, -ERR_PROTO}, {0, 1025, -ERR_PROTO}, {512, 513, -ERR_PROTO}};
    struct wire_config c;
    struct config_ack a;
    struct wire_why why;

    for (size_t i = 0; i < ARRAY_LEN(sums); i++) {
        char *text = config_of(sums[i].tcp, sums[i].udp);
        ck_assert_int_eq(wire_config_parse(&c, bytes(text), strlen(text), &why), sums[i].rc);
        wire_config_fini(&c);
        /* What is bound obeys the same limit. */
        char *ack = NULL;
        ck_assert_int_gt(
            asprintf(&ack, "%.*s,\"errors\":[],\"publicIp\":null}", (int)strlen(text) - 1, text),
            0);
        ck_assert_int_eq(config_ack_parse(&a, bytes(ack), strlen(ack), &why), sums[i].rc);
        config_ack_fini(&a);
        free(ack);
        free(text);
    }
}
END_TEST

START_TEST(an_ack_comes_back_as_it_went)
{
    static const char text[] =
        "{\"revision\":7,\"listenPorts\":[80],\"listenPortsUdp\":[],\"errors\":["
        "{\"port\":53,\"protocol\":\"tcp\",\"error\":\"in use\"},"
        "{\"port\":53,\"protocol\":\"udp\",\"error\":\"in \\\"use\\\"\"},"
        "{\"port\":443,\"protocol\":\"tcp\",\"error\":\"\"}],\"publicIp\":null}";
    struct port_fault faults[] = {
        {443, PORT_TCP, ""}, {53, PORT_UDP, "in \"use\""}, {53, PORT_TCP, "in use"}};
    struct config_ack a = {.revision = 7, .faults = faults, .fault_count = 3}, back;
    struct wire_why why;
    size_t len;

    port_list_set(&a.ports, (uint16_t[]){80}, 1);
    char *out = config_ack_emit(&a, &len);
    ck_assert_str_eq(out, text);
    ck_assert_int_eq(config_ack_parse(&back, bytes(out), len, &why), 0);
    free(out);
    ck_assert_uint_eq(back.revision, 7);
    ck_assert(port_list_is_equal(&back.ports, &a.ports));
    ck_assert_uint_eq(back.ports_udp.count, 0);
    ck_assert_uint_eq(back.fault_count, 3);
    ck_assert_uint_eq(back.faults[1].port, 53);
    ck_assert_int_eq(back.faults[1].protocol, PORT_UDP);
    ck_assert_str_eq(back.faults[1].error, "in \"use\"");
    ck_assert_str_eq(back.public_ip, "");
    config_ack_fini(&back);
    config_ack_fini(&back);
    port_list_fini(&a.ports);
}
END_TEST

static const char *const addresses[] = {"192.0.2.7", "2001:db8::7",
                                        "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255"};

START_TEST(an_ack_carries_the_public_address)
{
    struct config_ack a = {.revision = 1}, back;
    struct wire_why why;
    size_t len;

    snprintf(a.public_ip, sizeof(a.public_ip), "%s", addresses[_i]);
    char *out = config_ack_emit(&a, &len);
    ck_assert_int_eq(config_ack_parse(&back, bytes(out), len, &why), 0);
    ck_assert_str_eq(back.public_ip, addresses[_i]);
    config_ack_fini(&back);
    free(out);
}
END_TEST

START_TEST(the_largest_ack_fits_a_frame)
{
    struct config_ack a = {.revision = CONFIG_REVISION_MAX}, back;
    struct wire_why why;
    size_t len;
    struct port_fault *faults = calloc(CONFIG_PORTS_MAX, sizeof(*faults));
    uint16_t ports[CONFIG_PORTS_MAX];

    ck_assert_ptr_nonnull(faults);
    for (unsigned i = 0; i < CONFIG_PORTS_MAX; i++) {
        faults[i].port = ports[i] = (uint16_t)(65535 - i);
        faults[i].protocol = PORT_UDP;
        for (size_t k = 0; k + 2 <= PORT_ERROR_MAX; k += 2)
            memcpy(faults[i].error + k, "\xc3\xa9", 2);
    }
    a.faults = faults;
    a.fault_count = CONFIG_PORTS_MAX;
    port_list_set(&a.ports, ports, CONFIG_PORTS_MAX);
    char *out = config_ack_emit(&a, &len);
    ck_assert_uint_le(len, FRAME_PAYLOAD_MAX);
    ck_assert_int_eq(config_ack_parse(&back, bytes(out), len, &why), 0);
    ck_assert_uint_eq(back.fault_count, CONFIG_PORTS_MAX);
    ck_assert_uint_eq(back.faults[0].port, 65535 - 1023);
    ck_assert_uint_eq(strlen(back.faults[0].error) % 2, 0);
    free(out);
    config_ack_fini(&back);
    port_list_fini(&a.ports);
    free(faults);
}
END_TEST

#define ACK(errors, ip)                                                                            \
    "{\"revision\":1,\"listenPorts\":[],\"listenPortsUdp\":[],\"errors\":" errors                  \
    ",\"publicIp\":" ip "}"

static const struct {
    const char *text, *why;
} bad_acks[] = {
    {"{\"revision\":1,\"listenPorts\":[],\"listenPortsUdp\":[],\"publicIp\":null}",
     "errors: is missing"},
    {"{\"revision\":1,\"listenPorts\":[],\"listenPortsUdp\":[],\"errors\":[]}",
     "publicIp: is missing"},
    {ACK("{}", "null"), "errors: "},
    {ACK("[1]", "null"), "errors/0: must be an object"},
    {ACK("[null]", "null"), "errors/0: must be an object"},
    {ACK("[{\"protocol\":\"tcp\",\"error\":\"\"}]", "null"), "errors/0/port: is missing"},
    {ACK("[{\"port\":0,\"protocol\":\"tcp\",\"error\":\"\"}]", "null"), "errors/0/port: "},
    {ACK("[{\"port\":1,\"error\":\"\"}]", "null"), "errors/0/protocol: is missing"},
    {ACK("[{\"port\":1,\"protocol\":\"TCP\",\"error\":\"\"}]", "null"), "errors/0/protocol: "},
    {ACK("[{\"port\":1,\"protocol\":\"tcp\"}]", "null"), "errors/0/error: is missing"},
    {ACK("[{\"port\":1,\"protocol\":\"tcp\",\"error\":1}]", "null"), "errors/0/error: "},
    {ACK("[{\"port\":1,\"protocol\":\"tcp\",\"error\":\"\"},"
         "{\"port\":1,\"protocol\":\"tcp\",\"error\":\"\"}]",
         "null"),
     "errors/1: "},
    {ACK("[{\"port\":2,\"protocol\":\"tcp\",\"error\":\"\"},"
         "{\"port\":1,\"protocol\":\"tcp\",\"error\":\"\"}]",
         "null"),
     "errors/1: "},
    {ACK("[]", "\"\""), "publicIp: "},
    {ACK("[]", "\"192.0.2\""), "publicIp: "},
    {ACK("[]", "\"hub.example.com\""), "publicIp: "},
    {ACK("[]", "1"), "publicIp: "},
};

START_TEST(other_acks_are_refused_and_leave_nothing)
{
    struct config_ack a;
    struct wire_why why;
    const char *s = bad_acks[_i].text;

    ck_assert_int_eq(config_ack_parse(&a, bytes(s), strlen(s), &why), -ERR_PROTO);
    ck_assert_msg(strstr(why.text, bad_acks[_i].why), "%s: %s", s, why.text);
    ck_assert_ptr_null(a.faults);
    ck_assert_uint_eq(a.fault_count, 0);
}
END_TEST

START_TEST(a_drain_comes_back_as_it_went)
{
    static const uint32_t secs[] = {0, 30, UINT32_MAX};
    struct wire_why why;
    size_t len;

    for (size_t i = 0; i < ARRAY_LEN(secs); i++) {
        struct drain d = {.deadline_secs = secs[i]}, back;
        char *out = drain_emit(&d, &len);
        ck_assert_int_eq(drain_parse(&back, bytes(out), len, &why), 0);
        ck_assert_uint_eq(back.deadline_secs, secs[i]);
        free(out);
    }
}
END_TEST

START_TEST(a_longer_drain_is_cut_and_no_number_refused)
{
    static const char *const bad[] = {"{}",
                                      "{\"deadlineSecs\":-1}",
                                      "{\"deadlineSecs\":1.5}",
                                      "{\"deadlineSecs\":\"1\"}",
                                      "{\"deadlineSecs\":null}",
                                      "{\"deadlineSecs\":1,\"reason\":1}",
                                      "1"};
    static const char more[] = "{\"deadlineSecs\":99999999999,\"reason\":\"rain\"}";
    struct wire_why why;
    struct drain d;

    ck_assert_int_eq(drain_parse(&d, bytes(more), strlen(more), &why), 0);
    ck_assert_uint_eq(d.deadline_secs, UINT32_MAX);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        ck_assert_int_eq(drain_parse(&d, bytes(bad[i]), strlen(bad[i]), &why), -ERR_PROTO);
}
END_TEST

START_TEST(each_goodbye_comes_back_as_it_went)
{
    struct goodbye g = {.code = (enum goodbye_code)_i, .message = "the \"end\""}, back;
    struct wire_why why;
    size_t len;

    for (uint32_t secs = 0; secs <= RETRY_MAX_SECS; secs += RETRY_MAX_SECS) {
        g.retry_after_secs = secs;
        char *out = goodbye_emit(&g, &len);
        ck_assert_int_eq(strstr(out, "retryAfterSecs") != NULL, secs > 0);
        ck_assert_ptr_nonnull(strstr(out, goodbye_name(g.code)));
        ck_assert_int_eq(goodbye_parse(&back, bytes(out), len, &why), 0);
        ck_assert_int_eq(back.code, g.code);
        ck_assert_str_eq(back.message, g.message);
        ck_assert_uint_eq(back.retry_after_secs, secs);
        free(out);
    }
}
END_TEST

START_TEST(a_goodbye_is_for_people_and_may_be_of_later_versions)
{
    static const char text[] = "{\"code\":\"moved\",\"message\":\"a\\nb\\u0000c\\u007f\","
                               "\"retryAfterSecs\":999999999999,\"to\":\"x\"}";
    struct wire_why why;
    struct goodbye g;

    ck_assert_int_eq(goodbye_parse(&g, bytes(text), strlen(text), &why), 0);
    ck_assert_int_eq(g.code, GOODBYE_OTHER);
    ck_assert_str_eq(goodbye_name(g.code), "other");
    ck_assert_str_eq(g.message, "a b c ");
    ck_assert_uint_eq(g.retry_after_secs, RETRY_MAX_SECS);
}
END_TEST

START_TEST(a_long_message_is_cut_between_characters)
{
    char text[1000] = "{\"code\":\"kicked\",\"message\":\"x";
    struct wire_why why;
    struct goodbye g;

    for (int i = 0; i < 200; i++)
        strcat(text, "\xe2\x82\xac");
    strcat(text, "\"}");
    ck_assert_int_eq(goodbye_parse(&g, bytes(text), strlen(text), &why), 0);
    ck_assert_uint_eq(strlen(g.message), 1 + 84 * 3);
}
END_TEST

static const char *const bad_goodbyes[] = {
    "{\"message\":\"\"}",
    "{\"code\":\"kicked\"}",
    "{\"code\":\"\",\"message\":\"\"}",
    "{\"code\":1,\"message\":\"\"}",
    "{\"code\":\"kicked\",\"message\":null}",
    "{\"code\":\"kicked\",\"message\":\"\",\"retryAfterSecs\":-1}",
    "{\"code\":\"kicked\",\"message\":\"\",\"retryAfterSecs\":null}",
    "\"kicked\"",
};

START_TEST(other_goodbyes_are_refused)
{
    struct wire_why why;
    struct goodbye g;
    const char *s = bad_goodbyes[_i];

    ck_assert_int_eq(goodbye_parse(&g, bytes(s), strlen(s), &why), -ERR_PROTO);
    ck_assert_uint_gt(strlen(why.text), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wire/control");
    TCase *tcase = tcase_create("all");

    tcase_add_test(tcase, a_port_list_is_sorted_and_without_doubles);
    tcase_add_test(tcase, a_config_comes_back_as_it_went);
    tcase_add_loop_test(tcase, configs_at_the_edges_are_taken, 0, ARRAY_LEN(good_configs));
    tcase_add_loop_test(tcase, other_configs_are_refused_and_leave_nothing, 0,
                        ARRAY_LEN(bad_configs));
    tcase_add_test(tcase, a_config_has_at_most_1024_ports);
    tcase_add_test(tcase, an_ack_comes_back_as_it_went);
    tcase_add_loop_test(tcase, an_ack_carries_the_public_address, 0, ARRAY_LEN(addresses));
    tcase_add_test(tcase, the_largest_ack_fits_a_frame);
    tcase_add_loop_test(tcase, other_acks_are_refused_and_leave_nothing, 0, ARRAY_LEN(bad_acks));
    tcase_add_test(tcase, a_drain_comes_back_as_it_went);
    tcase_add_test(tcase, a_longer_drain_is_cut_and_no_number_refused);
    tcase_add_loop_test(tcase, each_goodbye_comes_back_as_it_went, 0, GOODBYE_OTHER);
    tcase_add_test(tcase, a_goodbye_is_for_people_and_may_be_of_later_versions);
    tcase_add_test(tcase, a_long_message_is_cut_between_characters);
    tcase_add_loop_test(tcase, other_goodbyes_are_refused, 0, ARRAY_LEN(bad_goodbyes));
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
