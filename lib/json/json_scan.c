/* json_scan - see json_scan.h.
 *
 * One pass of recursive descent; the recursion is as deep as the nesting allowed, 16.  The keys of
 * all objects that are open lie in one stack; when an object ends its keys are sorted and
 * neighbours compared, so that no choice of keys makes it slower than n log n; only a few are
 * compared each with each.
 */
#include "json/json_scan.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

#define KEYS_FEW 10 /* not worth sorting */

struct key {
    const char *s; /* borrowed from the text: what stands between the quotes */
    size_t n;
    bool is_escaped;
};

struct level {
    bool is_object;
    struct key key; /* of the member that is being read */
    size_t index;   /* of the element that is being read */
};

struct scan {
    const char *text, *at, *end; /* borrowed from the caller */
    struct key *keys;            /* owned: of every object that is open, outermost first */
    size_t count, cap;
    struct level path[JSON_DEPTH_MAX];
    size_t depth;
    struct json_list *list;  /* borrowed from the caller; or NULL */
    struct json_syntax *why; /* borrowed from the caller */
};

/* Appends to a NUL-ended buffer; what does not fit is cut, between two characters of UTF-8. */
static void put(char *out, size_t cap, const char *src, size_t n)
{
    size_t len = strlen(out), fit = MIN(n, cap - 1 - len);

    while (fit > 0 && fit < n && ((unsigned char)src[fit] & 0xc0) == 0x80)
        fit--;
    memcpy(out + len, src, fit);
    out[len + fit] = '\0';
}

/* The same with the escapes of a JSON pointer. */
static void put_token(char *out, size_t cap, const char *src, size_t n)
{
    while (n > 0) {
        size_t plain = 0;
        while (plain < n && src[plain] != '~' && src[plain] != '/')
            plain++;
        put(out, cap, src, plain);
        if (plain == n)
            return;
        put(out, cap, src[plain] == '~' ? "~0" : "~1", 2);
        src += plain + 1;
        n -= plain + 1;
    }
}

static void put_pointer(const struct scan *s, char *out, size_t cap)
{
    char index[24];

    out[0] = '\0';
    for (size_t i = 0; i < s->depth; i++) {
        const struct level *l = &s->path[i];
        if (l->is_object && !l->key.s)
            break; /* at "{" or between members: the object itself is the place */
        put(out, cap, "/", 1);
        if (l->is_object) {
            put_token(out, cap, l->key.s, l->key.n);
        } else {
            int n = snprintf(index, sizeof(index), "%zu", l->index);
            put(out, cap, index, (size_t)n);
        }
    }
}

PRINTF_LIKE(4, 5)
static int fail(struct scan *s, const char *at, const char *code, const char *fmt, ...)
{
    va_list args;

    s->why->offset = (size_t)(at - s->text);
    s->why->code = code;
    va_start(args, fmt);
    vsnprintf(s->why->reason, sizeof(s->why->reason), fmt, args);
    va_end(args);
    put_pointer(s, s->why->pointer, sizeof(s->why->pointer));
    return -ERR_SYNTAX;
}

static int fail_here(struct scan *s, const char *expected)
{
    if (s->at == s->end)
        return fail(s, s->at, "syntax", "the text ends where %s should follow", expected);
    return fail(s, s->at, "syntax", "%s expected", expected);
}

static void skip_space(struct scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r'))
        s->at++;
}

