/* json - see json.h: json_scan() decides what is JSON, json-c builds the tree, a json_check reads
 * values out of it and remembers every fault. */
#include "json/json.h"

#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "json/json_scan.h"

#define ALLOWED_SHOWN_MAX 400u /* bytes of the names that a fault about another one lists */

/* No STRICT flag: the scan is stricter, and versions differ in what the flag makes of an integer
 * beyond 64 bits, which is a fault of that value here and not of the document.  Nor is UTF-8
 * checked twice.  Its depth counts the scalar inside the innermost container too. */
static struct json_tokener *tokener_new(void)
{
    struct json_tokener *tok = json_tokener_new_ex(JSON_DEPTH_MAX + 2);

    must(tok != NULL);
    return tok;
}

/* The end of what was scanned, `at` bytes into its text; what came before it went to the tokener.
 */
static int tokenise(struct json_tokener *tok, struct json_object **out, const char *text, size_t n,
                    size_t at, struct json_syntax *why)
{
    *out = json_tokener_parse_ex(tok, text, (int)n);
    if (json_tokener_get_error(tok) == json_tokener_continue) /* a number ends with the text */
        *out = json_tokener_parse_ex(tok, "", 1);
    enum json_tokener_error err = json_tokener_get_error(tok);
    if (err == json_tokener_success)
        return 0;
    why->offset = at + json_tokener_get_parse_end(tok);
    snprintf(why->reason, sizeof(why->reason), "%s", json_tokener_error_desc(err));
    return -ERR_SYNTAX;
}

static int refuse_long(size_t n, struct json_syntax *why)
{
    *why = (struct json_syntax){.code = "syntax"};
    if (n <= INT_MAX)
        return 0;
    /* json-c counts in int */
    snprintf(why->reason, sizeof(why->reason), "longer than %d bytes", INT_MAX);
    return -ERR_SYNTAX;
}

int json_read(struct json_object **out, const char *text, size_t n, struct json_syntax *why)
{
    size_t from, to;

    *out = NULL;
    int rc = refuse_long(n, why);
    if (rc == 0)
        rc = json_scan(text ? text : "", n, &from, &to, NULL, why);
    if (rc != 0)
        return rc;
    struct json_tokener *tok = tokener_new();
    rc = tokenise(tok, out, text + from, to - from, from, why);
    json_tokener_free(tok);
    return rc;
}

void json_place(const char *text, size_t offset, size_t *line, size_t *column)
{
    *line = *column = 1;
    for (size_t i = 0; i < offset; i++) {
        if (text[i] == '\n') {
            ++*line;
            *column = 1;
        } else if (((unsigned char)text[i] & 0xc0) != 0x80) { /* a character's first byte */
            ++*column;
        }
    }
}

int json_read_list(struct json_object **out, struct json_list *list, const char *const *path,
                   const char *text, size_t n, struct json_syntax *why)
{
    size_t from, to;

    *out = NULL;
    *list = (struct json_list){.path = path};
    int rc = refuse_long(n, why);
    if (rc == 0)
        rc = json_scan(text ? text : "", n, &from, &to, list, why);
    if (rc == 0) {
        list->tokener = tokener_new();
        if (list->count > 0) {
            const struct json_part *last = &list->parts[list->count - 1];

            json_tokener_parse_ex(list->tokener, text + from,
                                  (int)(list->from - text - (ptrdiff_t)from));
            from = (size_t)(last->text + last->n - text);
        }
        rc = tokenise(list->tokener, out, text + from, to - from, from, why);
    }
    if (rc != 0)
        json_list_fini(list);
    return rc;
}

int json_list_read(struct json_list *list, size_t i, struct json_object **out,
                   struct json_syntax *why)
{
    must(i < list->count);
    *why = (struct json_syntax){.code = "syntax"};
    json_tokener_reset(list->tokener);
    return tokenise(list->tokener, out, list->parts[i].text, list->parts[i].n, 0, why);
}

void json_list_fini(struct json_list *list)
{
    if (list->tokener)
        json_tokener_free(list->tokener);
    free(list->parts);
    *list = (struct json_list){.path = NULL};
}

void json_check_init(struct json_check *c)
{
    *c = (struct json_check){.faults = NULL};
}

void json_check_fini(struct json_check *c)
{
    for (size_t i = 0; i < c->count; i++) {
        free(c->faults[i].pointer);
        free(c->faults[i].detail);
    }
    free(c->faults);
    json_check_init(c);
}

