/* traffic_h2_peer_fixture - nghttp2's client at the other end of a rig, on memory buffers: what it
 * asks, what it heard, and what the origin does. */
#ifndef TESTS_UNIT_TRAFFIC_H2_PEER_FIXTURE_H
#define TESTS_UNIT_TRAFFIC_H2_PEER_FIXTURE_H

#include "traffic_h2_fixture.h"

#include <nghttp2/nghttp2.h>

#include "traffic/upstream.h"
#include "traffic_h1_fixture.h"

static struct h2_rig rig;
static nghttp2_session *peer;
static char fields[4096], body[262144];
static size_t body_len;
static unsigned ended;
static uint32_t reset_code, goaway_code;
static int32_t goaway_last;
static unsigned goaways;

static inline int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                            size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                            void *arg)
{
    size_t at = strlen(fields);

    (void)ng;
    (void)frame;
    (void)flags;
    (void)arg;
    snprintf(fields + at, sizeof(fields) - at, "%.*s: %.*s\n", (int)name_len, name, (int)value_len,
             value);
    return 0;
}

static inline int on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *bytes,
                          size_t n, void *arg)
{
    (void)ng;
    (void)flags;
    (void)id;
    (void)arg;
    ck_assert_uint_le(body_len + n, sizeof(body));
    memcpy(body + body_len, bytes, n);
    body_len += n;
    return 0;
}

static inline int on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    (void)ng;
    (void)arg;
    if (frame->hd.type == NGHTTP2_RST_STREAM)
        reset_code = frame->rst_stream.error_code;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        goaways++;
        goaway_code = frame->goaway.error_code;
        goaway_last = frame->goaway.last_stream_id;
    }
    if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        ended++;
    return 0;
}

static inline void peer_init(void)
{
    nghttp2_session_callbacks *cb;
    nghttp2_option *option;

    ck_assert_int_eq(nghttp2_session_callbacks_new(&cb), 0);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    ck_assert_int_eq(nghttp2_option_new(&option), 0);
    nghttp2_option_set_no_auto_window_update(option, 1);
    ck_assert_int_eq(nghttp2_session_client_new2(&peer, cb, NULL, option), 0);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(cb);
    ck_assert_int_eq(nghttp2_submit_settings(peer, 0, NULL, 0), 0);
}

static inline void setup(void)
{
    struct traffic_conf conf = h2_rig_conf();

    fields[0] = '\0';
    body_len = ended = goaways = 0;
    reset_code = goaway_code = UINT32_MAX;
    h2_rig_init(&rig, &conf);
    peer_init();
}

static inline void teardown(void)
{
    nghttp2_session_del(peer);
    h2_rig_fini(&rig);
}

/* Bytes both ways until neither side has any. */
static inline void pump(void)
{
    static uint8_t out[2 * 16384];
    bool moved = true;

    while (moved) {
        const uint8_t *bytes;
        ssize_t n;
        size_t got;

        moved = false;
        while ((n = nghttp2_session_mem_send(peer, &bytes)) > 0) {
            uint8_t *copy = (uint8_t *)exact_copy((const char *)bytes, (size_t)n);

            h2_rig_feed(&rig, copy, (size_t)n);
            free(copy);
            moved = true;
        }
        got = h2_rig_drain(&rig, out);
        if (got > 0) {
            moved = true;
            ck_assert_int_eq(nghttp2_session_mem_recv(peer, out, got), (ssize_t)got);
        }
    }
}

#define NV(n, v)                                                                                   \
    {                                                                                              \
        (uint8_t *)(n), (uint8_t *)(v), strlen(n), strlen(v), 0                                    \
    }

static inline ssize_t read_source(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t max,
                                  uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    size_t *left = source->ptr, n = MIN(*left, max);

    (void)ng;
    (void)id;
    (void)arg;
    memset(buf, 'x', n);
    *left -= n;
    if (*left == 0)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static inline int32_t ask(const char *method, const char *authority, size_t *upload)
{
    nghttp2_nv nv[] = {NV(":method", method), NV(":scheme", "https"), NV(":authority", authority),
                       NV(":path", "/p?q")};
    nghttp2_data_provider provider = {.source.ptr = upload, .read_callback = read_source};
    int32_t id = nghttp2_submit_request(peer, NULL, nv, 4, upload ? &provider : NULL, NULL);

    ck_assert_int_gt(id, 0);
    pump();
    return id;
}

/* --- what the origin does ------------------------------------------------------------------ */

static inline struct exchange *connected(void)
{
    struct exchange *x = &h2_rig_stream(&rig)->exchange;

    ck_assert_int_eq(x->state, EXCHANGE_CONNECTING);
    exchange_on_connected(x);
    return x;
}

static inline void answer_head(struct exchange *x, enum http_framing framing, uint64_t length)
{
    static struct http_response r;

    r = (struct http_response){.status = 200,
                               .minor = 1,
                               .framing = framing,
                               .length = length,
                               .has_length = framing == HTTP_LENGTH};
    r.fields.count = 1;
    r.fields.list[0] =
        (struct http_field){.name = "X-Own", .value = "v", .name_len = 5, .value_len = 1};
    ck_assert(exchange_on_head(x, &r));
}

static inline void answer_end(struct exchange *x)
{
    static struct http_fields trailers;

    x->upstream->exchange = NULL; /* as upstream does before it tells */
    exchange_on_end(x, &trailers);
    pump();
}

/* A connection of its own kind. */
static inline void setup_anew(const struct traffic_conf *conf)
{
    teardown();
    body_len = ended = goaways = 0;
    h2_rig_init(&rig, conf);
    peer_init();
    pump();
}

#endif
