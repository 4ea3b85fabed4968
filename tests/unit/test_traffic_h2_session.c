/* Tests of h2_session and h2_stream against nghttp2's client, on memory buffers. */
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

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
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

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *bytes, size_t n,
                   void *arg)
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

static int on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *arg)
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

static void peer_init(void)
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

static void setup(void)
{
    struct traffic_conf conf = h2_rig_conf();

    fields[0] = '\0';
    body_len = ended = goaways = 0;
    reset_code = goaway_code = UINT32_MAX;
    h2_rig_init(&rig, &conf);
    peer_init();
}

static void teardown(void)
{
    nghttp2_session_del(peer);
    h2_rig_fini(&rig);
}

/* Bytes both ways until neither side has any. */
static void pump(void)
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

static ssize_t read_source(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t max,
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

static int32_t ask(const char *method, const char *authority, size_t *upload)
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

static struct exchange *connected(void)
{
    struct exchange *x = &h2_rig_stream(&rig)->exchange;

    ck_assert_int_eq(x->state, EXCHANGE_CONNECTING);
    exchange_on_connected(x);
    return x;
}

static void answer_head(struct exchange *x, enum http_framing framing, uint64_t length)
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

static void answer_end(struct exchange *x)
{
    static struct http_fields trailers;

    x->upstream->exchange = NULL; /* as upstream does before it tells */
    exchange_on_end(x, &trailers);
    pump();
}

/* --- tests --------------------------------------------------------------------------------- */

START_TEST(what_is_announced)
{
    pump();
    ck_assert_uint_eq(
        nghttp2_session_get_remote_settings(peer, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS), 100);
    ck_assert_uint_eq(
        nghttp2_session_get_remote_settings(peer, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE), 65536);
    ck_assert_uint_eq(
        nghttp2_session_get_remote_settings(peer, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL), 1);
    ck_assert_int_eq(nghttp2_session_get_remote_window_size(peer), 1 << 20);
}
END_TEST

START_TEST(an_answer_of_our_own)
{
    ask("GET", "b.test", NULL);
    ck_assert_ptr_nonnull(strstr(fields, ":status: 421\n"));
    ck_assert_ptr_nonnull(strstr(fields, "version: 1\n"));
    body[body_len] = '\0';
    ck_assert_str_eq(body, "421 misdirected\n");
    ck_assert_uint_eq(ended, 1);
    ck_assert_uint_eq(rig.client.h2.stream_count, 0);
    ck_assert_uint_eq(rig.worker->counters.reasons[REASON_MISDIRECTED], 1);
}
END_TEST

START_TEST(a_request_and_its_answer)
{
    struct exchange *x;
    struct iovec head[12];
    char text[1024] = {0};

    ask("GET", "a.test", NULL);
    x = connected();
    ck_assert_uint_gt(exchange_output(x, head, ARRAY_LEN(head)), 0);
    memcpy(text, head[0].iov_base, MIN(head[0].iov_len, sizeof(text) - 1));
    ck_assert_int_eq(strncmp(text, "GET /p?q HTTP/1.1\r\nHost: a.test\r\n", 33), 0);
    ck_assert_uint_gt(rig.client.h2.held.requests, x->head_len);
    exchange_sent(x, head[0].iov_len);
    answer_head(x, HTTP_LENGTH, 5);
    ck_assert_uint_eq(h2_rig_stream(&rig)->head_bytes, 0);
    ck_assert_uint_gt(rig.client.h2.held.requests, 0);
    exchange_on_body(x, (const uint8_t *)"hello", 5);
    answer_end(x);
    ck_assert_ptr_nonnull(strstr(fields, ":status: 200\nx-own: v\n"));
    ck_assert_ptr_nonnull(strstr(fields, "content-length: 5\n"));
    ck_assert_uint_eq(body_len, 5);
    ck_assert_uint_eq(ended, 1);
    ck_assert_uint_eq(rig.client.h2.stream_count, 0);
    ck_assert_uint_eq(rig.worker->counters.exchanges_open, 0);
    ck_assert_uint_eq(rig.worker->counters.statuses[2], 1);
}
END_TEST

START_TEST(an_answer_is_read_as_far_as_the_window_goes)
{
    static uint8_t bytes[65536];
    struct exchange *x;
    size_t given = 0;

    ask("GET", "a.test", NULL);
    x = connected();
    answer_head(x, HTTP_UNTIL_CLOSE, 0);
    for (size_t room; (room = exchange_client_room(x)) >= UPSTREAM_READ_MIN;) {
        size_t n = MIN(room, (size_t)8000); /* a record's worth at most: nobody encrypts here */

        exchange_on_body(x, bytes, n);
        pump();
        given += n;
        ck_assert_uint_lt(given, 200000);
    }
    ck_assert_uint_le(body_len, 65535);
    ck_assert_uint_gt(body_len, 65535 - UPSTREAM_READ_MIN - 8000);
    ck_assert(h2_rig_stream(&rig)->is_starved);
}
END_TEST

START_TEST(a_body_is_credited_when_the_origin_took_it)
{
    size_t upload = 200000, took = 0;
    struct exchange *x;

    ask("POST", "a.test", &upload);
    x = connected();
    pump();
    ck_assert_uint_eq(x->body.len, 65536); /* the window of a stream, and not a byte more */
    for (unsigned i = 0; i < 100000 && !exchange_is_sent(x); i++) {
        struct iovec pieces[12];
        size_t n = exchange_output(x, pieces, ARRAY_LEN(pieces)), sum = 0;

        for (size_t p = 0; p < n; p++)
            sum += pieces[p].iov_len;
        sum = MIN(sum, (size_t)10000);
        exchange_sent(x, sum);
        took += sum;
        ck_assert_uint_le(x->body.len, 65536);
        pump();
    }
    ck_assert(exchange_is_sent(x));
    ck_assert_uint_eq(x->body_taken, 200000);
    ck_assert_uint_gt(took, 200000);
}
END_TEST

START_TEST(a_failing_origin_cuts_the_stream)
{
    struct exchange *x;

    ask("GET", "a.test", NULL);
    x = connected();
    answer_head(x, HTTP_LENGTH, 5);
    exchange_on_body(x, (const uint8_t *)"he", 2);
    x->upstream->exchange = NULL;
    exchange_on_lost(x, REASON_UPSTREAM_CLOSED, true, false);
    ck_assert(!list_is_empty(&rig.client.h2.attention));
    nghttp2_submit_ping(peer, 0, NULL); /* so that it runs */
    pump();
    ck_assert_uint_eq(reset_code, NGHTTP2_INTERNAL_ERROR);
    ck_assert_uint_eq(ended, 0);
    ck_assert_uint_eq(rig.client.h2.stream_count, 0);
}
END_TEST

static ssize_t read_until_told(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t max,
                               uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    const bool *has_ended = source->ptr;

    (void)ng;
    (void)id;
    (void)buf;
    (void)max;
    (void)arg;
    if (!*has_ended)
        return NGHTTP2_ERR_DEFERRED;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    return 0;
}

/* A connection of its own kind. */
static void setup_anew(const struct traffic_conf *conf)
{
    teardown();
    body_len = ended = goaways = 0;
    h2_rig_init(&rig, conf);
    peer_init();
    pump();
}

/* An origin that dies under many streams is no attack of the client's: neither do the resets count
 * against it, nor are they forgotten while its DATA is on the way. */
START_TEST(an_origin_that_dies_under_many_streams_ends_no_connection)
{
    enum { STREAMS = 250 };
    struct traffic_conf conf = h2_rig_conf();
    bool has_ended = false;
    nghttp2_nv nv[] = {NV(":method", "POST"), NV(":scheme", "https"), NV(":authority", "a.test"),
                       NV(":path", "/")};
    nghttp2_data_provider provider = {.source.ptr = &has_ended, .read_callback = read_until_told};

    conf.limits.h2_streams = 1000;
    conf.limits.h2_heads_bytes = 1 << 20;
    conf.limits.upstream_connections = STREAMS;
    setup_anew(&conf);
    for (unsigned i = 0; i < STREAMS; i++)
        ck_assert_int_gt(nghttp2_submit_request(peer, NULL, nv, 4, &provider, NULL), 0);
    pump();
    ck_assert_uint_eq(rig.client.h2.stream_count, STREAMS);
    LIST_EACH (&rig.client.h2.streams, node, after) {
        struct exchange *x = &container_of(node, struct h2_stream, node)->exchange;

        exchange_on_connected(x);
        answer_head(x, HTTP_LENGTH, 5);
        x->upstream->exchange = NULL;
        exchange_on_lost(x, REASON_UPSTREAM_CLOSED, true, false);
    }
    nghttp2_submit_ping(peer, 0, NULL); /* so that it runs */
    pump();
    ck_assert_uint_eq(reset_code, NGHTTP2_INTERNAL_ERROR);
    ck_assert_uint_eq(rig.client.h2.stream_count, 0);
    for (int32_t id = 1; id < 2 * STREAMS; id += 2) { /* what was on its way */
        const uint8_t data[] = {0,           0,  1, NGHTTP2_DATA, 0, 0, 0, (uint8_t)(id >> 8),
                                (uint8_t)id, 'x'};

        h2_rig_feed(&rig, data, sizeof(data));
    }
    pump();
    ck_assert_uint_eq(goaways, 0);
    ck_assert_int_eq(rig.client.h2.state, H2_OPEN);
}
END_TEST

/* CVE-2026-49975: one field in HPACK's table, named again and again for a byte each; one that is
 * named once in each of many requests; a table of small entries, which cost the most; requests of a
 * few bytes; heads that are refused. */
static const struct {
    const char *name, *authority;
    size_t value, times;
} bombs[] = {{"x-bomb", "a.test", 3000, 5},  {"x-bomb", "a.test", 1000, 14},
             {"x-bomb", "a.test", 100, 80},  {"x-bomb", "a.test", 3000, 1},
             {"cookie", "a.test", 1000, 14}, {"x", "a.test", 0, 90},
             {"x", "a.test", 0, 0},          {"x-bomb", "b.test", 1000, 14}};

#define HELD_RATIO 16u
#define ONE_REQUEST                                                                                \
    20480u /* which is always taken: limits.headerBytes, and what it takes besides */

static void submit_bomb(const char *name, const char *authority, size_t value_len, size_t times)
{
    static char value[4000];
    nghttp2_nv nv[100] = {NV(":method", "GET"), NV(":scheme", "https"), NV(":authority", authority),
                          NV(":path", "/")};

    memset(value, 'v', sizeof(value));
    for (size_t i = 0; i < times; i++)
        nv[4 + i] =
            (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)value, strlen(name), value_len, 0};
    ck_assert_int_gt(nghttp2_submit_request(peer, NULL, nv, 4 + times, NULL, NULL), 0);
}

