/* request_id - what a request is called in logs: X-Request-Id, the client's own or one of ours.
 *
 * An id of the client's is kept when it is one field of 1 to REQUEST_ID_MAX token characters (RFC
 * 9110 5.6.2): it is text and nothing else, a client may forge the id of any other request.  Else,
 * with `generateRequestId`, the request gets one: 128 random bits in hexadecimal, which the origin
 * gets in place of what came.
 */
#ifndef TRAFFIC_REQUEST_ID_H
#define TRAFFIC_REQUEST_ID_H

#include "traffic/http_head.h"

#define REQUEST_ID_MAX   64u /* of the client's */
#define REQUEST_ID_BYTES 16u /* of ours, in twice as many digits */
#define REQUEST_ID_BATCH 64u /* ids that one call of the random number generator is good for */

/* Random bytes in store; zeroed at first.  One thread. */
struct request_ids {
    uint8_t random[REQUEST_ID_BATCH * REQUEST_ID_BYTES];
    unsigned left; /* ids that are in it */
};

/* The client's, ended by NUL; false: there is none that may be kept, and `out` is "". */
bool request_id_read(char out[REQUEST_ID_MAX + 1], const struct http_fields *fields);
/* One of ours, ended by NUL. */
void request_id_make(char out[REQUEST_ID_MAX + 1], struct request_ids *ids);
/* The field with `id` (borrowed) in place of what came.  At most once a request: http_fields has
 * room for it. */
void request_id_put(struct http_fields *fields, const char *id);

#endif
