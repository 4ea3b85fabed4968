/* Tests of h2_session against frames made by hand, which no library would send: what costs a client
 * nothing is counted, under whatever disguise. */
#include "traffic_h2_fixture.h"

#include <nghttp2/nghttp2.h>

#include "support/suite.h"
#include "traffic_h1_fixture.h"

#define CONTROL_FRAMES 100u /* limits.h2ControlFrames of the fixture */

static struct h2_rig rig;

static void feed(const void *bytes, size_t n)
{
    uint8_t *copy = (uint8_t *)exact_copy(bytes, n);

    h2_rig_feed(&rig, copy, n);
    free(copy);
}

static void frame(uint8_t type, uint8_t flags, uint8_t stream, const void *payload, uint8_t n)
{
    uint8_t bytes[9 + UINT8_MAX] = {0, 0, n, type, flags, 0, 0, 0, stream};

    if (n > 0)
        memcpy(bytes + 9, payload, n);
    feed(bytes, 9u + n);
}

static void setup_with(const struct traffic_conf *conf)
{
    h2_rig_init(&rig, conf);
    feed("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    frame(NGHTTP2_SETTINGS, 0, 0, NULL, 0);
}

static void setup(void)
{
    struct traffic_conf conf = h2_rig_conf();

    setup_with(&conf);
}

static void teardown(void)
{
    h2_rig_fini(&rig);
}

/* POST https://a.test/ without its body. */
static void ask(uint8_t stream)
{
    frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, stream,
          "\x83\x87\x84\x41\x06"
          "a.test",
          11);
}

static void assert_called_to_calm(void)
{
    ck_assert_int_eq(rig.client.h2.state, H2_OVER);
    ck_assert_uint_ge(rig.worker->counters.reasons[REASON_H2_CONTROL_FRAMES], 1);
    ck_assert_uint_eq(rig.client.h2.stream_count, 0);
}

/* CVE-2019-9518: frames of DATA that carry none, as they are and behind padding. */
START_TEST(empty_data_is_counted_with_padding_too)
{
    static const uint8_t padded[][6] = {{0}, {2, 0, 0}, {5, 0, 0, 0, 0, 0}};

    ask(1);
    ck_assert_uint_eq(rig.client.h2.stream_count, 1);
    for (unsigned i = 0; i <= CONTROL_FRAMES + 2 && rig.client.h2.state == H2_OPEN; i++) {
        if (_i == 0)
            frame(NGHTTP2_DATA, 0, 1, NULL, 0);
        else
            frame(NGHTTP2_DATA, NGHTTP2_FLAG_PADDED, 1, padded[_i - 1],
                  (uint8_t)(padded[_i - 1][0] + 1));
    }
    assert_called_to_calm();
}
END_TEST

/* What is inside of padding counts as what it is. */
START_TEST(data_with_padding_is_data)
{
    ask(1);
    for (unsigned i = 0; i < 2 * CONTROL_FRAMES; i++)
        frame(NGHTTP2_DATA, NGHTTP2_FLAG_PADDED, 1, "\3x\0\0", 5);
    ck_assert_int_eq(rig.client.h2.state, H2_OPEN);
    ck_assert_uint_eq(h2_rig_stream(&rig)->exchange.bytes_in, 2 * CONTROL_FRAMES);
}
END_TEST

/* Fields for a stream that we have closed: nghttp2 decodes them and says nothing of it.  Trailers
 * may be on their way, once. */
START_TEST(heads_of_closed_streams_are_counted)
{
    struct traffic_conf conf = h2_rig_conf();
    const struct h2_session *s = &rig.client.h2;
    uint8_t id = 1;

    teardown();
    conf.limits.h2_shared_bytes = 0; /* so that a stream is soon refused */
    setup_with(&conf);
    while (h2_closed_find(&s->closed, id) != H2_CLOSED_BY_US) {
        ck_assert_uint_lt(id, 250);
        ask(id += 2);
        h2_session_send(&rig.client.h2);
    }
    frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, id, "\x82", 1);
    ck_assert_int_eq(s->state, H2_OPEN);
    for (unsigned i = 0; i <= CONTROL_FRAMES && s->state == H2_OPEN; i++)
        frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, id, "\x82", 1);
    assert_called_to_calm();
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("frames");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, empty_data_is_counted_with_padding_too, 0, 4);
    tcase_add_test(tcase, data_with_padding_is_data);
    tcase_add_test(tcase, heads_of_closed_streams_are_counted);
    return suite_run("traffic/h2_frames", tcase);
}
