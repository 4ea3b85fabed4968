/* h2_emit - an answer's head and trailers as nghttp2 takes them: names and values borrowed, in
 * whatever case (nghttp2 copies names in lower case). */
#ifndef TRAFFIC_H2_EMIT_H
#define TRAFFIC_H2_EMIT_H

#include <nghttp2/nghttp2.h>

#include "traffic/http_head.h"

#define H2_OWN_FIELDS 8u

struct h2_fields {
    size_t count;
    nghttp2_nv list[HTTP_FIELDS_MAX + H2_OWN_FIELDS];
    char status[3], length[20];
};

/* What we add to an answer. */
struct h2_answer {
    const char *version_header, *version; /* NULL: none */
    const char *date;                     /* put in when the origin sent none; NULL: none */
};

/* The fields that are not dropped, behind :status; a 101 becomes the 200 of RFC 8441.  Points into
 * r, a and itself. */
void h2_fields_response(struct h2_fields *f, const struct http_response *r,
                        const struct h2_answer *a);
void h2_fields_trailers(struct h2_fields *f, const struct http_fields *trailers);

#endif
