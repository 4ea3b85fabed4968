/* h2_library - see h2_library.h.
 *
 * The callbacks record, submit frames and start exchanges, none of which runs another object; they
 * never send, receive or free.  A failure inside one is noted (h2_session_fail), nghttp2 is left by
 * an error, and the session ends where it is run.
 */
#include "traffic/h2_library.h"

#include <malloc.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>

#include "traffic/client.h"
#include "traffic/h2_stream.h"
#include "traffic/traffic_worker_internal.h"

#define HEAD_BLOCK_MAX (256u << 10) /* of an answer, as nghttp2 reckons: 64 KiB and overhead */
#define TOKENS_OF_DATA 3u

static struct h2_stream *find(struct h2_session *s, int32_t id)
{
    return nghttp2_session_get_stream_user_data(s->ng, id);
}

/* What a callback returns: nghttp2 is left when the session has failed. */
static int verdict(const struct h2_session *s)
{
    return s->state != H2_FAILED ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    struct h2_session *s = arg;
    struct h2_stream *st;

    h2_session_head_over(s);
    s->head_since_ms = loop_now_ms(s->client->worker->loop);
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    st = h2_stream_new(s, frame->hd.stream_id);
    if (!st) {
        h2_session_fail(s, REASON_NO_MEMORY, NGHTTP2_INTERNAL_ERROR);
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    s->requests++;
    /* Streams take turns, whatever the client would like. */
    nghttp2_session_change_extpri_stream_priority(
        ng, frame->hd.stream_id, &(nghttp2_extpri){NGHTTP2_EXTPRI_DEFAULT_URGENCY, 1}, 1);
    return nghttp2_session_set_stream_user_data(ng, frame->hd.stream_id, st);
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *arg)
{
    struct h2_session *s = arg;

    (void)ng;
    (void)frame;
    (void)flags;
    if (!h2_head_add(&s->head, (struct http_text){(const char *)name, name_len},
                     (struct http_text){(const char *)value, value_len},
                     &s->client->worker->limits))
        h2_session_fail(s, REASON_H2_HEAD_FLOOD, NGHTTP2_ENHANCE_YOUR_CALM);
    h2_session_head_grew(s);
    return verdict(s);
}

/* nghttp2 would pass over a field that is against the rules: the whole head is refused. */
static int on_invalid_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                             size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                             void *arg)
{
    struct h2_session *s = arg;
    int rc = on_header(ng, frame, name, name_len, value, value_len, flags, arg);

    if (s->head.reason == REASON_NONE)
        s->head.reason = REASON_BAD_FIELD_VALUE;
    return rc;
}

static int on_frame_recv(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    struct h2_session *s = arg;
    struct h2_stream *st = find(s, frame->hd.stream_id);
    bool ended = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;

    (void)ng;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        h2_session_head_whole(s);
        if (st && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
            h2_stream_on_request(st, ended);
        else if (st)
            h2_stream_on_trailers(st);
        h2_session_head_over(s);
        s->head_since_ms = 0;
        if (s->requests >= (uint64_t)s->client->worker->settings->limits.requests_per_connection)
            h2_session_leave(s);
        break;
    case NGHTTP2_DATA:
        if (st && ended)
            h2_stream_on_end(st);
        break;
    case NGHTTP2_PING:
        if (frame->hd.flags & NGHTTP2_FLAG_ACK)
            h2_session_say_last(s);
        break;
    default:
        break;
    }
    return verdict(s);
}

static int on_data_chunk(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *bytes,
                         size_t n, void *arg)
{
    struct h2_session *s = arg;
    struct h2_stream *st = find(s, id);

    (void)flags;
    if (st)
        h2_stream_on_data(st, bytes, n);
    else
        nghttp2_session_consume_connection(ng, n);
    return verdict(s);
}

/* A frame that nghttp2 refuses; the stream or the connection ends with it. */
static int on_invalid_frame(nghttp2_session *ng, const nghttp2_frame *frame, int error, void *arg)
{
    struct h2_session *s = arg;
    struct h2_stream *st = find(s, frame->hd.stream_id);

    (void)ng;
    if (frame->hd.type == NGHTTP2_HEADERS) {
        h2_session_head_over(s);
        s->head_since_ms = 0;
    }
    if (error == NGHTTP2_ERR_REFUSED_STREAM)
        worker_count_reason(s->client->worker, REASON_H2_STREAMS);
    else if (st && st->reason == REASON_NONE)
        st->reason = REASON_H2_PROTOCOL;
    return 0;
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t code, void *arg)
{
    struct h2_session *s = arg;
    struct h2_stream *st = find(s, id);

    (void)ng;
    if (st) {
        if (!st->is_reset)
            h2_closed_add(&s->closed, id, false);
        h2_stream_on_closed(st, code);
    }
    return 0;
}

/* What the origin did, or an end without an error, says nothing against the client. */
static void on_reset_sent(struct h2_session *s, struct h2_stream *st, const nghttp2_frame *frame)
{
    bool is_error = frame->rst_stream.error_code != NGHTTP2_NO_ERROR;

    h2_closed_add(&s->closed, frame->hd.stream_id, true);
    if (st) {
        st->is_reset = true;
        if (st->reason == REASON_NONE && is_error)
            st->reason = REASON_H2_PROTOCOL;
    }
    if (is_error && (!st || traffic_reason_is_clients(st->reason)))
        h2_session_count_reset(s);
}

