/* Tests of h2_walk: the same frames however the bytes are cut. */
#include "traffic/h2_walk.h"

#include "support/seeded.h"
#include "support/suite.h"
#include "traffic_h1_fixture.h"

#define FRAMES 50u

static struct {
    uint8_t type, flags;
    uint32_t length, first;
    int32_t id;
} want[FRAMES];

static size_t make(uint8_t *out, uint64_t *random)
{
    size_t n = H2_PREFACE_BYTES;

    memset(out, 'P', n);
    for (unsigned i = 0; i < FRAMES; i++) {
        uint32_t length = seeded_chance(random, 30) ? 0 : (uint32_t)seeded_below(random, 700);
        uint8_t *h = out + n;

        want[i].type = (uint8_t)seeded_below(random, 12);
        want[i].flags = (uint8_t)seeded_next(random);
        want[i].length = length;
        want[i].id = (int32_t)(seeded_next(random) & INT32_MAX);
        want[i].first = 0;
        h[0] = 0;
        h[1] = (uint8_t)(length >> 8);
        h[2] = (uint8_t)length;
        h[3] = want[i].type;
        h[4] = want[i].flags;
        for (unsigned b = 0; b < 4; b++)
            h[5 + b] = (uint8_t)((uint32_t)want[i].id >> (24 - 8 * b));
        h[5] |= (uint8_t)(seeded_chance(random, 50) ? 0x80 : 0); /* reserved: passed over */
        for (uint32_t b = 0; b < length; b++) {
            h[9 + b] = (uint8_t)seeded_next(random);
            if (b < 4)
                want[i].first |= (uint32_t)h[9 + b] << (24 - 8 * b);
        }
        n += 9 + length;
    }
    return n;
}

START_TEST(frame_by_frame)
{
    uint64_t random = (uint64_t)_i + 1;
    static uint8_t bytes[FRAMES * 720];
    size_t n = make(bytes, &random), at = 0;
    struct h2_walk w = {0};
    unsigned heads = 0, ends = 0;

    while (ends < FRAMES) {
        size_t most = 1 + (size_t)seeded_below(&random, 40), part = MIN(n - at, most), from = 0;

        while (from < part || (w.head_len == H2_FRAME_HEAD_BYTES && w.left == 0)) {
            size_t used;
            enum h2_walk_step step = h2_walk_next(&w, bytes + at + from, part - from, &used);

            from += used;
            if (step == H2_WALK_HEAD) {
                ck_assert_uint_eq(heads, ends);
                ck_assert_uint_eq(w.type, want[heads].type);
                ck_assert_uint_eq(w.flags, want[heads].flags);
                ck_assert_uint_eq(w.length, want[heads].length);
                ck_assert_int_eq(w.stream_id, want[heads].id);
                heads++;
            } else if (step == H2_WALK_END) {
                ck_assert_uint_eq(w.first, want[ends].first);
                ends++;
            } else {
                ck_assert_uint_eq(from, part);
            }
        }
        at += part;
    }
    ck_assert_uint_eq(heads, FRAMES);
    ck_assert_uint_eq(at, n);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("frames");

    tcase_add_loop_test(tcase, frame_by_frame, 0, 30);
    return suite_run("traffic/h2_walk", tcase);
}
