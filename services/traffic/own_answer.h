/* own_answer - the short answers that traffic gives by itself: refusals, failures, redirects.  They
 * are made as an answer of an origin would be read (struct http_response), so that each version of
 * HTTP sends them as it sends any other.
 */
#ifndef TRAFFIC_OWN_ANSWER_H
#define TRAFFIC_OWN_ANSWER_H

#include "traffic/h1_emit.h"
#include "traffic/traffic_reason.h"

struct exchange;

#define OWN_ANSWER_BODY_MAX 96u

struct own_answer {
    unsigned status;
    const char *word; /* goes into the body: "400 bare_lf" */
    unsigned minor;   /* of the client, in HTTP/1 */
    bool closes;      /* the connection ends with it, in HTTP/1 */
    bool is_head;     /* no body, but its length */
    const char *date;
    const char *version_header, *version; /* NULL: none */
    const char *realm;                    /* 401 */
    const char *hsts;                     /* of the route; or NULL */
    bool explains;                        /* the word in a field too: HEAD has no body */
    const char *request_id;               /* in a field; NULL: none */
    struct http_text location;            /* 301; empty: none */
    /* Of own_answer_make(). */
    char body[OWN_ANSWER_BODY_MAX], challenge[320];
    size_t body_len;
};

/* What to answer for a request that fails with `reason`; only where that has a status. */
void own_answer_set(struct own_answer *a, const struct exchange *x, enum traffic_reason reason);
/* The head (borrowed from *a) and a->body, which goes behind it. */
void own_answer_make(struct own_answer *a, struct http_response *out);
/* All of it in HTTP/1. */
void own_answer_emit(struct h1_text *t, struct own_answer *a);

#endif