bool json_check_failed(const struct json_check *c)
{
    return c->total > 0;
}

/* Room for one more fault, or NULL when enough are kept. */
static struct json_fault *add_fault(struct json_check *c)
{
    c->total++;
    if (c->count == JSON_FAULTS_MAX)
        return NULL;
    if ((c->count & (c->count - 1)) == 0) { /* full at each power of two */
        size_t cap = c->count ? c->count * 2 : 1;
        struct json_fault *faults = reallocarray(c->faults, cap, sizeof(*faults));
        must(faults != NULL);
        c->faults = faults;
    }
    return &c->faults[c->count++];
}

static char *PRINTF_LIKE(1, 0) format(const char *fmt, va_list args)
{
    char *out = NULL;

    int n = vasprintf(&out, fmt, args);
    must(n >= 0);
    return out;
}

void json_fault(struct json_check *c, const char *pointer, const char *code, const char *fmt, ...)
{
    struct json_fault *f = add_fault(c);
    va_list args;

    if (!f)
        return;
    va_start(args, fmt);
    *f = (struct json_fault){must_strdup(pointer), format(fmt, args), code};
    va_end(args);
}

/* "<base>/<key>", escaped by RFC 6901; the caller's. */
static char *pointer_of(const char *base, const char *key)
{
    char *out = must_alloc(strlen(base) + 2 * strlen(key) + 2), *p = out;

    p = stpcpy(p, base);
    *p++ = '/';
    for (; *key; key++) {
        if (*key != '~' && *key != '/') {
            *p++ = *key;
            continue;
        }
        *p++ = '~';
        *p++ = *key == '~' ? '0' : '1';
    }
    *p = '\0';
    return out;
}

void json_fault_at(struct json_check *c, const char *base, const char *key, const char *code,
                   const char *fmt, ...)
{
    struct json_fault *f = add_fault(c);
    va_list args;

    if (!f)
        return;
    va_start(args, fmt);
    *f = (struct json_fault){pointer_of(base, key), format(fmt, args), code};
    va_end(args);
}

struct json_object *json_faults_emit(const struct json_check *c)
{
    struct json_object *list = json_object_new_array();

    must(list != NULL);
    for (size_t i = 0; i < c->count; i++) {
        struct json_object *one = json_object_new_object();
        must(one != NULL);
        json_object_object_add(one, "pointer", json_object_new_string(c->faults[i].pointer));
        json_object_object_add(one, "code", json_object_new_string(c->faults[i].code));
        json_object_object_add(one, "detail", json_object_new_string(c->faults[i].detail));
        json_object_array_add(list, one);
    }
    return list;
}

const char *json_type_of(struct json_object *value)
{
    switch (json_object_get_type(value)) {
    case json_type_null:
        return "null";
    case json_type_boolean:
        return "boolean";
    case json_type_double:
        return "number";
    case json_type_int:
        return "integer";
    case json_type_object:
        return "object";
    case json_type_array:
        return "array";
    case json_type_string:
        return "string";
    }
    return "null";
}

bool json_has(struct json_object *obj, const char *key)
{
    return json_object_is_type(obj, json_type_object) && json_object_object_get_ex(obj, key, NULL);
}

/* False with one fault at `base` (not a second one there) when obj is no object. */
static bool is_object(struct json_check *c, const char *base, struct json_object *obj)
{
    if (json_object_is_type(obj, json_type_object))
        return true;
    for (size_t i = 0; i < c->count; i++)
        if (strcmp(c->faults[i].pointer, base) == 0)
            return false;
    json_fault(c, base, "type", "must be an object, is %s", json_type_of(obj));
    return false;
}

/* The value of the key if it is of the type; else false, the fault added where it is one. */
static bool get(struct json_check *c, const char *base, struct json_object *obj, const char *key,
                enum json_need need, enum json_type type, struct json_object **out)
{
    static const char *const names[] = {
        [json_type_null] = "null",        [json_type_boolean] = "a boolean",
        [json_type_double] = "a number",  [json_type_int] = "an integer",
        [json_type_object] = "an object", [json_type_array] = "an array",
        [json_type_string] = "a string",
    };

