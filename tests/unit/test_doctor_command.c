/* The command `check` around what a service looks at: its options, its forms, its status; and what
 * all services have. */
#include <fcntl.h>
#include <sys/stat.h>

#include "doctor_fixture.h"

#include "base/err.h"
#include "base/log.h"
#include "doctor/command.h"
#include "edge/edge_conf.h"
#include "one_answer_fixture.h"
#include "support/tls_pem.h"
#include "json/json.h"

#define LIVES "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
#define SICK  "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}"

static struct edge_conf conf;

static void conf_up(const char *listen, const char *const *more)
{
    static char *none[] = {NULL};
    char state[100], at[100];
    const char *sets[16] = {state, at};
    struct json_check faults;
    size_t n = 2;

    log_init(LOG_TEXT, LOG_ERR, 2);
    snprintf(state, sizeof(state), "stateDir=%s", folder);
    snprintf(at, sizeof(at), "management.listen=%s", listen);
    while (more && *more)
        sets[n++] = *more++;
    memset(&conf, 0, sizeof(conf));
    json_check_init(&faults);
    ck_assert_msg(conf_read(&edge_conf_table, NULL, none, sets, &conf, &faults) == 0, "%s: %s",
                  faults.faults[0].pointer, faults.faults[0].detail);
    json_check_fini(&faults);
}

static void conf_down(void)
{
    conf_free(&edge_conf_table, &conf);
}

/* --- the command --------------------------------------------------------------------------------
 */

static unsigned examined;

static void finds_nothing(struct report *of, const void *given)
{
    ck_assert_ptr_eq(given, &conf);
    report_ok(of, "thing", "it is there");
    examined++;
}

static void finds_a_fault(struct report *of, const void *given)
{
    (void)given;
    report_fail(of, "thing", "put it there", "it is not there");
}

START_TEST(forms_and_status)
{
    char *json[] = {"--json", NULL};
    struct json_object *top;
    const char *text;

    print_begin();
    ck_assert_int_eq(doctor_check("edge", NULL, finds_nothing, &conf), 0);
    text = print_end();
    ck_assert_ptr_nonnull(strstr(text, "ok    configuration"));
    ck_assert_ptr_nonnull(strstr(text, "ok    thing                  it is there\n"));
    print_begin();
    ck_assert_int_eq(doctor_check("edge", json, finds_a_fault, &conf), 1);
    top = json_tokener_parse(print_end());
    ck_assert_ptr_nonnull(top);
    ck_assert_str_eq(json_object_get_string(json_object_object_get(top, "service")), "edge");
    ck_assert_str_eq(json_object_get_string(json_object_object_get(top, "result")), "fail");
    json_object_put(top);
}
END_TEST

/* What is none of its options is told, and nothing is looked at. */
START_TEST(strangers)
{
    static char *const rests[][3] = {{"--jsno"}, {"--json", "more"}, {"--json=1"}, {""}};

    for (size_t i = 0; i < ARRAY_LEN(rests); i++) {
        char *rest[4] = {0};
        const char *text;

        memcpy(rest, rests[i], sizeof(rests[i]));
        print_begin();
        ck_assert_int_eq(doctor_check("edge", rest, finds_nothing, &conf), 2);
        text = print_end();
        ck_assert_int_eq(strncmp(text, "check: takes no ", 16), 0);
    }
    ck_assert_uint_eq(examined, 0);
}
END_TEST

/* A configuration at fault is findings too, in the form that was asked for. */
START_TEST(faults_of_the_configuration)
{
    char *json[] = {"--json", NULL};
    struct json_check faults;
    struct json_object *top, *list;
    const char *text;

    json_check_init(&faults);
    json_fault(&faults, "/workers", "type", "edge.json: workers: must be a number");
    json_fault(&faults, "/wrokers", "unknown", "edge.json: wrokers: no such key");
    print_begin();
    doctor_tell_faults(&edge_conf_table, &faults, NULL);
    text = print_end();
    ck_assert_ptr_nonnull(strstr(text, "fail  configuration"));
    ck_assert_ptr_nonnull(strstr(text, "wrokers: no such key"));
    print_begin();
    doctor_tell_faults(&edge_conf_table, &faults, json);
    top = json_tokener_parse(print_end());
    ck_assert_ptr_nonnull(top);
    list = json_object_object_get(top, "findings");
    ck_assert_uint_eq(json_object_array_length(list), 2);
    json_object_put(top);
    json_check_fini(&faults);
}
END_TEST

