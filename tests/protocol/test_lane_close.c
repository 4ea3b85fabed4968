/* How streams end: half-close in every order, resets in every state, and what is on the wire then.
 * (api/tunnel.md: Half-close; Exact rules: End of a stream)
 */
#include <check.h>
#include <stdlib.h>

#include "base/err.h"
#include "support/fake_net.h"
#include "support/lane_probe.h"
#include "support/suite.h"

/* --- over a network: every pair of habits ----------------------------------------------------- */

static void run_habits(enum fake_finish client, enum fake_finish target, uint64_t seed)
{
    struct fake_plan plans[4] = {{0}};
    struct fake_net_options options = {
        .seed = seed, .delay_max_ms = 20, .rate = 4000, .piece_max = (unsigned)(seed % 3 * 700)};
    struct fake_net net;
    bool is_orderly = client != FINISH_BY_RESET && target != FINISH_BY_RESET;

    for (unsigned i = 0; i < ARRAY_LEN(plans); i++) {
        plans[i].client = (struct fake_plan_end){.bytes = i & 1 ? 50000 : 0,
                                                 .write_max = FAKE_FAST,
                                                 .read_max = i & 2 ? 3000 : FAKE_FAST,
                                                 .finish = client};
        plans[i].target = (struct fake_plan_end){.bytes = i & 2 ? 90000 : 0,
                                                 .write_max = i & 1 ? 2000 : FAKE_FAST,
                                                 .read_max = FAKE_FAST,
                                                 .finish = target};
    }
    fake_net_init(&net, &options, plans, ARRAY_LEN(plans));
    fake_net_run(&net, 5000);
    fake_net_run_for(&net, 200); /* whatever is still under way comes to rest */
    for (unsigned i = 0; i < ARRAY_LEN(plans); i++) {
        const struct tap_stream *tap = frame_tap_stream(&net.tap, i + 1);

        ck_assert(!is_orderly || fake_pair_is_exact(&net.pairs[i]));
        if (!tap) { /* reset before its OPEN went out */
            ck_assert_int_eq(client, FINISH_BY_RESET);
            continue;
        }
        if (is_orderly) {
            ck_assert(tap->has_fin[TAP_EDGE] && tap->has_fin[TAP_HUB]);
            ck_assert(!tap->has_reset[TAP_EDGE] && !tap->has_reset[TAP_HUB]);
        } else {
            ck_assert(tap->has_reset[TAP_EDGE] || tap->has_reset[TAP_HUB] ||
                      (tap->has_fin[TAP_EDGE] && tap->has_fin[TAP_HUB]));
            /* Only a reset that crossed another one stands against it: none is answered. */
            if (client != FINISH_BY_RESET)
                ck_assert(!tap->has_reset[TAP_EDGE]);
            if (target != FINISH_BY_RESET)
                ck_assert(!tap->has_reset[TAP_HUB]);
        }
    }
    ck_assert_uint_eq(net.side[TAP_EDGE].lane.table.count, 0);
    ck_assert_uint_eq(net.side[TAP_HUB].lane.table.count, 0);
    fake_net_fini(&net);
}

START_TEST(every_pair_of_habits_comes_to_an_end)
{
    static const enum fake_finish habits[] = {FINISH_AT_END, FINISH_AFTER_PEER, FINISH_BY_RESET};

    for (unsigned i = 0; i < 9 * 3; i++) {
        enum fake_finish client = habits[i % 3], target = habits[i / 3 % 3];

        if (client != FINISH_AFTER_PEER || target != FINISH_AFTER_PEER)
            run_habits(client, target, i);
    }
}
END_TEST

