/* Tests of loop/resolver: against a small DNS server on loopback, /etc/hosts, and literals. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "loop/resolver.h"
#include "support/dns_server.h"

static struct loop *loop;
static struct deadline guard;
static struct dns_server server;
static struct resolver *resolver;
static char conf_path[64];

/* One lookup and what came of it. */
struct lookup {
    struct resolve query;
    union addr addrs[RESOLVER_ADDRESSES_MAX];
    unsigned count, calls;
    int err;
    bool frees_resolver;
    const char *then; /* looked up next from within the answer */
};

static void on_guard(struct deadline *d)
{
    (void)d;
    ck_abort_msg("nothing happened for 20 s");
}

static void write_conf(const char *text)
{
    char fresh[80];
    FILE *file;

    snprintf(fresh, sizeof(fresh), "%s.new", conf_path);
    file = fopen(fresh, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
    ck_assert_int_eq(rename(fresh, conf_path), 0);
}

static void setup(void)
{
    int fd;

    log_init(LOG_TEXT, LOG_ERR, 2);
    loop = loop_new("test", 0, 0);
    deadline_init(&guard, loop, on_guard);
    dns_server_start(&server, loop, "127.0.0.1", 0);
    strcpy(conf_path, "/tmp/penstock-resolv-XXXXXX");
    fd = mkstemp(conf_path);
    ck_assert_int_ge(fd, 0);
    close(fd);
    write_conf("nameserver 127.0.0.1\nsearch invalid\n");
    resolver = resolver_new_with(loop, &(struct resolver_options){conf_path, server.port});
    ck_assert_ptr_nonnull(resolver);
}

static void teardown(void)
{
    resolver_free(resolver);
    dns_server_stop(&server);
    deadline_off(&guard);
    loop_free(loop);
    unlink(conf_path);
}

static void run(void)
{
    deadline_set(&guard, 20000);
    loop_run(loop);
    deadline_off(&guard);
}

static void on_addresses(struct resolve *q, const union addr *addrs, unsigned count, int err)
{
    struct lookup *l = container_of(q, struct lookup, query);

    l->calls++;
    l->err = err;
    l->count = count;
    memcpy(l->addrs, addrs, count * sizeof(addrs[0]));
    ck_assert_ptr_null(q->resolver);
    if (l->frees_resolver) {
        resolver_free(resolver);
        resolver = NULL;
    }
    if (l->then) {
        const char *next = l->then;

        l->then = NULL;
        resolve_start(q, resolver, next, 80, on_addresses);
    } else {
        loop_stop(loop);
    }
}

static void start(struct lookup *l, const char *name)
{
    resolve_start(&l->query, resolver, name, 443, on_addresses);
    ck_assert_uint_eq(l->calls, 0); /* never from within resolve_start() */
}

static bool has(const struct lookup *l, const char *text)
{
    union addr want;

    ck_assert_int_eq(addr_parse(&want, text), 0);
    for (unsigned i = 0; i < l->count; i++)
        if (addr_is_same(&l->addrs[i], &want))
            return true;
    return false;
}

static unsigned held_wanted = 2; /* A and AAAA */

static void on_held_stop(struct dns_server *s)
{
    if (s->held_count == held_wanted)
        loop_stop(loop);
}

START_TEST(a_name_has_the_addresses_of_both_families)
{
    struct lookup l = {0};

    dns_server_add(&server, "two.test", "127.0.0.7");
    dns_server_add(&server, "two.test", "127.0.0.8");
    dns_server_add(&server, "two.test", "::1");
    start(&l, "two.test");
    run();
    ck_assert_int_eq(l.err, 0);
    ck_assert_uint_eq(l.count, 3);
    ck_assert(has(&l, "127.0.0.7:443"));
    ck_assert(has(&l, "127.0.0.8:443"));
    ck_assert(has(&l, "[::1]:443"));
    ck_assert_uint_eq(l.calls, 1);
}
END_TEST

START_TEST(one_family_is_enough)
{
    struct lookup l = {0};

    dns_server_add(&server, "four.test", "127.0.0.7");
    start(&l, "four.test");
    run();
    ck_assert_uint_eq(l.count, 1);
    ck_assert(has(&l, "127.0.0.7:443"));
}
END_TEST

START_TEST(nothing_is_cached)
{
    struct lookup a = {0}, b = {0};
    unsigned asked;

    dns_server_add(&server, "moving.test", "127.0.0.7");
    start(&a, "moving.test");
    run();
    asked = server.asked;
    ck_assert(has(&a, "127.0.0.7:443"));
    server.record_count = 0;
    dns_server_add(&server, "moving.test", "127.0.0.9");
    start(&b, "moving.test");
    run();
    ck_assert_uint_gt(server.asked, asked);
    ck_assert_uint_eq(b.count, 1);
    ck_assert(has(&b, "127.0.0.9:443"));
}
END_TEST

START_TEST(a_name_that_does_not_exist_is_an_error)
{
    struct lookup l = {0};

    start(&l, "gone.test");
    run();
    ck_assert_int_eq(l.err, -ERR_RESOLVE);
    ck_assert_uint_eq(l.count, 0);
    ck_assert_uint_gt(server.asked, 0);
}
END_TEST

START_TEST(names_that_cannot_be_are_errors)
{
    char label[65], name[300] = "";
    const char *wrong[] = {"", "..", label, name};

    memset(label, 'a', 64);
    label[64] = '\0';
    for (int i = 0; i < 140; i++)
        strcat(name, "a.");
    for (unsigned i = 0; i < ARRAY_LEN(wrong); i++) {
        struct lookup l = {0};

        start(&l, wrong[i]);
        run();
        ck_assert_int_eq(l.err, -ERR_RESOLVE);
        ck_assert_uint_eq(l.calls, 1);
    }
    ck_assert_uint_eq(server.asked, 0);
}
END_TEST

START_TEST(a_search_domain_is_followed)
{
    struct lookup l = {0};

    dns_server_add(&server, "short.invalid", "127.0.0.7");
    start(&l, "short");
    run();
    ck_assert(has(&l, "127.0.0.7:443"));
}
END_TEST

START_TEST(a_lost_query_is_asked_again)
{
    struct lookup l = {0};

    dns_server_add(&server, "late.test", "127.0.0.7");
    server.late = "late.test";
    server.on_held = on_held_stop;
    held_wanted = 3; /* A and AAAA, and one of them a second time */
    start(&l, "late.test");
    run();
    ck_assert_uint_ge(server.asked, 3);
    ck_assert_uint_eq(l.calls, 0);
    dns_server_release(&server);
    run();
    ck_assert(has(&l, "127.0.0.7:443"));
}
END_TEST

START_TEST(more_addresses_than_fit_are_left_out)
{
    static char texts[20][16];
    struct lookup l = {0};

    for (unsigned i = 0; i < 20; i++) {
        snprintf(texts[i], sizeof(texts[i]), "127.0.1.%u", i);
        dns_server_add(&server, "many.test", texts[i]);
    }
    start(&l, "many.test");
    run();
    ck_assert_uint_eq(l.count, RESOLVER_ADDRESSES_MAX);
}
END_TEST

START_TEST(localhost_comes_from_the_system)
{
    struct lookup l = {0};

    start(&l, "localhost");
    run();
    ck_assert_int_eq(l.err, 0);
    ck_assert(has(&l, "127.0.0.1:443") || has(&l, "[::1]:443"));
    ck_assert_uint_eq(server.asked, 0);
}
END_TEST

START_TEST(the_system_settings_serve_localhost_too)
{
    struct lookup l = {0};

    resolver_free(resolver);
    resolver = resolver_new(loop);
    ck_assert_ptr_nonnull(resolver);
    start(&l, "localhost");
    run();
    ck_assert(has(&l, "127.0.0.1:443") || has(&l, "[::1]:443"));
}
END_TEST

START_TEST(literals_are_answered_without_a_query)
{
    static const char *const texts[][2] = {{"192.0.2.1", "192.0.2.1:443"},
                                           {"2001:db8::1", "[2001:db8::1]:443"},
                                           {"[::1]", "[::1]:443"}};

    for (unsigned i = 0; i < ARRAY_LEN(texts); i++) {
        struct lookup l = {0};

        start(&l, texts[i][0]);
        run();
        ck_assert_uint_eq(l.count, 1);
        ck_assert(has(&l, texts[i][1]));
    }
    ck_assert_uint_eq(server.asked, 0);
}
END_TEST

START_TEST(an_answer_may_start_the_next_lookup)
{
    struct lookup l = {.then = "two.test"};

    dns_server_add(&server, "one.test", "127.0.0.1");
    dns_server_add(&server, "two.test", "127.0.0.2");
    start(&l, "one.test");
    run();
    ck_assert_uint_eq(l.calls, 2);
    ck_assert(has(&l, "127.0.0.2:80"));
}
END_TEST

START_TEST(many_lookups_at_once_are_kept_apart)
{
    static char names[DNS_RECORDS_MAX][16], texts[DNS_RECORDS_MAX][16];
    static struct lookup lookups[DNS_RECORDS_MAX];

    for (unsigned i = 0; i < DNS_RECORDS_MAX; i++) {
        snprintf(names[i], sizeof(names[i]), "n%u.test", i);
        snprintf(texts[i], sizeof(texts[i]), "127.0.2.%u", i);
        dns_server_add(&server, names[i], texts[i]);
        lookups[i] = (struct lookup){0};
        start(&lookups[i], names[i]);
    }
    for (unsigned i = 0; i < DNS_RECORDS_MAX;) {
        char want[32];

        if (lookups[i].calls == 0) {
            run();
            continue;
        }
        snprintf(want, sizeof(want), "127.0.2.%u:443", i);
        ck_assert_uint_eq(lookups[i].count, 1);
        ck_assert(has(&lookups[i], want));
        i++;
    }
}
END_TEST

/* ------------------------------------------------------------------ cancelling and freeing */

START_TEST(a_cancelled_lookup_is_not_answered)
{
    struct lookup late = {0}, other = {0}, ready = {0};

    dns_server_add(&server, "late.test", "127.0.0.7");
    dns_server_add(&server, "other.test", "127.0.0.8");
    server.late = "late.test";
    server.on_held = on_held_stop;
    start(&late, "late.test");
    run(); /* the server has it */
    resolve_cancel(&late.query);
    resolve_cancel(&late.query);
    dns_server_release(&server);
    start(&ready, "192.0.2.1"); /* its answer waits on the ready list */
    resolve_cancel(&ready.query);
    start(&other, "other.test");
    run();
    ck_assert(has(&other, "127.0.0.8:443"));
    ck_assert_uint_eq(late.calls, 0);
    ck_assert_uint_eq(ready.calls, 0);
    resolve_cancel(&(struct resolve){0});
    start(&late, "other.test"); /* idle again, so it may start */
    run();
    ck_assert_uint_eq(late.calls, 1);
}
END_TEST

START_TEST(what_is_cancelled_counts_no_more)
{
    struct lookup l = {0};

    for (unsigned i = 0; i <= RESOLVER_QUERIES_MAX; i++) {
        start(&l, "192.0.2.1");
        resolve_cancel(&l.query);
    }
    start(&l, "192.0.2.1");
    run();
    ck_assert_int_eq(l.err, 0);
}
END_TEST

START_TEST(a_resolver_may_go_with_lookups_open)
{
    struct lookup under_way = {0}, cancelled = {0}, ready = {0};

    server.late = "late.test";
    server.on_held = on_held_stop;
    start(&under_way, "late.test");
    run();
    start(&cancelled, "late.test");
    start(&ready, "192.0.2.1");
    resolve_cancel(&cancelled.query);
    resolver_free(resolver);
    resolver = NULL;
    ck_assert_ptr_null(under_way.query.resolver);
    resolve_cancel(&under_way.query);
    resolve_cancel(&ready.query);
    loop_stop(loop);
    run();
    ck_assert_uint_eq(under_way.calls + cancelled.calls + ready.calls, 0);
}
END_TEST

START_TEST(a_resolver_may_go_from_within_an_answer)
{
    struct lookup l = {.frees_resolver = true}, other = {0};

    server.silent = "silent.test";
    start(&other, "silent.test");
    start(&l, "192.0.2.1");
    run();
    ck_assert_uint_eq(l.count, 1);
    ck_assert_uint_eq(other.calls, 0);
    ck_assert_ptr_null(resolver);
}
END_TEST

START_TEST(too_many_at_once_fail_at_once)
{
    static struct lookup lookups[RESOLVER_QUERIES_MAX];
    struct lookup more = {0}, again = {0};

    server.silent = "silent.test";
    for (unsigned i = 0; i < RESOLVER_QUERIES_MAX; i++)
        resolve_start(&lookups[i].query, resolver, "silent.test", 1, on_addresses);
    start(&more, "192.0.2.1");
    run();
    ck_assert_uint_eq(more.calls, 1);
    ck_assert_int_eq(more.err, -ERR_RESOLVE);
    for (unsigned i = 0; i < RESOLVER_QUERIES_MAX; i++)
        resolve_cancel(&lookups[i].query);
    start(&again, "192.0.2.1"); /* c-ares still holds the cancelled ones */
    run();
    ck_assert_int_eq(again.err, -ERR_RESOLVE);
}
END_TEST

/* ------------------------------------------------------------------ resolv.conf */

START_TEST(a_changed_resolv_conf_holds_from_the_next_lookup)
{
    struct dns_server second;
    struct lookup old = {0}, fresh = {0};

    dns_server_start(&second, loop, "127.0.0.2", server.port);
    dns_server_add(&server, "name.test", "127.0.0.7");
    dns_server_add(&second, "name.test", "127.0.0.8");
    server.late = "name.test";
    server.on_held = on_held_stop;
    start(&old, "name.test");
    run(); /* the first server has the query, and keeps it */
    write_conf("nameserver 127.0.0.2\n");
    start(&fresh, "name.test");
    run();
    ck_assert_uint_eq(fresh.count, 1);
    ck_assert(has(&fresh, "127.0.0.8:443"));
    ck_assert_uint_eq(old.calls, 0);
    dns_server_release(&server);
    run(); /* what was asked before the change is still answered */
    ck_assert_uint_eq(old.count, 1);
    ck_assert(has(&old, "127.0.0.7:443"));
    dns_server_stop(&second);
}
END_TEST

/* How often a log line tells that resolv.conf was read again. */
static unsigned reloads(int log_fd)
{
    static char text[65536];
    unsigned count = 0;
    ssize_t n = read(log_fd, text, sizeof(text) - 1);

    text[n > 0 ? n : 0] = '\0';
    for (const char *at = text; (at = strstr(at, "resolver_reloaded")); at++)
        count++;
    return count;
}

START_TEST(resolv_conf_is_read_again_only_when_it_changed)
{
    struct lookup l = {0};
    int fds[2];

    ck_assert_int_eq(pipe2(fds, O_NONBLOCK), 0);
    log_init(LOG_TEXT, LOG_DEBUG, fds[1]);
    dns_server_add(&server, "name.test", "127.0.0.7");
    for (unsigned i = 0; i < 4; i++) {
        l.calls = 0;
        start(&l, "name.test");
        run();
        ck_assert_uint_eq(l.count, 1);
        ck_assert_uint_eq(reloads(fds[0]), i == 2 ? 1 : 0);
        if (i == 1)
            write_conf("nameserver 127.0.0.1\n");
    }
    log_init(LOG_TEXT, LOG_ERR, 2);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

START_TEST(what_was_asked_before_a_change_is_waited_for)
{
    struct lookup held = {0}, silent = {0}, fresh = {0};

    dns_server_add(&server, "name.test", "127.0.0.7");
    server.late = "name.test";
    server.silent = "silent.test";
    server.on_held = on_held_stop;
    start(&silent, "silent.test");
    start(&held, "name.test");
    run();
    write_conf("nameserver 127.0.0.1\noptions ndots:1\n");
    start(&fresh, "localhost");
    run();
    dns_server_release(&server);
    run(); /* one of two is answered: the other keeps its channel */
    ck_assert_uint_eq(held.calls, 1);
    fresh.calls = 0;
    start(&fresh, "name.test");
    run();
    ck_assert_uint_eq(silent.calls, 0);
    ck_assert_ptr_nonnull(silent.query.resolver);
    resolve_cancel(&silent.query); /* it lies in this frame, and teardown comes after it */
}
END_TEST

START_TEST(a_resolv_conf_that_goes_and_comes_back_is_followed)
{
    struct lookup l = {0}, localhost = {0};

    dns_server_add(&server, "name.test", "127.0.0.7");
    ck_assert_int_eq(unlink(conf_path), 0);
    start(&localhost, "localhost");
    run();
    ck_assert_int_eq(localhost.err, 0);
    write_conf("nameserver 127.0.0.1\n");
    start(&l, "name.test");
    run();
    ck_assert(has(&l, "127.0.0.7:443"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("loop_resolver");
    TCase *tc = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, a_name_has_the_addresses_of_both_families);
    tcase_add_test(tc, one_family_is_enough);
    tcase_add_test(tc, nothing_is_cached);
    tcase_add_test(tc, a_name_that_does_not_exist_is_an_error);
    tcase_add_test(tc, names_that_cannot_be_are_errors);
    tcase_add_test(tc, a_search_domain_is_followed);
    tcase_add_test(tc, a_lost_query_is_asked_again);
    tcase_add_test(tc, more_addresses_than_fit_are_left_out);
    tcase_add_test(tc, localhost_comes_from_the_system);
    tcase_add_test(tc, the_system_settings_serve_localhost_too);
    tcase_add_test(tc, literals_are_answered_without_a_query);
    tcase_add_test(tc, an_answer_may_start_the_next_lookup);
    tcase_add_test(tc, many_lookups_at_once_are_kept_apart);
    tcase_add_test(tc, a_cancelled_lookup_is_not_answered);
    tcase_add_test(tc, what_is_cancelled_counts_no_more);
    tcase_add_test(tc, a_resolver_may_go_with_lookups_open);
    tcase_add_test(tc, a_resolver_may_go_from_within_an_answer);
    tcase_add_test(tc, too_many_at_once_fail_at_once);
    tcase_add_test(tc, a_changed_resolv_conf_holds_from_the_next_lookup);
    tcase_add_test(tc, resolv_conf_is_read_again_only_when_it_changed);
    tcase_add_test(tc, what_was_asked_before_a_change_is_waited_for);
    tcase_add_test(tc, a_resolv_conf_that_goes_and_comes_back_is_followed);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
