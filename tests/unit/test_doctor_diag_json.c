/* The command `diag`: what its bundle has of a service that is away, that no secret is among it,
 * and whom the file belongs to. (Of services that run, tests/e2e/test_diag.py; certificates for a
 * management API that asks for one, tests/e2e/test_api_client_cert.py.) */
#include <fcntl.h>
#include <sys/stat.h>

#include "doctor_fixture.h"

#include "base/err.h"
#include "doctor/command.h"
#include "edge/edge_conf.h"
#include "one_answer_fixture.h"
#include "support/tls_pem.h"
#include "json/json.h"

#define OWN_SECRET   "a-secret-of-the-configuration-with-43-letters"
#define INNER_SECRET "a-secret-inside-of-another-one"
#define FOUND_SECRET "a-secret-in-the-folder-of-state"
#define LOG_BYTES    (1u << 20) /* of a log that goes in */

static struct edge_conf conf;
static unsigned examined;

static void conf_up(void)
{
    static char *environment[] = {"PENSTOCK_SECRET=" OWN_SECRET, NULL};
    char state[100];
    const char *sets[] = {"management.listen=127.0.0.1:1", "hubHost=127.0.0.1", "edgeId=e1", state,
                          NULL};
    struct json_check faults;

    snprintf(state, sizeof(state), "stateDir=%s", folder);
    json_check_init(&faults);
    ck_assert_msg(conf_read(&edge_conf_table, NULL, environment, sets, &conf, &faults) == 0,
                  "%s: %s", faults.faults[0].pointer, faults.faults[0].detail);
    json_check_fini(&faults);
}

static char *write_file(const char *name, const char *text)
{
    char *path = must_printf("%s/%s", folder, name);
    FILE *file = fopen(path, "w");

    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
    return path;
}

/* Says what it must not: all of it is searched. */
static void examine(struct report *of, const void *given)
{
    ck_assert_ptr_eq(given, &conf);
    report_ok(of, "thing", "%s %s %s", OWN_SECRET, INNER_SECRET, FOUND_SECRET);
    examined++;
}

static void each_secret(const void *given, void (*on_secret)(void *arg, const char *secret),
                        void *arg)
{
    ck_assert_ptr_eq(given, &conf);
    on_secret(arg, INNER_SECRET);
}

static int diag(char **rest)
{
    return doctor_diag(&(struct doctor_diag){.table = &edge_conf_table,
                                             .conf = &conf,
                                             .service = &conf.service,
                                             .examine = examine,
                                             .each_secret = each_secret},
                       rest);
}

/* --- what is in it ------------------------------------------------------------------------------
 */

static char *bytes; /* the archive */
static size_t bytes_len;

/* The bundle of these options; its path is the caller's. */
static char *bundle(char *const *more)
{
    char *path = must_printf("%s/out.tar", folder), *rest[12] = {"--output", path};
    size_t n = 2;
    struct stat st;
    FILE *file;

    while (more && *more)
        rest[n++] = *more++;
    unlink(path); /* of a bundle before: none is written over */
    print_begin();
    ck_assert_int_eq(diag(rest), 0);
    ck_assert_int_eq(strncmp(print_end(), path, strlen(path)), 0);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    free(bytes);
    bytes_len = (size_t)st.st_size;
    bytes = must_alloc(bytes_len + 1);
    file = fopen(path, "r");
    ck_assert_uint_eq(fread(bytes, 1, bytes_len, file), bytes_len);
    fclose(file);
    return path;
}

/* A member's text, the caller's; NULL: there is none. */
static char *member(const char *name, size_t *n)
{
    for (size_t at = 0; at + 512 <= bytes_len && bytes[at];) {
        const char *own = strchr(bytes + at, '/');
        size_t size = strtoul(bytes + at + 124, NULL, 8);

        ck_assert_ptr_nonnull(own);
        if (strcmp(own + 1, name) == 0) {
            char *text = must_alloc(size + 1);

            memcpy(text, bytes + at + 512, size);
            *n = size;
            return text;
        }
        at += 512 + (size + 511) / 512 * 512;
    }
    return NULL;
}

static void expect_member(const char *name, const char *word)
{
    size_t n;
    char *text = member(name, &n);

    ck_assert_msg(text != NULL, "there is no %s", name);
    ck_assert_msg(strstr(text, word), "%s: %s", name, text);
    free(text);
}

static void expect_nowhere(const char *secret)
{
    ck_assert_msg(!memmem(bytes, bytes_len, secret, strlen(secret)), "%s is in it", secret);
}

START_TEST(a_service_that_is_away)
{
    char *path, *inner, *deep;

    conf_up();
    free(write_file("management-token", FOUND_SECRET "\n"));
    inner = must_printf("%s/edges", folder);
    deep = must_printf("%s/edges/deeper", folder);
    ck_assert_int_eq(mkdir(inner, 0700), 0);
    ck_assert_int_eq(mkdir(deep, 0700), 0);
    free(write_file("edges/one.json", "{}"));
    free(write_file("edges/deeper/not-shown", "{}"));
    ck_assert_int_eq(setenv("PENSTOCK_STRAY", "a-value-of-the-environment", 1), 0);
    path = bundle(NULL);
    ck_assert_uint_eq(examined, 1);
    expect_member("version.txt", "penstock-edge ");
    expect_member("config.json", "\"e1\"");
    expect_member("environment.txt", "PENSTOCK_STRAY\n");
    expect_member("check.txt", "ok    thing");
    expect_member("live/healthz.json", "no connection");
    expect_member("live/events.txt", "no connection");
    expect_member("system.txt", "==> /proc/version");
    expect_member("sysctl.txt", "==> /proc/sys/fs/file-nr");
    expect_member("state-dir.txt", "/management-token\n");
    expect_member("state-dir.txt", "edges/one.json\n");
    expect_nowhere("not-shown"); /* one folder deep */
    expect_nowhere("a-value-of-the-environment");
    expect_nowhere(OWN_SECRET);
    expect_nowhere(INNER_SECRET);
    expect_nowhere(FOUND_SECRET);
    expect_nowhere("log.txt"); /* none was asked for */
    free(inner);
    free(deep);
    free(path);
}
END_TEST

