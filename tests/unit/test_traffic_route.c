/* The route table: names are normalised, exact comes before wildcard, sets are counted. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "support/suite.h"
#include "tls/tls.h"
#include "traffic/route.h"
#include "unit/traffic_route_fixture.h"

static const struct {
    const char *in;
    bool allow_wildcard;
    const char *expect; /* NULL: refused */
} names[] = {
    {"a.test", false, "a.test"},
    {"A.Test.", false, "a.test"},
    {"localhost", false, "localhost"},
    {"xn--bcher-kva.example", false, "xn--bcher-kva.example"},
    {"1-2.3", false, "1-2.3"},
    {"*.A.test", true, "*.a.test"},
    {"*.a.test", false, NULL},
    {"*", true, NULL},
    {"*.", true, NULL},
    {"*..a", true, NULL},
    {"*.*.a", true, NULL},
    {"a.*.test", true, NULL},
    {"*a.test", true, NULL},
    {"", false, NULL},
    {".", false, NULL},
    {"..", false, NULL},
    {"a..test", false, NULL},
    {".a.test", false, NULL},
    {"a.test..", false, NULL},
    {"-a.test", false, NULL},
    {"a-.test", false, NULL},
    {"a.test-", false, NULL},
    {"a_b.test", false, NULL},
    {"a b.test", false, NULL},
    {"a.test:443", false, NULL},
    {"[::1]", false, NULL},
    {"b\xc3\xbc"
     "cher.example",
     false, NULL},
    {"a/b", false, NULL},
};

START_TEST(normalise)
{
    char out[ROUTE_HOST_MAX + 1];
    int rc =
        route_normalise_host(names[_i].in, strlen(names[_i].in), names[_i].allow_wildcard, out);

    if (names[_i].expect) {
        ck_assert_int_eq(rc, 0);
        ck_assert_str_eq(out, names[_i].expect);
    } else {
        ck_assert_msg(rc == -ERR_SYNTAX, "\"%s\" was taken", names[_i].in);
        ck_assert_str_eq(out, "");
    }
}
END_TEST

START_TEST(normalise_lengths)
{
    char in[300], out[ROUTE_HOST_MAX + 1];

    memset(in, 'a', sizeof(in));
    ck_assert_int_eq(route_normalise_host(in, 63, false, out), 0);
    ck_assert_int_eq(route_normalise_host(in, 64, false, out), -ERR_SYNTAX);
    for (size_t i = 49; i < sizeof(in); i += 50)
        in[i] = '.';
    ck_assert_int_eq(route_normalise_host(in, 253, false, out), 0);
    ck_assert_uint_eq(strlen(out), 253);
    ck_assert_int_eq(route_normalise_host(in, 254, false, out), -ERR_SYNTAX);
    in[253] = '.';
    ck_assert_int_eq(route_normalise_host(in, 254, false, out), 0); /* the root's dot */
    ck_assert_int_eq(route_normalise_host("a\0b", 3, false, out), -ERR_SYNTAX);
}
END_TEST

static struct route_cert *one_cert(void)
{
    const struct route_pair pair = {a_test_chain, a_test_key};
    const char *base = "";
    struct route_certs certs;
    struct json_check faults;
    struct route_cert *cert;

    json_check_init(&faults);
    route_certs_init(&certs, NULL, 1);
    cert = route_certs_get(&certs, &faults, &base, &pair, 1);
    ck_assert_ptr_nonnull(cert);
    route_certs_fini(&certs);
    json_check_fini(&faults);
    return cert;
}

static struct route_options *options_of(const char *text)
{
    struct json_object *obj = json_tokener_parse(text);
    struct origin_tls_cache tls = {.list = NULL};
    struct json_check faults;
    struct route_options *options;

    json_check_init(&faults);
    options = route_options_parse(&faults, "", obj, "a.test", &tls);
    ck_assert_ptr_nonnull(options);
    json_check_fini(&faults);
    json_object_put(obj);
    return options;
}

static void fill(struct route *route, const char *host, struct route_cert *cert)
{
    int rc;

    route->host = must_strdup(host);
    route->cert = route_cert_ref(cert);
    route->options = options_of("{}");
    route->destinations = must_alloc(sizeof(*route->destinations));
    route->destination_count = route->port_count = 1;
    rc = addr_parse(&route->destinations[0].addr, "192.0.2.1:80");
    ck_assert_int_eq(rc, 0);
    addr_format(&route->destinations[0].addr, route->destinations[0].key);
}

