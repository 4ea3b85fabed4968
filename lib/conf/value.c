/* value - one value: from text (environment, --set, defaults) or from JSON into the member of the
 * configuration, checked on the way.  What is refused is said with what is allowed. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "conf/reading.h"

#define SHOWN_MAX 64 /* bytes of a wrong value that an error message repeats */

static char **string_of(const struct conf_key *key, const void *conf)
{
    return conf_member(key, conf);
}

static struct json_object **json_of(const struct conf_key *key, const void *conf)
{
    return conf_member(key, conf);
}

static void wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

void conf_clear(const struct conf_key *key, void *conf)
{
    switch (key->kind) {
    case CONF_SECRET:
        wipe(*string_of(key, conf));
        *string_of(key, conf) = NULL;
        break;
    case CONF_STRING:
    case CONF_LISTEN:
        free(*string_of(key, conf));
        *string_of(key, conf) = NULL;
        break;
    case CONF_JSON:
        json_object_put(*json_of(key, conf));
        *json_of(key, conf) = NULL;
        break;
    case CONF_BOOL:
    case CONF_INT:
    case CONF_ENUM:
        break;
    }
}

bool conf_is_unset(const struct conf_key *key, const void *conf)
{
    if (key->kind == CONF_STRING || key->kind == CONF_SECRET || key->kind == CONF_LISTEN)
        return !*string_of(key, conf) || !**string_of(key, conf);
    return false;
}

static bool is_same_text(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

bool conf_is_same(const struct conf_key *key, const void *a, const void *b)
{
    const void *left = conf_member(key, a), *right = conf_member(key, b);

    switch (key->kind) {
    case CONF_STRING:
    case CONF_SECRET:
    case CONF_LISTEN:
        return is_same_text(*string_of(key, a), *string_of(key, b));
    case CONF_JSON:
        return json_object_equal(*json_of(key, a), *json_of(key, b)) == 1;
    case CONF_BOOL:
        return *(const bool *)left == *(const bool *)right;
    case CONF_INT:
        return *(const int64_t *)left == *(const int64_t *)right;
    case CONF_ENUM:
        return *(const int *)left == *(const int *)right;
    }
    return false;
}

static void put_string(const struct conf_key *key, void *conf, char *owned)
{
    conf_clear(key, conf);
    *string_of(key, conf) = owned;
}

/* A secret never stands in a message, not even a wrong one. */
static char *shown(const struct conf_key *key, const char *text)
{
    size_t n = strlen(text);

    if (key->kind == CONF_SECRET)
        return must_strdup("what is given");
    return must_printf("\"%.*s%s\"", (int)MIN(n, (size_t)SHOWN_MAX), text,
                       n > SHOWN_MAX ? "..." : "");
}

static bool has_control(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    return false;
}

static void set_string(struct reading *r, struct target at, const char *source, const char *text)
{
    const struct conf_key *key = &r->table->keys[at.index];
    size_t max = key->max ? (size_t)key->max : CONF_TEXT_MAX, n = strlen(text);

    if (n > max || (n && n < (size_t)key->min))
        conf_fault(r, at, source, "range", "must have %" PRId64 " to %zu bytes, not %zu",
                   MAX(key->min, (int64_t)0), max, n);
    else if (has_control(text))
        conf_fault(r, at, source, "invalid", "must not contain control characters");
    else
        put_string(key, r->conf, must_strdup(text));
}

/* [0-9]+ up to 65535, to the end of the text. */
static bool is_port(const char *text)
{
    unsigned long port = 0;

    if (!*text || strlen(text) > 5)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        port = port * 10 + (unsigned long)(*text - '0');
    }
    return port <= 65535;
}

static bool is_listen(const char *text)
{
    char host[INET6_ADDRSTRLEN];
    const char *colon = strrchr(text, ':');
    bool is_v6 = text[0] == '[';
    size_t n = colon ? (size_t)(colon - text) : 0;
    unsigned char bytes[16];

    if (!colon || !is_port(colon + 1))
        return false;
    if (n == 0)
        return true; /* ":443": every address */
    if (is_v6) {
        if (n < 2 || text[n - 1] != ']')
            return false;
        text++;
        n -= 2;
    }
    if (n >= sizeof(host))
        return false;
    memcpy(host, text, n);
    host[n] = '\0';
    return inet_pton(is_v6 ? AF_INET6 : AF_INET, host, bytes) == 1;
}

