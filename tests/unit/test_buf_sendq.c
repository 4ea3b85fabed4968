/* Tests of buf/sendq: by hand at the edges, and at random against a plain array of bytes. */
#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "buf/sendq.h"

#define MODEL_BYTES 400000
#define STEPS       2000 /* of each of ten lives */
#define PUSH_MAX    ((SENDQ_PUSH_PIECES - 1) * (size_t)CHUNK_ROOM)

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

START_TEST(an_idle_queue_holds_no_chunk)
{
    struct chunk_pool pool;
    struct sendq q;
    uint8_t *at;

    chunk_pool_init(&pool, 4, 0);
    sendq_init(&q, &pool, 100);
    ck_assert_uint_eq(sendq_room(&q), 100);
    ck_assert(sendq_is_idle(&q));
    ck_assert_uint_eq(sendq_peek(&q, &at, 10), 0);
    sendq_acked(&q, 0);
    sendq_sent(&q, 0);
    ck_assert_int_eq(sendq_push(&q, "abc", 3), 0);
    ck_assert(!sendq_is_idle(&q));
    ck_assert_uint_eq(sendq_unsent(&q), 3);
    sendq_sent(&q, 3);
    ck_assert(sendq_is_idle(&q));
    ck_assert_uint_eq(sendq_room(&q), 97); /* in flight still counts */
    ck_assert_uint_eq(pool.out_count, 1);
    sendq_acked(&q, 3);
    ck_assert_uint_eq(sendq_room(&q), 100);
    ck_assert_uint_eq(pool.out_count, 0);
    sendq_check(&q);
    sendq_fini(&q);
    sendq_fini(&q);
    chunk_pool_fini(&pool);
}
END_TEST

START_TEST(fini_is_fine_on_a_zeroed_queue)
{
    struct sendq q = {0};

    sendq_fini(&q);
    ck_assert_ptr_null(q.head);
}
END_TEST

START_TEST(push_is_all_or_nothing_at_the_cap)
{
    struct chunk_pool pool;
    struct sendq q;
    uint8_t *at;

    chunk_pool_init(&pool, 4, 0);
    sendq_init(&q, &pool, 5);
    ck_assert_int_eq(sendq_push(&q, "abcdef", 6), -ERR_FULL);
    ck_assert_uint_eq(q.end, 0);
    ck_assert_int_eq(sendq_push(&q, "abcde", 5), 0);
    sendq_sent(&q, 5);
    ck_assert_int_eq(sendq_push(&q, "f", 1), -ERR_FULL); /* room comes by acks, not by sending */
    sendq_acked(&q, 2);
    ck_assert_int_eq(sendq_push(&q, "fg", 2), 0);
    ck_assert_uint_eq(sendq_peek(&q, &at, 10), 2);
    ck_assert_mem_eq(at, "fg", 2);
    sendq_check(&q);
    sendq_fini(&q);
    chunk_pool_fini(&pool);
}
END_TEST

START_TEST(push_is_all_or_nothing_without_chunks)
{
    struct chunk_pool pool;
    struct sendq q;

    chunk_pool_init(&pool, 4, 2);
    sendq_init(&q, &pool, MODEL_BYTES);
    ck_assert_int_eq(sendq_push(&q, noise, 10), 0);
    ck_assert_int_eq(sendq_push(&q, noise, 2 * CHUNK_ROOM - 9), -ERR_NOMEM);
    sendq_check(&q);
    ck_assert_uint_eq(sendq_unsent(&q), 10);
    ck_assert_uint_eq(pool.out_count, 1);
    ck_assert_int_eq(sendq_push(&q, noise, 2 * CHUNK_ROOM - 10), 0);
    ck_assert_int_eq(sendq_push(&q, noise, 1), -ERR_NOMEM);
    sendq_check(&q);
    sendq_fini(&q);
    chunk_pool_fini(&pool);
}
END_TEST

START_TEST(the_largest_push_goes_in_behind_any_tail)
{
    struct chunk_pool pool;
    struct sendq q;

    chunk_pool_init(&pool, 4, 0);
    for (size_t tail = 0; tail < 3; tail++) {
        sendq_init(&q, &pool, MODEL_BYTES);
        ck_assert_int_eq(sendq_push(&q, noise, tail * (CHUNK_ROOM / 2)), 0);
        ck_assert_int_eq(sendq_push(&q, noise, PUSH_MAX), 0);
        sendq_check(&q);
        sendq_fini(&q);
    }
    chunk_pool_fini(&pool);
}
END_TEST

