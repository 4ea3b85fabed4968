/* own_answer - the short answers that traffic gives by itself: refusals, failures, redirects. */
#ifndef TRAFFIC_OWN_ANSWER_H
#define TRAFFIC_OWN_ANSWER_H

#include "traffic/h1_emit.h"
#include "traffic/traffic_reason.h"

struct own_answer {
    unsigned status;
    const char *word; /* goes into the body: "400 bare_lf" */
    unsigned minor;   /* of the client */
    bool closes;      /* the connection ends with it */
    bool is_head;     /* no body, but its length */
    const char *date;
    const char *version_header, *version; /* NULL: none */
    const char *realm;                    /* 401 */
    const char *hsts;                     /* of the route; or NULL */
    bool explains;                        /* the word in a field too: HEAD has no body */
    struct http_text location;            /* 301; empty: none */
};

void own_answer_emit(struct h1_text *t, const struct own_answer *a);

#endif
