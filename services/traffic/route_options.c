/* route_options - see route_options.h.  What is read is written down again in one order and form,
 * so that two texts which mean the same have the same digest. */
#include "traffic/route_options.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "traffic/http_head.h"

#define AT_MAX           160 /* bytes of a JSON pointer here */
#define HEADER_NAME_MAX  64u
#define HEADER_VALUE_MAX 1024u
#define PATH_MAX_BYTES   1024u
#define SECS_MAX         86400

static const char *const balance_words[] = {
#define X(name, word) [BALANCE_##name] = word,
    ROUTE_BALANCES(X)
#undef X
};

/* --- life ------------------------------------------------------------------------------------ */

static struct route_options *options_alloc(void)
{
    struct route_options *options = must_alloc(sizeof(*options));

    atomic_init(&options->refs, 1);
    options->max_body_bytes = UINT64_MAX;
    return options;
}

struct route_options *route_options_new(void)
{
    struct route_options *options = options_alloc();

    options->text = must_strdup("");
    return options;
}

struct route_options *route_options_ref(struct route_options *options)
{
    unsigned before = atomic_fetch_add_explicit(&options->refs, 1, memory_order_relaxed);

    must(before > 0);
    return options;
}

static void headers_fini(struct route_headers *headers)
{
    for (unsigned i = 0; i < headers->count; i++) {
        free(headers->list[i].name);
        free(headers->list[i].value);
    }
    free(headers->list);
}

void route_options_unref(struct route_options *options)
{
    if (!options || atomic_fetch_sub_explicit(&options->refs, 1, memory_order_acq_rel) > 1)
        return;
    headers_fini(&options->to_origin);
    headers_fini(&options->to_client);
    free(options->health.path);
    free(options->hsts);
    origin_tls_unref(options->tls);
    free(options->text);
    free(options);
}

/* --- writing down ---------------------------------------------------------------------------- */

static void put(struct json_object *obj, const char *key, struct json_object *value)
{
    int rc = json_object_object_add(obj, key, value);

    must(rc == 0);
}

static void put_text(struct json_object *obj, const char *key, const char *text)
{
    put(obj, key, json_object_new_string(text));
}

static void put_number(struct json_object *obj, const char *key, uint64_t number)
{
    put(obj, key, json_object_new_int64((int64_t)number));
}

static void put_flag(struct json_object *obj, const char *key, bool flag)
{
    put(obj, key, json_object_new_boolean(flag));
}

/* --- the parts ------------------------------------------------------------------------------- */

/* One reading: where faults go, and what is written down. */
struct reading {
    struct json_check *faults; /* borrowed */
    const char *base;          /* of the route */
    struct json_object *obj;   /* borrowed: the route */
    struct json_object *text;  /* owned */
    struct route_options *options;
};

/* The object under `key`, with its pointer; NULL when there is none. */
static struct json_object *open_part(struct reading *r, const char *key, const char *const *keys,
                                     char at[AT_MAX])
{
    struct json_object *part = json_obj(r->faults, r->base, r->obj, key, JSON_OPTIONAL);

    if (!part)
        return NULL;
    snprintf(at, AT_MAX, "%s/%s", r->base, key);
    json_only(r->faults, at, part, keys);
    return part;
}

static void read_balance(struct reading *r)
{
    const char *word = json_str(r->faults, r->base, r->obj, "balance", JSON_OPTIONAL, 1, 32);
    unsigned i = 0;

    if (!word)
        return;
    while (i < BALANCE_COUNT && strcmp(word, balance_words[i]) != 0)
        i++;
    if (i == BALANCE_COUNT) {
        json_fault_at(r->faults, r->base, "balance", "invalid",
                      "must be \"roundRobin\", \"leastConnections\" or \"p2c\"");
        return;
    }
    r->options->balance = (enum route_balance)i;
    if (i != BALANCE_ROUND_ROBIN)
        put_text(r->text, "balance", word);
}

static void read_flags(struct reading *r)
{
    struct route_options *o = r->options;

    o->explains = json_flag(r->faults, r->base, r->obj, "explain", JSON_OPTIONAL, false);
    o->forwards_authorization =
        json_flag(r->faults, r->base, r->obj, "forwardAuthorization", JSON_OPTIONAL, false);
    if (o->explains)
        put_flag(r->text, "explain", true);
    if (o->forwards_authorization)
        put_flag(r->text, "forwardAuthorization", true);
}