static bool take(struct scan *s, char c)
{
    if (s->at == s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

static int hex_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Four hex digits; -1 when they are not there. */
static int32_t hex4(const char *p, const char *end)
{
    int32_t unit = 0;

    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_of(p[i]);
        if (digit < 0)
            return -1;
        unit = unit * 16 + digit;
    }
    return unit;
}

static bool is_high(int32_t unit)
{
    return unit >= 0xd800 && unit <= 0xdbff;
}

static bool is_low(int32_t unit)
{
    return unit >= 0xdc00 && unit <= 0xdfff;
}

/* Bytes of the UTF-8 sequence at p (RFC 3629: no overlong form, no surrogate, at most U+10FFFF), 0
 * when it is none. */
static size_t utf8_len(const char *p, const char *end)
{
    const unsigned char *u = (const unsigned char *)p;
    size_t n = u[0] < 0x80 ? 1 : u[0] < 0xc2 ? 0 : u[0] < 0xe0 ? 2 : u[0] < 0xf0 ? 3 : 4;

    if (n == 0 || u[0] > 0xf4 || (size_t)(end - p) < n)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((u[i] & 0xc0) != 0x80)
            return 0;
    if ((u[0] == 0xe0 && u[1] < 0xa0) || (u[0] == 0xed && u[1] > 0x9f) ||
        (u[0] == 0xf0 && u[1] < 0x90) || (u[0] == 0xf4 && u[1] > 0x8f))
        return 0;
    return n;
}

void json_repair_utf8(char *text)
{
    const char *end = text + strlen(text);

    while (text < end) {
        size_t n = utf8_len(text, end);

        if (n == 0)
            *text = '?';
        text += MAX(n, 1u);
    }
}

/* Behind the backslash.  *is_nul is set by \u0000. */
static int scan_escape(struct scan *s, bool *is_nul)
{
    const char *start = s->at - 1;

    if (s->at == s->end)
        return fail_here(s, "the rest of an escape");
    if (*s->at != 'u') {
        if (!strchr("\"\\/bfnrt", *s->at) || !*s->at)
            return fail(s, start, "syntax", "no such escape in a string");
        s->at++;
        return 0;
    }
    int32_t unit = hex4(++s->at, s->end);
    if (unit < 0)
        return fail(s, start, "syntax", "\\u without four hexadecimal digits");
    s->at += 4;
    if (unit == 0)
        *is_nul = true;
    if (is_low(unit))
        return fail(s, start, "syntax", "half of a surrogate pair in a string");
    if (!is_high(unit))
        return 0;
    if (s->end - s->at < 6 || s->at[0] != '\\' || s->at[1] != 'u' ||
        !is_low(hex4(s->at + 2, s->end)))
        return fail(s, start, "syntax", "half of a surrogate pair in a string");
    s->at += 6;
    return 0;
}

/* Eight at a time: what is beyond a byte that counts may count too. */
const char *json_skip_plain(const char *p, const char *end)
{
    const uint64_t ones = 0x0101010101010101u, high = 0x80 * ones;
    uint64_t w;

    for (; end - p >= (ptrdiff_t)sizeof(w); p += sizeof(w)) {
        memcpy(&w, p, sizeof(w));
        if ((w | (w - 0x20 * ones) | ((w ^ '"' * ones) - ones) | ((w ^ '\\' * ones) - ones)) & high)
            break;
    }
    while (p < end && (unsigned char)*p >= 0x20 && (unsigned char)*p < 0x80 && *p != '"' &&
           *p != '\\')
        p++;
    return p;
}

/* At the opening quote.  *is_nul: a NUL is in it, which only a key may not have (json-c cuts keys
 * there); json_str() refuses it in values. */
static int scan_string(struct scan *s, struct key *out, bool *is_nul)
{
    int rc;

    s->at++;
    *out = (struct key){.s = s->at};
    *is_nul = false;
    while ((s->at = json_skip_plain(s->at, s->end)) < s->end && *s->at != '"') {
        unsigned char c = (unsigned char)*s->at;
        size_t n = utf8_len(s->at, s->end);
        if (c < 0x20)
            return fail(s, s->at, "syntax", "control character in a string");
        if (n == 0)
            return fail(s, s->at, "syntax", "not UTF-8");
        s->at += n;
        if (c != '\\')
            continue;
        out->is_escaped = true;
        if ((rc = scan_escape(s, is_nul)) != 0)
            return rc;
    }
    out->n = (size_t)(s->at - out->s);
    if (!take(s, '"'))
        return fail_here(s, "the end of a string");
    return 0;
}

static size_t digits(struct scan *s)
{
    const char *start = s->at;

    while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
        s->at++;
    return (size_t)(s->at - start);
}

static int scan_number(struct scan *s)
{
    const char *start = s->at;
    char text[JSON_NUMBER_MAX + 1];

    take(s, '-');
    if (!take(s, '0') && digits(s) == 0)
        return fail_here(s, "a digit");
    if (take(s, '.') && digits(s) == 0)
        return fail_here(s, "a digit");
    bool has_exponent = take(s, 'e') || take(s, 'E');
    if (has_exponent) {
        if (!take(s, '+'))
            take(s, '-');
        if (digits(s) == 0)
            return fail_here(s, "a digit");
    }
    size_t n = (size_t)(s->at - start);
    if (n > JSON_NUMBER_MAX)
        return fail(s, start, "syntax", "a number of more than %d characters", JSON_NUMBER_MAX);
    if (!has_exponent) /* far below the largest double */
        return 0;
    memcpy(text, start, n);
    text[n] = '\0';
    if (isinf(strtod(text, NULL)))
        return fail(s, start, "syntax", "the number is too large");
    return 0;
}

static int scan_word(struct scan *s, const char *word)
{
    size_t n = strlen(word);

    if ((size_t)(s->end - s->at) < n || memcmp(s->at, word, n) != 0)
        return fail_here(s, "a value");
    s->at += n;
    return 0;
}

/* The next code point of a key that was scanned; -1 at its end. */
static int32_t next_point(const char **p, const char *end)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *at = *p;

    if (at == end)
        return -1;
    if (*at != '\\') {
        size_t n = utf8_len(at, end);
        int32_t point = n == 1 ? *at : *at & (0xff >> (n + 1));
        for (size_t i = 1; i < n; i++)
            point = (point << 6) | (at[i] & 0x3f);
        *p = at + n;
        return point;
    }
    if (at[1] != 'u') {
        *p = at + 2;
        return to[strchr(from, at[1]) - from];
    }
    int32_t unit = hex4(at + 2, end);
    *p = at + 6;
    if (!is_high(unit))
        return unit;
    int32_t low = hex4(at + 8, end);
    *p = at + 12;
    return 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
}

