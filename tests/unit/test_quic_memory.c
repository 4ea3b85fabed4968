/* What ngtcp2 may hold for a connection: counted, lent, refused; and connections that are refused,
 * whatever it is that they wanted memory for. */
#include "quic/quic_memory.h"

#include <check.h>
#include <string.h>

#include "support/quic_pair.h"
#include "support/seeded.h"
#include "support/suite.h"

#define KIB 1024u
#define MIB (1u << 20)

/* --- by itself -------------------------------------------------------------------------------- */

static struct quic_memory memory;

static struct {
    uint64_t lent, most;
    unsigned takes, refusals, gives;
} bank;

static bool take(void *arg, uint64_t n)
{
    ck_assert_ptr_eq(arg, &bank);
    ck_assert_uint_eq(n % QUIC_MEMORY_STEP, 0);
    if (bank.lent + n > bank.most) {
        bank.refusals++;
        return false;
    }
    bank.takes++;
    bank.lent += n;
    return true;
}

static void give(void *arg, uint64_t n)
{
    ck_assert_ptr_eq(arg, &bank);
    ck_assert_uint_le(n, bank.lent);
    bank.gives++;
    bank.lent -= n;
}

static const struct quic_lender lender = {take, give};

static void begin(uint64_t allowance, uint64_t most)
{
    memset(&bank, 0, sizeof(bank));
    bank.most = most;
    quic_memory_init(&memory, allowance, 0);
    quic_memory_set_lender(&memory, &lender, &bank);
}

static void *get(size_t n)
{
    return memory.mem.malloc(n, memory.mem.user_data);
}

static void put(void *block)
{
    memory.mem.free(block, memory.mem.user_data);
}

START_TEST(all_four_count)
{
    const ngtcp2_mem *mem = &memory.mem;
    uint8_t *a, *b;

    begin(MIB, 0);
    a = get(1000);
    ck_assert_uint_ge(memory.held, 1000);
    b = mem->calloc(10, 100, mem->user_data);
    ck_assert_uint_ge(memory.held, 2000);
    for (unsigned i = 0; i < 1000; i++)
        ck_assert_uint_eq(b[i], 0);
    memset(a, 7, 1000);
    a = mem->realloc(a, 100 * KIB, mem->user_data);
    ck_assert_uint_ge(memory.held, 100 * KIB + 1000);
    ck_assert_uint_eq(a[999], 7);
    b = mem->realloc(b, 0, mem->user_data);
    ck_assert_ptr_nonnull(b);
    a = mem->realloc(a, 10, mem->user_data);
    ck_assert_uint_lt(memory.held, 2 * KIB);
    put(a);
    put(b);
    put(NULL);
    b = mem->realloc(NULL, 10, mem->user_data);
    ck_assert_uint_ge(memory.held, 10);
    put(b);
    ck_assert_uint_eq(memory.held, 0);
    ck_assert_uint_eq(bank.takes + bank.refusals, 0);
    quic_memory_fini(&memory);
}
END_TEST

START_TEST(without_a_lender_the_allowance_is_all)
{
    void *a, *b;

    begin(100 * KIB, MIB);
    quic_memory_set_lender(&memory, NULL, NULL);
    a = get(60 * KIB);
    b = get(30 * KIB);
    ck_assert(a && b);
    ck_assert_ptr_null(get(20 * KIB));
    ck_assert_int_eq(memory.state, QUIC_MEMORY_REFUSED);
    put(a);
    ck_assert_ptr_null(get(1)); /* what was refused has ended the connection */
    ck_assert_ptr_null(memory.mem.calloc(1, 1, memory.mem.user_data));
    ck_assert_ptr_null(memory.mem.realloc(b, 40 * KIB, memory.mem.user_data));
    put(b);
    ck_assert_uint_eq(memory.held, 0);
    quic_memory_fini(&memory);
    ck_assert_uint_eq(bank.takes + bank.refusals, 0);
}
END_TEST

enum { BLOCKS = 64 };

