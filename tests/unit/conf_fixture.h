/* conf_fixture - a small service's table of keys, one of each kind, and files to read it from. */
#ifndef TESTS_UNIT_CONF_FIXTURE_H
#define TESTS_UNIT_CONF_FIXTURE_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "conf/conf.h"
#include "json/json.h"

struct sample {
    char *listen, *name, *token, *also_listen;
    bool is_on, supervise;
    int64_t lanes, budget;
    int level;
    struct json_object *ports, *edges, *any;
};

static const char *const levels[] = {"debug", "info", "warn", NULL};

static inline void check_edges(struct json_check *faults, const char *pointer, const void *member)
{
    struct json_object *list = *(struct json_object *const *)member;

    for (size_t i = 0; i < json_object_array_length(list); i++)
        if (!json_object_is_type(json_object_array_get_idx(list, i), json_type_string)) {
            char at[24];
            snprintf(at, sizeof(at), "%zu", i);
            json_fault_at(faults, pointer, at, "type", "must be a string");
        }
}

static inline void check_whole(struct json_check *faults, const void *conf)
{
    const struct sample *s = conf;

    if (s->is_on && s->lanes == 13)
        json_fault(faults, "/tunnel/lanes", "invalid", "13 lanes cannot be on");
}

#define AT(m) offsetof(struct sample, m)
static const struct conf_key sample_keys[] = {
    {.path = "tunnel.listen",
     .kind = CONF_LISTEN,
     .offset = AT(listen),
     .min = 1,
     .fallback = "[::]:8443",
     .doc = "Where edges dial in."},
    {.path = "tunnel.lanes",
     .kind = CONF_INT,
     .offset = AT(lanes),
     .min = 1,
     .max = 64,
     .fallback = "16",
     .unit = "lanes",
     .counter = "penstock_lanes_refused_total",
     .doc = "Lanes of one edge.",
     .is_hot = true},
    {.path = "tunnel.memoryBudget",
     .kind = CONF_INT,
     .offset = AT(budget),
     .min = 0,
     .max = INT64_MAX,
     .fallback = "209715200",
     .unit = "bytes",
     .doc = "Memory | all of it."},
    {.path = "log.level",
     .kind = CONF_ENUM,
     .offset = AT(level),
     .fallback = "info",
     .choices = levels,
     .doc = "What is logged.",
     .is_hot = true},
    {.path = "management.token",
     .kind = CONF_SECRET,
     .offset = AT(token),
     .min = 8,
     .max = 100,
     .fallback = "a-default-token",
     .doc = "May change things."},
    {.path = "metrics.listen",
     .kind = CONF_LISTEN,
     .offset = AT(also_listen),
     .doc = "An open port for metrics."},
    {.path = "target.ports",
     .kind = CONF_JSON,
     .offset = AT(ports),
     .fallback = "{\"80\":7999}",
     .doc = "Where ports lead."},
    {.path = "edges",
     .kind = CONF_JSON,
     .offset = AT(edges),
     .fallback = "[]",
     .example = "[\"a\"]",
     .doc = "Edges.",
     .check = check_edges,
     .is_hot = true},
    {.path = "anything", .kind = CONF_JSON, .offset = AT(any), .doc = "A list or a map."},
    {.path = "name",
     .kind = CONF_STRING,
     .offset = AT(name),
     .min = 2,
     .max = 10,
     .fallback = "penstock",
     .doc = "A name."},
    {.path = "isOn",
     .kind = CONF_BOOL,
     .offset = AT(is_on),
     .fallback = "false",
     .doc = "On or off."},
    {.path = "supervise",
     .kind = CONF_BOOL,
     .offset = AT(supervise),
     .fallback = "true",
     .doc = "What --no-supervise turns off."},
    {.path = NULL},
};

static const struct conf_table sample_table = {
    .service = "sample",
    .summary = "a service for tests",
    .keys = sample_keys,
    .size = sizeof(struct sample),
    .check = check_whole,
};
#undef AT

/* A file with `text`; the path is the caller's (unlink, free). */
static inline char *file_with(const char *text, size_t n)
{
    char *path = must_strdup("/tmp/penstock-conf-XXXXXX");
    int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq((int)write(fd, text, n), (int)n);
    close(fd);
    return path;
}

static inline void drop_file(char *path)
{
    unlink(path);
    free(path);
}

/* Reads and expects a fault whose pointer is `pointer` and whose detail holds `part`. */
static inline void expect_fault(const char *json, char **env, const char *const *sets,
                                const char *pointer, const char *part)
{
    struct sample s = {0};
    struct json_check faults;
    char *file = json ? file_with(json, strlen(json)) : NULL;
    bool is_found = false;

    json_check_init(&faults);
    ck_assert_int_eq(conf_read(&sample_table, file, env, sets, &s, &faults), -ERR_SYNTAX);
    for (size_t i = 0; i < faults.count; i++)
        is_found = is_found || (strcmp(faults.faults[i].pointer, pointer) == 0 &&
                                strstr(faults.faults[i].detail, part));
    for (size_t i = 0; i < faults.count && !is_found; i++)
        fprintf(stderr, "fault: %s: %s\n", faults.faults[i].pointer, faults.faults[i].detail);
    ck_assert_msg(is_found, "no fault at %s with: %s", pointer, part);
    ck_assert_ptr_null(s.listen); /* dropped whole */
    json_check_fini(&faults);
    if (file)
        drop_file(file);
}

/* Reads and expects no fault. */
static inline void expect_good(struct sample *s, const char *json, char **env,
                               const char *const *sets)
{
    struct json_check faults;
    char *file = json ? file_with(json, strlen(json)) : NULL;

    memset(s, 0, sizeof(*s));
    json_check_init(&faults);
    int got = conf_read(&sample_table, file, env, sets, s, &faults);
    for (size_t i = 0; i < faults.count; i++)
        fprintf(stderr, "fault: %s: %s\n", faults.faults[i].pointer, faults.faults[i].detail);
    ck_assert_int_eq(got, 0);
    json_check_fini(&faults);
    if (file)
        drop_file(file);
}

static inline int run_suite(const char *name, const TTest *const *tests, size_t n)
{
    Suite *suite = suite_create(name);
    TCase *all = tcase_create(name);
    SRunner *runner;
    int failed;

    for (size_t i = 0; i < n; i++)
        tcase_add_test(all, tests[i]);
    tcase_set_timeout(all, 60);
    suite_add_tcase(suite, all);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