static void set_listen(struct reading *r, struct target at, const char *source, const char *text)
{
    const struct conf_key *key = &r->table->keys[at.index];
    bool may_be_empty = key->min == 0;

    if ((*text || !may_be_empty) && !is_listen(text)) {
        char *what = shown(key, text);
        conf_fault(r, at, source, "invalid",
                   "must be address:port as in 127.0.0.1:9001, [::1]:9001 or :9001%s, not %s",
                   may_be_empty ? ", or empty" : "", what);
        free(what);
        return;
    }
    put_string(key, r->conf, must_strdup(text));
}

static void set_int(struct reading *r, struct target at, const char *source, int64_t value)
{
    const struct conf_key *key = &r->table->keys[at.index];

    if (value < key->min || value > key->max)
        conf_fault(r, at, source, "range",
                   "must be an integer from %" PRId64 " to %" PRId64 ", not %" PRId64, key->min,
                   key->max, value);
    else
        *(int64_t *)conf_member(key, r->conf) = value;
}

static void set_int_text(struct reading *r, struct target at, const char *source, const char *text)
{
    const struct conf_key *key = &r->table->keys[at.index];
    const char *digits = text + (*text == '-');
    long long value;

    errno = 0;
    value = strtoll(text, NULL, 10);
    if (!*digits || digits[strspn(digits, "0123456789")] || errno) {
        char *what = shown(key, text);
        conf_fault(r, at, source, "type",
                   "must be an integer from %" PRId64 " to %" PRId64 ", not %s", key->min, key->max,
                   what);
        free(what);
        return;
    }
    set_int(r, at, source, value);
}

static void set_enum(struct reading *r, struct target at, const char *source, const char *text)
{
    const struct conf_key *key = &r->table->keys[at.index];
    char *all, *what;

    for (int i = 0; key->choices[i]; i++)
        if (strcmp(key->choices[i], text) == 0) {
            *(int *)conf_member(key, r->conf) = i;
            return;
        }
    all = must_join(key->choices);
    what = shown(key, text);
    conf_fault(r, at, source, "invalid", "must be one of %s, not %s", all, what);
    free(what);
    free(all);
}

static void set_bool_text(struct reading *r, struct target at, const char *source, const char *text)
{
    const struct conf_key *key = &r->table->keys[at.index];
    bool is_true = strcmp(text, "true") == 0;

    if (!is_true && strcmp(text, "false") != 0) {
        char *what = shown(key, text);
        conf_fault(r, at, source, "type", "must be true or false, not %s", what);
        free(what);
        return;
    }
    *(bool *)conf_member(key, r->conf) = is_true;
}

/* The default says whether it is a list or a map. */
static bool is_json_of_kind(const struct conf_key *key, struct json_object *value,
                            const char **allowed)
{
    char first = key->fallback ? key->fallback[0] : '\0';
    bool is_list = json_object_is_type(value, json_type_array);
    bool is_map = json_object_is_type(value, json_type_object);

    *allowed = first == '[' ? "a list" : first == '{' ? "a map" : "a list or a map";
    return (is_list && first != '{') || (is_map && first != '[');
}

static void set_structure(struct reading *r, struct target at, const char *source,
                          struct json_object *value)
{
    const struct conf_key *key = &r->table->keys[at.index];
    const char *allowed;

    if (!is_json_of_kind(key, value, &allowed)) {
        conf_fault(r, at, source, "type", "must be %s, not %s", allowed, json_type_of(value));
        return;
    }
    conf_clear(key, r->conf);
    *json_of(key, r->conf) = json_object_get(value);
}

static void refuse_json(struct reading *r, struct target at, const char *source,
                        const struct json_syntax *why)
{
    const struct conf_key *key = &r->table->keys[at.index];
    const char *example = key->example ? key->example : key->fallback;
    char first = example ? *example : '\0';

    conf_fault(r, at, source, "syntax", "must be %s%s%s: %s (byte %zu)",
               first == '['   ? "a JSON array"
               : first == '{' ? "a JSON object"
                              : "JSON",
               example ? ", as in " : "", example ? example : "", why->reason, why->offset);
}

static void set_json_text(struct reading *r, struct target at, const char *source, const char *text)
{
    struct json_object *value = NULL;
    struct json_syntax why;

    if (json_read(&value, text, strlen(text), &why) != 0) {
        refuse_json(r, at, source, &why);
        return;
    }
    set_structure(r, at, source, value);
    json_object_put(value);
}