/* By what is there, not by what was counted: every byte of nghttp2's, every stream with a
 * connection to its origin, every head. */
static size_t really_held(const struct h2_session *s)
{
    size_t bytes = s->held.library - s->held.library_base + s->head.text.size;

    LIST_EACH (&s->streams, node, after) {
        const struct exchange *x = &container_of(node, struct h2_stream, node)->exchange;

        bytes += sizeof(struct h2_stream) + x->head_len;
        bytes += x->upstream ? sizeof(struct upstream) : 0;
    }
    return bytes;
}

START_TEST(what_is_held_follows_what_was_sent)
{
    struct traffic_conf conf = h2_rig_conf();
    const struct h2_session *s = &rig.client.h2;

    conf.limits.h2_shared_bytes = 0; /* others have borrowed all of it */
    conf.limits.upstream_connections = 100;
    conf.limits.h2_resets = 1; /* that nothing is left is not this client's doing */
    setup_anew(&conf);
    nghttp2_submit_settings(peer, 0,
                            &(nghttp2_settings_entry){NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0}, 1);
    for (unsigned i = 0; i < 100; i++) {
        submit_bomb(bombs[_i].name, bombs[_i].authority, bombs[_i].value, bombs[_i].times);
        pump();
        ck_assert_uint_le(really_held(s), h2_held_bytes(&s->held));
        ck_assert_uint_le(really_held(s), MAX(HELD_RATIO * s->held.sent, ONE_REQUEST));
    }
    ck_assert_uint_le(loop_pool(rig.loop)->out_count, 1); /* the rig's record on its way out */
    ck_assert_ptr_null(s->head.text.bytes);
    ck_assert_uint_gt(rig.worker->counters.reasons[REASON_H2_UNLENT], 1);
    ck_assert_uint_eq(s->resets.used, 0);
    ck_assert_int_eq(s->state, H2_OPEN);
    ck_assert_uint_ge(s->stream_count, 1);
}
END_TEST

