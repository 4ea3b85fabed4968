/* Tests of buf/bufq: by hand at the edges, and at random against a plain array of bytes. */
#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "buf/bufq.h"

#define MODEL_BYTES 400000
#define STEPS       2000 /* of each of ten lives */

static uint8_t noise[MODEL_BYTES];

static void setup(void)
{
    srandom(1);
    for (size_t i = 0; i < sizeof(noise); i++)
        noise[i] = (uint8_t)random();
}

/* Random numbers of our own, so that every machine runs the same steps. */
static uint32_t next_random(uint64_t *state, uint32_t below)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33) % below;
}

START_TEST(an_empty_queue_holds_no_chunk)
{
    struct chunk_pool pool;
    struct bufq q;
    struct iovec piece[2];
    uint8_t out[4];

    chunk_pool_init(&pool, 4, 0);
    bufq_init(&q, &pool, 100);
    ck_assert_uint_eq(bufq_room(&q), 100);
    ck_assert_uint_eq(bufq_peek(&q, piece, 2), 0);
    ck_assert_uint_eq(bufq_copy(&q, out, 4), 0);
    bufq_skip(&q, 0);
    ck_assert_int_eq(bufq_push(&q, "abc", 3), 0);
    ck_assert_uint_eq(pool.out_count, 1);
    bufq_skip(&q, 3);
    ck_assert_uint_eq(pool.out_count, 0);
    ck_assert_int_eq(bufq_push(&q, "", 0), 0);
    ck_assert_uint_eq(pool.out_count, 0);
    bufq_check(&q);
    bufq_fini(&q);
    bufq_fini(&q);
    chunk_pool_fini(&pool);
}
END_TEST

START_TEST(fini_is_fine_on_a_zeroed_queue)
{
    struct bufq q = {0};

    bufq_fini(&q);
    ck_assert_ptr_null(q.head);
}
END_TEST

START_TEST(push_is_all_or_nothing_at_the_cap)
{
    struct chunk_pool pool;
    struct bufq q;
    uint8_t out[8];

    chunk_pool_init(&pool, 4, 0);
    bufq_init(&q, &pool, 5);
    ck_assert_int_eq(bufq_push(&q, "abcdef", 6), -ERR_FULL);
    ck_assert_uint_eq(q.len, 0);
    ck_assert_int_eq(bufq_push(&q, "abc", 3), 0);
    ck_assert_int_eq(bufq_push(&q, "def", 3), -ERR_FULL);
    ck_assert_int_eq(bufq_push(&q, "de", 2), 0);
    ck_assert_uint_eq(bufq_room(&q), 0);
    ck_assert_uint_eq(bufq_copy(&q, out, sizeof(out)), 5);
    ck_assert_mem_eq(out, "abcde", 5);
    bufq_fini(&q);
    chunk_pool_fini(&pool);
}
END_TEST

START_TEST(push_is_all_or_nothing_without_chunks)
{
    struct chunk_pool pool;
    struct bufq q;

    chunk_pool_init(&pool, 4, 2);
    bufq_init(&q, &pool, SIZE_MAX);
    ck_assert_int_eq(bufq_push(&q, noise, 10), 0);
    ck_assert_int_eq(bufq_push(&q, noise, 2 * CHUNK_ROOM - 9), -ERR_NOMEM);
    bufq_check(&q);
    ck_assert_uint_eq(q.len, 10); /* not even what fits in the tail */
    ck_assert_uint_eq(pool.out_count, 1);
    ck_assert_int_eq(bufq_push(&q, noise, 2 * CHUNK_ROOM - 10), 0);
    ck_assert_int_eq(bufq_push(&q, noise, 1), -ERR_NOMEM);
    bufq_check(&q);
    bufq_fini(&q);
    chunk_pool_fini(&pool);
}
END_TEST