/* README.txt has each other member with its size. */
START_TEST(the_list)
{
    size_t n, listed = 0, members = 0;
    char *list, *line, *rest, *path;

    conf_up();
    path = bundle(NULL);
    rest = list = member("README.txt", &n);
    ck_assert_ptr_nonnull(list);
    while ((line = strsep(&rest, "\n")) != NULL) {
        char name[100];
        size_t size;

        if (sscanf(line, "%99s %zu bytes", name, &size) != 2)
            continue;
        free(member(name, &n));
        ck_assert_msg(n == size, "%s has %zu bytes, listed are %zu", name, n, size);
        listed++;
    }
    for (size_t at = 0; at + 512 <= bytes_len && bytes[at]; members++)
        at += 512 + (strtoul(bytes + at + 124, NULL, 8) + 511) / 512 * 512;
    ck_assert_uint_eq(listed + 1, members);
    ck_assert_uint_gt(listed, 10);
    free(list);
    free(path);
}
END_TEST

/* The end of a long log, without secrets, and why there is none. */
START_TEST(logs)
{
    char *text = must_alloc(LOG_BYTES + 100), *log, *path;
    size_t n;

    memset(text, 'x', LOG_BYTES + 99);
    memcpy(text, "the first line\n", 15);
    memcpy(text + LOG_BYTES - 200, "\nAuthorization: Bearer abcdefghijklmnop\n", 40);
    memcpy(text + LOG_BYTES + 99 - sizeof(OWN_SECRET), OWN_SECRET "\n", sizeof(OWN_SECRET));
    log = write_file("some.log", text);
    free(text);
    conf_up();
    path = bundle((char *[]){"--log", log, NULL});
    free(path);
    text = member("log.txt", &n);
    ck_assert_uint_eq(n, LOG_BYTES);
    ck_assert_ptr_null(strstr(text, "the first line"));
    ck_assert_int_eq(text[n - 1], '\n');
    free(text);
    expect_nowhere(OWN_SECRET);
    expect_nowhere("abcdefghijklmnop");
    free(bundle((char *[]){"--log=/nonexistent/some.log", NULL}));
    expect_member("log.txt", "/nonexistent/some.log: No such file");
    free(log);
}
END_TEST

/* --- the command --------------------------------------------------------------------------------
 */

START_TEST(options_that_are_none)
{
    struct tls_pem one, other;
    char *cert, *key, *others;

    conf_up();
    tls_pem_make(&one, &(struct tls_pem_options){.name = "one"});
    tls_pem_make(&other, &(struct tls_pem_options){.name = "other"});
    cert = tls_pem_file(one.chain);
    key = tls_pem_file(one.key);
    others = tls_pem_file(other.key);
    const struct {
        char *rest[6];
        const char *said;
    } wrong[] = {
        {{"stray"}, "not stray"},
        {{"--output"}, "not --output"},
        {{"--outputs=x"}, "not --outputs=x"},
        {{"--log"}, "not --log"},
        {{"--key", key}, "--key needs --cert FILE"},
        {{"--cert", cert}, "--cert: "}, /* which has no key in it */
        {{"--cert", cert, "--key", others}, "--cert: "},
        {{"--cert", "/nonexistent", "--key", key}, "/nonexistent"},
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        char *rest[7] = {0};
        const char *said;

        memcpy(rest, wrong[i].rest, sizeof(wrong[i].rest));
        print_begin();
        ck_assert_int_eq(diag(rest), 2);
        said = print_end();
        ck_assert_msg(strncmp(said, "diag: ", 6) == 0 && strstr(said, wrong[i].said), "%s", said);
    }
    ck_assert_uint_eq(examined, 0);
    free(bundle((char *[]){"--cert", cert, "--key", key, NULL})); /* that pair is one */
    tls_pem_fini(&one);
    tls_pem_fini(&other);
    free(cert);
    free(key);
    free(others);
}
END_TEST

/* A bundle is not written through a link that somebody laid there, and a disk that is full is told.
 */
START_TEST(files_that_cannot_be)
{
    char *target = write_file("victim", "as it was"), *link = must_printf("%s/link.tar", folder);
    char *through = must_printf("--output=%s", link), text[20] = "";
    FILE *file;

    conf_up();
    ck_assert_int_eq(symlink(target, link), 0);
    print_begin();
    ck_assert_int_eq(diag((char *[]){through, NULL}), 1);
    ck_assert_ptr_nonnull(strstr(print_end(), "link.tar cannot be written"));
    file = fopen(target, "r");
    ck_assert_ptr_nonnull(fgets(text, sizeof(text), file));
    fclose(file);
    ck_assert_str_eq(text, "as it was");
    print_begin();
    ck_assert_int_eq(diag((char *[]){"--output=/dev/full", NULL}), 1);
    ck_assert_ptr_nonnull(strstr(print_end(), "/dev/full cannot be written"));
    free(target);
    free(link);
    free(through);
}
END_TEST

static void done(void)
{
    free(bytes);
    bytes = NULL;
    conf_free(&edge_conf_table, &conf);
}

int main(void)
{
    const TTest *const tests[] = {a_service_that_is_away, the_list, logs, options_that_are_none,
                                  files_that_cannot_be};

    atexit(done);
    return run_suite("doctor diag", tests, ARRAY_LEN(tests));
}