static void read_limits(struct reading *r)
{
    static const char *const keys[] = {"connectSecs", "bodyIdleSecs", NULL};
    struct route_options *o = r->options;
    char at[AT_MAX];
    struct json_object *part = open_part(r, "timeouts", keys, at), *text;

    if (json_has(r->obj, "maxBodyBytes")) {
        o->max_body_bytes = (uint64_t)json_int(r->faults, r->base, r->obj, "maxBodyBytes",
                                               JSON_REQUIRED, 0, INT64_MAX, 0);
        put_number(r->text, "maxBodyBytes", o->max_body_bytes);
    }
    if (!part)
        return;
    o->connect_ms =
        1000 * (uint32_t)json_int(r->faults, at, part, "connectSecs", JSON_OPTIONAL, 1, 3600, 0);
    o->silence_ms = 1000 * (uint32_t)json_int(r->faults, at, part, "bodyIdleSecs", JSON_OPTIONAL, 1,
                                              SECS_MAX, 0);
    text = json_object_new_object();
    if (o->connect_ms)
        put_number(text, "connectSecs", o->connect_ms / 1000);
    if (o->silence_ms)
        put_number(text, "bodyIdleSecs", o->silence_ms / 1000);
    put(r->text, "timeouts", text);
}

static void read_hsts(struct reading *r)
{
    static const char *const keys[] = {"maxAgeSecs", "includeSubDomains", "preload", NULL};
    char at[AT_MAX];
    struct json_object *part = open_part(r, "hsts", keys, at), *text;
    int64_t age;
    bool has_subdomains, is_preload;

    if (!part)
        return;
    age = json_int(r->faults, at, part, "maxAgeSecs", JSON_OPTIONAL, 0, 315360000, 31536000);
    has_subdomains = json_flag(r->faults, at, part, "includeSubDomains", JSON_OPTIONAL, false);
    is_preload = json_flag(r->faults, at, part, "preload", JSON_OPTIONAL, false);
    r->options->hsts =
        must_printf("max-age=%" PRId64 "%s%s", age, has_subdomains ? "; includeSubDomains" : "",
                    is_preload ? "; preload" : "");
    text = json_object_new_object();
    put_number(text, "maxAgeSecs", (uint64_t)age);
    put_flag(text, "includeSubDomains", has_subdomains);
    put_flag(text, "preload", is_preload);
    put(r->text, "hsts", text);
}

static bool is_path(const char *text)
{
    if (text[0] != '/')
        return false;
    for (; *text; text++)
        if (*text <= ' ' || *text == 0x7f || *text == '#')
            return false;
    return true;
}

static void read_health(struct reading *r)
{
    static const char *const keys[] = {"path",         "intervalSecs",   "timeoutSecs",
                                       "healthyAfter", "unhealthyAfter", NULL};
    struct route_health *h = &r->options->health;
    char at[AT_MAX];
    struct json_object *part = open_part(r, "healthCheck", keys, at), *text;
    const char *path;
    int64_t interval, timeout;

    if (!part)
        return;
    path = json_str(r->faults, at, part, "path", JSON_REQUIRED, 1, PATH_MAX_BYTES);
    interval = json_int(r->faults, at, part, "intervalSecs", JSON_OPTIONAL, 1, 3600, 10);
    timeout = json_int(r->faults, at, part, "timeoutSecs", JSON_OPTIONAL, 1, 600, 5);
    h->healthy_threshold =
        (uint32_t)json_int(r->faults, at, part, "healthyAfter", JSON_OPTIONAL, 1, 100, 2);
    h->unhealthy_threshold =
        (uint32_t)json_int(r->faults, at, part, "unhealthyAfter", JSON_OPTIONAL, 1, 100, 3);
    if (!path)
        return;
    if (!is_path(path)) {
        json_fault_at(r->faults, at, "path", "invalid",
                      "must begin with \"/\" and have no blank, control character or \"#\"");
        return;
    }
    h->path = must_strdup(path);
    h->interval_ms = 1000 * (uint32_t)interval;
    h->timeout_ms = 1000 * (uint32_t)timeout;
    text = json_object_new_object();
    put_text(text, "path", path);
    put_number(text, "intervalSecs", (uint64_t)interval);
    put_number(text, "timeoutSecs", (uint64_t)timeout);
    put_number(text, "healthyAfter", h->healthy_threshold);
    put_number(text, "unhealthyAfter", h->unhealthy_threshold);
    put(r->text, "healthCheck", text);
}