/* In the order of code points, which is the order of UTF-8's bytes too. */
static int compare_keys(const struct key *a, const struct key *b)
{
    if (!a->is_escaped && !b->is_escaped) {
        int order = memcmp(a->s, b->s, MIN(a->n, b->n));
        return order != 0 ? order : (a->n > b->n) - (a->n < b->n);
    }
    const char *p = a->s, *q = b->s;
    for (;;) {
        int32_t x = next_point(&p, a->s + a->n), y = next_point(&q, b->s + b->n);
        if (x != y)
            return x < y ? -1 : 1;
        if (x < 0)
            return 0;
    }
}

static int compare_for_sort(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    int order = compare_keys(x, y);

    return order != 0 ? order : (x->s > y->s) - (x->s < y->s); /* equal ones by their place */
}

static bool are_equal(const struct key *a, const struct key *b)
{
    if (!a->is_escaped && !b->is_escaped)
        return a->n == b->n && memcmp(a->s, b->s, a->n) == 0;
    return compare_keys(a, b) == 0;
}

/* Of a few keys, each against each. */
static bool are_distinct(const struct key *keys, size_t count)
{
    for (size_t i = 1; i < count; i++)
        for (size_t k = 0; k < i; k++)
            if (are_equal(&keys[i], &keys[k]))
                return false;
    return true;
}

/* The keys from `first` on are those of the object that ends here. */
static int check_duplicates(struct scan *s, size_t first)
{
    size_t count = s->count - first;

    if (count < 2 || (count <= KEYS_FEW && are_distinct(s->keys + first, count))) {
        s->count = first;
        return 0;
    }
    qsort(s->keys + first, count, sizeof(*s->keys), compare_for_sort);
    for (size_t i = first + 1; i < s->count; i++) {
        const struct key *k = &s->keys[i];
        if (compare_keys(k - 1, k) != 0)
            continue;
        char name[64] = "";
        put(name, sizeof(name), k->s, k->n);
        s->path[s->depth - 1].key = *k;
        return fail(s, k->s - 1, "duplicate", "the key \"%s\" is there twice", name);
    }
    s->count = first;
    return 0;
}

static void push_key(struct scan *s, const struct key *k)
{
    if (s->count == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 32;
        struct key *keys = realloc(s->keys, cap * sizeof(*keys));
        must(keys != NULL);
        s->keys = keys;
        s->cap = cap;
    }
    s->keys[s->count++] = *k;
}

/* --- the list to take note of ----------------------------------------------------------------- */

/* Whether the array that begins at this level is it: all above it are objects, in which the path
 * leads here, or to where the path's last object could be. */
static bool is_the_list(const struct scan *s, size_t level)
{
    const char *const *path = s->list ? s->list->path : NULL;
    size_t i = 0;

    for (; path && i < level && path[i]; i++) {
        struct key key = {.s = path[i], .n = strlen(path[i])};

        if (!s->path[i].is_object || !are_equal(&s->path[i].key, &key))
            return false;
    }
    return path && i == level && (!path[i] || !path[i + 1]);
}

