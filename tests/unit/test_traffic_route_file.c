/* The routes to begin with: taken whole or not at all, every fault told. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/suite.h"
#include "traffic/route_file.h"
#include "unit/traffic_route_fixture.h"
#include "json/json.h"

static struct auth_key key;
static struct traffic_limits limits;
static char path[64];
static char told[65536];

static void setup(void)
{
    limits = (struct traffic_limits){.routes = 10, .route_destinations = 4, .routes_bytes = 200000};
    auth_key_init(&key);
    snprintf(path, sizeof(path), "/tmp/penstock-routes-XXXXXX");
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

static void teardown(void)
{
    unlink(path);
}

/* Loads a file of that text; what was told is in `told`. */
static struct route_set *load(const char *text, size_t n)
{
    FILE *to = fopen(path, "w");
    FILE *err = fmemopen(told, sizeof(told), "w");
    struct route_set *set;

    fwrite(text, 1, n, to);
    fclose(to);
    set = route_file_load(path, &limits, &key, err);
    fclose(err);
    return set;
}

static char *a_list(size_t count)
{
    struct json_object *list = json_object_new_array();
    char host[64], *text;

    for (size_t i = 0; i < count; i++) {
        struct json_object *route = json_object_new_object();

        snprintf(host, sizeof(host), "host-%zu.a.test", i);
        json_object_object_add(route, "hostName", json_object_new_string(host));
        json_object_object_add(route, "destinationIp", json_object_new_string("::1"));
        json_object_object_add(route, "destinationPort", json_object_new_int(80));
        json_object_object_add(route, "publicKey", json_object_new_string(a_test_chain));
        json_object_object_add(route, "privateKey", json_object_new_string(a_test_key));
        json_object_array_add(list, route);
    }
    text = must_strdup(json_object_to_json_string(list));
    json_object_put(list);
    return text;
}

START_TEST(no_file)
{
    struct route_set *set = route_file_load("", &limits, &key, stderr);

    ck_assert_uint_eq(set->count, 0);
    ck_assert_uint_eq(set->revision, 0);
    route_set_unref(set);
}
END_TEST

START_TEST(missing_file)
{
    FILE *err = fmemopen(told, sizeof(told), "w");

    ck_assert_ptr_null(route_file_load("/nonexistent/routes.json", &limits, &key, err));
    fclose(err);
    ck_assert_ptr_nonnull(strstr(told, "/nonexistent/routes.json: No such file"));
}
END_TEST

/* Larger than one step of reading, so that the buffer grows. */
START_TEST(a_good_file)
{
    char *text = a_list(10);
    size_t n = strlen(text);
    char *padded = must_alloc(n + 150000);
    struct route_set *set;

    memset(padded, ' ', n + 150000);
    memcpy(padded, text, n);
    set = load(padded, n + 150000);
    ck_assert_msg(set != NULL, "%s", told);
    ck_assert_uint_eq(set->count, 10);
    ck_assert_uint_eq(set->revision, 1);
    ck_assert_str_eq(told, "");
    route_set_unref(set);
    free(text);
    free(padded);
}
END_TEST

START_TEST(faults_are_told)
{
    char *text = a_list(11);

    ck_assert_ptr_null(load(text, strlen(text)));
    ck_assert_ptr_nonnull(strstr(told, ": 11 routes are more than 10"));
    ck_assert_ptr_null(load("[7,{}]", 6));
    ck_assert_ptr_nonnull(strstr(told, " /0: must be an object"));
    ck_assert_ptr_nonnull(strstr(told, " /1/hostName: is missing"));
    ck_assert_ptr_nonnull(strstr(told, " /1/privateKey: is missing"));
    ck_assert_ptr_null(load("[7,", 3));
    ck_assert_ptr_nonnull(strstr(told, "byte "));
    ck_assert_ptr_null(load("", 0));
    free(text);
}
END_TEST

START_TEST(too_large)
{
    char *text = must_alloc(200001);

    memset(text, ' ', 200001);
    memcpy(text, "[]", 2);
    ck_assert_ptr_null(load(text, 200001));
    ck_assert_ptr_nonnull(strstr(told, "larger than limits.routesBytes"));
    struct route_set *set = load(text, 200000);
    ck_assert_ptr_nonnull(set);
    route_set_unref(set);
    free(text);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("route_file");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, no_file);
    tcase_add_test(tcase, missing_file);
    tcase_add_test(tcase, a_good_file);
    tcase_add_test(tcase, faults_are_told);
    tcase_add_test(tcase, too_large);
    return suite_run("traffic_route_file", tcase);
}
