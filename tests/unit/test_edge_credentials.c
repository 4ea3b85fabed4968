/* test_edge_credentials - edge/credentials.h: what is taken from configuration, API and state
 * directory, and what is refused with which fault. */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "edge/credentials.h"
#include "edge/edge_conf.h"
#include "json/json.h"

#define SECRET_43 "abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123456"
#define SECRET_22 "abcdefghijklmnopqrstuv"
#define PIN       "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8" /* bytes 0 to 31 */

static char dir[64];

static void dir_up(void)
{
    strcpy(dir, "/tmp/edge-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void dir_down(void)
{
    DIR *d = opendir(dir);
    struct dirent *e;

    while ((e = readdir(d)))
        if (e->d_name[0] != '.')
            ck_assert_int_eq(unlinkat(dirfd(d), e->d_name, 0), 0);
    closedir(d);
    ck_assert_int_eq(rmdir(dir), 0);
}

static char *in_dir(const char *name)
{
    static char path[128];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static void put_file(const char *name, const char *text)
{
    int fd = open(in_dir(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq((int)write(fd, text, strlen(text)), (int)strlen(text));
    close(fd);
}

/* A CA bundle of one certificate. */
static char *put_ca(void)
{
    char *chain, *key;

    ck_assert_int_eq(tls_cert_make_pem("hub.test", &chain, &key), 0);
    put_file("ca.pem", chain);
    free(chain);
    free(key);
    return in_dir("ca.pem");
}

static int from_json(struct credentials **out, const char *text, struct json_check *faults)
{
    struct json_object *body;
    struct json_syntax why;
    int err;

    *out = NULL;
    json_check_init(faults);
    ck_assert_int_eq(json_read(&body, text, strlen(text), &why), 0);
    err = credentials_from_json(out, body, faults);
    json_object_put(body);
    return err;
}

/* Refused, with one fault at each of the pointers (blank between them), in this order. */
static void refused(const char *text, const char *pointers)
{
    struct credentials *c;
    struct json_check faults;
    char found[256] = "";

    ck_assert_int_eq(from_json(&c, text, &faults), -ERR_SYNTAX);
    ck_assert_ptr_null(c);
    for (size_t i = 0; i < faults.count; i++) {
        size_t n = strlen(found);

        snprintf(found + n, sizeof(found) - n, "%s%s", i ? " " : "", faults.faults[i].pointer);
        ck_assert_ptr_null(strstr(faults.faults[i].detail, SECRET_43));
        ck_assert_ptr_null(strstr(faults.faults[i].detail, SECRET_22));
    }
    ck_assert_msg(strcmp(found, pointers) == 0, "%s: faults at %s", text, found);
    json_check_fini(&faults);
}

static struct credentials *taken(const char *text)
{
    struct credentials *c;
    struct json_check faults;

    ck_assert_msg(from_json(&c, text, &faults) == 0, "%s: %s", text,
                  faults.count ? faults.faults[0].detail : "");
    ck_assert_uint_eq(faults.total, 0);
    json_check_fini(&faults);
    ck_assert_ptr_nonnull(c->tls);
    return c;
}

/* A token of these, with a pin or without. */
static char *token_text(const char *secret, bool has_pin)
{
    struct token t = {.hub_port = 9443, .has_pin = has_pin};

    strcpy(t.hub_host, "hub.example");
    strcpy(t.edge_id, "e1");
    strcpy(t.secret, secret);
    for (unsigned i = 0; i < PIN_BYTES; i++)
        t.pin[i] = (uint8_t)i;
    return token_emit(&t);
}

static char *token_json(const char *secret, bool has_pin, const char *more)
{
    static char text[1024];
    char *token = token_text(secret, has_pin);

    snprintf(text, sizeof(text), "{\"token\":\"%s\"%s}", token, more);
    free(token);
    return text;
}

/* --- single fields
 * ------------------------------------------------------------------------------------ */

#define FIELDS "\"hubHost\":\"hub.example\",\"edgeId\":\"e1\""

START_TEST(fields_are_taken)
{
    struct credentials *c = taken("{" FIELDS ",\"hubPort\":1,\"secret\":\"" SECRET_43 "\"}");

    ck_assert_str_eq(c->token.hub_host, "hub.example");
    ck_assert_str_eq(c->token.edge_id, "e1");
    ck_assert_str_eq(c->token.secret, SECRET_43);
    ck_assert_uint_eq(c->token.hub_port, 1);
    ck_assert(!c->token.has_pin);
    ck_assert_str_eq(credentials_verified_by(c), "proof");
    credentials_unref(c);
    c = taken("{" FIELDS ",\"secret\":\"" SECRET_43 "\"}");
    ck_assert_uint_eq(c->token.hub_port, 8443);
    credentials_unref(c);
}
END_TEST

START_TEST(a_short_secret_needs_a_pin_or_a_ca)
{
    struct credentials *c;
    char text[512];

    refused("{" FIELDS ",\"secret\":\"" SECRET_22 "\"}", "/secret");
    c = taken("{" FIELDS ",\"secret\":\"" SECRET_22 "\",\"pin\":\"" PIN "\"}");
    ck_assert_str_eq(credentials_verified_by(c), "pin");
    for (unsigned i = 0; i < PIN_BYTES; i++)
        ck_assert_uint_eq(c->token.pin[i], i);
    credentials_unref(c);
    dir_up();
    snprintf(text, sizeof(text), "{" FIELDS ",\"secret\":\"%s\",\"caFile\":\"%s\"}", SECRET_22,
             put_ca());
    c = taken(text);
    ck_assert_str_eq(credentials_verified_by(c), "ca");
    credentials_unref(c);
    refused(token_json(SECRET_22, false, ""), "/token");
    dir_down();
}
END_TEST

START_TEST(every_fault_is_told)
{
    refused("[]", "");
    refused("null", "");
    refused("{}", "/hubHost /edgeId /secret");
    refused("{\"hubHost\":\"a b\",\"edgeId\":\"e/1\",\"secret\":\"short\",\"pin\":\"x\"}",
            "/hubHost /edgeId /secret /pin");
    refused("{" FIELDS ",\"secret\":1}", "/secret");
    refused("{" FIELDS ",\"secret\":\"" SECRET_43 "\",\"hubPort\":0}", "/hubPort");
    refused("{" FIELDS ",\"secret\":\"" SECRET_43 "\",\"hubPort\":65536}", "/hubPort");
    refused("{" FIELDS ",\"secret\":\"" SECRET_43 "\",\"more\":1}", "/more");
    refused("{" FIELDS ",\"secret\":\"" SECRET_43 "!\"}", "/secret");
    refused("{" FIELDS ",\"secret\":\"" SECRET_43 "\",\"pin\":\"" PIN "=\"}", "/pin");
    refused("{" FIELDS ",\"secret\":\"" SECRET_43 "\",\"caFile\":\"/nowhere/ca.pem\"}", "/caFile");
}
END_TEST

/* --- tokens
 * --------------------------------------------------------------------------------------------- */

START_TEST(a_token_is_taken)
{
    struct credentials *c = taken(token_json(SECRET_22, true, ""));

    ck_assert_str_eq(c->token.hub_host, "hub.example");
    ck_assert_uint_eq(c->token.hub_port, 9443);
    ck_assert_str_eq(credentials_verified_by(c), "pin");
    credentials_unref(c);
}
END_TEST

/* Who gives something else is told where tokens come from, and not what was given. */
START_TEST(what_is_no_token)
{
    static const char *const bad[] = {"{\"token\":\"abc\"}", "{\"token\":\"no token!\"}"};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct json_object *body = NULL;
        struct credentials *c = NULL;
        struct json_check faults;
        struct json_syntax why;

        json_check_init(&faults);
        ck_assert_int_eq(json_read(&body, bad[i], strlen(bad[i]), &why), 0);
        ck_assert_int_eq(credentials_from_json(&c, body, &faults), -ERR_SYNTAX);
        ck_assert_str_eq(faults.faults[0].pointer, "/token");
        ck_assert_ptr_nonnull(strstr(faults.faults[0].detail,
                                     "is no connection token (POST /v1/edges/{id}/token of the hub "
                                     "makes one)"));
        ck_assert_ptr_null(strstr(faults.faults[0].detail, "abc"));
        json_check_fini(&faults);
        json_object_put(body);
    }
}
END_TEST

START_TEST(nothing_that_a_token_says_stands_beside_it)
{
    refused(token_json(SECRET_43, true, ",\"hubHost\":\"a\""), "/token");
    refused(token_json(SECRET_43, true, ",\"edgeId\":\"e1\""), "/token");
    refused(token_json(SECRET_43, true, ",\"secret\":\"" SECRET_43 "\""), "/token");
    refused(token_json(SECRET_43, true, ",\"pin\":\"" PIN "\""), "/token");
    refused(token_json(SECRET_43, true, ",\"hubPort\":1"), "/hubPort");
    refused("{\"token\":\"no token\"}", "/token");
    refused("{\"token\":\"\"}", "/token");
}
END_TEST

/* --- configuration
 * -------------------------------------------------------------------------------------- */

static int from_conf(struct credentials **out, const struct edge_conf *given, size_t *faults_seen)
{
    struct edge_conf conf = *given;
    struct json_check faults;
    char **texts[] = {&conf.token,  &conf.hub_host, &conf.edge_id,
                      &conf.secret, &conf.pin,      &conf.ca_file};
    static char none[] = "";
    int err;

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (!*texts[i])
            *texts[i] = none; /* as the table of keys leaves them */
    *out = NULL;
    json_check_init(&faults);
    err = credentials_from_conf(out, &conf, &faults);
    *faults_seen = faults.total;
    json_check_fini(&faults);
    return err;
}

START_TEST(configuration_gives_all_or_nothing_or_is_at_fault)
{
    char host[] = "hub.example", id[] = "e1", secret[] = SECRET_43, *token;
    struct credentials *c;
    size_t faults;

    ck_assert_int_eq(from_conf(&c, &(struct edge_conf){.hub_port = 8443}, &faults), -ERR_NOT_FOUND);
    ck_assert_uint_eq(faults, 0);
    ck_assert_int_eq(
        from_conf(&c, &(struct edge_conf){.hub_port = 8443, .hub_host = host}, &faults),
        -ERR_SYNTAX);
    ck_assert_uint_eq(faults, 2); /* edgeId, secret */
    ck_assert_int_eq(
        from_conf(&c,
                  &(struct edge_conf){
                      .hub_port = 8443, .hub_host = host, .edge_id = id, .secret = secret},
                  &faults),
        0);
    ck_assert_uint_eq(c->token.hub_port, 8443);
    credentials_unref(c);
    token = token_text(SECRET_43, false);
    ck_assert_int_eq(from_conf(&c, &(struct edge_conf){.hub_port = 8443, .token = token}, &faults),
                     0);
    ck_assert_uint_eq(c->token.hub_port, 9443);
    credentials_unref(c);
    ck_assert_int_eq(
        from_conf(&c, &(struct edge_conf){.hub_port = 8443, .token = token, .secret = secret},
                  &faults),
        -ERR_SYNTAX);
    free(token);
}
END_TEST

/* --- the state directory
 * -------------------------------------------------------------------------------- */

static int load(struct credentials **out, size_t *faults_seen)
{
    struct json_check faults;
    int err;

    *out = NULL;
    json_check_init(&faults);
    err = credentials_load(out, dir, &faults);
    *faults_seen = faults.total;
    json_check_fini(&faults);
    return err;
}

START_TEST(what_is_saved_comes_back)
{
    struct credentials *c, *again;
    struct stat st;
    size_t faults;
    char text[512];

    dir_up();
    ck_assert_int_eq(load(&again, &faults), -ERR_NOT_FOUND);
    ck_assert_uint_eq(faults, 0);
    snprintf(text, sizeof(text),
             "{" FIELDS ",\"hubPort\":7,\"secret\":\"%s\",\"pin\":\"" PIN "\",\"caFile\":\"%s\"}",
             SECRET_43, put_ca());
    c = taken(text);
    for (unsigned i = 0; i < 2; i++) { /* the second replaces the first */
        ck_assert_int_eq(credentials_save(c, dir), 0);
        ck_assert_int_eq(stat(in_dir("tunnel.json"), &st), 0);
        ck_assert_uint_eq(st.st_mode & 0777, 0600);
        ck_assert_int_ne(stat(in_dir("tunnel.json.new"), &st), 0);
    }
    ck_assert_int_eq(load(&again, &faults), 0);
    ck_assert_mem_eq(&again->token, &c->token, sizeof(c->token));
    ck_assert_str_eq(again->ca_file, c->ca_file);
    credentials_unref(again);
    credentials_unref(c);
    ck_assert_int_eq(credentials_forget(dir), 0);
    ck_assert_int_eq(credentials_forget(dir), -ERR_NOT_FOUND);
    ck_assert_int_eq(load(&again, &faults), -ERR_NOT_FOUND);
    dir_down();
}
END_TEST

START_TEST(a_spoiled_file_is_told)
{
    struct credentials *c;
    size_t faults;

    dir_up();
    put_file("tunnel.json", "{\"hubHost\":");
    ck_assert_int_eq(load(&c, &faults), -ERR_SYNTAX);
    ck_assert_uint_eq(faults, 1);
    put_file("tunnel.json", "");
    ck_assert_int_eq(load(&c, &faults), -ERR_SYNTAX);
    put_file("tunnel.json", "{\"hubHost\":\"h\"}");
    ck_assert_int_eq(load(&c, &faults), -ERR_SYNTAX);
    ck_assert_uint_eq(faults, 2);
    dir_down();
}
END_TEST

/* Only a file that is not there is none. */
START_TEST(a_file_that_cannot_be_read_is_told)
{
    struct credentials *c;
    size_t faults;

    dir_up();
    ck_assert_int_eq(symlink("tunnel.json", in_dir("tunnel.json")), 0);
    ck_assert_int_eq(load(&c, &faults), -ERR_IO);
    ck_assert_uint_eq(faults, 1);
    unlink(in_dir("tunnel.json"));
    ck_assert_int_eq(mkfifo(in_dir("tunnel.json"), 0600), 0);
    ck_assert_int_eq(load(&c, &faults), -ERR_IO);
    dir_down();
}
END_TEST

START_TEST(what_cannot_be_removed_is_not_forgotten)
{
    dir_up();
    ck_assert_int_eq(mkdir(in_dir("tunnel.json"), 0700), 0);
    ck_assert_int_eq(credentials_forget(dir), -ERR_IO);
    ck_assert_int_eq(rmdir(in_dir("tunnel.json")), 0);
    ck_assert_int_eq(credentials_forget(dir), -ERR_NOT_FOUND);
    ck_assert_int_eq(credentials_forget("/nowhere"), -ERR_IO);
    dir_down();
}
END_TEST

/* Not even a dry run may wait for who writes into it. */
START_TEST(a_ca_file_that_is_a_fifo)
{
    struct json_check faults;
    struct credentials *c;
    char text[512];

    dir_up();
    ck_assert_int_eq(mkfifo(in_dir("ca"), 0600), 0);
    snprintf(text, sizeof(text), "{" FIELDS ",\"secret\":\"%s\",\"caFile\":\"%s\"}", SECRET_43,
             in_dir("ca"));
    ck_assert_int_eq(from_json(&c, text, &faults), -ERR_SYNTAX);
    ck_assert_str_eq(faults.faults[0].pointer, "/caFile");
    json_check_fini(&faults);
    dir_down();
}
END_TEST

START_TEST(a_state_directory_that_is_not_there_is_an_error)
{
    struct credentials *c = taken("{" FIELDS ",\"secret\":\"" SECRET_43 "\"}");

    ck_assert_int_eq(credentials_save(c, "/nowhere"), -ERR_IO);
    credentials_unref(c);
}
END_TEST

START_TEST(references_are_counted)
{
    struct credentials *c = taken("{" FIELDS ",\"secret\":\"" SECRET_43 "\"}");

    ck_assert_ptr_eq(credentials_ref(c), c);
    credentials_unref(c);
    ck_assert_str_eq(c->token.secret, SECRET_43); /* still there */
    credentials_unref(c);
    credentials_unref(NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("edge_credentials");
    TCase *c = tcase_create("credentials");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(c, 120);
    tcase_add_test(c, fields_are_taken);
    tcase_add_test(c, a_short_secret_needs_a_pin_or_a_ca);
    tcase_add_test(c, every_fault_is_told);
    tcase_add_test(c, a_token_is_taken);
    tcase_add_test(c, what_is_no_token);
    tcase_add_test(c, nothing_that_a_token_says_stands_beside_it);
    tcase_add_test(c, configuration_gives_all_or_nothing_or_is_at_fault);
    tcase_add_test(c, what_is_saved_comes_back);
    tcase_add_test(c, a_spoiled_file_is_told);
    tcase_add_test(c, a_file_that_cannot_be_read_is_told);
    tcase_add_test(c, what_cannot_be_removed_is_not_forgotten);
    tcase_add_test(c, a_ca_file_that_is_a_fifo);
    tcase_add_test(c, a_state_directory_that_is_not_there_is_an_error);
    tcase_add_test(c, references_are_counted);
    suite_add_tcase(suite, c);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
