/* Routes that are taken over unread: of what text, and of what they are read again all the same. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "support/suite.h"
#include "traffic/coreflow_json.h"
#include "traffic/health.h"
#include "traffic/route_json.h"
#include "unit/traffic_route_fixture.h"

#define TO   "\"destinationIps\":[\"192.0.2.1\"],\"destinationPorts\":[80]"
#define AUTH "\"authentication\":{\"type\":\"Basic\",\"user\":\"alice\",\"pass\":\"s3cret\"}"

static struct auth_key key;
static struct route_build b;

static void setup(void)
{
    auth_key_init(&key);
    route_build_init(&b, &key, NULL);
}

static void teardown(void)
{
    route_build_fini(&b);
}

/* A route's text: its host, and all else but the certificate. */
static char *route(const char *host, const char *more)
{
    struct json_object *chain = json_object_new_string(a_test_chain);
    struct json_object *pem = json_object_new_string(a_test_key);
    char *text =
        must_printf("{\"hostName\":\"%s\",%s,\"publicKey\":%s,\"privateKey\":%s}", host, more,
                    json_object_to_json_string(chain), json_object_to_json_string(pem));

    json_object_put(chain);
    json_object_put(pem);
    return text;
}

/* Builds with `b` as it is; then `b` is ready for a build upon `base`.  What it came to is left in
 * the three. */
static size_t kept, parsed;
static char words[200]; /* "pointer code" of each fault and warning */

static void put_words(const struct json_check *c)
{
    for (size_t i = 0; i < c->count; i++)
        snprintf(words + strlen(words), sizeof(words) - strlen(words), "%s%s %s",
                 words[0] ? ", " : "", c->faults[i].pointer, c->faults[i].code);
}

static struct route_set *build_text(const struct route_set *base, const char *text)
{
    struct json_object *rest;
    struct json_syntax why;
    struct json_list list;
    struct route_set *set;

    b.base = base;
    ck_assert_int_eq(json_read_list(&rest, &list, b.shape->path, text, strlen(text), &why), 0);
    set = route_json_parse_list(&b, rest, &list);
    json_list_fini(&list);
    json_object_put(rest);
    kept = b.kept;
    parsed = b.parsed;
    words[0] = '\0';
    put_words(&b.faults);
    put_words(&b.warnings);
    route_build_fini(&b);
    route_build_init(&b, &key, NULL);
    return set;
}

/* Of routes' texts, NULL-ended, which it frees. */
static struct route_set *build(const struct route_set *base, char *const *routes)
{
    char *text = must_strdup("[");
    struct route_set *set;

    for (size_t i = 0; routes[i]; i++) {
        char *longer = must_printf("%s%s %s\n", text, i > 0 ? "," : "", routes[i]);

        free(text);
        free(routes[i]);
        text = longer;
    }
    char *whole = must_printf("%s]", text);
    set = build_text(base, whole);
    free(text);
    free(whole);
    return set;
}

#define SET(base, ...) build(base, (char *const[]){__VA_ARGS__, NULL})

START_TEST(the_same_text_is_not_read_again)
{
    struct route_set *first = SET(NULL, route("a.test", TO "," AUTH), route("b.a.test", TO));
    struct route_set *next =
        SET(first, route("c.a.test", TO), route("b.a.test", TO), route("a.test", TO "," AUTH));

    ck_assert_ptr_nonnull(next);
    ck_assert_uint_eq(kept, 2);
    ck_assert_uint_eq(parsed, 0);
    ck_assert_str_eq(words, "");
    ck_assert_ptr_eq(next->routes[1].host, first->routes[1].host);
    ck_assert_ptr_eq(next->routes[2].auth, first->routes[0].auth);
    ck_assert_mem_eq(next->routes[2].digest, first->routes[0].digest, ROUTE_DIGEST_BYTES);
    /* And upon what was kept itself. */
    route_set_unref(first);
    struct route_set *last = SET(next, route("a.test", TO "," AUTH), route("c.a.test", TO));
    ck_assert_uint_eq(kept, 2);
    route_set_unref(next);
    ck_assert_str_eq(last->routes[0].host, "a.test");
    ck_assert_str_eq(last->routes[0].destinations[0].key, "192.0.2.1:80");
    ck_assert_str_eq(last->routes[0].auth->user, "alice");
    ck_assert_ptr_nonnull(route_set_find(last, "c.a.test"));
    route_set_unref(last);
}
END_TEST

/* One byte less or more is another text, even where it means the same. */
START_TEST(another_text_of_the_same_route_is_read)
{
    struct route_set *first = SET(NULL, route("a.test", TO));
    struct route_set *next = SET(first, route("a.test", TO " "));

    ck_assert_uint_eq(kept, 0);
    ck_assert_mem_eq(next->digest, first->digest, ROUTE_DIGEST_BYTES);
    ck_assert_ptr_eq(next->routes[0].cert, first->routes[0].cert);
    route_set_unref(next);
    next = SET(first, route("a.test", TO "," AUTH));
    ck_assert_uint_eq(kept, 0);
    ck_assert_ptr_nonnull(next->routes[0].auth);
    ck_assert_ptr_null(first->routes[0].auth);
    route_set_unref(next);
    route_set_unref(first);
}
END_TEST

