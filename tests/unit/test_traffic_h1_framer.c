/* Tests of h1_framer: what leaves is the same body however it came and however it is taken. */
#include "traffic/h1_framer.h"

#include "support/seeded.h"
#include "support/suite.h"
#include "traffic/h1_body.h"
#include "traffic_h1_fixture.h"

/* Sends at most n bytes of what is next; `held` bytes of payload wait, their values count up from
 * *taken on.  Returns how many went to `out`. */
static size_t send_some(struct h1_framer *f, size_t held, size_t *taken, size_t n, char *out)
{
    size_t used = 0, text, left;
    const char *p;

    text = h1_framer_text(f, &p);
    text = MIN(text, n);
    memcpy(out, p, text);
    used = text;
    left = MIN(MIN(f->left, held), n - used);
    for (size_t i = 0; i < left; i++)
        out[used++] = (char)('a' + (*taken + i) % 26);
    if (left == f->left) {
        size_t tail = h1_framer_tail(f, &p);

        tail = MIN(tail, n - used);
        memcpy(out + used, p, tail);
        used += tail;
    }
    n = used;
    *taken += h1_framer_sent(f, &n);
    ck_assert_uint_eq(n, 0);
    return used;
}

START_TEST(reads_back_as_it_came)
{
    uint64_t random = (uint64_t)_i + 1;
    static char out[400000];
    struct h1_framer f = {.is_chunked = true};
    size_t total = seeded_below(&random, 20000), pushed = 0, taken = 0, len = 0;

    while (!h1_framer_is_done(&f)) {
        size_t more = 1 + seeded_below(&random, 3000);

        pushed += MIN(total - pushed, more);
        h1_framer_next(&f, pushed - taken, pushed == total, false);
        len += send_some(&f, pushed - taken, &taken, 1 + seeded_below(&random, 900), out + len);
        ck_assert_uint_lt(len, sizeof(out) - 1000);
    }
    ck_assert_uint_eq(taken, total);

    struct chunk_pool pool;
    struct h1_body body = {0};
    static struct http_fields trailers;
    struct h1_piece piece;
    enum h1_body_step step;
    size_t at = 0, got = 0;

    chunk_pool_init(&pool, 0, 0);
    h1_body_init(&body, &pool, HTTP_CHUNKED, 0);
    while ((step = h1_body_run(&body, (uint8_t *)out + at, len - at, len, &trailers, &piece)) ==
           H1_STEP_DATA) {
        for (size_t i = 0; i < piece.payload_len; i++)
            ck_assert_int_eq(piece.payload[i], (char)('a' + (got + i) % 26));
        got += piece.payload_len;
        at += piece.used;
    }
    ck_assert_int_eq(step, H1_STEP_END);
    ck_assert_uint_eq(at + piece.used, len);
    ck_assert_uint_eq(got, total);
    h1_body_fini(&body);
    chunk_pool_fini(&pool);
}
END_TEST

START_TEST(a_chunk_leaves_whole)
{
    struct h1_framer f = {.is_chunked = true};
    const char *p;
    size_t n = 4 + 10 + 2;

    h1_framer_next(&f, 10, false, false);
    ck_assert_uint_eq(h1_framer_text(&f, &p), 3);
    ck_assert_mem_eq(p, "a\r\n", 3);
    ck_assert_uint_eq(f.left, 10);
    ck_assert_uint_eq(h1_framer_tail(&f, &p), 2);
    h1_framer_next(&f, 99, true, false); /* a chunk is under way: nothing changes */
    ck_assert_uint_eq(f.left, 10);
    ck_assert_uint_eq(h1_framer_sent(&f, &n), 10);
    ck_assert_uint_eq(n, 1); /* not the framer's */
    h1_framer_next(&f, 0, false, false);
    ck_assert_uint_eq(h1_framer_text(&f, &p), 0);
    ck_assert(!h1_framer_is_done(&f));
}
END_TEST

START_TEST(trailers_stand_in_front_of_the_empty_line)
{
    struct h1_framer f = {.is_chunked = true};
    const char *p;
    size_t n = 3;

    h1_framer_next(&f, 0, true, true);
    ck_assert_uint_eq(h1_framer_text(&f, &p), 3);
    ck_assert_mem_eq(p, "0\r\n", 3);
    ck_assert_uint_eq(h1_framer_tail(&f, &p), 0);
    ck_assert(!h1_framer_is_done(&f));
    ck_assert_uint_eq(h1_framer_sent(&f, &n), 0);
    ck_assert(h1_framer_is_done(&f));
}
END_TEST

START_TEST(a_length_needs_no_text)
{
    struct h1_framer f = {0};
    const char *p;
    size_t n = 5;

    h1_framer_next(&f, 7, false, false);
    ck_assert_uint_eq(h1_framer_text(&f, &p) + h1_framer_tail(&f, &p), 0);
    ck_assert_uint_eq(h1_framer_sent(&f, &n), 5);
    ck_assert_uint_eq(f.left, 2);
    ck_assert(h1_framer_is_done(&f));
    h1_framer_rewind(&f);
    ck_assert_uint_eq(f.left, 0);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("frames");

    tcase_add_loop_test(tcase, reads_back_as_it_came, 0, 20);
    tcase_add_test(tcase, a_chunk_leaves_whole);
    tcase_add_test(tcase, trailers_stand_in_front_of_the_empty_line);
    tcase_add_test(tcase, a_length_needs_no_text);
    return suite_run("traffic/h1_framer", tcase);
}