static struct route_set *set_of(const char *const *hosts)
{
    struct route_cert *cert = one_cert();
    struct route_set *set;
    size_t count = 0;

    while (hosts[count])
        count++;
    set = route_set_new(count);
    for (size_t i = 0; i < count; i++)
        fill(&set->routes[i], hosts[i], cert);
    route_cert_unref(cert);
    route_set_seal(set);
    return set;
}

static const char *found(const struct route_set *set, const char *host)
{
    const struct route *route = route_set_find(set, host);

    return route ? route->host : "none";
}

START_TEST(exact_before_wildcard)
{
    struct route_set *set =
        set_of((const char *const[]){"*.a.test", "www.a.test", "a.test", "deep.www.a.test", NULL});

    ck_assert_str_eq(found(set, "www.a.test"), "www.a.test");
    ck_assert_str_eq(found(set, "other.a.test"), "*.a.test");
    ck_assert_str_eq(found(set, "a.test"), "a.test");
    ck_assert_str_eq(found(set, "deep.www.a.test"), "deep.www.a.test");
    ck_assert_str_eq(found(set, "x.other.a.test"), "none"); /* one label only */
    ck_assert_str_eq(found(set, "*.a.test"), "none");
    ck_assert_str_eq(found(set, ".a.test"), "none");
    ck_assert_str_eq(found(set, "test"), "none");
    ck_assert_str_eq(found(set, ""), "none");
    ck_assert(route_set_entry(set, "*.a.test")->is_wildcard);
    ck_assert(!route_set_entry(set, "a.test")->is_wildcard);
    ck_assert_ptr_null(route_set_entry(set, "other.a.test"));
    route_set_unref(set);
}
END_TEST

START_TEST(an_empty_set)
{
    struct route_set *set = set_of((const char *const[]){NULL});

    ck_assert_str_eq(found(set, "a.test"), "none");
    route_set_number(set, 7);
    ck_assert_str_eq(set->etag, "7-e3b0c442"); /* SHA-256 of nothing */
    route_set_unref(set);
    route_set_unref(NULL);
}
END_TEST

START_TEST(many_names)
{
    enum { COUNT = 5000 };
    struct route_cert *cert = one_cert();
    struct route_set *set = route_set_new(COUNT);
    char host[64];

    for (int i = 0; i < COUNT; i++) {
        snprintf(host, sizeof(host), "host-%d.example", i);
        fill(&set->routes[i], host, cert);
    }
    route_set_seal(set);
    ck_assert_uint_ge(set->table_size, 2 * COUNT);
    for (int i = 0; i < COUNT; i++) {
        snprintf(host, sizeof(host), "host-%d.example", i);
        ck_assert_ptr_eq(route_set_find(set, host), &set->routes[i]);
        snprintf(host, sizeof(host), "host-%d.other", i);
        ck_assert_ptr_null(route_set_find(set, host));
    }
    route_cert_unref(cert);
    route_set_unref(set);
}
END_TEST

/* A name that is there twice is found before the set is sealed. */
START_TEST(no_name_twice)
{
    struct route_cert *cert = one_cert();
    struct route_set *set = route_set_new(3);

    fill(&set->routes[0], "x.test", cert);
    fill(&set->routes[1], "y.test", cert);
    fill(&set->routes[2], "x.test", cert);
    ck_assert(!route_set_index(set));
    ck_assert_str_eq(found(set, "x.test"), "none");
    set->routes[2].host[0] = 'z';
    ck_assert(route_set_index(set));
    route_set_seal(set);
    ck_assert_str_eq(found(set, "x.test"), "x.test");
    ck_assert_str_eq(found(set, "z.test"), "z.test");
    route_cert_unref(cert);
    route_set_unref(set);
}
END_TEST