/* Marks are a set's own: they come when it is published. */
START_TEST(what_is_kept_has_no_marks)
{
    static const char checked[] = TO ",\"healthCheck\":{\"path\":\"/\"}";
    struct loop *loop = loop_new("control", 0, 16);
    struct route_set *first = SET(NULL, route("a.test", checked)), *next;
    struct health health;

    health_init(&health, loop, 10, NULL);
    health_take(&health, first);
    ck_assert_ptr_nonnull(first->routes[0].marks);
    next = SET(first, route("a.test", checked));
    ck_assert_uint_eq(kept, 1);
    ck_assert_ptr_null(next->routes[0].marks);
    health_take(&health, next);
    ck_assert_ptr_eq(next->routes[0].marks[0], first->routes[0].marks[0]);
    route_set_unref(first);
    health_fini(&health);
    ck_assert(!health_is_down(&next->routes[0], 0));
    route_set_unref(next);
    loop_free(loop);
}
END_TEST

/* The same text with less room for destinations is a fault, not what it was. */
START_TEST(another_limit_makes_it_another_text)
{
    static const char two[] = "\"destinationIps\":[\"192.0.2.1\"],\"destinationPorts\":[80,81]";
    struct route_set *first, *next;

    b.destinations_max = 2;
    first = SET(NULL, route("a.test", two), route("b.a.test", TO));
    b.destinations_max = 2;
    next = SET(first, route("a.test", two), route("b.a.test", TO));
    ck_assert_uint_eq(kept, 2);
    route_set_unref(next);
    b.destinations_max = 1;
    ck_assert_ptr_null(SET(first, route("b.a.test", TO), route("a.test", two)));
    ck_assert_uint_eq(kept, 0);
    ck_assert_str_eq(words, "/1/destinationPorts range");
    route_set_unref(first);
}
END_TEST

/* Password MACs under another key are of no use. */
START_TEST(another_key_makes_it_another_text)
{
    struct route_set *first = SET(NULL, route("a.test", TO "," AUTH)), *next;

    auth_key_init(&key);
    next = SET(first, route("a.test", TO "," AUTH));
    ck_assert_uint_eq(kept, 0);
    ck_assert_mem_ne(next->routes[0].auth->pass_mac, first->routes[0].auth->pass_mac,
                     AUTH_MAC_BYTES);
    route_set_unref(next);
    route_set_unref(first);
}
END_TEST

/* The certificate is from 2020 to 2099. */
START_TEST(certificates_grow_old)
{
    struct route_set *first = SET(NULL, route("a.test", TO)), *next;

    b.now = (int64_t)4102444800; /* 2100 */
    next = SET(first, route("a.test", TO));
    ck_assert_uint_eq(kept, 0);
    ck_assert_str_eq(words, "/0/publicKey certificateExpired");
    route_set_unref(next);
    b.now = 1546300800; /* 2019 */
    next = SET(first, route("a.test", TO));
    ck_assert_uint_eq(kept, 0);
    ck_assert_str_eq(words, "/0/publicKey certificateNotYetValid");
    route_set_unref(next);
    next = SET(first, route("a.test", TO));
    ck_assert_uint_eq(kept, 1);
    route_set_unref(next);
    route_set_unref(first);
}
END_TEST

/* A warning is given each time. */
START_TEST(what_is_odd_is_read_each_time)
{
    static const char twice[] = "\"destinationIps\":[\"::1\",\"::1\"],\"destinationPorts\":[80]";
    struct route_set *first = SET(NULL, route("a.test", twice), route("b.test", TO)), *next;

    next = SET(first, route("b.test", TO), route("a.test", twice));
    ck_assert_uint_eq(kept, 0);
    ck_assert_str_eq(words, "/0/publicKey certificateNameMismatch, "
                            "/1/destinationIps/1 duplicateDestination");
    route_set_unref(first);
    route_set_unref(next);
}
END_TEST

/* What one sender may say is a fault of another's: Coreflow's unknown keys are warnings. */
START_TEST(from_shape_to_shape)
{
    char *odd = route("a.test", TO ",\"new\":1"), *plain = route("b.a.test", TO);
    char *text = must_printf("{\"request\":{\"reverseConfigs\":[%s,%s]}}", odd, plain);
    struct route_set *first, *next;

    b.shape = &route_shape_coreflow;
    first = build_text(NULL, text);
    ck_assert_str_eq(words, "/reverseConfigs/0/new unknown");
    b.shape = &route_shape_coreflow;
    next = build_text(first, text);
    ck_assert_uint_eq(kept, 1);
    ck_assert_str_eq(words, "/reverseConfigs/0/new unknown");
    ck_assert_ptr_null(SET(next, plain, odd));
    ck_assert_uint_eq(kept, 1);
    ck_assert_str_eq(words, "/1/new unknown");
    route_set_unref(first);
    route_set_unref(next);
    free(text);
}
END_TEST

