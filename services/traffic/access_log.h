/* access_log - one line a request, of both listeners, with `log.access`.
 *
 * `log.accessFormat` says in which form:
 *   json      an event of the log like others ("traffic request"), in log.format
 *   combined  NCSA's line, which goaccess and awstats read, alone on its line:
 *             client - user [time] "method target protocol" status bytes "referer" "user-agent"
 *
 * No field of a request is logged but its id and, in the combined line, Referer and User-Agent;
 * texts are cut to what the structs below hold.  In the combined line a quote, a backslash and what
 * is no visible ASCII leave as \xHH, as nginx writes them, and so does a blank where it would end a
 * column; what is not known is "-".  A request that got no answer has the status 499, as nginx has
 * it: 0 is none, and programs refuse the line.
 */
#ifndef TRAFFIC_ACCESS_LOG_H
#define TRAFFIC_ACCESS_LOG_H

#include <stdint.h>
#include <time.h>

#include "traffic/http_head.h"
#include "traffic/traffic_conf.h"
#include "traffic/traffic_reason.h"

struct exchange;
struct traffic_worker;

/* Bytes, with the NUL. */
#define ACCESS_METHOD_MAX 16u
#define ACCESS_PATH_MAX   256u
#define ACCESS_USER_MAX   64u
#define ACCESS_VALUE_MAX  256u /* of Referer and of User-Agent */
#define ACCESS_TIME_MAX   32u  /* "10/Oct/2000:13:55:36 +0000" */

#define ACCESS_LINE_MAX  4096u /* the combined one; the bounds above keep within it */
#define ACCESS_NO_ANSWER 499u

/* What the combined line needs of a request's head, which is gone when it is written. */
struct access_notes {
    char user[ACCESS_USER_MAX]; /* who was let in; "": nobody was asked */
    char referer[ACCESS_VALUE_MAX], agent[ACCESS_VALUE_MAX];
};

/* A request that is over; all texts are borrowed. */
struct access_record {
    const char *client; /* address */
    const char *host;   /* of the TLS handshake; of Host on the plain listener */
    const char *protocol, *method, *path;
    const char *upstream, *tls, *request_id;
    const struct access_notes *notes; /* NULL: none */
    unsigned status;                  /* 0: no answer could be sent */
    uint64_t bytes_in, bytes_out, us;
    enum traffic_reason reason;
};

/* Copies a text that need not be ended; what is too long is cut. */
void access_log_copy(char *to, size_t size, struct http_text from);
/* Referer and User-Agent of a request; *notes need not be zeroed. */
void access_notes_set(struct access_notes *notes, const struct http_fields *fields);
/* Writes the line, if one is wanted. */
void access_log_write(const struct traffic_worker *w, const struct access_record *r);
/* The same of an exchange: what it keeps of its request's head, who was let in (it has a route),
 * and the line, with `status` after `us`. */
void access_log_note(struct exchange *x, const struct http_request *r);
void access_log_note_user(struct exchange *x);
void access_log_request(const struct exchange *x, unsigned status, uint64_t us,
                        enum traffic_reason reason);
/* The time in the combined line. */
void access_log_time(char out[ACCESS_TIME_MAX], const struct tm *tm);

#endif
