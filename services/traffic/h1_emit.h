/* h1_emit - writes heads, chunk frames and trailers of HTTP/1. */
#ifndef TRAFFIC_H1_EMIT_H
#define TRAFFIC_H1_EMIT_H

#include <string.h>

#include "base/must.h"
#include "traffic/http_head.h"

/* Text put together in the caller's memory.  When it does not fit, is_cut is set and nothing more
 * is written: one look at the end is enough. */
struct h1_text {
    char *p;
    size_t n, size;
    bool is_cut;
};

static inline void h1_put(struct h1_text *t, const char *s, size_t n)
{
    if (n > t->size - t->n) {
        t->is_cut = true;
        t->size = t->n;
        return;
    }
    if (n > 0)
        memcpy(t->p + t->n, s, n);
    t->n += n;
}

#define H1_PUT_LITERAL(t, s) h1_put((t), (s), sizeof(s) - 1)
void h1_put_text(struct h1_text *t, const char *s);
void h1_put_number(struct h1_text *t, uint64_t number);
void h1_put_field(struct h1_text *t, const char *name, const char *value);

/* The head for the origin: request line, Host, the fields that are not dropped, `extras` (whole
 * lines), framing, the empty line. */
void h1_request_emit(struct h1_text *t, const struct http_request *r, struct http_text extras);

/* What the client's side adds to an answer. */
struct h1_answer {
    unsigned minor;                       /* of the client */
    bool closes;                          /* the connection ends with it */
    bool is_chunked;                      /* the body goes out in chunks */
    const char *version_header, *version; /* NULL: none */
    const char *date;                     /* put in when the origin sent none */
};
void h1_response_emit(struct h1_text *t, const struct http_response *r, const struct h1_answer *a);
/* 1xx but 101. */
void h1_interim_emit(struct h1_text *t, const struct http_response *r);

#define H1_CHUNK_HEAD_MAX 18u /* 16 digits and CRLF */
size_t h1_chunk_head(char out[H1_CHUNK_HEAD_MAX], size_t n);
/* The trailers that are not dropped, CRLF. */
void h1_trailers_emit(struct h1_text *t, const struct http_fields *trailers);
/* "0" CRLF in front of them. */
void h1_last_chunk_emit(struct h1_text *t, const struct http_fields *trailers);

#endif