START_TEST(steps_come_and_go)
{
    void *blocks[BLOCKS];

    begin(MIB, 100 * MIB);
    for (unsigned i = 0; i < BLOCKS; i++) { /* 8 MiB */
        blocks[i] = get(128 * KIB);
        ck_assert_ptr_nonnull(blocks[i]);
        ck_assert_uint_lt(memory.allowance + memory.lent, memory.held + QUIC_MEMORY_STEP + KIB);
        ck_assert_uint_eq(memory.lent, bank.lent);
    }
    ck_assert_uint_ge(bank.lent, 7 * MIB);
    ck_assert_uint_eq(bank.takes, bank.lent / QUIC_MEMORY_STEP);
    for (unsigned i = 0; i < BLOCKS; i++) {
        put(blocks[i]);
        ck_assert_uint_lt(memory.allowance + memory.lent,
                          MAX(memory.held + 2 * QUIC_MEMORY_STEP, memory.allowance + 1));
    }
    ck_assert_uint_eq(memory.held, 0);
    ck_assert_uint_eq(bank.lent, 0);
    quic_memory_fini(&memory);
}
END_TEST

/* At the bound, one more block that comes and goes. */
START_TEST(a_step_does_not_go_to_and_fro)
{
    void *most;

    begin(2 * MIB, 100 * MIB);
    most = get(2 * MIB - 4 * KIB);
    for (unsigned i = 0; i < 100; i++)
        put(get(8 * KIB));
    ck_assert_uint_eq(bank.takes, 1);
    ck_assert_uint_eq(bank.gives, 0);
    put(most);
    ck_assert_uint_eq(bank.lent, 0);
    quic_memory_fini(&memory);
}
END_TEST

START_TEST(a_large_block_takes_its_steps_at_once)
{
    void *block;

    begin(MIB, 100 * MIB);
    block = get(5 * MIB);
    ck_assert_uint_eq(bank.takes, 1);
    ck_assert_uint_ge(bank.lent, 4 * MIB);
    ck_assert_uint_le(bank.lent, 5 * MIB);
    put(block);
    ck_assert_uint_eq(bank.lent, 0);
    quic_memory_fini(&memory);
}
END_TEST

START_TEST(who_is_refused_gets_nothing)
{
    void *block;

    begin(MIB, 2 * MIB);
    block = get(3 * MIB - 64 * KIB);
    ck_assert_ptr_nonnull(block);
    ck_assert_ptr_null(get(128 * KIB));
    ck_assert_uint_eq(bank.refusals, 1);
    ck_assert_int_eq(memory.state, QUIC_MEMORY_REFUSED);
    ck_assert_ptr_null(get(128 * KIB)); /* and asks no more */
    ck_assert_uint_eq(bank.refusals, 1);
    put(block);
    ck_assert_uint_eq(bank.lent, 0);
    quic_memory_fini(&memory);
}
END_TEST

START_TEST(the_lender_goes_and_the_allowance_grows)
{
    void *block, *more;

    begin(MIB, 100 * MIB);
    block = get(3 * MIB);
    ck_assert_uint_ge(bank.lent, 2 * MIB);
    quic_memory_set_allowance(&memory, 8 * MIB, 0);
    ck_assert_uint_eq(bank.lent, 0);
    more = get(6 * MIB);
    ck_assert_uint_ge(bank.lent, MIB);
    quic_memory_set_lender(&memory, NULL, NULL);
    ck_assert_uint_eq(bank.lent, 0);
    ck_assert_ptr_nonnull(block);
    put(block);
    put(more);
    ck_assert_uint_eq(memory.held, 0);
    quic_memory_fini(&memory);
    begin(0, MIB);
    block = get(1);
    quic_memory_fini(&memory); /* whatever is held */
    ck_assert_uint_eq(bank.lent, 0);
    put(block);
}
END_TEST

START_TEST(each_stream_has_some_for_nothing)
{
    enum { STREAMS = 300 };
    void *block;

    begin(MIB, 100 * MIB);
    quic_memory_set_allowance(&memory, MIB, 12 * KIB);
    for (unsigned i = 0; i < STREAMS; i++)
        quic_memory_stream_opened(&memory);
    block = get(MIB + STREAMS * 12 * KIB - 4 * KIB);
    ck_assert_ptr_nonnull(block);
    ck_assert_uint_eq(bank.takes, 0);
    for (unsigned i = 0; i < STREAMS; i++)
        quic_memory_stream_closed(&memory);
    put(get(1)); /* what they had is the lender's now */
    ck_assert_uint_ge(bank.lent, 3 * MIB);
    put(block);
    ck_assert_uint_eq(bank.lent, 0);
    quic_memory_fini(&memory);
}
END_TEST