START_TEST(reserve_offers_the_tail_then_new_chunks_up_to_the_cap)
{
    struct chunk_pool pool;
    struct bufq q;
    struct iovec piece[4];

    chunk_pool_init(&pool, 4, 0);
    bufq_init(&q, &pool, 2 * CHUNK_ROOM + 7);
    ck_assert_int_eq(bufq_push(&q, noise, 100), 0);
    ck_assert_uint_eq(bufq_reserve(&q, piece, 4), 3);
    ck_assert_uint_eq(piece[0].iov_len, CHUNK_ROOM - 100);
    ck_assert_uint_eq(piece[1].iov_len, CHUNK_ROOM);
    ck_assert_uint_eq(piece[2].iov_len, 7);
    bufq_commit(&q, 0); /* nothing came: the chunks go back */
    ck_assert_uint_eq(pool.out_count, 1);
    ck_assert_uint_eq(bufq_reserve(&q, piece, 1), 1);
    ck_assert_uint_eq(pool.out_count, 1); /* the tail's rest was enough */
    bufq_commit(&q, CHUNK_ROOM - 100);
    ck_assert_uint_eq(bufq_reserve(&q, piece, 4), 2);
    bufq_commit(&q, CHUNK_ROOM + 7);
    ck_assert_uint_eq(bufq_reserve(&q, piece, 4), 0); /* full */
    bufq_commit(&q, 0);
    bufq_check(&q);
    bufq_fini(&q);
    chunk_pool_fini(&pool);
}
END_TEST

START_TEST(reserve_offers_what_the_pool_has)
{
    struct chunk_pool pool;
    struct bufq q;
    struct iovec piece[4];

    chunk_pool_init(&pool, 4, 1);
    bufq_init(&q, &pool, SIZE_MAX);
    ck_assert_uint_eq(bufq_reserve(&q, piece, 0), 0);
    ck_assert_uint_eq(bufq_reserve(&q, piece, 4), 1);
    ck_assert_uint_eq(piece[0].iov_len, CHUNK_ROOM);
    bufq_commit(&q, CHUNK_ROOM);
    ck_assert_uint_eq(bufq_reserve(&q, piece, 4), 0);
    bufq_commit(&q, 0);
    bufq_fini(&q);
    chunk_pool_fini(&pool);
}
END_TEST

START_TEST(a_header_fits_in_front_of_every_piece)
{
    struct chunk_pool pool;
    struct bufq q;
    struct iovec piece[4];
    uint8_t out[3];

    chunk_pool_init(&pool, 4, 0);
    bufq_init(&q, &pool, MODEL_BYTES);
    ck_assert_int_eq(bufq_push(&q, noise, 3 * CHUNK_ROOM), 0);
    bufq_skip(&q, 5);
    ck_assert_uint_eq(bufq_peek(&q, piece, 4), 3);
    for (unsigned i = 0; i < 3; i++)
        memset((uint8_t *)piece[i].iov_base - CHUNK_HEADROOM, 0xee, CHUNK_HEADROOM);
    bufq_copy(&q, out, 3);
    ck_assert_mem_eq(out, noise + 5, 3);
    bufq_check(&q);
    bufq_fini(&q);
    chunk_pool_fini(&pool);
}
END_TEST

struct model {
    struct bufq q;
    struct chunk_pool pool;
    uint8_t bytes[MODEL_BYTES]; /* bytes[0, len) should be in the queue */
    size_t len, source;
    uint64_t random;
};

static const uint8_t *source_bytes(struct model *m, size_t n)
{
    if (m->source + n > sizeof(noise))
        m->source = next_random(&m->random, 251);
    m->source += n;
    return noise + m->source - n;
}

static size_t some_size(struct model *m)
{
    static const size_t edges[] = {0,
                                   1,
                                   CHUNK_HEADROOM,
                                   CHUNK_ROOM - 1,
                                   CHUNK_ROOM,
                                   CHUNK_ROOM + 1,
                                   CHUNK_BYTES,
                                   2 * CHUNK_ROOM};

    if (next_random(&m->random, 3) == 0)
        return edges[next_random(&m->random, ARRAY_LEN(edges))];
    return next_random(&m->random, next_random(&m->random, 2) ? 100 : 40000);
}

static void model_push(struct model *m)
{
    size_t n = some_size(m), room = bufq_room(&m->q);
    const uint8_t *from = source_bytes(m, n);
    int err = bufq_push(&m->q, from, n);

    if (n > room) {
        ck_assert_int_eq(err, -ERR_FULL);
        return;
    }
    if (err != 0) {
        ck_assert_int_eq(err, -ERR_NOMEM);
        ck_assert_uint_gt(m->pool.out_count + n / CHUNK_ROOM + 1, m->pool.cap);
        return;
    }
    memcpy(m->bytes + m->len, from, n);
    m->len += n;
}

