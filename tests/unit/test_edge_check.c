/* What `penstock-edge check` makes of what it saw: verdicts and what to do, for each answer of a
 * hub. (Beside a real hub, with QUIC: e2e/test_check.py.) */
#include "doctor_fixture.h"

#include "edge/edge_check.h"
#include "fake_hub_fixture.h"

static const char *const tls_only[] = {"transportMode=tcpTls", NULL};

static void check(void)
{
    log_init(LOG_TEXT, LOG_ERR, 2);
    edge_check(&r, &conf);
    conf_free(&edge_conf_table, &conf);
}

/* Checks beside a hub that does so. */
static void check_beside(struct fake_hub as, const char *const *more)
{
    fake_hub_up(as);
    edge_conf_read(fake_hub.port, folder, more);
    check();
    fake_hub_down();
}

static const struct {
    enum answer_code code;
    enum report_verdict verdict;
    const char *seen, *mend;
} logins[] = {
    {ANSWER_UNKNOWN_SESSION, REPORT_OK, "the hub knows edge fra-1", ""},
    {ANSWER_UNAUTHORIZED, REPORT_FAIL, "does not know edge fra-1", "new token"},
    {ANSWER_EDGE_DISABLED, REPORT_FAIL, "fra-1 is disabled", "enable it"},
    {ANSWER_OVERLOADED, REPORT_WARN, "no room: as the test", "wait"},
    {ANSWER_UNSUPPORTED_VERSION, REPORT_FAIL, "another version", "versions"},
    {ANSWER_BAD_REQUEST, REPORT_WARN, "answered bad_request: as", "hub's log"},
    {ANSWER_LANE_IN_USE, REPORT_WARN, "answered lane_in_use: as", "hub's log"},
    {ANSWER_TOO_MANY_LANES, REPORT_WARN, "answered too_many_lanes: as", "hub's log"},
};

START_TEST(every_answer)
{
    for (size_t i = 0; i < ARRAY_LEN(logins); i++) {
        const struct finding *f;

        check_beside((struct fake_hub){.code = logins[i].code}, tls_only);
        f = only(&r, "hub.login");
        ck_assert_int_eq(f->verdict, logins[i].verdict);
        ck_assert_msg(strstr(f->seen, logins[i].seen), "%s", f->seen);
        ck_assert_msg(!f->mend == !*logins[i].mend && (!f->mend || strstr(f->mend, logins[i].mend)),
                      "%s", f->mend);
        ck_assert_int_eq(only(&r, "hub.tls")->verdict, REPORT_OK);
        ck_assert_int_eq(only(&r, "hub.certificate")->verdict, REPORT_OK);
        ck_assert_ptr_null(find(&r, "hub.quic"));
        report_fini(&r);
        report_init(&r, "test");
    }
}
END_TEST

/* A login that got no answer is one finding, not two. */
START_TEST(no_answer)
{
    check_beside((struct fake_hub){.raw = ""}, tls_only);
    ck_assert_int_eq(only(&r, "hub.tls")->verdict, REPORT_OK);
    ck_assert_int_eq(only(&r, "hub.login")->verdict, REPORT_FAIL);
    ck_assert_ptr_nonnull(strstr(only(&r, "hub.login")->seen, "gave no answer"));
}
END_TEST

/* A pin asks for no date: the tunnel works with such a certificate, so it is a warning. */
START_TEST(a_certificate_that_has_ended)
{
    check_beside((struct fake_hub){.code = ANSWER_UNKNOWN_SESSION, .is_expired = true}, tls_only);
    ck_assert_int_eq(only(&r, "hub.certificate")->verdict, REPORT_WARN);
    ck_assert_ptr_nonnull(strstr(only(&r, "hub.certificate")->seen, "days ago"));
    ck_assert_int_eq(only(&r, "hub.login")->verdict, REPORT_OK);
}
END_TEST

