/* Tests of h2_session and h2_stream against nghttp2's client, on memory buffers.  (What is held:
 * test_traffic_h2_session_held.c) */
#include "support/suite.h"
#include "traffic_h2_peer_fixture.h"

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
                                           .value = x->upgrade.accept,
                                           .value_len = (uint16_t)strlen(x->upgrade.accept)};
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
    for (unsigned i = 0; i < 300; i++) /* a hundred, and what comes back meanwhile */
        nghttp2_submit_ping(peer, 0, NULL);
    pump();
    ck_assert_uint_eq(goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
    ck_assert_int_eq(rig.client.h2.state, H2_OVER);
    ck_assert_uint_eq(rig.worker->counters.reasons[REASON_H2_CONTROL_FRAMES], 1);
}
END_TEST

START_TEST(too_many_resets_end_it)
{
    for (unsigned i = 0; i < 600 && rig.client.h2.state != H2_OVER; i++) {
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
    TCase *tcase = tcase_create("on memory");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, what_is_announced);
    tcase_add_test(tcase, an_answer_of_our_own);
    tcase_add_test(tcase, a_request_and_its_answer);
    tcase_add_test(tcase, an_answer_is_read_as_far_as_the_window_goes);
    tcase_add_test(tcase, a_body_is_credited_when_the_origin_took_it);
    tcase_add_test(tcase, a_failing_origin_cuts_the_stream);
    tcase_add_test(tcase, an_origin_that_dies_under_many_streams_ends_no_connection);
    tcase_add_test(tcase, leaving_takes_what_was_on_its_way);
    tcase_add_test(tcase, the_idle_time_begins_when_a_parted_relay_is_over);
    tcase_add_test(tcase, what_waits_is_due_unless_all_are_relays);
    tcase_add_test(tcase, too_many_pings_end_it);
    tcase_add_test(tcase, too_many_resets_end_it);
    tcase_add_test(tcase, the_end_takes_all_streams);
    return suite_run("traffic/h2_session", tcase);
}