/* A reset anywhere in the middle of the data, from either end. */
START_TEST(resets_in_the_middle_leave_nothing_behind)
{
    for (uint64_t seed = 0; seed < 30; seed++) {
        struct fake_plan plan = {0};
        struct fake_net_options options = {
            .seed = seed, .delay_max_ms = 15, .rate = 9000, .piece_max = 5000};
        struct fake_net net;
        struct fake_plan_end *who = seed & 1 ? &plan.client : &plan.target;
        unsigned other = seed & 1 ? TAP_HUB : TAP_EDGE;

        plan.client = plan.target = (struct fake_plan_end){
            .bytes = 200000, .write_max = FAKE_FAST, .read_max = 10000 + (uint32_t)seed * 500};
        /* A client that gives up within its first window may do so before its OPEN is out. */
        who->reset_at = (seed & 1 ? 66000 : 1) + seed * seed * 100;
        fake_net_init(&net, &options, &plan, 1);
        fake_net_run(&net, 2000);
        fake_net_run_for(&net, 100);
        ck_assert_msg(net.tap.resets[!other] == 1, "seed %lu", (unsigned long)seed);
        ck_assert_uint_eq(net.tap.resets[other], 0);
        ck_assert_int_eq(net.pairs[0].end[other].stream.reset_code,
                         seed & 1 ? RESET_BY_PEER : RESET_UNREACHABLE);
        ck_assert_uint_eq(net.side[TAP_EDGE].pool.out_count, 0);
        ck_assert_uint_eq(net.side[TAP_HUB].pool.out_count, 0);
        fake_net_fini(&net);
    }
}
END_TEST

/* --- by hand: exactly when, exactly what -------------------------------------------------------
 */

static void open_one(struct lane_probe *p, enum lane_role role)
{
    lane_probe_init(p, role);
    if (role == LANE_EDGE)
        probe_dial(p);
    else
        ck_assert_int_eq(probe_open(p, 1, 443), 0);
}

static unsigned fin_type(enum lane_role role)
{
    return role == LANE_EDGE ? FRAME_CLOSE : FRAME_CLOSE_BACK;
}

START_TEST(the_stream_leaves_with_the_second_fin)
{
    for (enum lane_role role = LANE_EDGE; role <= LANE_HUB; role++) {
        struct lane_probe p;
        struct stream *s = &p.streams[0].stream;

        open_one(&p, role); /* the peer first, then we */
        ck_assert_int_eq(probe_close(&p, 1, 0), 0);
        ck_assert_int_eq(s->in, HALF_ENDED);
        ck_assert(stream_is_at_end(s));
        ck_assert_ptr_eq(stream_table_find(&p.lane.table, 1), s);
        stream_finish(s);
        ck_assert_ptr_eq(stream_table_find(&p.lane.table, 1), s); /* it has not left yet */
        probe_expect(&p, 1, fin_type(role), 0);
        ck_assert_ptr_null(stream_table_find(&p.lane.table, 1));
        ck_assert_int_eq(s->state, STREAM_ENDED);
        ck_assert_uint_gt(p.streams[0].changes, 1);
        lane_probe_fini(&p);

        open_one(&p, role); /* we first, then the peer, with bytes that stay readable */
        stream_finish(s);
        probe_expect(&p, 1, fin_type(role), 0);
        ck_assert_int_eq(s->out, HALF_ENDED);
        ck_assert_int_eq(s->state, STREAM_OPEN);
        ck_assert_uint_eq(stream_room(s), 0);
        ck_assert_int_eq(probe_data(&p, 1, 500), 0);
        ck_assert_int_eq(probe_close(&p, 1, 0), 0);
        ck_assert_ptr_null(stream_table_find(&p.lane.table, 1));
        ck_assert_int_eq(s->state, STREAM_ENDED);
        ck_assert(!stream_is_at_end(s));
        probe_read(&p, 0, 500);
        ck_assert(stream_is_at_end(s));
        probe_expect_silence(&p);
        lane_probe_fini(&p);
    }
}
END_TEST

START_TEST(the_fin_comes_behind_its_data_and_holds_nobody_up)
{
    struct lane_probe p;
    uint64_t sent = 0;
    bool was_other_first = false;
    struct probe_frame f;

    open_one(&p, LANE_HUB);
    ck_assert_int_eq(probe_open(&p, 2, 443), 0);
    probe_write(&p, 0, 50000);
    stream_finish(&p.streams[0].stream);
    probe_write(&p, 1, 10);
    for (;;) {
        ck_assert(probe_next(&p, &f));
        if (f.stream == 2) {
            was_other_first = true;
            continue;
        }
        if (f.type == FRAME_CLOSE_BACK)
            break;
        sent += f.len;
    }
    ck_assert_uint_eq(f.len, 0);
    ck_assert_uint_eq(sent, 50000);
    ck_assert(was_other_first); /* a turn each */
    probe_expect_silence(&p);
    lane_probe_fini(&p);
}
END_TEST