static void model_fill(struct model *m)
{
    struct iovec piece[5];
    size_t count = bufq_reserve(&m->q, piece, next_random(&m->random, 6)), offered = 0, n, left;

    for (size_t i = 0; i < count; i++)
        offered += piece[i].iov_len;
    ck_assert_uint_le(offered, bufq_room(&m->q));
    n = offered ? next_random(&m->random, (uint32_t)offered + 1) : 0;
    left = n;
    for (size_t i = 0; i < count && left > 0; i++) {
        size_t part = MIN(left, piece[i].iov_len);
        const uint8_t *from = source_bytes(m, part);

        memcpy(piece[i].iov_base, from, part);
        memcpy(m->bytes + m->len, from, part);
        m->len += part;
        left -= part;
    }
    bufq_commit(&m->q, n);
}

static void model_skip(struct model *m)
{
    size_t n = some_size(m);

    n = MIN(n, m->len);
    bufq_skip(&m->q, n);
    memmove(m->bytes, m->bytes + n, m->len - n);
    m->len -= n;
}

static void model_compare(struct model *m)
{
    struct iovec piece[64];
    size_t count = bufq_peek(&m->q, piece, ARRAY_LEN(piece)), at = 0;
    static uint8_t copy[MODEL_BYTES];
    size_t want = next_random(&m->random, 50000);

    bufq_check(&m->q);
    ck_assert_uint_eq(m->q.len, m->len);
    for (size_t i = 0; i < count; i++) {
        ck_assert_uint_gt(piece[i].iov_len, 0);
        ck_assert_uint_le(at + piece[i].iov_len, m->len);
        ck_assert_int_eq(memcmp(piece[i].iov_base, m->bytes + at, piece[i].iov_len), 0);
        at += piece[i].iov_len;
    }
    ck_assert_uint_eq(at, m->len);
    ck_assert_uint_eq(bufq_copy(&m->q, copy, want), MIN(want, m->len));
    ck_assert_int_eq(memcmp(copy, m->bytes, MIN(want, m->len)), 0);
    ck_assert_uint_eq(m->pool.out_count == 0, m->len == 0);
}

START_TEST(a_long_random_life_equals_an_array)
{
    static struct model m;

    memset(&m, 0, sizeof(m));
    m.random = (uint64_t)_i + 1;
    chunk_pool_init(&m.pool, 3, _i % 2 ? 12 : 0);
    bufq_init(&m.q, &m.pool, 150000 + (size_t)_i * 20000);
    for (int step = 0; step < STEPS; step++) {
        uint32_t op = next_random(&m.random, 100);

        if (op < 30)
            model_push(&m);
        else if (op < 55)
            model_fill(&m);
        else if (op < 99)
            model_skip(&m);
        else {
            bufq_clear(&m.q);
            m.len = 0;
        }
        model_compare(&m);
    }
    bufq_fini(&m.q);
    chunk_pool_fini(&m.pool);
}
END_TEST

START_TEST(skipping_more_than_there_is_ends_the_program)
{
    struct chunk_pool pool;
    struct bufq q;

    chunk_pool_init(&pool, 1, 0);
    bufq_init(&q, &pool, 10);
    bufq_skip(&q, 1);
}
END_TEST

START_TEST(committing_more_than_was_reserved_ends_the_program)
{
    struct chunk_pool pool;
    struct bufq q;
    struct iovec piece[1];

    chunk_pool_init(&pool, 1, 0);
    bufq_init(&q, &pool, SIZE_MAX);
    ck_assert_uint_eq(bufq_reserve(&q, piece, 1), 1);
    bufq_commit(&q, CHUNK_ROOM + 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("buf_bufq");
    TCase *tc = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, an_empty_queue_holds_no_chunk);
    tcase_add_test(tc, fini_is_fine_on_a_zeroed_queue);
    tcase_add_test(tc, push_is_all_or_nothing_at_the_cap);
    tcase_add_test(tc, push_is_all_or_nothing_without_chunks);
    tcase_add_test(tc, reserve_offers_the_tail_then_new_chunks_up_to_the_cap);
    tcase_add_test(tc, reserve_offers_what_the_pool_has);
    tcase_add_test(tc, a_header_fits_in_front_of_every_piece);
    tcase_add_loop_test(tc, a_long_random_life_equals_an_array, 0, 10);
    if (srunner_fork_status(runner) == CK_FORK) {
        tcase_add_test_raise_signal(tc, skipping_more_than_there_is_ends_the_program, SIGABRT);
        tcase_add_test_raise_signal(tc, committing_more_than_was_reserved_ends_the_program,
                                    SIGABRT);
    }
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