START_TEST(what_is_in_flight_stays_where_it_is)
{
    struct chunk_pool pool;
    struct sendq q;
    uint8_t *first, *second;
    uint8_t before[8];

    chunk_pool_init(&pool, 0, 0);
    sendq_init(&q, &pool, MODEL_BYTES);
    ck_assert_int_eq(sendq_push(&q, "in flight", 9), 0);
    ck_assert_uint_eq(sendq_peek(&q, &first, 99), 9);
    sendq_sent(&q, 9);
    ck_assert_int_eq(sendq_push(&q, noise, 5 * CHUNK_ROOM), 0);
    sendq_sent(&q, 5 * CHUNK_ROOM);
    ck_assert_mem_eq(first, "in flight", 9);
    sendq_acked(&q, 3);
    ck_assert_mem_eq(first + 3, "flight", 6);
    memcpy(before, first + 3, 6);
    ck_assert_int_eq(sendq_push(&q, "x", 1), 0);
    ck_assert_uint_eq(sendq_peek(&q, &second, 99), 1);
    ck_assert_mem_eq(second, "x", 1);
    ck_assert_mem_eq(first + 3, before, 6);
    sendq_check(&q);
    sendq_fini(&q);
    chunk_pool_fini(&pool);
}
END_TEST

START_TEST(a_header_fits_in_front_of_what_tcp_sends)
{
    struct chunk_pool pool;
    struct sendq q;
    uint8_t *at;
    size_t done = 0;

    chunk_pool_init(&pool, 4, 0);
    sendq_init(&q, &pool, MODEL_BYTES);
    ck_assert_int_eq(sendq_push(&q, noise, 3 * CHUNK_ROOM + 100), 0);
    while (!sendq_is_idle(&q)) {
        size_t n = sendq_peek(&q, &at, 1000);

        memset(at - CHUNK_HEADROOM, 0xee, CHUNK_HEADROOM);
        ck_assert_mem_eq(at, noise + done, n);
        sendq_sent(&q, n);
        sendq_acked(&q, q.sent);
        sendq_check(&q);
        done += n;
    }
    ck_assert_uint_eq(done, 3 * CHUNK_ROOM + 100);
    sendq_fini(&q);
    chunk_pool_fini(&pool);
}
END_TEST

START_TEST(reserve_stops_at_the_limit)
{
    struct chunk_pool pool;
    struct sendq q;
    struct iovec piece[4];

    chunk_pool_init(&pool, 4, 0);
    sendq_init(&q, &pool, 50);
    ck_assert_uint_eq(sendq_reserve(&q, 20, piece, 4), 1);
    ck_assert_uint_eq(piece[0].iov_len, 20);
    sendq_commit(&q, 0);
    ck_assert_uint_eq(pool.out_count, 0);
    ck_assert_uint_eq(sendq_reserve(&q, 999, piece, 4), 1);
    ck_assert_uint_eq(piece[0].iov_len, 50);
    sendq_commit(&q, 50);
    ck_assert_uint_eq(sendq_reserve(&q, 999, piece, 4), 0);
    sendq_commit(&q, 0);
    sendq_fini(&q);
    chunk_pool_fini(&pool);
}
END_TEST

