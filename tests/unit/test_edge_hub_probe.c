/* One try of one address of the hub: what came of it, whatever the hub answers, and what it said
 * there.  (QUIC beside a real hub, and that a running edge is not displaced: e2e/test_check.py.) */
#include "edge/hub_probe.h"
#include "fake_hub_fixture.h"
#include "support/suite.h"

static struct hub_probe probes[4];

static void setup(void)
{
    log_init(LOG_TEXT, LOG_ERR, 2);
    memset(probes, 0, sizeof(probes));
}

static void teardown(void)
{
    conf_free(&edge_conf_table, &conf);
}

static void aim(struct hub_probe *p, uint16_t port, enum link_transport transport)
{
    *p = (struct hub_probe){.transport = transport};
    ck_assert_int_eq(addr_parse_host(&p->at, "127.0.0.1", port), 0);
}

static void run(size_t count)
{
    struct credentials *c = NULL;
    struct json_check faults;

    json_check_init(&faults);
    ck_assert_int_eq(credentials_from_conf(&c, &conf, &faults), 0);
    hub_probe_run(probes, count, &conf, c);
    for (size_t i = 0; i < count; i++) {
        ck_assert_int_eq(probes[i].state, PROBE_DONE);
        ck_assert_ptr_null(probes[i].link);
    }
    credentials_unref(c);
    json_check_fini(&faults);
}

/* Asks a hub that does so. */
static void ask(struct fake_hub as, const char *const *more)
{
    fake_hub_up(as);
    edge_conf_read(fake_hub.port, "/nonexistent", more);
    aim(&probes[0], fake_hub.port, LINK_TLS);
    run(1);
    fake_hub_down();
}

static const enum answer_code codes[] = {
#define X(name, text) ANSWER_##name,
    ANSWER_CODES(X)
#undef X
};

START_TEST(every_answer)
{
    static const char *const instance[] = {"instance=by-the-river", NULL};
    const struct hub_probe *p = &probes[0];

    ask((struct fake_hub){.code = codes[_i]}, instance);
    ck_assert_int_eq(p->error, 0);
    ck_assert_int_eq(p->answer, codes[_i]);
    ck_assert_str_eq(p->message, "as the test wants it");
    ck_assert(p->is_secure && p->has_times && p->not_before < p->not_after);
    ck_assert_str_ne(p->cipher, "");
    ck_assert_uint_ge(p->mtu, 1280);
    ck_assert_uint_eq(fake_hub.hellos, 1);
    ck_assert_uint_eq(fake_hub.right_proofs, 1);
    ck_assert_str_eq(fake_hub.hello.edge_id, EDGE_ID);
    ck_assert_str_eq(fake_hub.hello.instance, "by-the-river");
    ck_assert_int_eq(strncmp(fake_hub.hello.software, "penstock-check/", 15), 0);
    ck_assert(fake_hub.hello.has_session && fake_hub.hello.is_session_formed);
    ck_assert_ptr_null(fake_hub.hello.rest_fault);
}
END_TEST

/* Of two tries neither session is the other's, nor is it nothing: it must be one that there is not.
 */
START_TEST(a_session_that_there_is_not)
{
    uint8_t first[SESSION_BYTES], none[SESSION_BYTES] = {0};

    ask((struct fake_hub){.code = ANSWER_UNKNOWN_SESSION}, NULL);
    memcpy(first, fake_hub.hello.session, sizeof(first));
    conf_free(&edge_conf_table, &conf);
    ask((struct fake_hub){.code = ANSWER_UNKNOWN_SESSION}, NULL);
    ck_assert_mem_ne(first, fake_hub.hello.session, sizeof(first));
    ck_assert_mem_ne(first, none, sizeof(first));
}
END_TEST

static const struct {
    const char *raw, *why;
    int error;
} bad_answers[] = {
    {"", "", 0}, /* it closes: which error that is depends on who saw what first */
    {"no answer at all\n", "", -ERR_PROTO},
    {"{\"error\":7}\n", "error", -ERR_PROTO},
    {"{\"error\":\"\"}\n", "error", -ERR_PROTO},
};

START_TEST(no_answer_of_a_hub)
{
    const struct hub_probe *p = &probes[0];

    ask((struct fake_hub){.raw = bad_answers[_i].raw}, NULL);
    ck_assert_int_ne(p->error, 0);
    if (bad_answers[_i].error)
        ck_assert_int_eq(p->error, bad_answers[_i].error);
    ck_assert(p->is_secure);
    ck_assert_str_ne(p->why, "");
    ck_assert_msg(strstr(p->why, bad_answers[_i].why), "%s", p->why);
    ck_assert_uint_eq(fake_hub.hellos, 1);
}
END_TEST

/* Nothing is said to who has another key. */
START_TEST(another_hub_than_the_pin_says)
{
    static const char *const pin[] = {"pin=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", NULL};

    ask((struct fake_hub){.code = ANSWER_UNKNOWN_SESSION}, pin);
    ck_assert_int_eq(probes[0].error, -ERR_CERT);
    ck_assert(!probes[0].is_secure);
    ck_assert_str_ne(probes[0].why, "");
    ck_assert_uint_eq(fake_hub.hellos, 0);
}
END_TEST

/* All at once, each with its own end; the deserted ones do not wait for all of HUB_PROBE_MS. */
START_TEST(several)
{
    uint64_t begun_us = clock_now_us();

    fake_hub_up((struct fake_hub){.code = ANSWER_UNKNOWN_SESSION});
    edge_conf_read(fake_hub.port, "/nonexistent", NULL);
    aim(&probes[0], deserted_port(), LINK_TLS);
    aim(&probes[1], fake_hub.port, LINK_TLS);
    aim(&probes[2], deserted_port(), LINK_QUIC);
    aim(&probes[3], fake_hub.port, LINK_TLS);
    run(4);
    fake_hub_down();
    ck_assert_int_eq(probes[0].error, -ERR_CONNECT);
    ck_assert_str_eq(probes[0].why, "Connection refused");
    ck_assert_int_ne(probes[2].error, 0);
    ck_assert_str_ne(probes[2].why, "");
    for (size_t i = 0; i < 4; i++)
        ck_assert_int_eq(probes[i].is_secure, i % 2 == 1);
    ck_assert_int_eq(probes[1].answer, ANSWER_UNKNOWN_SESSION);
    ck_assert_int_eq(probes[3].answer, ANSWER_UNKNOWN_SESSION);
    ck_assert_uint_eq(fake_hub.right_proofs, 2);
    ck_assert_uint_lt(clock_now_us() - begun_us, 6000 * 1000ull);
}
END_TEST

START_TEST(none)
{
    edge_conf_read(deserted_port(), "/nonexistent", NULL);
    run(0);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("tries");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, every_answer, 0, ARRAY_LEN(codes));
    tcase_add_test(tcase, a_session_that_there_is_not);
    tcase_add_loop_test(tcase, no_answer_of_a_hub, 0, ARRAY_LEN(bad_answers));
    tcase_add_test(tcase, another_hub_than_the_pin_says);
    tcase_add_test(tcase, several);
    tcase_add_test(tcase, none);
    return suite_run("edge hub_probe", tcase);
}
