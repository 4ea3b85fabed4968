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

static bool ends_with(const char *name, size_t n, const char *end)
{
    size_t m = strlen(end);

    return n >= m && memcmp(name + n - m, end, m) == 0;
}

static bool is_address(const char *value)
{
    return strncmp(value, "tcp://", 6) == 0 || strncmp(value, "udp://", 6) == 0 ||
           strncmp(value, "sctp://", 7) == 0;
}

/* "..._PORT_8443_TCP", and behind it nothing, _PROTO, _PORT or _ADDR. */
static bool has_linked_port(const char *name, size_t n)
{
    static const char *const protocols[] = {"_TCP", "_UDP", "_SCTP"};

    for (const char *p = name; (p = strstr(p, "_PORT_")) && p < name + n;) {
        p += strlen("_PORT_");
        size_t digits = strspn(p, "0123456789");

        for (size_t i = 0; digits && i < ARRAY_LEN(protocols); i++)
            if (strncmp(p + digits, protocols[i], strlen(protocols[i])) == 0)
                return true;
    }
    return false;
}

/* What Kubernetes makes for a Service and Docker for a link that is called penstock-something:
 * PENSTOCK_HUB_SERVICE_HOST, PENSTOCK_HUB_PORT=tcp://..., PENSTOCK_HUB_PORT_8443_TCP_ADDR,
 * PENSTOCK_HUB_NAME=/a/b, PENSTOCK_HUB_ENV_X.  The second is the edge's hubPort by chance. */
static bool is_link(const char *name, size_t n, const char *value)
{
    const char *port = strstr(name, "_SERVICE_PORT_"), *env = strstr(name, "_ENV_");

    return ends_with(name, n, "_SERVICE_HOST") || ends_with(name, n, "_SERVICE_PORT") ||
           (port && port < name + n) || (env && env < name + n) || has_linked_port(name, n) ||
           (ends_with(name, n, "_PORT") && is_address(value)) ||
           (ends_with(name, n, "_NAME") && *value == '/');
}

/* The length of a variable's name that may be for us; 0: it is not. */
static size_t name_len(const char *variable)
{
    const char *equals = strchr(variable, '=');

    if (strncmp(variable, PREFIX, strlen(PREFIX)) != 0 || !equals ||
        is_link(variable, (size_t)(equals - variable), equals + 1))
        return 0;
    return (size_t)(equals - variable);
}

void conf_read_environment(struct reading *r, char **environ_)
{
    for (; environ_ && *environ_; environ_++) {
        size_t n = name_len(*environ_);
        struct target at;

        if (n == 0 || !find_variable(r->table, *environ_, n, &at))
            continue;
        char *name = strndup(*environ_, n);
        must(name != NULL);
        conf_set_text(r, at, name, *environ_ + n + 1);
        free(name);
    }
}

/* The next one of *environ_ that no key has, the caller's; NULL: no more. */
static char *next_unknown(const struct conf_table *table, char ***environ_)
{
    while (*environ_ && **environ_) {
        const char *variable = *(*environ_)++;
        size_t n = name_len(variable);
        struct target at;

        if (n == 0 || find_variable(table, variable, n, &at))
            continue;
        char *name = strndup(variable, n);
        must(name != NULL);
        return name;
    }
    return NULL;
}

char *conf_unknown_variables(const struct conf_table *table, char **environ_)
{
    char *all = NULL, *name;
    size_t count = 0;

    while ((name = next_unknown(table, &environ_)) != NULL) {
        if (count++ < UNKNOWN_MAX) {
            char *longer = must_printf("%s%s%s", all ? all : "", all ? ", " : "", name);
            free(all);
            all = longer;
        }
        free(name);
    }
    if (count > UNKNOWN_MAX) {
        char *longer = must_printf("%s and %zu more", all, count - UNKNOWN_MAX);
        free(all);
        all = longer;
    }
    return all;
}

void conf_refuse_unknown_variables(const struct conf_table *table, char **environ_,
                                   struct json_check *faults)
{
    char *name;

    while ((name = next_unknown(table, &environ_)) != NULL) {
        char *nearest = conf_nearest(table, name, conf_variable);

        json_fault(faults, "", "unknown", "%s: no such key%s%s (--help lists them)", name,
                   nearest ? "; the nearest is " : "", nearest ? nearest : "");
        free(nearest);
        free(name);
    }
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

static void unknown_key(struct reading *r, const char *source, const char *path)
{
    char *pointer = conf_pointer(path, false);
    char *nearest = conf_nearest(r->table, path, conf_dotted);

    json_fault(r->faults, pointer, "unknown", "%s: %s: no such key%s%s (--help lists them)", source,
               path, nearest ? "; the nearest is " : "", nearest ? nearest : "");
    free(nearest);
    free(pointer);
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
            unknown_key(r, source, path);
        } else {
            set_one(r, at, source, path, equals + 1);
        }
        free(path);
    }
}
