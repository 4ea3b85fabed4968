/* hello_json - see hello.h: the two lines of the handshake.  api/tunnel.md "Handshake".
 *
 * A missing key or one of the wrong type makes a line that is not well formed; a value of the right
 * type but out of its limits is a fault of "the rest", which the hub may tell only after the proof.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "wire/base64url.h"
#include "wire/hello.h"
#include "wire/object_json.h"
#include "json/json.h"

/* Bytes of the line with its newline; 0: not whole yet; -ERR_TOO_BIG. */
static int find_line(const uint8_t *src, size_t n, size_t max)
{
    const uint8_t *end = n > 0 ? memchr(src, '\n', MIN(n, max)) : NULL;

    if (end)
        return (int)(end - src) + 1;
    return n >= max ? -ERR_TOO_BIG : 0;
}

static const char *any_str(struct json_check *c, struct json_object *obj, const char *key,
                           enum json_need need)
{
    return json_str(c, "", obj, key, need, 0, SIZE_MAX);
}

static bool parse_session(uint8_t out[SESSION_BYTES], const char *text)
{
    size_t len;

    return strlen(text) == SESSION_TEXT_LEN &&
           base64url_parse(out, SESSION_BYTES, text, SESSION_TEXT_LEN, &len) == 0;
}

static void add_session(struct json_object *obj, const uint8_t session[SESSION_BYTES])
{
    char text[SESSION_TEXT_LEN + 1];

    base64url_emit(text, session, SESSION_BYTES);
    object_add_str(obj, "session", text);
}

static void add_proof(struct json_object *obj, const uint8_t proof[PROOF_BYTES])
{
    char text[PROOF_TEXT_LEN + 1];

    proof_emit(text, proof);
    object_add_str(obj, "proof", text);
}

static void read_features(struct json_check *c, struct json_object *obj, struct feature_list *out)
{
    struct json_object *list = json_array(c, "", obj, "features", JSON_REQUIRED, 0, SIZE_MAX);
    size_t n = list ? json_object_array_length(list) : 0;

    for (size_t i = 0; i < n; i++) {
        struct json_object *one = json_object_array_get_idx(list, i);
        if (!json_object_is_type(one, json_type_string)) {
            json_fault_at(c, "", "features", "type", "entry %zu must be a string", i);
            return;
        }
        const char *name = json_object_get_string(one);
        if (strlen(name) == (size_t)json_object_get_string_len(one)) /* NUL: no name of ours */
            feature_list_add(out, name);
    }
}

static void add_features(struct json_object *obj, const struct feature_list *l)
{
    struct json_object *list = json_object_new_array();

    must(list != NULL);
    for (size_t i = 0; i < l->count; i++) {
        int rc = json_object_array_add(list, json_object_new_string(l->names[i]));
        must(rc == 0);
    }
    object_add(obj, "features", list);
}

/* What the edge says of its place: faults here are told only after the proof. */
static void read_place(struct json_check *c, struct json_object *obj, struct hello *out)
{
    const char *instance = any_str(c, obj, "instance", JSON_REQUIRED);
    const char *session = any_str(c, obj, "session", JSON_OPTIONAL);
    int64_t lane = json_int(c, "", obj, "lane", JSON_REQUIRED, 0, LANE_MAX, -1);

    if (instance_is_valid(instance))
        snprintf(out->instance, sizeof(out->instance), "%s", instance);
    else
        out->rest_fault = "instance must have 1 to 253 bytes and no control characters";
    out->has_session = json_has(obj, "session");
    out->is_session_formed = session && parse_session(out->session, session);
    if (lane < 0)
        out->rest_fault = "lane must be 0 to 65535";
    else if (lane > 0 && !out->has_session)
        out->rest_fault = "a new session begins with lane 0";
    out->lane = lane < 0 ? 0 : (uint32_t)lane;
}

/* Drops the faults of values that are only out of their limits: the hub looks at those later. */
static int end_line_check(struct json_check *c, struct wire_why *why)
{
    int rc = 0;

    for (size_t i = 0; i < c->count && rc == 0; i++) {
        const struct json_fault *f = &c->faults[i];
        if (strcmp(f->code, "required") != 0 && strcmp(f->code, "type") != 0)
            continue;
        snprintf(why->text, sizeof(why->text), "%s: %s", f->pointer + 1, f->detail);
        rc = -ERR_PROTO;
    }
    /* One that is not kept can only come behind a thousand others of a 4 KiB line. */
    must(c->total == c->count);
    json_check_fini(c);
    return rc;
}

int hello_parse(struct hello *out, const uint8_t *src, size_t n, struct wire_why *why)
{
    int line = find_line(src, n, HELLO_MAX);
    struct json_object *obj;
    struct json_check c;

    *out = (struct hello){.version = 0};
    if (line <= 0)
        return line;
    if ((size_t)line < n) {
        snprintf(why->text, sizeof(why->text), "%zu bytes behind the line", n - (size_t)line);
        return -ERR_PROTO;
    }
    if (object_read(&obj, src, (size_t)line, why) != 0)
        return -ERR_PROTO;
    json_check_init(&c);
    out->version = json_int(&c, "", obj, "version", JSON_REQUIRED, INT64_MIN, INT64_MAX, 0);
    const char *id = any_str(&c, obj, "edgeId", JSON_REQUIRED);
    if (edge_id_is_valid(id))
        snprintf(out->edge_id, sizeof(out->edge_id), "%s", id);
    const char *proof = any_str(&c, obj, "proof", JSON_REQUIRED);
    out->is_proof_formed = proof && proof_parse(out->proof, proof) == 0;
    read_place(&c, obj, out);
    object_read_text(&c, "", obj, "software", out->software, sizeof(out->software));
    read_features(&c, obj, &out->features);
    json_object_put(obj);
    int rc = end_line_check(&c, why);
    return rc != 0 ? rc : line;
}