static int on_frame_sent(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
{
    struct h2_session *s = arg;
    struct h2_stream *st = find(s, frame->hd.stream_id);

    (void)ng;
    switch (frame->hd.type) {
    case NGHTTP2_DATA:
        h2_bucket_give(&s->control, TOKENS_OF_DATA);
        /* fallthrough */
    case NGHTTP2_HEADERS:
        if (st && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
            h2_stream_on_end_sent(st);
        break;
    case NGHTTP2_RST_STREAM:
        on_reset_sent(s, st, frame);
        break;
    case NGHTTP2_GOAWAY:
        if (frame->goaway.error_code != NGHTTP2_NO_ERROR)
            h2_session_refused(s);
        break;
    default:
        break;
    }
    return verdict(s);
}

static int on_frame_not_sent(nghttp2_session *ng, const nghttp2_frame *frame, int error, void *arg)
{
    struct h2_session *s = arg;

    (void)error;
    if (frame->hd.type == NGHTTP2_HEADERS && find(s, frame->hd.stream_id) &&
        nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                  NGHTTP2_INTERNAL_ERROR) != 0)
        h2_session_fail(s, REASON_NO_MEMORY, NGHTTP2_INTERNAL_ERROR);
    return verdict(s);
}

static int send_data(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *head, size_t n,
                     nghttp2_data_source *source, void *arg)
{
    struct h2_stream *st = source->ptr;

    (void)ng;
    (void)arg;
    must(frame->data.padlen == 0);
    h2_stream_put_data(st, head, n);
    return 0;
}

static ssize_t data_length(nghttp2_session *ng, uint8_t type, int32_t id, int32_t connection_window,
                           int32_t stream_window, uint32_t frame_max, void *arg)
{
    (void)ng;
    (void)type;
    (void)id;
    (void)connection_window;
    (void)stream_window;
    (void)frame_max;
    (void)arg;
    return H2_FRAME_BYTES; /* nghttp2 sees to the windows */
}

/* --- making one ------------------------------------------------------------------------------- */

static nghttp2_session_callbacks *callbacks_new(void)
{
    nghttp2_session_callbacks *cb;

    if (nghttp2_session_callbacks_new(&cb) != 0)
        return NULL;
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(cb, on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cb, on_invalid_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_sent);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(cb, on_frame_not_sent);
    nghttp2_session_callbacks_set_send_data_callback(cb, send_data);
    nghttp2_session_callbacks_set_data_source_read_length_callback(cb, data_length);
    return cb;
}

static nghttp2_option *option_new(const struct traffic_limits *l)
{
    nghttp2_option *option;

    if (nghttp2_option_new(&option) != 0)
        return NULL;
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_max_send_header_block_length(option, HEAD_BLOCK_MAX);
    nghttp2_option_set_max_continuations(option, (size_t)l->h2_continuations);
    /* Ours is stricter, and counts the resets that we send as well. */
    nghttp2_option_set_stream_reset_rate_limit(option, (uint64_t)l->h2_resets * 2,
                                               (uint64_t)l->h2_resets);
    return option;
}

/* --- its memory --------------------------------------------------------------------------------
 */

static void forget(struct h2_held *h, void *p)
{
    size_t size = p ? malloc_usable_size(p) : 0;

    must(h->library >= size);
    h->library -= size;
}

static void *note(struct h2_held *h, void *p)
{
    h->library += p ? malloc_usable_size(p) : 0;
    return p;
}

static void *count_malloc(size_t n, void *arg)
{
    return note(arg, malloc(n));
}

static void *count_calloc(size_t count, size_t n, void *arg)
{
    return note(arg, calloc(count, n));
}

static void count_free(void *p, void *arg)
{
    forget(arg, p);
    free(p);
}

static void *count_realloc(void *p, size_t n, void *arg)
{
    size_t before = p ? malloc_usable_size(p) : 0;
    struct h2_held *h = arg;
    void *moved = realloc(p, n);

    if (moved) {
        must(h->library >= before);
        h->library -= before;
    }
    return note(h, moved);
}

/* --- making one ------------------------------------------------------------------------------- */

static int session_new(struct h2_session *s, const struct traffic_limits *l)
{
    nghttp2_session_callbacks *cb = callbacks_new();
    nghttp2_option *option = option_new(l);
    nghttp2_mem memory = {&s->held, count_malloc, count_free, count_calloc, count_realloc};
    int rc = -ERR_NOMEM;

    if (cb && option && nghttp2_session_server_new3(&s->ng, cb, s, option, &memory) == 0)
        rc = 0;
    nghttp2_session_callbacks_del(cb);
    nghttp2_option_del(option);
    return rc;
}

static int submit_settings(struct h2_session *s, const struct traffic_limits *l)
{
    const nghttp2_settings_entry entries[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, (uint32_t)l->h2_streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)s->window_bytes},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)s->client->worker->limits.head_bytes},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };

    if (nghttp2_submit_settings(s->ng, NGHTTP2_FLAG_NONE, entries, ARRAY_LEN(entries)) != 0 ||
        nghttp2_session_set_local_window_size(s->ng, NGHTTP2_FLAG_NONE, 0,
                                              (int32_t)l->h2_window_bytes) != 0)
        return -ERR_NOMEM;
    return 0;
}

int h2_library_new(struct h2_session *s, const struct traffic_limits *l)
{
    int rc = session_new(s, l);

    if (rc == 0)
        rc = submit_settings(s, l);
    if (rc != 0) {
        nghttp2_session_del(s->ng);
        s->ng = NULL;
    }
    s->held.library_base = s->held.library;
    return rc;
}
