/* coreflow_json - the texts of the Coreflow link: TypedRequest messages read and written.
 *
 *   {method, request, response, error?: {text, data}, correlation: {id, phase}}
 *
 * The phase is "request" or "response"; an answer carries the id of what it answers.
 */
#ifndef TRAFFIC_COREFLOW_JSON_H
#define TRAFFIC_COREFLOW_JSON_H

#include "traffic/route_json.h"
#include "traffic/typed_message.h"

#define TYPED_METHOD_MAX 128u
#define TYPED_ID_MAX     256u
#define TYPED_TEXT_MAX   4096u /* of a response or an error to us, and of what we say is wrong */

struct coreflow;
struct route_update;

enum typed_phase {
    TYPED_REQUEST,
    TYPED_ANSWER,
    TYPED_UNREADABLE, /* an object, but no TypedRequest: `why` */
};

/* The small parts of a message. */
struct typed_head {
    enum typed_phase phase;
    char method[TYPED_METHOD_MAX + 1];
    char id[TYPED_ID_MAX + 1];
    bool is_good;             /* of an answer: no error, and "success" is not false */
    char why[TYPED_TEXT_MAX]; /* of an answer that is not good, or unreadable: a sentence */
};

void typed_head_read(struct typed_head *out, const struct typed_message *m);

/* Each is the caller's (free). */
char *coreflow_emit_tag(const char *tag, const char *id);
char *coreflow_emit_error(const struct typed_head *to, const char *text);
/* {status, errorText}. */
char *coreflow_emit_status_answer(const char *method, const char *id, const char *status,
                                  const char *text);
/* What an update came to: status "ok", it is in force, or "error"; the text for errorText. */
const char *coreflow_describe(const struct route_update *u, const struct route_set *live,
                              char text[TYPED_TEXT_MAX]);

/* The set in an updateRouting message: request.reverseConfigs, or request as a bare array. */
extern const struct route_shape route_shape_coreflow;

/* For GET /v1/status; the caller's. */
struct json_object *coreflow_emit_state(const struct coreflow *c);

#endif