/* A head without an end. */
START_TEST(what_is_held_of_a_head_under_way)
{
    struct traffic_conf conf = h2_rig_conf();
    const struct h2_session *s = &rig.client.h2;
    uint8_t frame[9 + 3 + 13] = {0, 0, 105, NGHTTP2_HEADERS, 0, 0, 0, 0, 0, 0x82, 0x84, 0x87};
    int32_t id;

    conf.limits.h2_shared_bytes = 0;
    setup_anew(&conf);
    for (unsigned i = 0; i < 50; i++)
        submit_bomb("x-bomb", "a.test", 1000, 1);
    pump();
    ck_assert_uint_gt(rig.worker->counters.reasons[REASON_H2_UNLENT], 0);
    id = s->last_id + 2;
    frame[7] = (uint8_t)(id >> 8);
    frame[8] = (uint8_t)id;
    for (size_t i = 12; i < sizeof(frame); i++)
        frame[i] = 0x80 | 62; /* the newest entry of the table */
    h2_rig_feed(&rig, frame, sizeof(frame));
    ck_assert_int_eq(s->head.reason, REASON_H2_UNLENT);
    ck_assert_ptr_null(s->head.text.bytes);
    ck_assert_uint_le(really_held(s), MAX(HELD_RATIO * s->held.sent, ONE_REQUEST));
}
END_TEST

