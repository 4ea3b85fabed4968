/* traffic_h1_check - what both HTTP/1 fuzz targets hold our readers to:
 * - a body cut at any place gives the same payload and the same end as at one go;
 * - where llhttp reads the message to its end too, it has the same payload and the same end.
 */
#ifndef FUZZ_TRAFFIC_H1_CHECK_H
#define FUZZ_TRAFFIC_H1_CHECK_H

#include <llhttp.h>
#include <string.h>

#include "base/must.h"
#include "traffic/h1_body.h"
#include "traffic/h1_gather.h"

#define CHECK_HASH_START 1469598103934665603u

struct message_end {
    bool is_whole, is_bad;
    size_t end;     /* behind the last byte, when whole */
    size_t payload; /* its length */
    uint64_t hash;  /* of it */
    unsigned trailers;
};

static inline void hash_bytes(struct message_end *e, const void *bytes, size_t n)
{
    const uint8_t *p = bytes;

    e->payload += n;
    for (size_t i = 0; i < n; i++)
        e->hash = (e->hash ^ p[i]) * 1099511628211u;
}

/* Reads the body at p in pieces of `first`, first + 1, ... bytes (0: at one go). */
static inline struct message_end read_body(const uint8_t *p, size_t n, enum http_framing framing,
                                           uint64_t length, size_t first)
{
    struct message_end e = {.hash = CHECK_HASH_START};
    static struct http_fields trailers;
    struct chunk_pool pool;
    struct h1_body body;
    size_t at = 0, piece = first > 0 ? first : n;

    chunk_pool_init(&pool, 1, 0);
    h1_body_init(&body, &pool, framing, length);
    while (!e.is_whole && !e.is_bad) {
        size_t part = MIN(piece, n - at), done = 0;

        do {
            struct h1_piece got;
            enum h1_body_step step =
                h1_body_run(&body, p + at + done, part - done, part - done > 0 ? part - done : 1,
                            &trailers, &got);

            must(got.used <= part - done);
            done += got.used;
            if (step == H1_STEP_DATA) {
                must(got.payload_len > 0 && got.payload >= p &&
                     got.payload + got.payload_len <= p + n);
                hash_bytes(&e, got.payload, got.payload_len);
                continue;
            }
            e.is_whole = step == H1_STEP_END;
            e.is_bad = step == H1_STEP_BAD;
            must(step != H1_STEP_BAD || got.reason != REASON_NONE);
            must(step != H1_STEP_MORE || done == part);
            break;
        } while (done <= part);
        at += done;
        if (e.is_whole) {
            e.end = at;
            e.trailers = trailers.count;
        }
        if (part == 0 && !e.is_whole)
            break;
        piece++;
    }
    if (!e.is_whole && !e.is_bad && framing == HTTP_UNTIL_CLOSE)
        e.is_whole = h1_body_eof(&body);
    h1_body_fini(&body);
    must(pool.out_count == 0);
    chunk_pool_fini(&pool);
    return e;
}

static inline int llhttp_on_payload(llhttp_t *parser, const char *at, size_t n)
{
    hash_bytes(parser->data, at, n);
    return 0;
}

static inline int llhttp_on_whole(llhttp_t *parser)
{
    struct message_end *e = parser->data;

    e->is_whole = true;
    return HPE_PAUSED;
}

/* The whole message as llhttp reads it; is_whole is false where it refuses or does not come to the
 * end, or takes it for an upgrade. */
static inline struct message_end read_by_llhttp(enum llhttp_type type, const uint8_t *p, size_t n)
{
    static const llhttp_settings_t settings = {.on_body = llhttp_on_payload,
                                               .on_message_complete = llhttp_on_whole};
    struct message_end e = {.hash = CHECK_HASH_START};
    llhttp_t parser;

    llhttp_init(&parser, type, &settings);
    parser.data = &e;
    if (llhttp_execute(&parser, (const char *)p, n) != HPE_PAUSED || parser.upgrade)
        e.is_whole = false;
    if (e.is_whole)
        e.end = (size_t)(llhttp_get_error_pos(&parser) - (const char *)p);
    return e;
}

/* The body of a message whose head is the first head_len of the n bytes. */
static inline void check_body(enum llhttp_type type, const uint8_t *p, size_t n, size_t head_len,
                              enum http_framing framing, uint64_t length)
{
    struct message_end ours = read_body(p + head_len, n - head_len, framing, length, 0), theirs;

    for (size_t first = 1; first <= 3; first++) {
        struct message_end cut = read_body(p + head_len, n - head_len, framing, length, first);

        must(cut.is_whole == ours.is_whole && cut.is_bad == ours.is_bad);
        if (ours.is_whole)
            must(cut.end == ours.end && cut.payload == ours.payload && cut.hash == ours.hash &&
                 cut.trailers == ours.trailers);
    }
    if (!ours.is_whole || framing == HTTP_UNTIL_CLOSE)
        return;
    theirs = read_by_llhttp(type, p, n);
    if (theirs.is_whole)
        must(theirs.end == head_len + ours.end && theirs.payload == ours.payload &&
             theirs.hash == ours.hash);
}

/* Finds the head as a connection does, in pieces of `first`, first + 1, ... bytes (0: at one go).
 * The reason why it is refused; *scan as h1_scan_run() left it. */
static inline enum traffic_reason find_head(struct h1_scan *scan, const uint8_t *p, size_t n,
                                            const struct h1_limits *limits, size_t first)
{
    size_t at = first > 0 ? MIN(first, n) : n;

    *scan = (struct h1_scan){0};
    for (;;) {
        enum traffic_reason reason = h1_scan_run(scan, (const char *)p, at, limits);

        if (reason != REASON_NONE || scan->head_len > 0 || at == n)
            return reason;
        first++;
        at = MIN(n, at + first);
    }
}

#endif