/* Brings stream 1 into one of the states that an open stream can be in. */
static void bring_to(struct lane_probe *p, enum lane_role role, enum stream_half in,
                     enum stream_half out)
{
    struct stream *s = &p->streams[0].stream;

    open_one(p, role);
    ck_assert_int_eq(probe_data(p, 1, 300), 0);
    if (out == HALF_ENDED) {
        stream_finish(s);
        probe_expect(p, 1, fin_type(role), 0);
    } else {
        probe_write(p, 0, 30000);
        if (out == HALF_ENDING)
            stream_finish(s);
    }
    if (in == HALF_ENDED)
        ck_assert_int_eq(probe_close(p, 1, 0), 0);
    ck_assert_int_eq(s->in, in);
    ck_assert_int_eq(s->out, out);
    ck_assert_int_eq(s->state, STREAM_OPEN);
}

static void check_is_gone(struct lane_probe *p)
{
    struct stream *s = &p->streams[0].stream;

    ck_assert_int_eq(s->state, STREAM_RESET);
    ck_assert_ptr_null(stream_table_find(&p->lane.table, 1));
    ck_assert_uint_eq(p->lane.stream_count, 0);
    ck_assert_uint_eq(p->pool.out_count, 0); /* both queues were thrown away */
    ck_assert_uint_eq(atomic_load(&p->budget.streams), 0);
    ck_assert_uint_eq(atomic_load(&p->budget.taken), 0);
    ck_assert_uint_eq(stream_room(s), 0);
    stream_finish(s); /* nothing happens any more */
    stream_abort(s, RESET_BY_PEER);
    ck_assert_int_eq(probe_close(p, 1, 1), 0); /* what crosses it is dropped */
    ck_assert_int_eq(probe_data(p, 1, 65000), 0);
    ck_assert_int_eq(probe_credit(p, 1, 1), 0);
    probe_expect_silence(p);
}

START_TEST(a_reset_ends_every_state)
{
    static const enum stream_half ins[] = {HALF_OPEN, HALF_ENDED};
    static const enum stream_half outs[] = {HALF_OPEN, HALF_ENDING, HALF_ENDED};

    for (unsigned i = 0; i < 2 * 2 * 3; i++) {
        enum lane_role role = i & 1 ? LANE_HUB : LANE_EDGE;
        enum stream_half in = ins[i / 2 % 2], out = outs[i / 4];
        struct lane_probe p;
        unsigned before;

        if (in == HALF_ENDED && out == HALF_ENDED)
            continue; /* that is the end already */
        bring_to(&p, role, in, out);
        before = p.streams[0].changes;
        ck_assert_int_eq(probe_close(&p, 1, 1), 0);
        ck_assert_int_eq(p.streams[0].stream.reset_code, RESET_BY_PEER);
        ck_assert_uint_gt(p.streams[0].changes, before);
        ck_assert_uint_eq(p.lane.stats.resets_in, 1);
        probe_read(&p, 0, 300); /* what came before it is still there */
        check_is_gone(&p);
        lane_probe_fini(&p);

        bring_to(&p, role, in, out);
        stream_abort(&p.streams[0].stream, RESET_BY_PEER);
        probe_expect(&p, 1, fin_type(role), 1); /* the reset alone: the data is thrown away */
        ck_assert_uint_eq(p.lane.stats.resets_out, 1);
        check_is_gone(&p);
        lane_probe_fini(&p);
    }
}
END_TEST

