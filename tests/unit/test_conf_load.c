/* The command line of a service, and what conf prints: run in a child, output caught. */
#include <fcntl.h>
#include <sys/wait.h>

#include "conf_fixture.h"

static const struct conf_command commands[] = {
    {.name = "healthcheck",
     .doc = "Asks a running service whether it is well.",
     .options = (const struct conf_option[]){{"--ready", NULL, "ask /readyz"}, {NULL, NULL, NULL}}},
    {.name = "token",
     .doc = "Reads or writes \"tokens\".",
     .synopsis = "encode|decode [FILE]",
     .options = (const struct conf_option[]){{"--out", "FILE", "it's written there"},
                                             {"--form", "long|short", "of it: [one]"},
                                             {NULL, NULL, NULL}}},
    {.name = NULL},
};

static const struct conf_command *commands_now = commands;

struct result {
    enum conf_verdict verdict;
    char out[16384], err[16384];
    char command[64], rest[256];
    int64_t lanes;
    bool supervise;
};

static void catch (int fd, FILE **file)
{
    *file = tmpfile();
    ck_assert_ptr_nonnull(*file);
    ck_assert_int_ge(dup2(fileno(*file), fd), 0);
}

static void gather(FILE *file, char *out, size_t size)
{
    rewind(file);
    out[fread(out, 1, size - 1, file)] = '\0';
    fclose(file);
}

/* Standard output and error are the test's own files meanwhile. */
static void load(struct result *result, char **env, int argc, const char *const *args)
{
    char *argv[16], **rest = NULL;
    const char *command = NULL;
    struct sample s = {0};
    int saved_out = dup(1), saved_err = dup(2);
    FILE *out, *err;

    memset(result, 0, sizeof(*result));
    for (int i = 0; i < argc; i++)
        argv[i] = (char *)(uintptr_t)args[i];
    argv[argc] = NULL;
    fflush(NULL);
    catch (1, &out);
    catch (2, &err);
    result->verdict = conf_load(&sample_table, commands_now, argc, argv, env, &s, &command, &rest);
    fflush(NULL);
    dup2(saved_out, 1);
    dup2(saved_err, 2);
    close(saved_out);
    close(saved_err);
    gather(out, result->out, sizeof(result->out));
    gather(err, result->err, sizeof(result->err));
    snprintf(result->command, sizeof(result->command), "%s", command ? command : "");
    for (; rest && *rest; rest++) {
        size_t n = strlen(result->rest);
        snprintf(result->rest + n, sizeof(result->rest) - n, "[%s]", *rest);
    }
    result->lanes = s.lanes;
    result->supervise = s.supervise;
    conf_free(&sample_table, &s);
}

