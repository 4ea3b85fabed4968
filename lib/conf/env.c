/* env - values from the environment (PENSTOCK_*) and from --set key=value. */
#include <stdlib.h>
#include <string.h>

#include "conf/reading.h"

#define PREFIX      "PENSTOCK_"
#define UNKNOWN_MAX 10 /* variables that one warning names */

/* The target of a variable's name (n bytes). */
static bool find_variable(const struct conf_table *table, const char *name, size_t n,
                          struct target *out)
{
    for (size_t i = 0; table->keys[i].path; i++)
        for (int is_file = 0; is_file <= 1; is_file++) {
            if (is_file && !conf_has_companion(table, &table->keys[i]))
                continue;
            char *variable = conf_variable(table->keys[i].path, is_file);
            bool is_it = strlen(variable) == n && memcmp(variable, name, n) == 0;
            free(variable);
            if (is_it) {
                *out = (struct target){i, is_file};
                return true;
            }
        }
    return false;
}

void conf_read_environment(struct reading *r, char **environ_)
{
    for (; environ_ && *environ_; environ_++) {
        const char *equals = strchr(*environ_, '=');
        struct target at;

        if (strncmp(*environ_, PREFIX, strlen(PREFIX)) != 0 || !equals)
            continue;
        size_t n = (size_t)(equals - *environ_);
        if (!find_variable(r->table, *environ_, n, &at))
            continue;
        char *name = strndup(*environ_, n);
        must(name != NULL);
        conf_set_text(r, at, name, equals + 1);
        free(name);
    }
}

char *conf_unknown_variables(const struct conf_table *table, char **environ_)
{
    char *all = NULL;
    size_t count = 0;

    for (; environ_ && *environ_; environ_++) {
        const char *equals = strchr(*environ_, '=');
        struct target at;

        if (strncmp(*environ_, PREFIX, strlen(PREFIX)) != 0 || !equals)
            continue;
        size_t n = (size_t)(equals - *environ_);
        if (find_variable(table, *environ_, n, &at))
            continue;
        if (count++ >= UNKNOWN_MAX)
            continue;
        char *longer = must_printf("%s%s%.*s", all ? all : "", all ? ", " : "", (int)n, *environ_);
        free(all);
        all = longer;
    }
    if (count > UNKNOWN_MAX) {
        char *longer = must_printf("%s and %zu more", all, count - UNKNOWN_MAX);
        free(all);
        all = longer;
    }
    return all;
}

static bool holds_secret(struct json_object *value)
{
    if (json_object_is_type(value, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(value); i++)
            if (holds_secret(json_object_array_get_idx(value, i)))
                return true;
    } else if (json_object_is_type(value, json_type_object)) {
        json_object_object_foreach(value, name, member)
        {
            if (strcmp(name, CONF_SECRET_MEMBER) == 0 || holds_secret(member))
                return true;
        }
    }
    return false;
}

/* What is no JSON is refused later, with a reason. */
static bool is_secret(const struct conf_key *key, const char *text)
{
    struct json_object *value = NULL;
    struct json_syntax why;
    bool is_it;

    if (key->kind != CONF_JSON)
        return key->kind == CONF_SECRET;
    if (json_read(&value, text, strlen(text), &why) != 0)
        return false;
    is_it = holds_secret(value);
    json_object_put(value);
    return is_it;
}

static void set_one(struct reading *r, struct target at, const char *source, const char *path,
                    const char *text)
{
    const struct conf_key *key = &r->table->keys[at.index];

    if (at.is_file || !is_secret(key, text))
        conf_set_text(r, at, source, text);
    else if (key->kind == CONF_JSON)
        conf_fault(r, at, source, "invalid",
                   "a secret is not set on the command line, which others can read: this holds a "
                   "member \"" CONF_SECRET_MEMBER "\"; use the file or the environment");
    else
        conf_fault(r, at, source, "invalid",
                   "a secret is not set on the command line, which others can read; use %sFile, "
                   "the file or the environment",
                   path);
}

void conf_read_sets(struct reading *r, const char *const *sets)
{
    static const char source[] = "--set";

    for (; sets && *sets; sets++) {
        const char *equals = strchr(*sets, '=');
        struct target at;
        size_t n = equals ? (size_t)(equals - *sets) : strlen(*sets);
        char *path = strndup(*sets, n);

        must(path != NULL);
        if (!equals) {
            json_fault(r->faults, "", "syntax", "%s: must be key=value, as in log.level=debug",
                       source);
        } else if (!conf_find(r->table, path, &at)) {
            char *pointer = conf_pointer(path, false);
            json_fault(r->faults, pointer, "unknown", "%s: %s: no such key (--help lists them)",
                       source, path);
            free(pointer);
        } else {
            set_one(r, at, source, path, equals + 1);
        }
        free(path);
    }
}
