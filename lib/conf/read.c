/* read - conf_read(): default, file, environment, --set, the files of secrets, then the checks.
 * All that is wrong is found in one go; a configuration with a fault is dropped whole. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "conf/reading.h"

static void set_defaults(struct reading *r)
{
    for (size_t i = 0; i < r->count; i++) {
        const struct conf_key *key = &r->table->keys[i];
        bool is_text =
            key->kind == CONF_STRING || key->kind == CONF_SECRET || key->kind == CONF_LISTEN;
        size_t before = r->faults->total;

        if (is_text && (!key->fallback || !*key->fallback))
            *(char **)conf_member(key, r->conf) = must_strdup("");
        else if (key->fallback)
            conf_set_text(r, (struct target){i, false}, "default", key->fallback);
        must(r->faults->total == before); /* a default that its own rule refuses is a bug */
        free(r->given[i].source);
        r->given[i].source = NULL;
    }
}

static void check_required(struct reading *r)
{
    for (size_t i = 0; i < r->count; i++) {
        const struct conf_key *key = &r->table->keys[i];
        struct given *given = &r->given[i];

        if (key->min > 0 && !given->is_faulty && conf_is_unset(key, r->conf)) {
            char *variable = conf_variable(key->path, false);
            conf_fault(r, (struct target){i, false},
                       given->source ? given->source : "configuration", "required",
                       "must be given: in the file, as %s%s", variable,
                       key->kind == CONF_SECRET ? ", or as a file" : ", or by --set");
            free(variable);
        }
    }
}

/* "/edges/0/secret" as people write it: "edges.0.secret"; the caller's. */
static char *path_of(const char *pointer)
{
    char *path = must_strdup(*pointer == '/' ? pointer + 1 : pointer);

    for (char *p = path; *p; p++)
        if (*p == '/')
            *p = '.';
    return path;
}

/* A check of the service knows the pointer but not who gave the value: both stand before its words.
 */
static void name_source(struct reading *r, size_t from, const char *source)
{
    for (size_t i = from; i < r->faults->count; i++) {
        struct json_fault *fault = &r->faults->faults[i];
        char *path = path_of(fault->pointer);
        char *named = must_printf("%s: %s%s%s", source, path, *path ? ": " : "", fault->detail);

        free(path);
        free(fault->detail);
        fault->detail = named;
    }
}

static void run_checks(struct reading *r, const char *file)
{
    size_t from;

    for (size_t i = 0; i < r->count; i++) {
        const struct conf_key *key = &r->table->keys[i];
        const struct given *given = &r->given[i];

        if (!key->check || given->is_faulty)
            continue;
        char *pointer = conf_pointer(key->path, false);
        from = r->faults->count;
        key->check(r->faults, pointer, conf_member(key, r->conf));
        name_source(r, from,
                    given->file     ? given->file_source
                    : given->source ? given->source
                                    : "default");
        free(pointer);
    }
    if (!json_check_failed(r->faults) && r->table->check) {
        from = r->faults->count;
        r->table->check(r->faults, r->conf);
        name_source(r, from, file ? file : "configuration");
    }
}

int conf_read(const struct conf_table *table, const char *file, char **environ_,
              const char *const *sets, void *conf, struct json_check *faults)
{
    struct reading r = {table, conf, faults, NULL, conf_count(table)};

    r.given = must_alloc((r.count + 1) * sizeof(*r.given));
    set_defaults(&r);
    if (file)
        conf_read_file(&r, file);
    conf_read_environment(&r, environ_);
    conf_read_sets(&r, sets);
    conf_read_secret_files(&r);
    check_required(&r);
    run_checks(&r, file);
    for (size_t i = 0; i < r.count; i++) {
        free(r.given[i].source);
        free(r.given[i].file);
        free(r.given[i].file_source);
    }
    free(r.given);
    if (!json_check_failed(faults))
        return 0;
    conf_free(table, conf);
    return -ERR_SYNTAX;
}

void conf_free(const struct conf_table *table, void *conf)
{
    for (const struct conf_key *key = table->keys; key->path; key++)
        conf_clear(key, conf);
    memset(conf, 0, table->size);
}

char *conf_cold_differences(const struct conf_table *table, const void *a, const void *b)
{
    const char **paths = must_alloc((conf_count(table) + 1) * sizeof(*paths));
    char *all = NULL;
    size_t n = 0;

    for (const struct conf_key *key = table->keys; key->path; key++)
        if (!key->is_hot && !conf_is_same(key, a, b))
            paths[n++] = key->path;
    if (n > 0)
        all = must_join(paths);
    free(paths);
    return all;
}