char *hello_emit(const struct hello *h, size_t *len)
{
    struct json_object *obj = object_new();
    size_t n;

    must(edge_id_is_valid(h->edge_id));
    must(instance_is_valid(h->instance));
    must(h->lane <= LANE_MAX);
    must(h->lane == 0 || h->has_session);
    object_add_int(obj, "version", (uint64_t)h->version);
    object_add_str(obj, "edgeId", h->edge_id);
    object_add_str(obj, "instance", h->instance);
    if (h->has_session)
        add_session(obj, h->session);
    object_add_int(obj, "lane", h->lane);
    add_proof(obj, h->proof);
    object_add_str(obj, "software", h->software);
    add_features(obj, &h->features);
    char *text = object_emit(obj, "\n", &n);
    must(n <= HELLO_MAX);
    if (len)
        *len = n;
    return text;
}

static enum answer_code answer_of(const char *name)
{
    enum answer_code code = ANSWER_OK + 1;

    while (code != ANSWER_OTHER && strcmp(answer_name(code), name) != 0)
        code++;
    return code;
}

static void read_error(struct json_check *c, struct json_object *error, struct answer *out)
{
    const char *code = json_str(c, "/error", error, "code", JSON_REQUIRED, 1, SIZE_MAX);

    out->code = code ? answer_of(code) : ANSWER_OTHER;
    object_read_text(c, "/error", error, "message", out->message, sizeof(out->message));
    out->retry_after_secs =
        object_read_secs(c, "/error", error, "retryAfterSecs", false, RETRY_UNPROVEN_MAX_SECS);
}

static void read_success(struct json_check *c, struct json_object *obj, struct answer *out)
{
    json_int(c, "", obj, "version", JSON_REQUIRED, WIRE_VERSION, WIRE_VERSION, 0);
    const char *id = json_str(c, "", obj, "edgeId", JSON_REQUIRED, 1, EDGE_ID_MAX);
    if (edge_id_is_valid(id))
        snprintf(out->edge_id, sizeof(out->edge_id), "%s", id);
    else if (id)
        json_fault_at(c, "", "edgeId", "invalid", "is no edge id");
    const char *proof = any_str(c, obj, "proof", JSON_REQUIRED);
    out->is_proof_formed = proof && proof_parse(out->proof, proof) == 0;
    const char *session = any_str(c, obj, "session", JSON_REQUIRED);
    if (session && !parse_session(out->session, session))
        json_fault_at(c, "", "session", "invalid", "must be 128 bits in base64url");
    out->initial_window = (uint32_t)json_int(c, "", obj, "initialWindow", JSON_REQUIRED,
                                             INITIAL_WINDOW_MIN, INITIAL_WINDOW_MAX, 0);
    read_features(c, obj, &out->features);
    struct json_object *config = json_obj(c, "", obj, "config", JSON_REQUIRED);
    if (config)
        object_read_config(c, "/config", config, &out->config);
}

int answer_parse(struct answer *out, const uint8_t *src, size_t n, struct wire_why *why)
{
    int line = find_line(src, n, ANSWER_MAX);
    struct json_object *obj;
    struct json_check c;

    *out = (struct answer){.code = ANSWER_OK};
    if (line <= 0)
        return line;
    if (object_read(&obj, src, (size_t)line, why) != 0)
        return -ERR_PROTO;
    json_check_init(&c);
    if (json_has(obj, "error"))
        read_error(&c, json_obj(&c, "", obj, "error", JSON_REQUIRED), out);
    else
        read_success(&c, obj, out);
    json_object_put(obj);
    int rc = object_end_check(&c, why);
    if (rc == 0)
        return line;
    answer_fini(out);
    return rc;
}

static struct json_object *object_of_error(const struct answer *a)
{
    struct json_object *obj = object_new(), *error = object_new();

    object_add_str(error, "code", answer_name(a->code));
    object_add_str(error, "message", a->message);
    if (a->retry_after_secs > 0)
        object_add_int(error, "retryAfterSecs", a->retry_after_secs);
    object_add(obj, "error", error);
    return obj;
}

static struct json_object *object_of_success(const struct answer *a)
{
    struct json_object *obj = object_new();

    must(edge_id_is_valid(a->edge_id));
    must(a->initial_window >= INITIAL_WINDOW_MIN);
    must(a->initial_window <= INITIAL_WINDOW_MAX);
    object_add_int(obj, "version", WIRE_VERSION);
    object_add_str(obj, "edgeId", a->edge_id);
    add_proof(obj, a->proof);
    add_session(obj, a->session);
    object_add_int(obj, "initialWindow", a->initial_window);
    add_features(obj, &a->features);
    object_add(obj, "config", object_of_config(&a->config));
    return obj;
}

char *answer_emit(const struct answer *a, size_t *len)
{
    size_t n;

    must(a->code != ANSWER_OTHER);
    char *text =
        object_emit(a->code == ANSWER_OK ? object_of_success(a) : object_of_error(a), "\n", &n);
    must(n <= ANSWER_MAX);
    if (len)
        *len = n;
    return text;
}
