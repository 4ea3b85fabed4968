/* coreflow_json - see coreflow_json.h. */
#include "traffic/coreflow_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "traffic/coreflow.h"

#define FAULTS_TOLD 10u /* of an update's; the number of all is told too */

static void add(struct json_object *obj, const char *key, struct json_object *value)
{
    int rc = json_object_object_add(obj, key, value);

    must(rc == 0);
}

static struct json_object *text(const char *s)
{
    return json_object_new_string(s);
}

/* --- reading --------------------------------------------------------------------------------- */

/* A part as JSON; NULL when it is not there, larger than `max`, or not well formed. */
static struct json_object *read_part(const struct typed_message *m, enum typed_part part,
                                     size_t max)
{
    struct json_syntax why;
    struct json_object *value = NULL;
    size_t n;
    const char *at = typed_message_part(m, part, &n);

    if (!at || n > max || json_read(&value, at, n, &why) != 0)
        return NULL;
    return value;
}

/* Copies a string without control characters, 1 to max bytes; false: it is none. */
static bool copy_string(char *out, size_t max, struct json_object *value)
{
    const char *s;
    size_t n;

    if (!json_object_is_type(value, json_type_string))
        return false;
    s = json_object_get_string(value);
    n = (size_t)json_object_get_string_len(value);
    if (n == 0 || n > max)
        return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] < ' ' || s[i] == 0x7f)
            return false;
    memcpy(out, s, n);
    out[n] = '\0';
    return true;
}

static void read_correlation(struct typed_head *out, struct json_object *correlation)
{
    struct json_object *id = NULL, *phase = NULL;
    const char *word;

    if (json_object_is_type(correlation, json_type_object)) {
        json_object_object_get_ex(correlation, "id", &id);
        json_object_object_get_ex(correlation, "phase", &phase);
    }
    if (!copy_string(out->id, TYPED_ID_MAX, id)) {
        snprintf(out->why, sizeof(out->why), "there is no correlation.id");
        return;
    }
    word = json_object_is_type(phase, json_type_string) ? json_object_get_string(phase) : "";
    if (strcmp(word, "request") == 0)
        out->phase = TYPED_REQUEST;
    else if (strcmp(word, "response") == 0)
        out->phase = TYPED_ANSWER;
    else
        snprintf(out->why, sizeof(out->why),
                 "correlation.phase is neither \"request\" nor \"response\"");
}

static void read_answer(struct typed_head *out, const struct typed_message *m)
{
    struct json_object *response = read_part(m, TYPED_RESPONSE, TYPED_TEXT_MAX);
    struct json_object *error = read_part(m, TYPED_ERROR, TYPED_TEXT_MAX), *value = NULL;
    bool is_refused = json_object_is_type(response, json_type_object) &&
                      json_object_object_get_ex(response, "success", &value) &&
                      json_object_is_type(value, json_type_boolean) &&
                      !json_object_get_boolean(value);

    out->is_good = !error && !is_refused;
    if (error && !(json_object_is_type(error, json_type_object) &&
                   json_object_object_get_ex(error, "text", &value) &&
                   copy_string(out->why, sizeof(out->why) - 1, value)))
        snprintf(out->why, sizeof(out->why), "an error without a text");
    if (is_refused && !error)
        snprintf(out->why, sizeof(out->why), "success is false");
    json_object_put(response);
    json_object_put(error);
}

void typed_head_read(struct typed_head *out, const struct typed_message *m)
{
    struct json_object *method = read_part(m, TYPED_METHOD, 6 * TYPED_METHOD_MAX);
    struct json_object *correlation = read_part(m, TYPED_CORRELATION, 8 * TYPED_ID_MAX);

    *out = (struct typed_head){.phase = TYPED_UNREADABLE};
    read_correlation(out, correlation);
    if (out->phase == TYPED_REQUEST && !copy_string(out->method, TYPED_METHOD_MAX, method)) {
        out->phase = TYPED_UNREADABLE;
        snprintf(out->why, sizeof(out->why), "there is no method");
    }
    if (out->phase == TYPED_ANSWER)
        read_answer(out, m);
    json_object_put(method);
    json_object_put(correlation);
}

/* --- writing --------------------------------------------------------------------------------- */

/* Takes request, response and error over. */
static char *emit(const char *method, struct json_object *request, struct json_object *response,
                  struct json_object *error, const char *id, const char *phase)
{
    struct json_object *obj = json_object_new_object(), *correlation = json_object_new_object();
    char *out;