/* A browser that opens a hundred streams with its first bytes, a cookie of 4 KB in each: nothing is
 * refused, and what was lent for it is given back. */
START_TEST(a_hundred_at_once_in_good_faith)
{
    struct traffic_conf conf = h2_rig_conf();
    const struct h2_session *s = &rig.client.h2;

    conf.limits.upstream_connections = 100;
    setup_anew(&conf);
    for (unsigned i = 0; i < 100; i++)
        submit_bomb("cookie", "a.test", 1950, 2);
    pump();
    ck_assert_uint_eq(s->stream_count, 100);
    ck_assert_uint_eq(rig.worker->counters.reasons[REASON_H2_HEADS], 0);
    ck_assert_uint_eq(rig.worker->counters.reasons[REASON_H2_UNLENT], 0);
    ck_assert_uint_ge(h2_held_bytes(&s->held), really_held(s));
    ck_assert_uint_gt(really_held(s), 100 * 3900);
    ck_assert_uint_le(h2_held_bytes(&s->held), 1 << 20);
    ck_assert_uint_eq(*rig.worker->h2_lent, s->held.lent);
    ck_assert_uint_gt(s->held.lent, 0);
    LIST_EACH (&s->streams, node, after) {
        struct exchange *x = &container_of(node, struct h2_stream, node)->exchange;

        exchange_on_connected(x);
        exchange_sent(x, x->head_len);
        answer_head(x, HTTP_LENGTH, 0);
        answer_end(x);
    }
    ck_assert_uint_eq(ended, 100);
    ck_assert_uint_eq(s->stream_count, 0);
    ck_assert_uint_eq(s->held.requests, 0);
    ck_assert_uint_eq(*rig.worker->h2_lent, s->held.lent);
    ck_assert_uint_lt(s->held.lent, 16384); /* what nghttp2 keeps of it */
}
END_TEST

START_TEST(leaving_takes_what_was_on_its_way)
{
    struct exchange *x;

    ask("GET", "a.test", NULL);
    x = connected();
    ck_assert(h2_session_of_client.drain(&rig.client));
    ck_assert_int_eq(rig.client.h2.state, H2_NOTICE);
    pump(); /* the peer answers the PING */
    ck_assert_uint_eq(goaways, 2);
    ck_assert_int_eq(goaway_last, 1);
    ck_assert_uint_eq(goaway_code, NGHTTP2_NO_ERROR);
    ck_assert_int_eq(rig.client.h2.state, H2_LEAVING);
    answer_head(x, HTTP_LENGTH, 0);
    answer_end(x);
    ck_assert_uint_eq(ended, 1);
    ck_assert_uint_eq(rig.client.h2.stream_count, 0);
}
END_TEST

/* A WebSocket that its origin has agreed to; the client's side ends with *has_ended. */
static struct exchange *relay(int32_t *id, bool *has_ended)
{
    nghttp2_nv nv[] = {NV(":method", "CONNECT"), NV(":protocol", "websocket"),
                       NV(":scheme", "https"),   NV(":authority", "a.test"),
                       NV(":path", "/ws"),       NV("sec-websocket-version", "13")};
    nghttp2_data_provider provider = {.source.ptr = has_ended, .read_callback = read_until_told};
    static struct http_response r;
    struct exchange *x;

    pump();
    *id = nghttp2_submit_request(peer, NULL, nv, ARRAY_LEN(nv), &provider, NULL);
    ck_assert_int_gt(*id, 0);
    pump();
    x = connected();
    r = (struct http_response){.status = 101, .minor = 1, .upgrade = {"websocket", 9}};
    r.fields.count = 1;
    r.fields.list[0] = (struct http_field){.name = "Sec-WebSocket-Accept",
                                           .name_len = 20,
                                           .value = x->accept,
                                           .value_len = (uint16_t)strlen(x->accept)};
    ck_assert(exchange_on_head(x, &r));
    ck_assert_int_eq(x->state, EXCHANGE_RELAYING);
    pump();
    return x;
}