struct model {
    struct sendq q;
    struct chunk_pool pool;
    uint8_t bytes[MODEL_BYTES]; /* bytes[0, end - acked) should be in the queue */
    uint64_t acked, sent, end;
    size_t source;
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

static void model_append(struct model *m, const uint8_t *from, size_t n)
{
    memcpy(m->bytes + (m->end - m->acked), from, n);
    m->end += n;
}

static void model_push(struct model *m)
{
    size_t n = some_size(m), room = sendq_room(&m->q);
    const uint8_t *from = source_bytes(m, n);
    int err = sendq_push(&m->q, from, n);

    if (n > room) {
        ck_assert_int_eq(err, -ERR_FULL);
        return;
    }
    if (err != 0) {
        ck_assert_int_eq(err, -ERR_NOMEM);
        ck_assert_uint_gt(m->pool.out_count + n / CHUNK_ROOM + 1, m->pool.cap);
        return;
    }
    model_append(m, from, n);
}

static void model_fill(struct model *m)
{
    struct iovec piece[5];
    size_t limit = some_size(m), offered = 0, n, left;
    size_t count = sendq_reserve(&m->q, limit, piece, next_random(&m->random, 6));

    for (size_t i = 0; i < count; i++)
        offered += piece[i].iov_len;
    ck_assert_uint_le(offered, MIN(limit, sendq_room(&m->q)));
    n = offered ? next_random(&m->random, (uint32_t)offered + 1) : 0;
    left = n;
    for (size_t i = 0; i < count && left > 0; i++) {
        size_t part = MIN(left, piece[i].iov_len);
        const uint8_t *from = source_bytes(m, part);

        memcpy(piece[i].iov_base, from, part);
        model_append(m, from, part);
        left -= part;
    }
    sendq_commit(&m->q, n);
}

static void model_send(struct model *m)
{
    size_t max = some_size(m), n;
    uint8_t *at;

    n = sendq_peek(&m->q, &at, max);
    ck_assert_uint_le(n, MIN(max, (size_t)(m->end - m->sent)));
    ck_assert(max == 0 || m->end == m->sent || n > 0);
    if (n > 0)
        ck_assert_int_eq(memcmp(at, m->bytes + (m->sent - m->acked), n), 0);
    if (next_random(&m->random, 4) == 0 && n > 1)
        n = next_random(&m->random, (uint32_t)n); /* the transport took less */
    sendq_sent(&m->q, n);
    m->sent += n;
}

static void model_ack(struct model *m)
{
    uint64_t in_flight = m->sent - m->acked;
    uint64_t n =
        next_random(&m->random, 2) ? in_flight : next_random(&m->random, (uint32_t)in_flight + 1);

    sendq_acked(&m->q, m->acked + n);
    memmove(m->bytes, m->bytes + n, m->end - m->acked - n);
    m->acked += n;
}

static void model_compare(struct model *m)
{
    size_t at = 0;

    sendq_check(&m->q);
    ck_assert_uint_eq(m->q.acked, m->acked);
    ck_assert_uint_eq(m->q.sent, m->sent);
    ck_assert_uint_eq(m->q.end, m->end);
    for (const struct chunk *c = m->q.head; c; c = c->next) { /* what a retransmission would read */
        size_t n = c->tail - c->head;

        ck_assert_int_eq(memcmp(c->bytes + c->head, m->bytes + at, n), 0);
        at += n;
    }
    ck_assert_uint_eq(at, m->end - m->acked);
    ck_assert_uint_eq(m->pool.out_count == 0, m->end == m->acked);
}

START_TEST(a_long_random_life_equals_an_array)
{
    static struct model m;

    memset(&m, 0, sizeof(m));
    m.random = (uint64_t)_i + 1;
    chunk_pool_init(&m.pool, 3, _i % 2 ? 12 : 0);
    sendq_init(&m.q, &m.pool, 150000 + (size_t)_i * 20000);
    for (int step = 0; step < STEPS; step++) {
        uint32_t op = next_random(&m.random, 100);

        if (op < 20)
            model_push(&m);
        else if (op < 40)
            model_fill(&m);
        else if (op < 79)
            model_send(&m);
        else if (op < 99)
            model_ack(&m);
        else {
            sendq_clear(&m.q);
            m.acked = m.end = m.sent;
        }
        model_compare(&m);
    }
    sendq_fini(&m.q);
    chunk_pool_fini(&m.pool);
}
END_TEST

START_TEST(an_ack_of_what_was_not_sent_ends_the_program)
{
    struct chunk_pool pool;
    struct sendq q;

    chunk_pool_init(&pool, 1, 0);
    sendq_init(&q, &pool, 10);
    if (sendq_push(&q, "abc", 3) == 0)
        sendq_acked(&q, 1);
}
END_TEST

START_TEST(an_ack_that_goes_back_ends_the_program)
{
    struct chunk_pool pool;
    struct sendq q;

    chunk_pool_init(&pool, 1, 0);
    sendq_init(&q, &pool, 10);
    if (sendq_push(&q, "abc", 3) != 0)
        return;
    sendq_sent(&q, 3);
    sendq_acked(&q, 2);
    sendq_acked(&q, 1);
}
END_TEST

START_TEST(sending_more_than_there_is_ends_the_program)
{
    struct chunk_pool pool;
    struct sendq q;

    chunk_pool_init(&pool, 1, 0);
    sendq_init(&q, &pool, 10);
    sendq_sent(&q, 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("buf_sendq");
    TCase *tc = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, an_idle_queue_holds_no_chunk);
    tcase_add_test(tc, fini_is_fine_on_a_zeroed_queue);
    tcase_add_test(tc, push_is_all_or_nothing_at_the_cap);
    tcase_add_test(tc, push_is_all_or_nothing_without_chunks);
    tcase_add_test(tc, the_largest_push_goes_in_behind_any_tail);
    tcase_add_test(tc, what_is_in_flight_stays_where_it_is);
    tcase_add_test(tc, a_header_fits_in_front_of_what_tcp_sends);
    tcase_add_test(tc, reserve_stops_at_the_limit);
    tcase_add_loop_test(tc, a_long_random_life_equals_an_array, 0, 10);
    if (srunner_fork_status(runner) == CK_FORK) {
        tcase_add_test_raise_signal(tc, an_ack_of_what_was_not_sent_ends_the_program, SIGABRT);
        tcase_add_test_raise_signal(tc, an_ack_that_goes_back_ends_the_program, SIGABRT);
        tcase_add_test_raise_signal(tc, sending_more_than_there_is_ends_the_program, SIGABRT);
    }
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