static void read_tls(struct reading *r, const char *host, struct origin_tls_cache *cache)
{
    static const char *const keys[] = {"verify", "caFile", "serverName", NULL};
    char at[AT_MAX], why[256] = "";
    struct json_object *part = open_part(r, "upstreamTls", keys, at), *text;
    const char *ca_file, *name;
    bool verifies;
    int rc;

    if (!part)
        return;
    verifies = json_flag(r->faults, at, part, "verify", JSON_OPTIONAL, true);
    ca_file = json_str(r->faults, at, part, "caFile", JSON_OPTIONAL, 1, 4096);
    name = json_str(r->faults, at, part, "serverName", JSON_OPTIONAL, 1, 253);
    if (ca_file && !verifies)
        json_fault_at(r->faults, at, "caFile", "conflict", "means nothing without \"verify\"");
    if (!json_has(part, "serverName"))
        name = host && host[0] != '*' ? host : verifies ? NULL : "";
    if (!name) {
        if (host && !json_has(part, "serverName"))
            json_fault_at(r->faults, at, "serverName", "required",
                          "is missing: a wildcard names no host to check for");
        return;
    }
    rc = origin_tls_cache_get(cache, verifies, ca_file, name, &r->options->tls, why, sizeof(why));
    if (rc != 0)
        json_fault_at(r->faults, at, ca_file ? "caFile" : "verify", "invalid", "%s", why);
    text = json_object_new_object();
    put_flag(text, "verify", verifies);
    if (ca_file)
        put_text(text, "caFile", ca_file);
    if (json_has(part, "serverName"))
        put_text(text, "serverName", name);
    put(r->text, "upstreamTls", text);
}

/* --- header fields --------------------------------------------------------------------------- */

/* Whether a route may have its way with a field: not with framing, the connection, or what tells
 * the destination who the client is. */
static bool is_free_field(const char *name, size_t n)
{
    switch (http_field_id_of((struct http_text){name, n})) {
    case FIELD_OTHER:
    case FIELD_NO_TRAILER:
    case FIELD_REQUEST_ID:
    case FIELD_AUTHORIZATION:
        return true;
    case FIELD_HOST:
    case FIELD_CONTENT_LENGTH:
    case FIELD_TRANSFER_ENCODING:
    case FIELD_CONNECTION:
    case FIELD_KEEP_ALIVE:
    case FIELD_PROXY_CONNECTION:
    case FIELD_PROXY:
    case FIELD_TE:
    case FIELD_TRAILER:
    case FIELD_UPGRADE:
    case FIELD_HTTP2_SETTINGS:
    case FIELD_EXPECT:
    case FIELD_FORWARDED:
    case FIELD_DATE:
    case FIELD_LOOKALIKE:
        break;
    }
    return false;
}

/* The name in lower case, the caller's; NULL after a fault. */
static char *take_name(struct reading *r, const char *at, const char *key, const char *name)
{
    size_t n = strlen(name);
    char *lower;

    for (size_t i = 0; i < n; i++)
        if (!http_is_token_char(name[i]) || n > HEADER_NAME_MAX) {
            json_fault_at(r->faults, at, key, "invalid", "is no name of a header field");
            return NULL;
        }
    if (n == 0 || !is_free_field(name, n)) {
        json_fault_at(r->faults, at, key, "invalid", "is not a field that a route may change");
        return NULL;
    }
    lower = must_strdup(name);
    for (size_t i = 0; i < n; i++)
        lower[i] = (char)http_lower(lower[i]);
    return lower;
}

static void add_header(struct reading *r, const char *at, const char *key,
                       struct route_headers *headers, const char *name, const char *value)
{
    char *lower = take_name(r, at, key, name);

    if (!lower)
        return;
    for (unsigned i = 0; i < headers->count; i++) {
        if (strcmp(headers->list[i].name, lower) != 0)
            continue;
        json_fault_at(r->faults, at, key, "duplicate", "\"%s\" is named twice", lower);
        free(lower);
        return;
    }
    headers->bytes += strlen(lower) + (value ? strlen(value) : 0) + 4;
    if (headers->count == ROUTE_HEADERS_MAX || headers->bytes > ROUTE_HEADERS_BYTES) {
        json_fault(r->faults, at, "range", "more than %u fields or %u bytes", ROUTE_HEADERS_MAX,
                   ROUTE_HEADERS_BYTES);
        free(lower);
        return;
    }
    if (!headers->list)
        headers->list = must_alloc(ROUTE_HEADERS_MAX * sizeof(*headers->list));
    headers->list[headers->count++] =
        (struct route_header){.name = lower, .value = value ? must_strdup(value) : NULL};
}