static void note_part(struct json_list *list, const char *from, const char *to)
{
    if (list->count == list->room) {
        size_t room = list->room ? list->room * 2 : 64;
        struct json_part *parts = reallocarray(list->parts, room, sizeof(*parts));

        must(parts != NULL);
        list->parts = parts;
        list->room = room;
    }
    list->parts[list->count++] = (struct json_part){.text = from, .n = (size_t)(to - from)};
}

/* --- values ----------------------------------------------------------------------------------- */

static int scan_value(struct scan *s);
static int scan_bare(struct scan *s);

static int scan_member(struct scan *s, size_t level)
{
    struct key key;
    bool is_nul;
    int rc;

    skip_space(s);
    if (s->at == s->end || *s->at != '"')
        return fail_here(s, "a key in double quotes");
    const char *start = s->at;
    if ((rc = scan_string(s, &key, &is_nul)) != 0)
        return rc;
    if (is_nul)
        return fail(s, start, "syntax", "NUL in a key");
    s->path[level].key = key;
    push_key(s, &key);
    skip_space(s);
    if (!take(s, ':'))
        return fail_here(s, "':'");
    if ((rc = scan_value(s)) != 0)
        return rc;
    s->path[level].key.s = NULL;
    return 0;
}

static int scan_members(struct scan *s, size_t level)
{
    int rc;

    skip_space(s);
    if (take(s, '}'))
        return 0;
    for (;;) {
        if ((rc = scan_member(s, level)) != 0)
            return rc;
        if (take(s, '}'))
            return 0;
        if (!take(s, ','))
            return fail_here(s, "',' or '}'");
    }
}

static int scan_elements(struct scan *s, size_t level)
{
    struct json_list *list = is_the_list(s, level) ? s->list : NULL;
    int rc;

    if (list)
        list->from = s->at;
    skip_space(s);
    if (take(s, ']'))
        return 0;
    for (;; s->path[level].index++) {
        skip_space(s);
        const char *start = s->at;
        if ((rc = scan_bare(s)) != 0)
            return rc;
        if (list)
            note_part(list, start, s->at);
        skip_space(s);
        if (take(s, ']'))
            return 0;
        if (!take(s, ','))
            return fail_here(s, "',' or ']'");
    }
}

static int scan_container(struct scan *s, bool is_object)
{
    size_t first = s->count, level = s->depth;
    int rc;

    if (level == JSON_DEPTH_MAX)
        return fail(s, s->at, "depth", "nested more than %d deep", JSON_DEPTH_MAX);
    s->at++;
    s->path[level] = (struct level){.is_object = is_object};
    s->depth++;
    rc = is_object ? scan_members(s, level) : scan_elements(s, level);
    if (rc == 0 && is_object)
        rc = check_duplicates(s, first);
    if (rc == 0)
        s->depth--;
    return rc;
}

/* A value without the white space around it. */
static int scan_bare(struct scan *s)
{
    struct key string;
    bool is_nul;

    if (s->at == s->end)
        return fail_here(s, "a value");
    switch (*s->at) {
    case '{':
        return scan_container(s, true);
    case '[':
        return scan_container(s, false);
    case '"':
        return scan_string(s, &string, &is_nul);
    case 't':
        return scan_word(s, "true");
    case 'f':
        return scan_word(s, "false");
    case 'n':
        return scan_word(s, "null");
    default:
        if (*s->at != '-' && (*s->at < '0' || *s->at > '9'))
            return fail_here(s, "a value");
        return scan_number(s);
    }
}

/* With it. */
static int scan_value(struct scan *s)
{
    skip_space(s);
    int rc = scan_bare(s);
    if (rc == 0)
        skip_space(s);
    return rc;
}

int json_scan(const char *text, size_t n, size_t *from, size_t *to, struct json_list *list,
              struct json_syntax *why)
{
    struct scan s = {.text = text, .at = text, .end = text + n, .list = list, .why = why};

    skip_space(&s);
    *from = (size_t)(s.at - text);
    int rc = scan_value(&s);
    if (rc == 0 && s.at != s.end)
        rc = fail(&s, s.at, "syntax", "something follows the value");
    free(s.keys);
    while (s.at > text + *from && strchr(" \t\r\n", s.at[-1]) && s.at[-1])
        s.at--;
    *to = (size_t)(s.at - text);
    return rc;
}