/* Names are held against each other, whatever was read and what was not. */
START_TEST(names_twice_are_found)
{
    struct route_set *first = SET(NULL, route("a.test", TO));

    ck_assert_ptr_null(
        SET(first, route("a.test", TO), route("b.a.test", TO), route("A.TEST.", TO)));
    ck_assert_uint_eq(kept, 1);
    ck_assert_str_eq(words, "/2/hostName duplicate");
    ck_assert_ptr_null(SET(first, route("a.test", TO), route("a.test", TO)));
    ck_assert_uint_eq(kept, 2);
    ck_assert_str_eq(words, "/1/hostName duplicate");
    route_set_unref(first);
}
END_TEST

/* What came from the state file says nothing about what a sender may write. */
START_TEST(the_state_file_is_not_a_sender)
{
    char *stored = must_printf(TO ",\"authentication\":{\"type\":\"Basic\",\"user\":\"alice\","
                                  "\"userMac\":\"%064d\",\"passMac\":\"%064d\"}",
                               1, 2);
    struct route_set *first;

    b.is_stored = true;
    first = SET(NULL, route("a.test", stored));
    ck_assert_ptr_nonnull(first);
    ck_assert_ptr_null(SET(first, route("a.test", stored)));
    ck_assert_uint_eq(kept, 0);
    ck_assert_str_eq(words, "/0/authentication/userMac unknown, "
                            "/0/authentication/passMac unknown, "
                            "/0/authentication/pass required");
    route_set_unref(first);
    free(stored);
}
END_TEST

/* An edit may leave out what the route before it had: its text alone says too little.  What it does
 * not touch stays known. */
START_TEST(one_that_was_put_alone)
{
    struct route_set *first = SET(NULL, route("a.test", TO), route("b.a.test", TO)), *edited, *next;
    char *text = route("a.test", TO);
    struct json_object *body;
    struct json_syntax why;

    ck_assert_int_eq(json_read(&body, text, strlen(text), &why), 0);
    route_build_fini(&b);
    route_build_init(&b, &key, first);
    edited = route_json_put(&b, "a.test", body);
    json_object_put(body);
    route_set_unref(first);
    next = SET(edited, text, route("b.a.test", TO));
    ck_assert_uint_eq(kept, 1);
    ck_assert_ptr_eq(next->routes[1].host, edited->routes[1].host);
    ck_assert_ptr_ne(next->routes[0].host, edited->routes[0].host);
    route_set_unref(edited);
    route_set_unref(next);
}
END_TEST

static void write_ca(const char *path, const char *pem)
{
    FILE *out = fopen(path, "w");

    ck_assert_ptr_nonnull(out);
    fputs(pem, out);
    fclose(out);
}

/* The file behind the same name has another CA by now. */
START_TEST(trust_is_looked_up_each_time)
{
    char path[] = "/tmp/route-known-XXXXXX";
    int fd = mkstemp(path);
    char *tls = must_printf(TO ",\"upstreamTls\":{\"caFile\":\"%s\"}", path);
    struct route_set *first, *next;

    ck_assert_int_ge(fd, 0);
    close(fd);
    write_ca(path, a_test_chain);
    first = SET(NULL, route("a.test", tls));
    ck_assert_ptr_nonnull(first);
    write_ca(path, expired_chain);
    next = SET(first, route("a.test", tls));
    ck_assert_uint_eq(kept, 0);
    ck_assert_mem_ne(next->digest, first->digest, ROUTE_DIGEST_BYTES);
    unlink(path);
    ck_assert_ptr_null(SET(next, route("a.test", tls)));
    ck_assert_str_eq(words, "/0/upstreamTls/caFile invalid");
    route_set_unref(first);
    route_set_unref(next);
    free(tls);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("route_known");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, the_same_text_is_not_read_again);
    tcase_add_test(tcase, another_text_of_the_same_route_is_read);
    tcase_add_test(tcase, what_is_kept_has_no_marks);
    tcase_add_test(tcase, another_limit_makes_it_another_text);
    tcase_add_test(tcase, another_key_makes_it_another_text);
    tcase_add_test(tcase, certificates_grow_old);
    tcase_add_test(tcase, what_is_odd_is_read_each_time);
    tcase_add_test(tcase, from_shape_to_shape);
    tcase_add_test(tcase, names_twice_are_found);
    tcase_add_test(tcase, the_state_file_is_not_a_sender);
    tcase_add_test(tcase, one_that_was_put_alone);
    tcase_add_test(tcase, trust_is_looked_up_each_time);
    return suite_run("traffic_route_known", tcase);
}