/* One way that works is enough; what was asked for alone is not. */
START_TEST(what_is_needed)
{
    static const char *const both[] = {"transportMode=quicWithFallback", NULL};
    static const char *const quic[] = {"transportMode=quic", NULL};

    check_beside((struct fake_hub){.code = ANSWER_UNKNOWN_SESSION}, both);
    ck_assert_int_eq(only(&r, "hub.quic")->verdict, REPORT_WARN);
    ck_assert_ptr_nonnull(strstr(only(&r, "hub.quic")->mend, "UDP"));
    ck_assert_int_eq(only(&r, "hub.login")->verdict, REPORT_OK);
    report_fini(&r);
    report_init(&r, "test");
    check_beside((struct fake_hub){.code = ANSWER_UNKNOWN_SESSION}, quic);
    ck_assert_int_eq(only(&r, "hub.quic")->verdict, REPORT_FAIL);
    ck_assert_ptr_null(find(&r, "hub.tls"));
    ck_assert_ptr_null(find(&r, "hub.login")); /* nobody was asked */
    ck_assert_uint_eq(fake_hub.hellos, 0);
}
END_TEST

START_TEST(a_pin_of_another_hub)
{
    static const char *const pin[] = {"transportMode=tcpTls",
                                      "pin=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", NULL};

    check_beside((struct fake_hub){.code = ANSWER_UNKNOWN_SESSION}, pin);
    ck_assert_ptr_nonnull(strstr(only(&r, "token")->seen, "known by its pin"));
    ck_assert_int_eq(only(&r, "hub.tls")->verdict, REPORT_FAIL);
    ck_assert_ptr_nonnull(strstr(only(&r, "hub.tls")->mend, "new token"));
    ck_assert_ptr_null(find(&r, "hub.certificate"));
}
END_TEST

/* None, and one of PUT /v1/tunnel that is no more what it was: the hub is left alone. */
START_TEST(credentials)
{
    char *path = must_printf("%s/tunnel.json", folder);
    FILE *file;

    edge_conf_read(0, folder, NULL);
    check();
    ck_assert_int_eq(only(&r, "token")->verdict, REPORT_FAIL);
    ck_assert_ptr_nonnull(strstr(only(&r, "token")->seen, "there is none"));
    report_fini(&r);
    report_init(&r, "test");
    file = fopen(path, "w");
    fprintf(file,
            "{\"hubHost\":\"127.0.0.1\",\"hubPort\":8443,\"edgeId\":\"a b\",\"secret\":\"%s\"}",
            EDGE_SECRET);
    fclose(file);
    edge_conf_read(0, folder, NULL);
    check();
    ck_assert_int_eq(only(&r, "token")->verdict, REPORT_FAIL);
    ck_assert_ptr_nonnull(strstr(only(&r, "token")->seen, "/edgeId"));
    for (size_t i = 0; i < r.count; i++) {
        ck_assert_int_ne(strncmp(r.findings[i].name, "hub.", 4), 0);
        ck_assert_ptr_null(strstr(r.findings[i].seen, EDGE_SECRET));
    }
    free(path);
}
END_TEST

static void keep(void *arg, const char *secret)
{
    snprintf(arg, SECRET_MAX + 1, "%s", secret);
}

/* The token is a secret as a whole; in it stands another one. */
START_TEST(the_secret_in_a_token)
{
    struct token token = {.hub_host = "hub.test", .hub_port = 1, .edge_id = EDGE_ID};
    char *text, found[SECRET_MAX + 1] = "";

    snprintf(token.secret, sizeof(token.secret), "%s", EDGE_SECRET);
    text = token_emit(&token);
    edge_conf_read(0, folder, NULL);
    edge_each_secret(&conf, keep, found); /* none */
    ck_assert_str_eq(found, "");
    free(conf.token);
    conf.token = must_strdup("no-token");
    edge_each_secret(&conf, keep, found);
    ck_assert_str_eq(found, "");
    free(conf.token);
    conf.token = text;
    edge_each_secret(&conf, keep, found);
    ck_assert_str_eq(found, EDGE_SECRET);
    conf_free(&edge_conf_table, &conf);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        every_answer,         no_answer,   a_certificate_that_has_ended, what_is_needed,
        a_pin_of_another_hub, credentials, the_secret_in_a_token};

    return run_suite("edge check", tests, ARRAY_LEN(tests));
}
