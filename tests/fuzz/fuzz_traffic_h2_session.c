/* Fuzz target of an HTTP/2 connection: whatever bytes a client sends, in whatever records, the
 * session ends in order or goes on, holds nothing when it is over, and every head that it lets
 * through is one that HTTP/1 would let through as well.
 *
 *   input: length (1 byte) | so many bytes of a record | length | ...
 *
 * The preface is sent for it.  There is no origin: what comes as far as one is answered 503. */
#include "unit/traffic_h2_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";

/* What was let through to an exchange reads as strictly in HTTP/1. */
static void check_heads(const struct h2_rig *rig)
{
    must(rig->client.h2.stream_count <= 100 || rig->client.h2.state == H2_OVER);
    must(rig->client.h2.heads_bytes <= 131072 + 16384);
    must(rig->client.h2.unsent_bytes <= 65536 + 100 * 4096);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t out[65536];
    struct traffic_conf conf = h2_rig_conf();
    struct h2_rig rig;
    size_t at = 0;

    conf.limits.upstream_connections = 0;
    conf.limits.buffer_bytes = 32768;
    log_set_level(LOG_ERR);
    h2_rig_init(&rig, &conf);
    h2_rig_feed(&rig, preface, sizeof(preface));
    while (at < size && rig.client.h2.state != H2_OVER && !rig.client.is_broken) {
        size_t n = MIN((size_t)data[at], size - at - 1);

        h2_rig_feed(&rig, data + at + 1, n);
        h2_rig_drain(&rig, out);
        check_heads(&rig);
        at += 1 + n;
    }
    h2_rig_fini(&rig);
    return 0;
}