/* --- connections ------------------------------------------------------------------------------ */

static bool is_over(const struct quic_pair_end *end)
{
    return end->last == IO_FAIL || end->last == IO_EOF;
}

static void spend_all(struct quic *q)
{
    quic_memory_set_allowance(&q->memory, q->memory.held, 0);
}

static bool is_refused(const struct quic_pair_end *end)
{
    return quic_error(end->q) == -ERR_NOMEM &&
           strstr(quic_error_text(end->q), "refused more memory for QUIC");
}

static bool is_second_secure(struct quic_pair *p)
{
    return quic_is_secure(p->client.q) && p->more[0].q && quic_is_secure(p->more[0].q);
}

static bool is_second_over(struct quic_pair *p)
{
    return is_over(&p->client) && is_over(&p->more[0]);
}

static bool has_server_fin(struct quic_pair *p)
{
    return p->server.streams[0].is_fin;
}

/* What the peer sends needs memory: the peer is told why, and its other connection goes on. */
START_TEST(one_that_reads_ends_and_others_live)
{
    struct quic_pair p;
    struct quic *first;

    quic_pair_start(&p);
    first = p.client.q;
    quic_pair_dial(&p);
    quic_pair_until(&p, is_second_secure);
    spend_all(p.more[0].q);
    quic_pair_send(&p.client, 1000, true);
    quic_pair_until(&p, is_second_over);
    ck_assert(is_refused(&p.more[0]));
    ck_assert_int_eq(quic_error(p.client.q), -ERR_PROTO);
    ck_assert_ptr_nonnull(strstr(quic_error_text(p.client.q), "out of memory"));
    ck_assert_uint_eq(quic_port_stats(p.server_port)->starved, 1);
    ck_assert_uint_eq(quic_port_stats(p.client_port)->starved, 0);
    quic_free(p.client.q);
    p.client.q = first;
    memset(p.client.streams, 0, sizeof(p.client.streams));
    quic_pair_send(&p.client, 1000, true);
    quic_pair_until(&p, has_server_fin);
    ck_assert_uint_eq(p.server.streams[0].got, 1000);
    quic_pair_close(&p);
}
END_TEST

static bool is_client_over(struct quic_pair *p)
{
    return is_over(&p->client);
}

/* What the owner asks for: it is told, and woken to see that all is over. */
START_TEST(one_that_opens_streams_ends)
{
    struct quic_pair p;
    int64_t id;
    int rc;

    quic_pair_start(&p);
    spend_all(p.client.q);
    while ((rc = quic_open(p.client.q, &id, NULL)) == 0)
        continue;
    ck_assert_int_eq(rc, -ERR_NOMEM);
    ck_assert_int_eq(quic_open_uni(p.client.q, &id, NULL), -ERR_LIMIT);
    quic_shutdown(p.client.q, 0, 1);
    quic_credit(p.client.q, 0, 1);
    quic_pair_poll(&p, is_client_over);
    ck_assert(is_refused(&p.client));
    ck_assert_uint_eq(quic_port_stats(p.client_port)->starved, 1);
    quic_pair_close(&p);
}
END_TEST

/* Before anything is proved there is a mebibyte beside the window; then what the window needs. */
START_TEST(the_allowance_grows_with_the_proof)
{
    struct quic_pair p;

    quic_pair_begin(&p);
    p.params.connection_window = 4 * MIB;
    p.params.unproven_window = 64 * KIB;
    quic_pair_open(&p);
    quic_pair_dial(&p);
    quic_pair_until(&p, quic_pair_is_secure);
    ck_assert_uint_eq(p.server.q->memory.allowance, 64 * KIB + QUIC_MEMORY_UNPROVEN);
    ck_assert_uint_gt(p.server.q->memory.held, 0);
    ck_assert_uint_lt(p.server.q->memory.held, QUIC_MEMORY_UNPROVEN / 4); /* honest: far from it */
    ck_assert_uint_eq(p.server.q->memory.per_stream, 0);
    quic_admit(p.server.q);
    ck_assert_uint_eq(p.server.q->memory.per_stream, QUIC_MEMORY_STREAM);
    ck_assert_uint_eq(p.server.q->memory.allowance, 4 * MIB + QUIC_MEMORY_BESIDE);
    quic_pair_close(&p);
}
END_TEST

