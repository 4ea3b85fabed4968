/* Trusted networks with names among them: looked up at once and again, kept when a lookup fails. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "support/suite.h"
#include "traffic/trust_watch.h"
#include "json/json.h"

static struct loop *loop;
static struct resolver *resolver;
static struct trust_watch watch;
static unsigned changes;

static void on_change(struct trust_watch *w, struct proxy_trust *trust)
{
    ck_assert_ptr_eq(w, &watch);
    ck_assert_ptr_eq(w->present, trust);
    changes++;
}

/* Runs the loop until the first lookups have been answered. */
static void on_poll(struct deadline *d)
{
    if (trust_watch_is_settled(&watch))
        loop_stop(loop);
    else
        deadline_set(d, 5);
}

static void begin(const char *list)
{
    struct json_object *parsed;
    struct json_syntax why;
    int rc = json_read(&parsed, list, strlen(list), &why);

    ck_assert_int_eq(rc, 0);
    log_set_level(LOG_ERR);
    changes = 0;
    loop = loop_new("control", 0, 4);
    resolver = resolver_new(loop);
    trust_watch_init(&watch, loop, resolver, parsed, on_change);
    json_object_put(parsed); /* the watch counts it */
}

static void settle(void)
{
    struct deadline poll;

    deadline_init(&poll, loop, on_poll);
    deadline_set(&poll, 1);
    loop_run(loop);
    deadline_off(&poll);
}

static void end(void)
{
    trust_watch_fini(&watch);
    trust_watch_fini(&watch); /* fine when zeroed */
    resolver_free(resolver);
    loop_free(loop);
}

static bool trusts(const char *address)
{
    union addr peer;

    ck_assert_int_eq(addr_parse(&peer, address), 0);
    return proxy_trust_has(watch.present, &peer);
}

START_TEST(no_names)
{
    begin("[\"10.0.0.0/8\",\"2001:db8::1\"]");
    ck_assert(trust_watch_is_settled(&watch));
    ck_assert(trusts("10.1.2.3:1"));
    ck_assert(trusts("[2001:db8::1]:1"));
    ck_assert(!trusts("11.0.0.1:1"));
    ck_assert(!trusts("127.0.0.1:1"));
    ck_assert_uint_eq(changes, 0);
    end();
}
END_TEST

START_TEST(nobody)
{
    begin("[]");
    ck_assert(trust_watch_is_settled(&watch));
    ck_assert(!trusts("127.0.0.1:1"));
    end();
}
END_TEST

START_TEST(a_name)
{
    begin("[\"localhost\",\"10.0.0.0/8\"]");
    ck_assert(!trust_watch_is_settled(&watch));
    ck_assert(!trusts("127.0.0.1:1"));
    ck_assert(trusts("10.0.0.1:1")); /* what needs no lookup does not wait */
    settle();
    ck_assert(trusts("127.0.0.1:1"));
    ck_assert(trusts("10.0.0.1:1"));
    ck_assert_uint_eq(changes, 1);
    end();
}
END_TEST

/* The same addresses again are no change; a name without any does not take those of others away. */
START_TEST(a_name_that_fails)
{
    begin("[\"localhost\",\"no-such-name.invalid\"]");
    settle();
    ck_assert(trusts("127.0.0.1:1"));
    ck_assert_uint_eq(changes, 1);
    /* As the 10 s would do it. */
    watch.names[0].was_asked = watch.names[1].was_asked = false;
    watch.again.on_due(&watch.again);
    settle();
    ck_assert(trusts("127.0.0.1:1"));
    ck_assert_uint_eq(changes, 1);
    end();
}
END_TEST

START_TEST(an_answer_that_fails_later)
{
    struct trust_name *name;

    begin("[\"localhost\"]");
    settle();
    name = &watch.names[0];
    name->query.on_addresses(&name->query, NULL, 0, -1);
    ck_assert(trusts("127.0.0.1:1"));
    ck_assert(name->is_failing);
    union addr other;
    ck_assert_int_eq(addr_parse(&other, "192.0.2.7:0"), 0);
    name->query.on_addresses(&name->query, &other, 1, 0);
    ck_assert(!name->is_failing);
    ck_assert(!trusts("127.0.0.1:1"));
    ck_assert(trusts("192.0.2.7:9"));
    ck_assert_uint_eq(changes, 2);
    end();
}
END_TEST

static void take(const char *list)
{
    struct json_object *parsed;
    struct json_syntax why;
    int rc = json_read(&parsed, list, strlen(list), &why);

    ck_assert_int_eq(rc, 0);
    trust_watch_take(&watch, parsed);
    json_object_put(parsed);
}

/* At once, before anybody has answered: names in both lists stay what they were. */
START_TEST(another_list)
{
    begin("[\"localhost\",\"10.0.0.0/8\"]");
    settle();
    take("[\"192.0.2.0/24\",\"localhost\"]");
    ck_assert_uint_eq(changes, 2);
    ck_assert(trust_watch_is_settled(&watch));
    ck_assert(trusts("127.0.0.1:1"));
    ck_assert(trusts("192.0.2.1:1"));
    ck_assert(!trusts("10.0.0.1:1"));
    take("[\"192.0.2.0/24\",\"localhost\"]"); /* the same */
    ck_assert_uint_eq(changes, 2);
    take("[\"localhost\",\"no-such-name.invalid\"]");
    ck_assert(trusts("127.0.0.1:1"));
    ck_assert(!trust_watch_is_settled(&watch)); /* the new one is not known yet */
    settle();
    ck_assert(trusts("127.0.0.1:1"));
    take("[\"10.0.0.0/8\"]");
    ck_assert(!trusts("127.0.0.1:1"));
    ck_assert(trust_watch_is_settled(&watch));
    end();
}
END_TEST

START_TEST(ended_while_asking)
{
    begin("[\"localhost\"]");
    end(); /* the query is cancelled: ASan sees a late answer */
    ck_assert_uint_eq(changes, 0);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("trust_watch");

    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, no_names);
    tcase_add_test(tcase, nobody);
    tcase_add_test(tcase, a_name);
    tcase_add_test(tcase, a_name_that_fails);
    tcase_add_test(tcase, an_answer_that_fails_later);
    tcase_add_test(tcase, another_list);
    tcase_add_test(tcase, ended_while_asking);
    return suite_run("traffic_trust_watch", tcase);
}