static bool is_value(const char *text)
{
    size_t n = strlen(text);

    if (n == 0)
        return true;
    for (size_t i = 0; i < n; i++)
        if (!http_is_value_char(text[i]))
            return false;
    return text[0] != ' ' && text[n - 1] != ' ';
}

static void read_set(struct reading *r, const char *base, struct json_object *part,
                     struct route_headers *headers)
{
    struct json_object *set = json_obj(r->faults, base, part, "set", JSON_OPTIONAL);
    char at[AT_MAX + 64];

    if (!set)
        return;
    snprintf(at, sizeof(at), "%s/set", base);
    json_object_object_foreach(set, name, unused)
    {
        const char *value = json_str(r->faults, at, set, name, JSON_REQUIRED, 0, HEADER_VALUE_MAX);

        (void)unused;
        if (value && is_value(value))
            add_header(r, at, name, headers, name, value);
        else if (value)
            json_fault_at(r->faults, at, name, "invalid", "is no value of a header field");
    }
}

static void read_remove(struct reading *r, const char *base, struct json_object *part,
                        struct route_headers *headers)
{
    struct json_object *list =
        json_array(r->faults, base, part, "remove", JSON_OPTIONAL, 0, ROUTE_HEADERS_MAX);
    size_t count = list ? json_object_array_length(list) : 0;
    char at[AT_MAX + 64];

    snprintf(at, sizeof(at), "%s/remove", base);
    for (size_t i = 0; i < count; i++) {
        struct json_object *name = json_object_array_get_idx(list, i);
        char key[24];

        snprintf(key, sizeof(key), "%zu", i);
        if (json_object_is_type(name, json_type_string))
            add_header(r, at, key, headers, json_object_get_string(name), NULL);
        else
            json_fault_at(r->faults, at, key, "type", "must be a string, is %s",
                          json_type_of(name));
    }
}

static int compare_headers(const void *a, const void *b)
{
    const struct route_header *x = a, *y = b;

    return strcmp(x->name, y->name);
}

static struct json_object *emit_headers(const struct route_headers *headers)
{
    struct json_object *obj = json_object_new_object(), *set = json_object_new_object();
    struct json_object *removed = json_object_new_array();

    for (unsigned i = 0; i < headers->count; i++) {
        const struct route_header *h = &headers->list[i];

        if (h->value)
            put_text(set, h->name, h->value);
        else
            json_object_array_add(removed, json_object_new_string(h->name));
    }
    put(obj, "set", set);
    put(obj, "remove", removed);
    return obj;
}

static void read_direction(struct reading *r, const char *base, struct json_object *headers,
                           struct json_object *text, const char *key, struct route_headers *out)
{
    static const char *const keys[] = {"set", "remove", NULL};
    struct json_object *part = json_obj(r->faults, base, headers, key, JSON_OPTIONAL);
    char at[AT_MAX + 32];

    if (!part)
        return;
    snprintf(at, sizeof(at), "%s/%s", base, key);
    json_only(r->faults, at, part, keys);
    read_set(r, at, part, out);
    read_remove(r, at, part, out);
    if (out->count > 0)
        qsort(out->list, out->count, sizeof(*out->list), compare_headers);
    put(text, key, emit_headers(out));
}

static void read_headers(struct reading *r)
{
    static const char *const keys[] = {"request", "response", NULL};
    char at[AT_MAX];
    struct json_object *part = open_part(r, "headers", keys, at), *text;

    if (!part)
        return;
    text = json_object_new_object();
    read_direction(r, at, part, text, "request", &r->options->to_origin);
    read_direction(r, at, part, text, "response", &r->options->to_client);
    put(r->text, "headers", text);
}

/* --- all ---------------------------------------------------------------------------------------
 */

struct route_options *route_options_parse(struct json_check *faults, const char *base,
                                          struct json_object *obj, const char *host,
                                          struct origin_tls_cache *tls)
{
    size_t before = faults->total;
    struct reading r = {
        .faults = faults,
        .base = base,
        .obj = obj,
        .text = json_object_new_object(),
        .options = options_alloc(),
    };

    read_balance(&r);
    read_flags(&r);
    read_headers(&r);
    read_health(&r);
    read_hsts(&r);
    read_limits(&r);
    read_tls(&r, host, tls);
    r.options->text =
        must_strdup(json_object_object_length(r.text) == 0
                        ? ""
                        : json_object_to_json_string_ext(r.text, JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(r.text);
    if (faults->total == before)
        return r.options;
    route_options_unref(r.options);
    return NULL;
}