/* --- refused at any moment -------------------------------------------------------------------- */

#define STREAMS 6u
#define EACH    (100u * KIB)
#define PACKET  1200u

static uint64_t way_seed;
static bool is_way_bad;

static ssize_t send_or_lose(int fd, const struct msghdr *message, int flags)
{
    size_t n = 0;

    if (!is_way_bad || !seeded_chance(&way_seed, 15))
        return sendmsg(fd, message, flags);
    for (size_t i = 0; i < message->msg_iovlen; i++)
        n += message->msg_iov[i].iov_len;
    return (ssize_t)n;
}

static void lose_some(struct quic_pair *p)
{
    quic_port_set_send(p->server_port, send_or_lose);
    quic_port_set_send(p->client_port, send_or_lose);
    way_seed = 1;
    is_way_bad = true;
    p->client.q->progress.packet_max = p->server.q->progress.packet_max = PACKET;
}

static void talk(struct quic_pair *p)
{
    for (unsigned i = 0; i < STREAMS && quic_is_secure(p->client.q); i++) {
        struct quic_pair_stream *s;
        int64_t id;

        if (quic_open(p->client.q, &id, NULL) != 0)
            break;
        s = quic_pair_stream(&p->client, id);
        quic_set_user(p->client.q, id, s);
        s->is_there = s->has_fin = true;
        s->want = EACH;
        s = quic_pair_stream(&p->server, id); /* which answers as much */
        s->has_fin = true;
        s->want = EACH;
        if (i == STREAMS / 2)
            quic_shutdown(p->client.q, id, 1);
    }
    p->client.datagrams_to_send = 20;
    quic_pair_wake(&p->client);
}

static struct quic_pair_end *victim;

static bool is_victim_over(struct quic_pair *p)
{
    (void)p;
    return is_over(victim);
}

/* Or it had enough. */
static bool is_talk_over(struct quic_pair *p)
{
    if (victim->q->memory.state == QUIC_MEMORY_REFUSED)
        return is_victim_over(p);
    ck_assert(!is_over(&p->client) && !is_over(&p->server));
    for (unsigned i = 0; i < STREAMS; i++)
        if (!p->client.streams[i].is_closed)
            return false;
    return true;
}

/* It has so much beyond what it holds already; whether that was enough. */
static bool has_enough(bool is_server, uint64_t more)
{
    struct quic_pair p;
    bool is_enough;

    quic_pair_start(&p);
    victim = is_server ? &p.server : &p.client;
    lose_some(&p);
    quic_memory_set_allowance(&victim->q->memory, victim->q->memory.held + more, 0);
    talk(&p);
    quic_pair_poll(&p, is_talk_over);
    is_enough = victim->q->memory.state == QUIC_MEMORY_GOOD;
    ck_assert(is_enough || is_refused(victim));
    is_way_bad = false;
    quic_pair_close(&p);
    return is_enough;
}

static void starve(bool is_server)
{
    ck_assert(!has_enough(is_server, 0));
    for (uint64_t more = 500; more < 64 * KIB; more += more / 4)
        (void)has_enough(is_server, more);
    ck_assert(has_enough(is_server, 8 * MIB));
}

START_TEST(a_client_at_any_moment)
{
    starve(false);
}
END_TEST

START_TEST(a_server_at_any_moment)
{
    starve(true);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("memory");

    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, all_four_count);
    tcase_add_test(tcase, without_a_lender_the_allowance_is_all);
    tcase_add_test(tcase, steps_come_and_go);
    tcase_add_test(tcase, a_step_does_not_go_to_and_fro);
    tcase_add_test(tcase, a_large_block_takes_its_steps_at_once);
    tcase_add_test(tcase, who_is_refused_gets_nothing);
    tcase_add_test(tcase, the_lender_goes_and_the_allowance_grows);
    tcase_add_test(tcase, each_stream_has_some_for_nothing);
    tcase_add_test(tcase, one_that_reads_ends_and_others_live);
    tcase_add_test(tcase, one_that_opens_streams_ends);
    tcase_add_test(tcase, the_allowance_grows_with_the_proof);
    tcase_add_test(tcase, a_client_at_any_moment);
    tcase_add_test(tcase, a_server_at_any_moment);
    return suite_run("quic_memory", tcase);
}