    add(correlation, "id", text(id));
    add(correlation, "phase", text(phase));
    add(obj, "method", text(method));
    add(obj, "request", request);
    add(obj, "response", response);
    if (error)
        add(obj, "error", error);
    add(obj, "correlation", correlation);
    out = must_strdup(json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PLAIN |
                                                              JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(obj);
    return out;
}

char *coreflow_emit_tag(const char *tag, const char *id)
{
    struct json_object *request = json_object_new_object();

    add(request, "name", text(tag));
    add(request, "payload", json_object_new_object());
    return emit("__typedsocket_setTag", request, NULL, NULL, id, "request");
}

char *coreflow_emit_error(const struct typed_head *to, const char *why)
{
    struct json_object *error = json_object_new_object();

    add(error, "text", text(why));
    add(error, "data", json_object_new_object());
    return emit(to->method, json_object_new_object(), NULL, error, to->id, "response");
}

char *coreflow_emit_status_answer(const char *method, const char *id, const char *status,
                                  const char *errors)
{
    struct json_object *response = json_object_new_object();

    add(response, "status", text(status));
    add(response, "errorText", text(errors));
    /* The request stays out: it held private keys. */
    return emit(method, json_object_new_object(), response, NULL, id, "response");
}

static void describe_faults(const struct json_check *faults, char out[TYPED_TEXT_MAX])
{
    size_t told = MIN(faults->count, FAULTS_TOLD);
    int n = snprintf(out, TYPED_TEXT_MAX, "%zu %s", faults->total,
                     faults->total == 1 ? "fault" : "faults");

    for (size_t i = 0; i < told && n < (int)TYPED_TEXT_MAX; i++)
        n += snprintf(out + n, TYPED_TEXT_MAX - (size_t)n, "%s %s: %.300s", i == 0 ? ":" : ";",
                      faults->faults[i].pointer, faults->faults[i].detail);
    if (told < faults->total && n < (int)TYPED_TEXT_MAX)
        snprintf(out + n, TYPED_TEXT_MAX - (size_t)n, "; ...");
}

/* The status says whether the set is in force, and so it is when the disk took nothing: to call
 * that an error would make its sender believe in the set before. */
static void describe_success(const struct route_update *u, char out[TYPED_TEXT_MAX])
{
    if (u->is_store_failed)
        snprintf(out, TYPED_TEXT_MAX, "notStored: " ROUTE_NOT_STORED ": %s", u->store_why);
}

const char *coreflow_describe(const struct route_update *u, const struct route_set *live,
                              char out[TYPED_TEXT_MAX])
{
    out[0] = '\0';
    switch (u->fate) {
    case ROUTE_APPLIED:
    case ROUTE_UNCHANGED:
    case ROUTE_CHECKED:
        describe_success(u, out);
        return "ok";
    case ROUTE_CHECK_FAILED:
    case ROUTE_REJECTED:
        describe_faults(&u->build.faults, out);
        break;
    case ROUTE_SUPERSEDED:
        snprintf(out, TYPED_TEXT_MAX,
                 "superseded: update %" PRIu64 " came before this one's turn; revision %" PRIu64
                 " is live",
                 u->superseded_by, live->revision);
        break;
    case ROUTE_STOPPED:
        snprintf(out, TYPED_TEXT_MAX, "the service ends; revision %" PRIu64 " is live",
                 live->revision);
        break;
    case ROUTE_PENDING:
    case ROUTE_FATE_COUNT:
        must(false);
    }
    return "error";
}

/* --- the set in a message -------------------------------------------------------------------- */

static struct json_object *find_request(struct json_object *document, struct json_check *faults)
{
    struct json_object *request = NULL;

    if (json_object_is_type(document, json_type_object) &&
        json_object_object_get_ex(document, "request", &request) && request)
        return request;
    json_fault(faults, "/request", "required",
               "must be {\"reverseConfigs\": [...]} or an array of them");
    return NULL;
}

const struct route_shape route_shape_coreflow = {
    .key = "reverseConfigs",
    .path = (const char *const[]){"request", "reverseConfigs", NULL},
    .find = find_request,
    .takes_unknown = true,
};

/* --- status ---------------------------------------------------------------------------------- */

static struct json_object *emit_time(int64_t seconds)
{
    char out[40];
    time_t at = (time_t)seconds;
    struct tm tm;

    if (seconds == 0)
        return NULL;
    gmtime_r(&at, &tm);
    strftime(out, sizeof(out), "%Y-%m-%dT%H:%M:%SZ", &tm);
    return text(out);
}

/* Without the query, which may hold what is nobody's business. */
static struct json_object *emit_url(const struct ws_url *url)
{
    char *whole = must_printf("%s://%s%.*s", url->is_secure ? "wss" : "ws", url->authority,
                              (int)strcspn(url->target, "?"), url->target);
    struct json_object *value = text(whole);

    free(whole);
    return value;
}

struct json_object *coreflow_emit_state(const struct coreflow *c)
{
    struct json_object *obj = json_object_new_object();
    const struct coreflow_stats *s = &c->stats;

    add(obj, "state", text(coreflow_state_word(c)));
    if (c->state == COREFLOW_OFF)
        return obj;
    add(obj, "url", emit_url(&c->url));
    add(obj, "tagged", json_object_new_boolean(c->is_tagged));
    add(obj, "since", emit_time(s->last_change_at));
    add(obj, "connects", json_object_new_int64((int64_t)s->connects));
    add(obj, "updates", json_object_new_int64((int64_t)s->messages[COREFLOW_MESSAGE_UPDATE]));
    add(obj, "lastUpdateAt", emit_time(s->last_update_at));
    add(obj, "lastError", s->last_error[0] ? text(s->last_error) : NULL);
    return obj;
}
