/* Active checks: marks follow answers, watches follow the sets that name them. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loop/listener.h"
#include "support/suite.h"
#include "traffic/health.h"

static struct loop *loop;
static struct health health;
static struct acceptor acceptor;
static int listener;
static union addr bound;
static const char *answer;
static unsigned asked, enough, changes;

static void on_change(struct health *h, const struct health_change *c)
{
    char target[ADDR_TEXT_MAX];

    ck_assert_ptr_eq(h, &health);
    ck_assert_str_eq(c->host, "a.test");
    ck_assert_str_eq(c->path, "/up");
    ck_assert_str_eq(c->target, addr_format(&bound, target));
    ck_assert_int_eq(c->is_up, changes++ % 2); /* down first, then by turns */
}

static void on_accept(struct acceptor *a, int fd, const union addr *peer)
{
    (void)a;
    (void)peer;
    /* The request is not read: what is answered at once is an answer too. */
    ck_assert_int_eq(write(fd, answer, strlen(answer)), (ssize_t)strlen(answer));
    shutdown(fd, SHUT_WR);
    close(fd);
    asked++;
}

/* Looks after each turn of the loop. */
struct look {
    struct deadline deadline;
    bool (*is_true)(void);
    unsigned left;
};

static void on_look(struct deadline *d)
{
    struct look *look = container_of(d, struct look, deadline);

    if (look->is_true() || --look->left == 0)
        loop_stop(loop);
    else
        deadline_set(d, 5);
}

static void wait_until(bool (*is_true)(void))
{
    struct look look = {.is_true = is_true, .left = 4000};

    deadline_init(&look.deadline, loop, on_look);
    deadline_set(&look.deadline, 1);
    loop_run(loop);
    ck_assert(is_true());
}

static bool has_asked(void)
{
    return asked >= enough;
}

static bool one_is_down(void)
{
    return health.down == 1;
}

static bool none_is_down(void)
{
    return health.down == 0;
}

static void setup(void)
{
    union addr any;
    unsigned sets;

    asked = 0;
    loop = loop_new("test", 4, 16);
    ck_assert_int_eq(addr_parse(&any, "127.0.0.1:0"), 0);
    ck_assert_int_eq(listen_bind_any(&any, 1, &listener, &sets, &bound), 0);
    acceptor_init(&acceptor, loop, listener, on_accept);
    acceptor_start(&acceptor);
    changes = 0;
    health_init(&health, loop, 2, on_change);
}

static void teardown(void)
{
    health_fini(&health);
    acceptor_fini(&acceptor);
    loop_free(loop);
}

/* One route with `destinations` of them, the listener the first; checked every `ms`. */
static struct route_set *make_set(unsigned destinations, uint32_t ms)
{
    struct route_set *set = route_set_new(1);
    struct route *route = &set->routes[0];

    route->host = must_strdup("a.test");
    route->destinations = must_alloc(destinations * sizeof(struct destination));
    route->destination_count = destinations;
    route->port_count = 1;
    for (unsigned i = 0; i < destinations; i++) {
        route->destinations[i].addr = bound;
        if (i > 0)
            addr_set_port(&route->destinations[i].addr, (uint16_t)(1 + i));
        addr_format(&route->destinations[i].addr, route->destinations[i].key);
    }
    route->options = route_options_new();
    route->options->health = (struct route_health){.path = must_strdup("/up"),
                                                   .interval_ms = ms,
                                                   .timeout_ms = 5000,
                                                   .healthy_threshold = 1,
                                                   .unhealthy_threshold = 2};
    route_set_seal(set);
    health_take(&health, set);
    return set;
}

START_TEST(marks_follow_answers)
{
    struct route_set *set = make_set(1, 20);

    answer = "HTTP/1.1 200 OK\r\n\r\n";
    enough = 3;
    wait_until(has_asked);
    ck_assert(!health_is_down(&set->routes[0], 0));
    answer = "HTTP/1.1 500 No\r\n\r\n";
    wait_until(one_is_down);
    ck_assert(health_is_down(&set->routes[0], 0));
    answer = "HTTP/1.0 304 Same\r\n\r\n";
    wait_until(none_is_down);
    ck_assert(!health_is_down(&set->routes[0], 0));
    answer = "HTTP/1.1 20"; /* and the end */
    wait_until(one_is_down);
    enough = asked + 4; /* nothing new: nothing is told */
    wait_until(has_asked);
    ck_assert_uint_eq(changes, 3);
    route_set_unref(set);
}
END_TEST

START_TEST(watches_follow_sets)
{
    struct route_set *first = make_set(1, 20), *second, *third;

    answer = "SSH-2.0-x and so on\r\n";
    wait_until(one_is_down);
    second = make_set(1, 20);
    ck_assert_uint_eq(health.count, 1);
    ck_assert_ptr_eq(first->routes[0].marks[0], second->routes[0].marks[0]);
    ck_assert(health_is_down(&second->routes[0], 0));
    third = make_set(1, 30); /* another check, which knows nothing yet */
    ck_assert_uint_eq(health.count, 1);
    ck_assert_uint_eq(health.down, 0);
    ck_assert(!health_is_down(&third->routes[0], 0));
    ck_assert(!health_is_down(&second->routes[0], 0)); /* nobody asks for it any more */
    route_set_unref(first);
    route_set_unref(second);
    route_set_unref(third);
}
END_TEST

START_TEST(as_many_as_may_be)
{
    struct route_set *set = make_set(5, 20);

    ck_assert_uint_eq(health.count, 2);
    ck_assert_uint_eq(health.refused, 3);
    ck_assert_ptr_null(set->routes[0].marks[4]);
    ck_assert(!health_is_down(&set->routes[0], 4));
    health.on_change = NULL; /* none is needed */
    answer = "HTTP/1.1 200 OK\r\n\r\n";
    wait_until(one_is_down); /* the second: nothing listens there */
    ck_assert(health_is_down(&set->routes[0], 1));
    route_set_unref(set);
}
END_TEST

/* All of the limit is in use: another check of the same destinations takes the place of the first.
 */
START_TEST(a_swap_needs_no_room)
{
    struct route_set *first = make_set(2, 20), *second = make_set(2, 30);

    ck_assert_uint_eq(health.count, 2);
    ck_assert_uint_eq(health.refused, 0);
    ck_assert_ptr_nonnull(second->routes[0].marks[0]);
    ck_assert_ptr_nonnull(second->routes[0].marks[1]);
    ck_assert_ptr_ne(first->routes[0].marks[0], second->routes[0].marks[0]);
    route_set_unref(first);
    route_set_unref(second);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("health");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, marks_follow_answers);
    tcase_add_test(tcase, watches_follow_sets);
    tcase_add_test(tcase, as_many_as_may_be);
    tcase_add_test(tcase, a_swap_needs_no_room);
    return suite_run("traffic_health", tcase);
}
