/* Tests of loop/udp_outbox: real datagrams on loopback. */
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "loop/udp_outbox.h"
#include "support/suite.h"
#include "udp_fixture.h"

static struct udp_out_counters sent;
static unsigned lost;

static void on_error(struct udp_outbox *box, int err)
{
    (void)box, (void)err;
    lost++;
}

/* Runs of one size, sizes that change, empty ones, and two peers in turns: all of it in order. */
START_TEST(an_outbox_sends_all_in_order)
{
    struct udp_outbox *box = udp_outbox_new(&sent, NULL, on_error);
    static const size_t sizes[] = {1200, 1200, 1200, 700, 1200, 0, 0, 1200, 9000, 9000, 5, 5, 5, 6};
    struct udp_batch *b = udp_batch_new();
    union addr at[2];
    int fds[2], out;

    for (unsigned i = 0; i < 2; i++) {
        ck_assert_int_eq(bound("127.0.0.1", 1, &fds[i], &at[i]), 0);
        udp_socket_set_public(fds[i], AF_INET);
    }
    out = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
        struct iovec pieces[2] = {{content, sizes[i] / 3},
                                  {content + sizes[i] / 3, sizes[i] - sizes[i] / 3}};

        memset(content, (int)i, sizes[i]);
        udp_outbox_add(box, out, &at[0], NULL, pieces, 2);
        if (i % 5 == 4)
            udp_outbox_add(box, out, &at[1], NULL, pieces, 2);
    }
    udp_outbox_forget(box, out + 1); /* not for it */
    ck_assert_uint_gt(box->used, 0);
    udp_outbox_forget(box, out);
    ck_assert_int_eq(box->fd, -1);
    ck_assert_uint_eq(lost, 0);
    ck_assert_uint_ge(sent.bundles + sent.refused, 1);
    for (unsigned i = 0; i < ARRAY_LEN(sizes);) {
        struct udp_arrival a;
        struct pollfd wait = {.fd = fds[0], .events = POLLIN};
        int count;

        ck_assert_int_eq(poll(&wait, 1, 10000), 1);
        count = udp_batch_receive(b, fds[0]);
        ck_assert_int_gt(count, 0);
        for (int k = 0; k < count; k++) {
            udp_batch_get(b, (unsigned)k, &a);
            for (size_t pos = 0; pos < a.len || (a.len == 0 && pos == 0); pos += a.segment, i++) {
                size_t n = MIN(a.segment, a.len - pos);

                ck_assert_uint_eq(a.len == 0 ? 0 : n, sizes[i]);
                if (sizes[i] > 0)
                    ck_assert_uint_eq(a.bytes[pos + n - 1], i);
            }
        }
    }
    udp_outbox_add(box, out, &at[0], NULL, &(struct iovec){content, 65508}, 1);
    udp_outbox_flush(box);
    ck_assert_uint_eq(lost, 1); /* EMSGSIZE */
    for (unsigned i = 0; i < 2; i++)
        close(fds[i]);
    close(out);
    udp_outbox_free(box);
    udp_batch_free(b);
}
END_TEST

#define PEERS 8u

/* Clients in turns: one call for all of them, to each in order. */
START_TEST(messages_to_many_peers_leave_in_one_call)
{
    struct udp_outbox *box = udp_outbox_new(&sent, NULL, on_error);
    struct udp_batch *b = udp_batch_new();
    union addr at[PEERS];
    int fds[PEERS], out = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

    for (unsigned i = 0; i < PEERS; i++)
        ck_assert_int_eq(bound("127.0.0.1", 1, &fds[i], &at[i]), 0);
    for (unsigned i = 0; i < UDP_OUT_MESSAGES; i++) {
        content[0] = (uint8_t)(i / PEERS);
        udp_outbox_add(box, out, &at[i % PEERS], NULL, &(struct iovec){content, 10}, 1);
    }
    ck_assert_uint_eq(sent.calls, 0);
    udp_outbox_flush(box);
    ck_assert_uint_eq(sent.calls, 1);
    ck_assert_uint_eq(lost, 0);
    for (unsigned i = 0; i < PEERS; i++) {
        for (unsigned k = 0; k < UDP_OUT_MESSAGES / PEERS; k++) {
            struct pollfd wait = {.fd = fds[i], .events = POLLIN};
            uint8_t got[16];

            ck_assert_int_eq(poll(&wait, 1, 10000), 1);
            ck_assert_int_eq(recv(fds[i], got, sizeof(got), 0), 10);
            ck_assert_uint_eq(got[0], k);
        }
        close(fds[i]);
    }
    for (unsigned i = 0; i < 2 * UDP_OUT_MESSAGES; i++) /* more than there is room for */
        udp_outbox_add(box, out, &at[i % PEERS], NULL, &(struct iovec){content, 10}, 1);
    ck_assert_uint_eq(sent.calls, 2);
    udp_outbox_flush(box);
    close(out);
    udp_outbox_free(box);
    udp_batch_free(b);
}
END_TEST

/* What the kernel refuses of one peer is that peer's loss. */
START_TEST(a_message_that_is_refused_costs_no_other)
{
    struct udp_outbox *box = udp_outbox_new(&sent, NULL, on_error);
    struct udp_arrival last;
    struct udp_batch *b = udp_batch_new();
    union addr at, nowhere;
    int fd, out = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

    ck_assert_int_eq(bound("127.0.0.1", 1, &fd, &at), 0);
    ck_assert_int_eq(addr_parse_host(&nowhere, "255.255.255.255", 9), 0); /* EACCES */
    for (unsigned i = 0; i < 9; i++)
        udp_outbox_add(box, out, i % 3 == 1 ? &nowhere : &at, NULL, &(struct iovec){content, 10},
                       1);
    udp_outbox_flush(box);
    ck_assert_uint_eq(lost, 3);
    ck_assert_uint_eq(receive(b, fd, 6, &last), 6);
    close(fd);
    close(out);
    udp_outbox_free(box);
    udp_batch_free(b);
}
END_TEST

/* The kernel takes no segments without a checksum. */
START_TEST(refused_segments_leave_one_by_one)
{
    struct udp_outbox *box = udp_outbox_new(&sent, NULL, on_error);
    struct udp_arrival last;
    struct udp_batch *b = udp_batch_new();
    union addr at;
    int fd, on = 1, out = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

    ck_assert_int_eq(bound("127.0.0.1", 1, &fd, &at), 0);
    ck_assert_int_eq(setsockopt(out, SOL_SOCKET, SO_NO_CHECK, &on, sizeof(on)), 0);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 5; i++)
            udp_outbox_add(box, out, &at, NULL, &(struct iovec){content, 100}, 1);
        udp_outbox_flush(box);
        ck_assert_uint_eq(receive(b, fd, 5, &last), 5);
    }
    ck_assert_uint_eq(sent.refused, 1); /* the second was not tried */
    ck_assert_uint_eq(sent.bundles, 0);
    ck_assert_uint_eq(lost, 0);
    close(fd);
    close(out);
    udp_outbox_free(box);
    udp_batch_free(b);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_add_test(tc, an_outbox_sends_all_in_order);
    tcase_add_test(tc, messages_to_many_peers_leave_in_one_call);
    tcase_add_test(tc, a_message_that_is_refused_costs_no_other);
    tcase_add_test(tc, refused_segments_leave_one_by_one);
    return suite_run("udp_outbox", tc);
}