START_TEST(the_byte_of_a_reset_is_one_that_the_frame_knows)
{
    static const struct {
        enum lane_role role;
        enum stream_reset code;
        uint8_t byte;
    } rows[] = {
        {LANE_HUB, RESET_BY_PEER, 1},      {LANE_HUB, RESET_UNREACHABLE, 2},
        {LANE_HUB, RESET_NOT_ALLOWED, 3},  {LANE_HUB, RESET_NO_MEMORY, 1},
        {LANE_EDGE, RESET_BY_PEER, 1},     {LANE_EDGE, RESET_UNREACHABLE, 1},
        {LANE_EDGE, RESET_NOT_ALLOWED, 1}, {LANE_EDGE, RESET_NO_MEMORY, 1},
    };

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct lane_probe p;
        struct probe_frame f;

        open_one(&p, rows[i].role);
        stream_abort(&p.streams[0].stream, rows[i].code);
        ck_assert_int_eq(p.streams[0].stream.reset_code, rows[i].code);
        ck_assert(probe_next(&p, &f));
        ck_assert_uint_eq(f.type, fin_type(rows[i].role));
        ck_assert_uint_eq(f.len, 1);
        ck_assert_uint_eq(f.payload[0], rows[i].byte);
        lane_probe_fini(&p);
    }
}
END_TEST

/* A client that is gone before its OPEN went out was never there, but its id is used up. */
START_TEST(a_reset_before_the_open_says_nothing)
{
    struct lane_probe p;

    lane_probe_init(&p, LANE_EDGE);
    probe_ask(&p);
    stream_abort(&p.streams[0].stream, RESET_BY_PEER);
    probe_expect_silence(&p);
    ck_assert_uint_eq(probe_dial(&p), 1);
    ck_assert_uint_eq(p.streams[1].stream.id, 2);
    lane_probe_fini(&p);
}
END_TEST

START_TEST(a_reset_goes_ahead_of_waiting_data)
{
    struct lane_probe p;

    open_one(&p, LANE_HUB);
    ck_assert_int_eq(probe_open(&p, 2, 443), 0);
    probe_write(&p, 0, 60000);
    stream_abort(&p.streams[1].stream, RESET_UNREACHABLE);
    probe_expect(&p, 2, FRAME_CLOSE_BACK, 1);
    probe_expect(&p, 1, FRAME_DATA_BACK, SCHED_TURN_BYTES);
    lane_probe_fini(&p);
}
END_TEST

/* The rest of a frame whose stream was reset in its middle belongs to nobody. */
START_TEST(a_reset_in_the_middle_of_a_frame_drops_its_rest)
{
    uint8_t frame[FRAME_HEADER_BYTES + 1000] = {0};
    struct lane_probe p;

    open_one(&p, LANE_HUB);
    frame_emit(frame, 1, FRAME_DATA, 1000);
    ck_assert_int_eq(lane_input(&p.lane, frame, 400, p.now_ms), 0);
    stream_abort(&p.streams[0].stream, RESET_BY_PEER);
    probe_expect(&p, 1, FRAME_CLOSE_BACK, 1);
    ck_assert_int_eq(lane_input(&p.lane, frame + 400, sizeof(frame) - 400, p.now_ms), 0);
    ck_assert_uint_eq(p.pool.out_count, 0);
    ck_assert_int_eq(probe_open(&p, 2, 443), 0); /* in step with the frames */
    lane_probe_fini(&p);
}
END_TEST

/* The owner lets go of a stream that is open: the peer is told, the owner is not. */
START_TEST(a_release_is_a_reset)
{
    struct lane_probe p;
    unsigned before;

    open_one(&p, LANE_EDGE);
    probe_write(&p, 0, 40000);
    before = p.streams[0].changes;
    stream_release(&p.streams[0].stream);
    stream_release(&p.streams[0].stream);
    ck_assert_uint_eq(p.streams[0].changes, before);
    probe_expect(&p, 1, FRAME_CLOSE, 1);
    probe_expect_silence(&p);
    lane_probe_fini(&p);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, every_pair_of_habits_comes_to_an_end);
    tcase_add_test(tc, resets_in_the_middle_leave_nothing_behind);
    tcase_add_test(tc, the_stream_leaves_with_the_second_fin);
    tcase_add_test(tc, the_fin_comes_behind_its_data_and_holds_nobody_up);
    tcase_add_test(tc, a_reset_ends_every_state);
    tcase_add_test(tc, the_byte_of_a_reset_is_one_that_the_frame_knows);
    tcase_add_test(tc, a_reset_before_the_open_says_nothing);
    tcase_add_test(tc, a_reset_goes_ahead_of_waiting_data);
    tcase_add_test(tc, a_reset_in_the_middle_of_a_frame_drops_its_rest);
    tcase_add_test(tc, a_release_is_a_reset);
    return suite_run("lane close", tc);
}