/* Both sides have ended, and only the origin has bytes to take yet. */
START_TEST(the_idle_time_begins_when_a_parted_relay_is_over)
{
    bool has_ended = false;
    int32_t id;
    struct exchange *x = relay(&id, &has_ended);

    exchange_on_end(x, NULL);
    pump();
    has_ended = true;
    ck_assert_int_eq(nghttp2_session_resume_data(peer, id), 0);
    pump();
    ck_assert_int_eq(h2_rig_stream(&rig)->state, H2_STREAM_PARTING);
    rig.client.h2.quiet_ms = 0;
    x->upstream->exchange = NULL;
    exchange_on_relay_over(x);
    nghttp2_submit_ping(peer, 0, NULL); /* so that it runs */
    pump();
    ck_assert_uint_eq(rig.client.h2.stream_count, 0);
    ck_assert_uint_gt(rig.client.h2.quiet_ms, 0);
}
END_TEST

/* What waits for the client is due by limits.readRate; where all are relays, they have their own.
 */
START_TEST(what_waits_is_due_unless_all_are_relays)
{
    bool has_ended = false;
    int32_t id;
    uint64_t now = loop_now_ms(rig.loop);

    relay(&id, &has_ended);
    rig.client.write_since_ms = now - 1;
    rig.client.write_left_ms = 1;
    h2_session_of_client.on_due(&rig.client);
    ck_assert(!rig.client.is_broken);
    ck_assert_uint_gt(client_write_due_ms(&rig.client), now);
    ask("GET", "a.test", NULL);
    rig.client.write_since_ms = now - 60000;
    rig.client.write_left_ms = 60000;
    ck_assert_int_eq(client_write_reason(&rig.client), REASON_WRITE_TIMEOUT);
    rig.client.fd = dup(rig.listener);
    h2_session_of_client.on_due(&rig.client);
    close(rig.client.fd);
    ck_assert(rig.client.is_broken);
    ck_assert_uint_ge(rig.worker->counters.reasons[REASON_WRITE_TIMEOUT], 1);
}
END_TEST

START_TEST(too_many_pings_end_it)
{
    for (unsigned i = 0; i < 101; i++)
        nghttp2_submit_ping(peer, 0, NULL);
    pump();
    ck_assert_uint_eq(goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
    ck_assert_int_eq(rig.client.h2.state, H2_OVER);
    ck_assert_uint_eq(rig.worker->counters.reasons[REASON_H2_CONTROL_FRAMES], 1);
}
END_TEST

START_TEST(too_many_resets_end_it)
{
    for (unsigned i = 0; i < 60 && rig.client.h2.state != H2_OVER; i++) {
        int32_t id = ask("GET", "a.test", NULL);

        nghttp2_submit_rst_stream(peer, 0, id, NGHTTP2_CANCEL);
        pump();
    }
    ck_assert_uint_eq(goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
    ck_assert_int_eq(rig.client.h2.state, H2_OVER);
    ck_assert_uint_eq(rig.client.h2.stream_count, 0);
    ck_assert_uint_ge(rig.worker->counters.reasons[REASON_H2_RESETS], 1);
}
END_TEST

START_TEST(the_end_takes_all_streams)
{
    for (unsigned i = 0; i < 5; i++)
        ask(i == 2 ? "POST" : "GET", "a.test", NULL);
    ck_assert_uint_eq(rig.worker->counters.exchanges_open, 5);
} /* teardown ends it; nothing leaks */
END_TEST

int main(void)
{
    Suite *suite = suite_create("traffic/h2_session");
    TCase *tcase = tcase_create("on memory");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, what_is_announced);
    tcase_add_test(tcase, an_answer_of_our_own);
    tcase_add_test(tcase, a_request_and_its_answer);
    tcase_add_test(tcase, an_answer_is_read_as_far_as_the_window_goes);
    tcase_add_test(tcase, a_body_is_credited_when_the_origin_took_it);
    tcase_add_test(tcase, a_failing_origin_cuts_the_stream);
    tcase_add_test(tcase, an_origin_that_dies_under_many_streams_ends_no_connection);
    tcase_add_loop_test(tcase, what_is_held_follows_what_was_sent, 0, ARRAY_LEN(bombs));
    tcase_add_test(tcase, what_is_held_of_a_head_under_way);
    tcase_add_test(tcase, a_hundred_at_once_in_good_faith);
    tcase_add_test(tcase, leaving_takes_what_was_on_its_way);
    tcase_add_test(tcase, the_idle_time_begins_when_a_parted_relay_is_over);
    tcase_add_test(tcase, what_waits_is_due_unless_all_are_relays);
    tcase_add_test(tcase, too_many_pings_end_it);
    tcase_add_test(tcase, too_many_resets_end_it);
    tcase_add_test(tcase, the_end_takes_all_streams);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