/* Remembers who spoke last, so that later checks can name them. */
static void remember(char **source, const char *name)
{
    free(*source);
    *source = must_strdup(name);
}

static void set_companion(struct reading *r, struct target at, const char *source, const char *text)
{
    struct given *given = &r->given[at.index];

    if (strlen(text) > CONF_TEXT_MAX || has_control(text)) {
        conf_fault(r, at, source, "invalid", "must be the path of a file, at most %d bytes",
                   CONF_TEXT_MAX);
        return;
    }
    free(given->file);
    given->file = *text ? must_strdup(text) : NULL;
    remember(&given->file_source, source);
}

static void set_plain(struct reading *r, struct target at, const char *source, const char *text)
{
    switch (r->table->keys[at.index].kind) {
    case CONF_STRING:
    case CONF_SECRET:
        set_string(r, at, source, text);
        break;
    case CONF_LISTEN:
        set_listen(r, at, source, text);
        break;
    case CONF_BOOL:
        set_bool_text(r, at, source, text);
        break;
    case CONF_INT:
        set_int_text(r, at, source, text);
        break;
    case CONF_ENUM:
        set_enum(r, at, source, text);
        break;
    case CONF_JSON:
        set_json_text(r, at, source, text);
        break;
    }
}

void conf_set_text(struct reading *r, struct target at, const char *source, const char *text)
{
    if (at.is_file) {
        set_companion(r, at, source, text);
        return;
    }
    remember(&r->given[at.index].source, source);
    set_plain(r, at, source, text);
}

static enum json_type type_of_kind(enum conf_kind kind)
{
    switch (kind) {
    case CONF_BOOL:
        return json_type_boolean;
    case CONF_INT:
        return json_type_int;
    case CONF_STRING:
    case CONF_SECRET:
    case CONF_LISTEN:
    case CONF_ENUM:
    case CONF_JSON:
        break;
    }
    return json_type_string;
}

void conf_set_json(struct reading *r, struct target at, const char *source,
                   struct json_object *value)
{
    const struct conf_key *key = &r->table->keys[at.index];
    enum json_type wanted = at.is_file ? json_type_string : type_of_kind(key->kind);

    if (!at.is_file)
        remember(&r->given[at.index].source, source);
    if (!at.is_file && key->kind == CONF_JSON) {
        set_structure(r, at, source, value);
        return;
    }
    if (!json_object_is_type(value, wanted)) {
        conf_fault(r, at, source, "type", "must be %s, not %s",
                   wanted == json_type_int       ? "an integer"
                   : wanted == json_type_boolean ? "true or false"
                                                 : "a string",
                   json_type_of(value));
        return;
    }
    if (wanted == json_type_int) {
        set_int(r, at, source, json_object_get_int64(value));
    } else if (wanted == json_type_boolean) {
        *(bool *)conf_member(key, r->conf) = json_object_get_boolean(value);
    } else {
        const char *text = json_object_get_string(value);
        if (strlen(text) != (size_t)json_object_get_string_len(value))
            conf_fault(r, at, source, "invalid", "must not contain control characters");
        else
            conf_set_text(r, at, source, text);
        if (key->kind == CONF_SECRET) /* the document's copy goes too */
            explicit_bzero((char *)(uintptr_t)text, strlen(text));
    }
}

void conf_set_secret(struct reading *r, size_t index, char *text)
{
    const struct conf_key *key = &r->table->keys[index];
    size_t max = key->max ? (size_t)key->max : CONF_TEXT_MAX, n = strlen(text);
    struct given *given = &r->given[index];

    for (const char *p = text; *p; p++)
        if (((unsigned char)*p < 0x20 && *p != '\n') || *p == 0x7f) {
            conf_fault(r, (struct target){index, true}, given->file_source, "invalid",
                       "the file must not contain control characters");
            wipe(text);
            return;
        }
    if (n > max || n < (size_t)MAX(key->min, (int64_t)0)) {
        conf_fault(r, (struct target){index, true}, given->file_source, "range",
                   "the file must hold %" PRId64 " to %zu bytes, not %zu",
                   MAX(key->min, (int64_t)1), max, n);
        wipe(text);
        return;
    }
    put_string(key, r->conf, text);
}
