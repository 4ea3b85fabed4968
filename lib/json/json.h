/* json - strict reading of JSON, and lists of what is wrong with it.
 *
 * One opinion for the wire, the configuration and the management API: RFC 8259, UTF-8 checked, no
 * duplicate key anywhere, nesting at most 16, nothing behind the value, no NaN, comments or single
 * quotes, no half of a surrogate pair, no NUL in a key.  json-c parses; this module refuses what
 * json-c lets pass.
 *
 * A json_check walks a document and collects faults with their JSON pointers (RFC 6901); it never
 * stops at the first one.  Typical use:
 *
 *   struct json_check c;
 *   json_check_init(&c);
 *   json_only(&c, "", obj, (const char *const[]){"id", "listenPorts", NULL});
 *   const char *id = json_str(&c, "", obj, "id", JSON_REQUIRED, 1, 64);
 *   if (json_check_failed(&c)) ...
 */
#ifndef JSON_JSON_H
#define JSON_JSON_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/must.h"

#define JSON_DEPTH_MAX  16
#define JSON_FAULTS_MAX 1000 /* further ones are counted only */

/* What a text that is no acceptable JSON fails with, at which byte, and inside which value. */
struct json_syntax {
    size_t offset;
    const char *code;  /* static: "syntax", "duplicate", "depth" */
    char pointer[128]; /* JSON pointer of the value it happened in, cut when it is longer */
    char reason[160];
};

/* The document (the caller puts it: json_object_put), or -ERR_SYNTAX with *why filled.  `null` is a
 * document too (*out NULL, 0 returned). */
MUST_USE int json_read(struct json_object **out, const char *text, size_t n,
                       struct json_syntax *why);

/* Where byte `offset` of a text is, as editors count: lines and characters from 1. */
void json_place(const char *text, size_t offset, size_t *line, size_t *column);

/* One long list of a document, left out of it: its elements stay text until each is asked for, so
 * that thousands of them never stand in memory side by side, and one that is known already is never
 * read at all. */
struct json_list {
    const char *const *path; /* borrowed: keys, NULL-ended */
    const char *from;        /* in the text, behind "["; NULL: there is no such list */
    struct json_part {
        const char *text; /* borrowed: an element without the white space around it */
        size_t n;
    } * parts; /* owned */
    size_t count, room;
    struct json_tokener *tokener; /* owned; NULL until it is needed */
};

/* As json_read(), but for the array that `path` leads to, or that stands in the place of the object
 * which path's last key would be in: in *out it is empty, and its elements are in *list (the
 * caller's, zeroed after a failure).  `text` and `path` must outlive the list. */
MUST_USE int json_read_list(struct json_object **out, struct json_list *list,
                            const char *const *path, const char *text, size_t n,
                            struct json_syntax *why);
/* The i-th element as a document of its own, the caller's. */
MUST_USE int json_list_read(struct json_list *list, size_t i, struct json_object **out,
                            struct json_syntax *why);
void json_list_fini(struct json_list *list); /* fine with a zeroed one */

struct json_fault {
    char *pointer; /* owned */
    char *detail;  /* owned */
    const char
        *code; /* static: "required", "type", "range", "unknown", "duplicate", "invalid", ... */
};

struct json_check {
    struct json_fault *faults; /* owned */
    size_t count, total;       /* kept, seen */
};

void json_check_init(struct json_check *c);
void json_check_fini(struct json_check *c);
bool json_check_failed(const struct json_check *c);
/* Adds a fault; `pointer` is copied. */
void json_fault(struct json_check *c, const char *pointer, const char *code, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* The same with "<base>/<key>" as the pointer, key escaped (~0, ~1). */
void json_fault_at(struct json_check *c, const char *base, const char *key, const char *code,
                   const char *fmt, ...) PRINTF_LIKE(5, 6);
/* [{pointer, code, detail}], the caller's. */
struct json_object *json_faults_emit(const struct json_check *c);

enum json_need { JSON_OPTIONAL, JSON_REQUIRED };

/* The value of a key of `obj`, of the right type and within its limits; else a fault is added and
 * the neutral value comes back (NULL, the fallback, 0).  An absent optional key is no fault.  When
 * `obj` itself is no object (or NULL), that is one fault at `base`.
 * Strings: length in bytes, no control characters.  Borrowed from `obj`.
 * Integers: 1.0 is none; what lies beyond int64_t, or is INT64_MIN, is out of range always. */
const char *json_str(struct json_check *c, const char *base, struct json_object *obj,
                     const char *key, enum json_need need, size_t min, size_t max);
/* As json_str, but line feeds, carriage returns and tabs are allowed: PEM. */
const char *json_text(struct json_check *c, const char *base, struct json_object *obj,
                      const char *key, enum json_need need, size_t min, size_t max);
int64_t json_int(struct json_check *c, const char *base, struct json_object *obj, const char *key,
                 enum json_need need, int64_t min, int64_t max, int64_t fallback);
bool json_flag(struct json_check *c, const char *base, struct json_object *obj, const char *key,
               enum json_need need, bool fallback);
struct json_object *json_array(struct json_check *c, const char *base, struct json_object *obj,
                               const char *key, enum json_need need, size_t min, size_t max);
struct json_object *json_obj(struct json_check *c, const char *base, struct json_object *obj,
                             const char *key, enum json_need need);
/* Adds "unknown" for each key of obj that is not in the NULL-ended list, which it names. */
void json_only(struct json_check *c, const char *base, struct json_object *obj,
               const char *const *keys);
bool json_has(struct json_object *obj, const char *key);
/* Puts "?" for each byte that is part of no UTF-8 sequence: for texts of unknown make that are
 * about to stand in a document. */
void json_repair_utf8(char *text);
/* "string", "integer", "number", "boolean", "object", "array", "null". */
const char *json_type_of(struct json_object *value);

#endif
