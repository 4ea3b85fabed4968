/* test_link_bad_peer - link/link.h: a peer that is silent, goes, floods or never ends its line. */
#include <sys/socket.h>
#include <unistd.h>

#include "link_fixture.h"

static bool hub_is_over(void)
{
    return hub.is_over;
}

static bool edge_is_over(void)
{
    return edge.is_over;
}

START_TEST(a_silent_peer_has_the_time_of_a_handshake)
{
    int edge_fd, hub_fd;

    stand_up();
    open_sockets(&edge_fd, &hub_fd);
    link_up(&hub, hub_fd, server_ctx, 50);
    UNTIL(hub_is_over);
    ck_assert_int_eq(hub.error, -ERR_TIMEOUT);
    ck_assert(!hub.is_secure);
    close(edge_fd);
    open_sockets(&edge_fd, &hub_fd);
    link_up(&edge, edge_fd, client_ctx, 50);
    UNTIL(edge_is_over);
    ck_assert_int_eq(edge.error, -ERR_TIMEOUT);
    close(hub_fd);
    stand_down();
}
END_TEST

START_TEST(a_verdict_that_does_not_come_is_a_timeout)
{
    int edge_fd, hub_fd;

    stand_up();
    hub.verdict = WAITS;
    open_sockets(&edge_fd, &hub_fd);
    link_up(&hub, hub_fd, server_ctx, PATIENCE_MS);
    link_up(&edge, edge_fd, client_ctx, PATIENCE_MS);
    UNTIL(hub_judges);
    link_extend(hub.link, 50);
    UNTIL(both_are_over);
    ck_assert_int_eq(hub.error, -ERR_TIMEOUT);
    stand_down();
}
END_TEST

/* Nothing is read while the verdict is out: its end is noticed with the verdict. */
static void edge_goes_during_verdict(enum verdict verdict)
{
    stand_up();
    hub.verdict = WAITS;
    both_up();
    UNTIL(hub_judges);
    link_free(edge.link);
    edge.link = NULL;
    edge.is_over = true;
    hub_decides(hub.link, verdict);
    UNTIL(hub_is_over);
    ck_assert_int_ne(hub.error, 0);
    stand_down();
}

START_TEST(a_peer_that_goes_during_the_verdict_and_is_let_in)
{
    edge_goes_during_verdict(OPENS);
    ck_assert(hub.error == -ERR_CLOSED || hub.error == -ERR_RESET);
}
END_TEST

START_TEST(a_peer_that_goes_during_the_verdict_and_is_refused)
{
    edge_goes_during_verdict(REFUSES);
    ck_assert_int_eq(hub.error, -ERR_DENIED);
}
END_TEST

START_TEST(an_end_without_goodbye_is_a_loss)
{
    stand_up();
    both_open();
    edge_opens_stream();
    UNTIL(stream_is_there);
    link_free(edge.link);
    edge.link = NULL;
    UNTIL(hub_is_over);
    ck_assert(hub.error == -ERR_CLOSED || hub.error == -ERR_RESET);
    ck_assert_int_eq(hub.stream.state, STREAM_RESET);
    ck_assert_int_eq(edge.stream.state, STREAM_RESET);
    stand_down();
}
END_TEST

START_TEST(without_alpn_nobody_gets_in)
{
    struct tls_ctx *bare;
    int edge_fd, hub_fd;

    stand_up();
    bare = tls_pair_client_ctx(TLS_ONLY_13, NULL);
    open_sockets(&edge_fd, &hub_fd);
    link_up(&hub, hub_fd, server_ctx, PATIENCE_MS);
    link_up(&edge, edge_fd, bare, PATIENCE_MS);
    UNTIL(both_are_over);
    ck_assert_int_eq(hub.error, -ERR_PROTO);
    ck_assert(!hub.is_secure && !edge.is_secure);
    tls_ctx_unref(bare);
    stand_down();
}
END_TEST

static bool edge_is_secure(void)
{
    return edge.is_secure;
}

START_TEST(a_line_without_end_is_cut)
{
    static char much[HELLO_MAX + 2 * TLS_RECORD_BYTES];

    stand_up();
    edge.is_mute = true;
    both_up();
    UNTIL(edge_is_secure);
    memset(much, 'x', sizeof(much));
    link_send_line(edge.link, much, sizeof(much));
    UNTIL(both_are_over);
    ck_assert_int_eq(hub.error, -ERR_TOO_BIG);
    ck_assert_str_eq(edge.line, "");
    stand_down();
}
END_TEST

/* A peer that neither reads nor closes, and one that sends without end, don't keep a link that
 * leaves. */
static void leave_in_spite_of(bool is_flooding)
{
    static char waste[65536];
    struct end *e = &hub;
    int edge_fd, hub_fd, kept;
    uint64_t began_ms;

    stand_up();
    hub.verdict = WAITS;
    open_sockets(&edge_fd, &hub_fd);
    kept = dup(edge_fd); /* the connection stays when the edge's link is gone */
    link_up(&hub, hub_fd, server_ctx, PATIENCE_MS);
    link_up(&edge, edge_fd, client_ctx, PATIENCE_MS);
    UNTIL(hub_judges);
    link_free(edge.link);
    edge.link = NULL;
    began_ms = clock_now_us() / 1000;
    hub_decides(e->link, REFUSES);
    do {
        while (is_flooding && send(kept, waste, sizeof(waste), MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
            continue;
    } while (!happens_within(hub_is_over, 5) && clock_now_us() / 1000 < began_ms + 20000);
    ck_assert(hub.is_over);
    ck_assert_uint_ge(clock_now_us() / 1000 - began_ms, 900);
    ck_assert_uint_le(clock_now_us() / 1000 - began_ms, PATIENCE_MS - 1000); /* not by that */
    close(kept);
    stand_down();
}

START_TEST(leaves_a_peer_that_does_not_close)
{
    leave_in_spite_of(false);
}
END_TEST

START_TEST(leaves_a_peer_that_floods)
{
    leave_in_spite_of(true);
}
END_TEST

/* No memory for the last word: the link ends without it. */
START_TEST(a_refusal_that_cannot_be_written_ends_the_link)
{
    enum { CAP = 8 };
    struct chunk *taken[CAP + 1];
    unsigned n = 0;

    stand_up();
    loop_free(loop);
    loop = loop_new("test", 4, CAP);
    hub.verdict = WAITS;
    both_up();
    UNTIL(hub_judges);
    while ((taken[n] = chunk_take(loop_pool(loop))))
        n++;
    hub_decides(hub.link, REFUSES);
    UNTIL(hub_is_over);
    ck_assert_str_eq(edge.line, "");
    while (n > 0)
        chunk_give(loop_pool(loop), taken[--n]);
    stand_down();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("link_bad_peer");
    TCase *c = tcase_create("bad peer");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(c, 120);
    tcase_add_test(c, a_silent_peer_has_the_time_of_a_handshake);
    tcase_add_test(c, a_verdict_that_does_not_come_is_a_timeout);
    tcase_add_test(c, a_peer_that_goes_during_the_verdict_and_is_let_in);
    tcase_add_test(c, a_peer_that_goes_during_the_verdict_and_is_refused);
    tcase_add_test(c, an_end_without_goodbye_is_a_loss);
    tcase_add_test(c, without_alpn_nobody_gets_in);
    tcase_add_test(c, a_line_without_end_is_cut);
    tcase_add_test(c, leaves_a_peer_that_does_not_close);
    tcase_add_test(c, leaves_a_peer_that_floods);
    tcase_add_test(c, a_refusal_that_cannot_be_written_ends_the_link);
    suite_add_tcase(suite, c);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