#define LOAD(result, env, ...)                                                                     \
    load(result, env, (int)ARRAY_LEN(((const char *[]){"prog", ##__VA_ARGS__})),                   \
         (const char *[]){"prog", ##__VA_ARGS__})

START_TEST(runs_without_options)
{
    struct result r;

    LOAD(&r, NULL);
    ck_assert_int_eq(r.verdict, CONF_RUN);
    ck_assert_str_eq(r.out, "");
    ck_assert_str_eq(r.err, "");
    ck_assert_int_eq(r.lanes, 16);
    ck_assert(r.supervise);
    LOAD(&r, NULL, "--no-supervise", "--set", "tunnel.lanes=3");
    ck_assert_int_eq(r.verdict, CONF_RUN);
    ck_assert(!r.supervise);
    ck_assert_int_eq(r.lanes, 3);
}
END_TEST

START_TEST(commands_and_their_arguments)
{
    struct result r;

    LOAD(&r, NULL, "--set=tunnel.lanes=4", "healthcheck", "--ready");
    ck_assert_int_eq(r.verdict, CONF_RUN);
    ck_assert_str_eq(r.command, "healthcheck");
    ck_assert_str_eq(r.rest, "[--ready]");
    ck_assert_int_eq(r.lanes, 4);
    LOAD(&r, NULL, "token", "decode", "--set", "tunnel.lanes=5", "abc", "--", "--set");
    ck_assert_str_eq(r.command, "token");
    ck_assert_str_eq(r.rest, "[decode][abc][--set]");
    ck_assert_int_eq(r.lanes, 5);
    LOAD(&r, NULL, "healthcheck");
    ck_assert_str_eq(r.rest, "");
    LOAD(&r, NULL, "token", "--form=long", "--", "--bare");
    ck_assert_str_eq(r.rest, "[--form=long][--bare]");
    LOAD(&r, NULL, "healthcheck", "--form");
    ck_assert_int_eq(r.verdict, CONF_BAD);
    ck_assert_str_eq(r.err, "penstock-sample: healthcheck: --form: no such option (healthcheck "
                            "--help lists them)\n");
    LOAD(&r, NULL, "token", "--help");
    ck_assert_int_eq(r.verdict, CONF_DONE);
    ck_assert_ptr_nonnull(strstr(r.out, "Usage: penstock-sample token [options] encode|decode"));
    ck_assert_ptr_nonnull(strstr(r.out, "  --out FILE "));
    ck_assert_ptr_nonnull(strstr(r.out, "  --set KEY=VALUE "));
}
END_TEST

START_TEST(wrong_lines)
{
    struct result r;

    LOAD(&r, NULL, "--nope");
    ck_assert_int_eq(r.verdict, CONF_BAD);
    ck_assert_str_eq(r.err, "penstock-sample: --nope: no such option (--help lists them)\n");
    LOAD(&r, NULL, "restart");
    ck_assert_int_eq(r.verdict, CONF_BAD);
    ck_assert_str_eq(r.err, "penstock-sample: restart: no such command (--help lists them)\n");
    LOAD(&r, NULL, "--config");
    ck_assert_str_eq(r.err, "penstock-sample: --config needs a value\n");
    LOAD(&r, NULL, "--set");
    ck_assert_str_eq(r.err, "penstock-sample: --set needs a value\n");
    LOAD(&r, NULL, "--config=/a", "--config=/b");
    ck_assert_str_eq(r.err, "penstock-sample: --config stands twice\n");
    LOAD(&r, NULL, "--set", "name=x", "--set", "isOn=7");
    ck_assert_int_eq(r.verdict, CONF_BAD);
    ck_assert_str_eq(r.err, "penstock-sample: --set: name: must have 2 to 10 bytes, not 1\n"
                            "penstock-sample: --set: isOn: must be true or false, not \"7\"\n");
    ck_assert_str_eq(r.out, "");
}
END_TEST

START_TEST(check_says_nothing_when_right)
{
    struct result r;

    LOAD(&r, NULL, "--check");
    ck_assert_int_eq(r.verdict, CONF_DONE);
    ck_assert_str_eq(r.out, "");
    LOAD(&r, NULL, "--check", "--set", "tunnel.lanes=0");
    ck_assert_int_eq(r.verdict, CONF_BAD);
}
END_TEST

START_TEST(print_config_masks_secrets)
{
    struct result r;
    char *env[] = {"PENSTOCK_MANAGEMENT__TOKEN=hunter2hunter2", NULL};
    struct json_object *shown = NULL, *group, *value;
    struct json_syntax why;

    LOAD(&r, env, "--print-config");
    ck_assert_int_eq(r.verdict, CONF_DONE);
    ck_assert_ptr_null(strstr(r.out, "hunter2"));
    ck_assert_int_eq(json_read(&shown, r.out, strlen(r.out), &why), 0);
    ck_assert(json_object_object_get_ex(shown, "management", &group));
    ck_assert(json_object_object_get_ex(group, "token", &value));
    ck_assert_str_eq(json_object_get_string(value), "***");
    ck_assert(json_object_object_get_ex(shown, "tunnel", &group));
    ck_assert(json_object_object_get_ex(group, "memoryBudget", &value));
    ck_assert_int_eq(json_object_get_int64(value), 209715200);
    ck_assert(json_object_object_get_ex(shown, "log", &group));
    ck_assert(json_object_object_get_ex(group, "level", &value));
    ck_assert_str_eq(json_object_get_string(value), "info");
    json_object_put(shown);
}
END_TEST

START_TEST(help_lists_every_key)
{
    struct result r;

    LOAD(&r, NULL, "--help", "--set", "tunnel.lanes=0"); /* help is given to whoever errs */
    ck_assert_int_eq(r.verdict, CONF_DONE);
    for (const struct conf_key *key = sample_keys; key->path; key++)
        ck_assert_msg(strstr(r.out, key->path) != NULL, "%s is missing", key->path);
    ck_assert_ptr_nonnull(strstr(r.out, "\ntunnel\n"));
    ck_assert_ptr_nonnull(strstr(r.out, "\ngeneral\n"));
    ck_assert_ptr_nonnull(strstr(r.out, "  tunnel.lanes  (PENSTOCK_TUNNEL__LANES)\n      Lanes of "
                                        "one edge. 1 to 64. Default: 16 lanes.\n"));
    ck_assert_ptr_nonnull(strstr(r.out, "management.tokenFile  (PENSTOCK_MANAGEMENT__TOKEN_FILE)"));
    ck_assert_ptr_nonnull(strstr(r.out, "  healthcheck        Asks a running"));
}
END_TEST

static void tell_in_its_own_way(const struct conf_table *table, const struct json_check *faults,
                                char **rest)
{
    printf("%s %s %s %s", table->service, faults->faults[0].pointer, faults->faults[0].code, *rest);
}

START_TEST(a_command_tells_faults_in_its_own_way)
{
    struct result r;
    const struct conf_command own[] = {{.name = "check", .on_faults = tell_in_its_own_way},
                                       {.name = NULL}};

    commands_now = own;
    LOAD(&r, NULL, "check", "--set=tunnel.lanes=0", "x");
    ck_assert_int_eq(r.verdict, CONF_BAD);
    ck_assert_str_eq(r.out, "sample /tunnel/lanes range x");
    ck_assert_str_eq(r.err, "");
}
END_TEST

START_TEST(prints_only_what_it_knows)
{
    struct result r;

    LOAD(&r, NULL, "--print-completion", "tcsh");
    ck_assert_int_eq(r.verdict, CONF_BAD);
    ck_assert_str_eq(r.err, "penstock-sample: --print-completion: must be one of bash|zsh|fish\n");
    LOAD(&r, NULL, "--print-man=11");
    ck_assert_int_eq(r.verdict, CONF_BAD);
    LOAD(&r, NULL, "--print-man");
    ck_assert_str_eq(r.err, "penstock-sample: --print-man needs a value\n");
    LOAD(&r, NULL, "--print-man=5", "--print-man", "1");
    ck_assert_int_eq(r.verdict, CONF_DONE);
    ck_assert_ptr_nonnull(strstr(r.out, ".TH \"PENSTOCK\\-SAMPLE\" 5 "));
}
END_TEST

START_TEST(version_and_keys)
{
    struct result r;

    LOAD(&r, NULL, "--version");
    ck_assert_int_eq(r.verdict, CONF_DONE);
    ck_assert_str_eq(r.out, "penstock-sample " PENSTOCK_VERSION "\n");
    LOAD(&r, NULL, "--print-keys");
    ck_assert_int_eq(r.verdict, CONF_DONE);
    ck_assert_ptr_nonnull(strstr(r.out, "| name | default | unit | counter | what it is |\n"
                                        "|---|---|---|---|---|\n"));
    ck_assert_ptr_nonnull(strstr(r.out, "\n| `tunnel.lanes` | `16` | lanes | "
                                        "`penstock_lanes_refused_total` | Lanes of one edge. "
                                        "1 to 64. |\n"));
    ck_assert_ptr_nonnull(strstr(r.out, "Memory \\| all of it."));
}
END_TEST

START_TEST(unknown_variables_warn_once)
{
    struct result r;
    char *env[] = {"PENSTOCK_TUNEL__LISTEN=secret", "PENSTOCK_HTTPS__LISTEN=x", "OTHER=1", NULL};

    LOAD(&r, env);
    ck_assert_int_eq(r.verdict, CONF_RUN);
    ck_assert_ptr_nonnull(strstr(r.err, "unknown_variables"));
    ck_assert_ptr_nonnull(strstr(r.err, "PENSTOCK_TUNEL__LISTEN, PENSTOCK_HTTPS__LISTEN"));
    ck_assert_ptr_null(strstr(r.err, "OTHER"));
    ck_assert_ptr_null(strstr(r.err, "secret")); /* values may be secrets */
}
END_TEST

START_TEST(a_check_refuses_unknown_variables)
{
    struct result r;
    char *env[] = {"PENSTOCK_TUNEL__LISTEN=secret", "PENSTOCK_WHATEVER_ELSE=x", NULL};

    LOAD(&r, env, "--check");
    ck_assert_int_eq(r.verdict, CONF_BAD);
    ck_assert_ptr_nonnull(strstr(r.err, "PENSTOCK_TUNEL__LISTEN: no such key; the nearest is "
                                        "PENSTOCK_TUNNEL__LISTEN (--help lists them)\n"));
    ck_assert_ptr_nonnull(
        strstr(r.err, "PENSTOCK_WHATEVER_ELSE: no such key (--help lists them)\n"));
    ck_assert_ptr_null(strstr(r.err, "secret"));
}
END_TEST

/* Of services that are called penstock-something: nobody has written them. */
START_TEST(variables_of_services_and_links)
{
    struct result r;
    char *env[] = {"PENSTOCK_HUB_SERVICE_HOST=10.0.0.1",
                   "PENSTOCK_HUB_SERVICE_PORT=8443",
                   "PENSTOCK_HUB_SERVICE_PORT_TUNNEL=8443",
                   "PENSTOCK_HUB_PORT=tcp://10.0.0.1:8443",
                   "PENSTOCK_HUB_PORT_8443_TCP=tcp://10.0.0.1:8443",
                   "PENSTOCK_HUB_PORT_8443_TCP_PROTO=tcp",
                   "PENSTOCK_HUB_PORT_8443_UDP_PORT=8443",
                   "PENSTOCK_HUB_PORT_8443_SCTP_ADDR=10.0.0.1",
                   "PENSTOCK_PORT=udp://10.0.0.1:53",
                   "PENSTOCK_HUB_NAME=/edge/penstock_hub",
                   "PENSTOCK_HUB_ENV_PATH=/bin",
                   "PENSTOCK_TUNNEL__LANES=tcp://10.0.0.1:1", /* but this is a value */
                   NULL};

    LOAD(&r, env, "--check");
    ck_assert_int_eq(r.verdict, CONF_BAD);
    ck_assert_ptr_nonnull(strstr(r.err, "PENSTOCK_TUNNEL__LANES: tunnel.lanes: must be"));
    ck_assert_ptr_eq(strchr(r.err, '\n') + 1, r.err + strlen(r.err)); /* and no other line */
    env[ARRAY_LEN(env) - 2] = NULL;
    LOAD(&r, env, "--check");
    ck_assert_int_eq(r.verdict, CONF_DONE);
    ck_assert_str_eq(r.err, "");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        runs_without_options,
        commands_and_their_arguments,
        a_command_tells_faults_in_its_own_way,
        prints_only_what_it_knows,
        wrong_lines,
        check_says_nothing_when_right,
        print_config_masks_secrets,
        help_lists_every_key,
        version_and_keys,
        unknown_variables_warn_once,
        a_check_refuses_unknown_variables,
        variables_of_services_and_links,
    };

    return run_suite("conf_load", tests, ARRAY_LEN(tests));
}