/* The order does not count in the digest, everything that is served does. */
START_TEST(digests)
{
    struct route_set *a = set_of((const char *const[]){"x.test", "y.test", NULL});
    struct route_set *b = set_of((const char *const[]){"y.test", "x.test", NULL});
    struct route_set *c = set_of((const char *const[]){"y.test", "z.test", NULL});
    struct route_set *d = route_set_new(2);

    ck_assert_mem_eq(a->digest, b->digest, ROUTE_DIGEST_BYTES);
    ck_assert_mem_ne(a->digest, c->digest, ROUTE_DIGEST_BYTES);
    route_copy(&d->routes[0], &a->routes[0]);
    fill(&d->routes[1], "y.test", a->routes[1].cert);
    route_options_unref(d->routes[1].options);
    d->routes[1].options = options_of("{\"forwardAuthorization\": true}");
    route_set_seal(d);
    ck_assert_mem_eq(a->routes[0].digest, d->routes[0].digest, ROUTE_DIGEST_BYTES);
    ck_assert_mem_ne(a->routes[1].digest, d->routes[1].digest, ROUTE_DIGEST_BYTES);
    ck_assert_mem_ne(a->digest, d->digest, ROUTE_DIGEST_BYTES);
    route_set_unref(a);
    route_set_unref(b);
    route_set_unref(c);
    route_set_unref(d);
}
END_TEST

/* An edit copies; the old set, still held by others, stays as it was. */
START_TEST(with_and_without)
{
    struct route_set *a = set_of((const char *const[]){"x.test", "y.test", NULL}), *b, *c, *d;
    struct route_cert *cert = one_cert();
    struct route more = {.host = NULL}, again = {.host = NULL};

    fill(&more, "z.test", cert);
    b = route_set_with(a, &more);
    ck_assert_ptr_null(more.host);
    ck_assert_uint_eq(b->count, 3);
    ck_assert_str_eq(b->routes[2].host, "z.test");
    ck_assert_ptr_eq(b->routes[0].cert, a->routes[0].cert);

    fill(&again, "x.test", cert);
    route_options_unref(again.options);
    again.options = options_of("{\"forwardAuthorization\": true}");
    c = route_set_with(b, &again);
    ck_assert_uint_eq(c->count, 3);
    ck_assert(c->routes[0].options->forwards_authorization);
    ck_assert(!route_set_find(b, "x.test")->options->forwards_authorization);

    d = route_set_without(c, route_set_entry(c, "y.test"));
    ck_assert_uint_eq(d->count, 2);
    ck_assert_str_eq(found(d, "y.test"), "none");
    ck_assert_str_eq(found(d, "z.test"), "z.test");
    ck_assert_str_eq(found(a, "y.test"), "y.test");
    route_cert_unref(cert);
    route_set_unref(route_set_ref(a));
    route_set_unref(a);
    route_set_unref(b);
    route_set_unref(c);
    ck_assert_str_eq(found(d, "x.test"), "x.test");
    route_set_unref(d);
}
END_TEST

/* Who holds a set last only throws it in. */
static void on_wake(void *arg)
{
    ++*(unsigned *)arg;
}

START_TEST(ends_in_the_bin)
{
    unsigned woken = 0;
    struct route_bin *bin = route_bin_new(on_wake, &woken);
    struct route_set *a = set_of((const char *const[]){"x.test", NULL});
    struct route_set *b = set_of((const char *const[]){"y.test", NULL});
    struct route_cert *cert = route_cert_ref(a->routes[0].cert);

    route_set_end_in(a, bin);
    route_set_end_in(b, bin);
    route_set_unref(a);
    ck_assert_uint_eq(woken, 1);
    ck_assert_uint_eq(cert->refs, 2);
    route_bin_empty(bin);
    ck_assert_uint_eq(cert->refs, 1);
    route_bin_close(bin);
    route_bin_unref(bin);
    ck_assert_str_eq(found(b, "y.test"), "y.test");
    route_set_unref(b); /* on the spot, and the bin with it */
    ck_assert_uint_eq(woken, 1);
    route_cert_unref(cert);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("route");

    tcase_add_loop_test(tcase, normalise, 0, (int)(sizeof(names) / sizeof(names[0])));
    tcase_add_test(tcase, normalise_lengths);
    tcase_add_test(tcase, exact_before_wildcard);
    tcase_add_test(tcase, an_empty_set);
    tcase_add_test(tcase, many_names);
    tcase_add_test(tcase, no_name_twice);
    tcase_add_test(tcase, digests);
    tcase_add_test(tcase, with_and_without);
    tcase_add_test(tcase, ends_in_the_bin);
    return suite_run("traffic_route", tcase);
}