/* --- what all services have
 * ------------------------------------------------------------------------ */

static void check_service(void)
{
    struct running running;

    running_ask(&running, &conf.service);
    doctor_check_service(&r, &conf.service, &running);
    running_fini(&running);
}

/* A port that is taken is well where the service says that it has it, a fault where no service is
 * there, and to be looked at where one is that does not tell. */
START_TEST(whose_port_it_is)
{
    two_answers_up(LIVES, NULL);
    conf_up(one_answer.listen, NULL);
    check_service(); /* there is no token to ask with */
    one_answer_down();
    conf_down();
    ck_assert_int_eq(only(&r, "management.listen")->verdict, REPORT_WARN);
    ck_assert_int_eq(only(&r, "service")->verdict, REPORT_WARN);
    ck_assert_ptr_nonnull(strstr(only(&r, "service")->seen, "read token"));
    ck_assert_ptr_null(find(&r, "metrics.listen"));
    report_fini(&r);
    report_init(&r, "test");
    one_answer_up(SICK);
    const char *const metrics[] = {"metrics.listen=127.0.0.1:0", NULL};
    conf_up(one_answer.listen, metrics);
    check_service();
    one_answer_down();
    conf_down();
    ck_assert_ptr_null(find(&r, "service"));
    ck_assert_int_eq(only(&r, "management.listen")->verdict, REPORT_FAIL);
    ck_assert_int_eq(only(&r, "metrics.listen")->verdict, REPORT_OK);
}
END_TEST

/* Where a token comes from: the key says it, or a file of that name, or the one in stateDir. */
START_TEST(tokens)
{
    char *path = must_printf("%s/own", folder), *key = must_printf("management.tokenFile=%s", path);
    const char *const named[] = {key, NULL};
    int fd = open(path, O_WRONLY | O_CREAT, 0644);

    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert_int_eq(chmod(path, 0644), 0);
    conf_up("127.0.0.1:0", named);
    check_service();
    ck_assert_int_eq(only(&r, "management.token")->verdict, REPORT_WARN); /* others may read it */
    ck_assert_ptr_nonnull(strstr(only(&r, "management.token")->seen, path));
    ck_assert_int_eq(only(&r, "management.readToken")->verdict, REPORT_OK);
    ck_assert_ptr_nonnull(strstr(only(&r, "management.readToken")->seen, "management-read-token"));
    report_fini(&r);
    report_init(&r, "test");
    free(conf.service.management_token);
    conf.service.management_token = must_strdup("a-token-of-the-environment-1");
    check_service();
    ck_assert_ptr_null(find(&r, "management.token")); /* the file is not looked at */
    conf_down();
    free(key);
    free(path);
}
END_TEST

/* What the management API shows: looked at where there is one. */
START_TEST(certificate_of_the_management_api)
{
    struct tls_pem good, ended;
    char *sets[3] = {NULL};

    tls_pem_make(&good, &(struct tls_pem_options){.name = "a.test"});
    tls_pem_make(&ended, &(struct tls_pem_options){.name = "a.test", .is_expired = true});
    conf_up("127.0.0.1:0", NULL);
    check_service();
    ck_assert_ptr_null(find(&r, "management.certificate"));
    conf_down();
    for (unsigned i = 0; i < 3; i++) { /* good, ended, of another key */
        char *chain = tls_pem_file(i == 1 ? ended.chain : good.chain);
        char *key = tls_pem_file(i == 0 ? good.key : ended.key);

        sets[0] = must_printf("management.certFile=%s", chain);
        sets[1] = must_printf("management.keyFile=%s", key);
        report_fini(&r);
        report_init(&r, "test");
        conf_up("127.0.0.1:0", (const char *const *)sets);
        check_service();
        ck_assert_int_eq(only(&r, "management.certificate")->verdict,
                         i == 0 ? REPORT_WARN : REPORT_FAIL); /* it is good for days only */
        conf_down();
        free(sets[0]);
        free(sets[1]);
        free(chain);
        free(key);
    }
    ck_assert_ptr_nonnull(strstr(only(&r, "management.certificate")->mend, "management.certFile"));
    tls_pem_fini(&good);
    tls_pem_fini(&ended);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {forms_and_status, strangers, faults_of_the_configuration,
                                  whose_port_it_is, tokens,    certificate_of_the_management_api};

    return run_suite("doctor command", tests, ARRAY_LEN(tests));
}
