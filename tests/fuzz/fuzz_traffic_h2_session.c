/* Fuzz target of an HTTP/2 connection: whatever bytes a client sends, in whatever records, the
 * session ends in order or goes on, keeps its bounds, and holds nothing when it is over.  (What is
 * let through to an origin: fuzz_traffic_h2_head.c.)
 *
 *   input: length (1 byte) | so many bytes of a record | length | ...
 *
 * The preface is sent for it.  There is no origin: what comes as far as one is answered 503. */
#include "unit/traffic_h2_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";

#define SHARED_BYTES 32768u

static struct h2_rig rig;
static bool is_made;

static void check_bounds(const struct h2_session *s)
{
    must(s->stream_count <= 101 || s->state == H2_OVER);
    must(s->held.requests <=
         MAX(H2_HELD_OWN, H2_HELD_FACTOR * s->held.sent) + s->held.lent + H2_HELD_OWN);
    must(s->held.lent <= SHARED_BYTES);
    must(s->holding_count <= s->stream_count);
}

static void open_rig(void)
{
    struct traffic_conf conf = h2_rig_conf();

    if (is_made) {
        h2_rig_open(&rig);
        return;
    }
    conf.limits.upstream_connections = 0;
    conf.limits.buffer_bytes = 32768;
    conf.limits.h2_shared_bytes = SHARED_BYTES;
    log_set_level(LOG_ERR);
    h2_rig_init(&rig, &conf);
    is_made = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t out[65536];
    size_t at = 0;

    open_rig();
    h2_rig_feed(&rig, preface, sizeof(preface));
    while (at < size && rig.client.h2.state != H2_OVER && !rig.client.is_broken) {
        size_t n = MIN((size_t)data[at], size - at - 1);

        h2_rig_feed(&rig, data + at + 1, n);
        h2_rig_drain(&rig, out);
        check_bounds(&rig.client.h2);
        at += 1 + n;
    }
    h2_rig_close(&rig);
    must(loop_pool(rig.loop)->out_count == 0);
    must(rig.worker->counters.exchanges_open == 0);
    must(*rig.worker->h2_lent == 0);
    return 0;
}