    *out = NULL;
    if (!is_object(c, base, obj))
        return false;
    if (!json_object_object_get_ex(obj, key, out)) {
        if (need == JSON_REQUIRED)
            json_fault_at(c, base, key, "required", "is missing");
        return false;
    }
    if (json_object_is_type(*out, type))
        return true;
    json_fault_at(c, base, key, "type", "must be %s, is %s", names[type], json_type_of(*out));
    *out = NULL;
    return false;
}

static bool is_control(unsigned char b, bool has_lines)
{
    if (b >= 0x20)
        return b == 0x7f;
    return !has_lines || (b != '\n' && b != '\r' && b != '\t');
}

static const char *string(struct json_check *c, const char *base, struct json_object *value,
                          const char *key, size_t min, size_t max, bool has_lines)
{
    const char *s = json_object_get_string(value);
    size_t n = (size_t)json_object_get_string_len(value);

    if (n < min || n > max) {
        if (min == max)
            json_fault_at(c, base, key, "range", "must have %zu bytes, has %zu", min, n);
        else
            json_fault_at(c, base, key, "range", "must have %zu to %zu bytes, has %zu", min, max,
                          n);
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        unsigned char b = (unsigned char)s[i];
        if (!is_control(b, has_lines))
            continue;
        json_fault_at(c, base, key, "invalid", "control character 0x%02x in the string", b);
        return NULL;
    }
    return s;
}

const char *json_str(struct json_check *c, const char *base, struct json_object *obj,
                     const char *key, enum json_need need, size_t min, size_t max)
{
    struct json_object *value;

    if (!get(c, base, obj, key, need, json_type_string, &value))
        return NULL;
    return string(c, base, value, key, min, max, false);
}

const char *json_text(struct json_check *c, const char *base, struct json_object *obj,
                      const char *key, enum json_need need, size_t min, size_t max)
{
    struct json_object *value;

    if (!get(c, base, obj, key, need, json_type_string, &value))
        return NULL;
    return string(c, base, value, key, min, max, true);
}

int64_t json_int(struct json_check *c, const char *base, struct json_object *obj, const char *key,
                 enum json_need need, int64_t min, int64_t max, int64_t fallback)
{
    struct json_object *value;

    if (!get(c, base, obj, key, need, json_type_int, &value))
        return fallback;
    int64_t n = json_object_get_int64(value);
    /* json-c clamps what is too small to INT64_MIN and keeps what is too large as uint64_t. */
    bool beyond = n == INT64_MIN || (n > 0 && json_object_get_uint64(value) > INT64_MAX);
    if (beyond || n < min || n > max) {
        json_fault_at(c, base, key, "range", "must be %" PRId64 " to %" PRId64, min, max);
        return fallback;
    }
    return n;
}

bool json_flag(struct json_check *c, const char *base, struct json_object *obj, const char *key,
               enum json_need need, bool fallback)
{
    struct json_object *value;

    if (!get(c, base, obj, key, need, json_type_boolean, &value))
        return fallback;
    return json_object_get_boolean(value) != 0;
}

struct json_object *json_array(struct json_check *c, const char *base, struct json_object *obj,
                               const char *key, enum json_need need, size_t min, size_t max)
{
    struct json_object *value;

    if (!get(c, base, obj, key, need, json_type_array, &value))
        return NULL;
    size_t n = json_object_array_length(value);
    if (n < min || n > max) {
        json_fault_at(c, base, key, "range", "must have %zu to %zu entries, has %zu", min, max, n);
        return NULL;
    }
    return value;
}

struct json_object *json_obj(struct json_check *c, const char *base, struct json_object *obj,
                             const char *key, enum json_need need)
{
    struct json_object *value;

    return get(c, base, obj, key, need, json_type_object, &value) ? value : NULL;
}

void json_only(struct json_check *c, const char *base, struct json_object *obj,
               const char *const *keys)
{
    char *allowed = NULL;

    if (!is_object(c, base, obj))
        return;
    json_object_object_foreach(obj, key, value)
    {
        const char *const *k = keys;
        (void)value;
        while (*k && strcmp(*k, key) != 0)
            k++;
        if (*k)
            continue;
        if (!allowed)
            allowed = must_join(keys);
        json_fault_at(c, base, key, "unknown", "is not known here; allowed: %.*s%s",
                      (int)ALLOWED_SHOWN_MAX, allowed,
                      strlen(allowed) > ALLOWED_SHOWN_MAX ? "..." : "");
    }
    free(allowed);
}
