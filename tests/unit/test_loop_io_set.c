/* Tests of loop/io_set: real sockets; what was removed is silent at once, on the loop that it left
 * and while its turn is being told. */
#include <check.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "loop/io_set.h"
#include "support/suite.h"

struct end {
    struct io_entry entry;
    int fd, peer;
    unsigned told;
    bool reads;
    struct end *removes; /* when it is told */
};

static struct loop *loop;
static struct io_set set;
static struct deadline stop;

static void on_stop(struct deadline *d)
{
    loop_stop(d->loop);
}

static void on_readable(struct io_entry *entry)
{
    struct end *e = container_of(entry, struct end, entry);
    char byte;

    e->told++;
    if (e->reads)
        ck_assert_int_eq(read(e->fd, &byte, 1), 1);
    if (e->removes)
        io_set_remove(&set, &e->removes->entry);
    loop_stop(loop);
}

static void end_up(struct end *e)
{
    int fds[2];

    memset(e, 0, sizeof(*e));
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    e->fd = fds[0];
    e->peer = fds[1];
    io_entry_init(&e->entry, on_readable);
}

static void end_down(struct end *e)
{
    io_set_remove(&set, &e->entry);
    close(e->fd);
    close(e->peer);
}

static void wake(const struct end *e)
{
    ck_assert_int_eq(write(e->peer, "x", 1), 1);
}

/* One turn in which something is told, or, when nothing is, what a deadline takes. */
static void turn(void)
{
    deadline_set(&stop, 50);
    loop_run(loop);
    deadline_off(&stop);
}

static void setup(void)
{
    loop = loop_new("test", 0, 0);
    memset(&set, 0, sizeof(set));
    deadline_init(&stop, loop, on_stop);
    ck_assert_int_eq(io_set_init(&set, loop), 0);
}

static void teardown(void)
{
    io_set_fini(&set);
    io_set_fini(&set);
    loop_free(loop);
}

START_TEST(readable_ones_are_told_until_they_are_read)
{
    struct end a, b;

    end_up(&a);
    end_up(&b);
    ck_assert_int_eq(io_set_add(&set, &a.entry, a.fd), 0);
    ck_assert_int_eq(io_set_add(&set, &b.entry, b.fd), 0);
    wake(&a);
    turn();
    turn();
    ck_assert_uint_ge(a.told, 2);
    a.reads = true;
    turn();
    a.told = 0;
    turn();
    ck_assert_uint_eq(a.told, 0);
    ck_assert_uint_eq(b.told, 0);
    end_down(&a);
    end_down(&b);
}
END_TEST

START_TEST(a_removed_one_is_silent_and_may_go_to_another)
{
    struct io_set other = {0};
    struct loop *its = loop_new("other", 0, 0);
    struct end a;

    end_up(&a);
    ck_assert_int_eq(io_set_init(&other, its), 0);
    ck_assert_int_eq(io_set_add(&set, &a.entry, a.fd), 0);
    wake(&a);
    io_set_remove(&set, &a.entry);
    io_set_remove(&set, &a.entry); /* fine twice */
    turn();
    ck_assert_uint_eq(a.told, 0);
    ck_assert_int_eq(io_set_add(&other, &a.entry, a.fd), 0);
    turn();
    ck_assert_uint_eq(a.told, 0);
    io_set_remove(&other, &a.entry);
    io_set_fini(&other);
    loop_free(its);
    end_down(&a);
}
END_TEST

START_TEST(one_that_is_removed_while_others_are_told)
{
    struct end a, b;

    end_up(&a);
    end_up(&b);
    a.reads = b.reads = true;
    a.removes = &b;
    b.removes = &a;
    ck_assert_int_eq(io_set_add(&set, &a.entry, a.fd), 0);
    ck_assert_int_eq(io_set_add(&set, &b.entry, b.fd), 0);
    wake(&a);
    wake(&b);
    turn();
    ck_assert_uint_eq(a.told + b.told, 1); /* whoever came first removed the other */
    end_down(&a);
    end_down(&b);
}
END_TEST

START_TEST(more_than_a_turn_tells)
{
    static struct end ends[IO_SET_BATCH + 10];
    unsigned told = 0;

    for (unsigned i = 0; i < ARRAY_LEN(ends); i++) {
        end_up(&ends[i]);
        ends[i].reads = true;
        ck_assert_int_eq(io_set_add(&set, &ends[i].entry, ends[i].fd), 0);
        wake(&ends[i]);
    }
    for (unsigned turns = 0; turns < 3; turns++)
        turn();
    for (unsigned i = 0; i < ARRAY_LEN(ends); i++) {
        told += ends[i].told;
        end_down(&ends[i]);
    }
    ck_assert_uint_eq(told, ARRAY_LEN(ends));
}
END_TEST

START_TEST(what_cannot_be_added_is_an_error)
{
    struct end a;

    end_up(&a);
    ck_assert_int_eq(io_set_add(&set, &a.entry, 1 << 20), -ERR_SYS);
    ck_assert_int_eq(a.entry.fd, -1);
    end_down(&a);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, readable_ones_are_told_until_they_are_read);
    tcase_add_test(tc, a_removed_one_is_silent_and_may_go_to_another);
    tcase_add_test(tc, one_that_is_removed_while_others_are_told);
    tcase_add_test(tc, more_than_a_turn_tells);
    tcase_add_test(tc, what_cannot_be_added_is_an_error);
    return suite_run("io_set", tc);
}
