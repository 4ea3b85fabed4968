/* The last good set on disk: what comes back is what was there, and nothing else is taken for it.
 */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "support/suite.h"
#include "traffic/route_json.h"
#include "traffic/route_store.h"
#include "unit/traffic_route_fixture.h"

#define CREDENTIALS "Basic YWxpY2U6czM6Y3JldA==" /* alice, s3:cret */

static struct auth_key key;
static char folder[64];

/* --- the C library's, for all of this program: what is asked of the disk, in order ------------ */

static char asked[256];
static const char *refused; /* the name that fsync() fails for; NULL: none */
static off_t synced_bytes;  /* of the last file */

static void note(const char *call, const char *name)
{
    size_t n = strlen(asked);

    snprintf(asked + n, sizeof(asked) - n, "%s%s %s", n > 0 ? ", " : "", call, name);
}

int fsync(int fd)
{
    char link[64], path[256] = "";
    struct stat info;
    const char *name;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ck_assert_int_gt((int)readlink(link, path, sizeof(path) - 1), 0);
    name = strcmp(path, folder) == 0 ? "folder" : strrchr(path, '/') + 1;
    note("fsync", name);
    ck_assert_int_eq(fstat(fd, &info), 0);
    if (S_ISREG(info.st_mode))
        synced_bytes = info.st_size;
    if (refused && strcmp(name, refused) == 0) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    note("rename to", to);
    return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, 0u);
}

/* ---------------------------------------------------------------------------------------------- */

static char *in_folder(const char *name)
{
    return must_printf("%s/%s", folder, name);
}

static void setup(void)
{
    asked[0] = '\0';
    refused = NULL;
    auth_key_derive(&key, "a secret of the state folder");
    snprintf(folder, sizeof(folder), "/tmp/penstock-store-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void teardown(void)
{
    static const char *const names[] = {"routes.json", "routes.json.new", "routes.json.bad",
                                        "routes.json.whole", "ca.pem"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char *path = in_folder(names[i]);

        unlink(path);
        free(path);
    }
    ck_assert_int_eq(rmdir(folder), 0);
}

static struct json_object *route_of(const char *host, const char *options)
{
    char *text =
        must_printf("{\"hostName\":\"%s\",\"destinationIps\":[\"192.0.2.1\",\"2001:db8::1\"],"
                    "\"destinationPorts\":[80,8080]%s}",
                    host, options);
    struct json_object *route = json_tokener_parse(text);

    ck_assert_ptr_nonnull(route);
    json_object_object_add(route, "publicKey", json_object_new_string(a_test_chain));
    json_object_object_add(route, "privateKey", json_object_new_string(a_test_key));
    free(text);
    return route;
}

/* Some routes with all that there is, numbered. */
static struct route_set *make(uint64_t revision, unsigned plain_ones)
{
    struct json_object *list = json_object_new_array();
    struct route_build b;
    struct route_set *set;

    json_object_array_add(
        list, route_of("*.a.test", ",\"authentication\":{\"type\":\"Basic\",\"user\":\"alice\","
                                   "\"pass\":\"s3:cret\"},\"balance\":\"p2c\",\"headers\":"
                                   "{\"request\":{\"set\":{\"X-A\":\"\\\"q\\\\ \\u00e9\"}}}"));
    for (unsigned i = 0; i < plain_ones; i++) {
        char *host = must_printf("h%u.a.test", i);

        json_object_array_add(list, route_of(host, ""));
        free(host);
    }
    route_build_init(&b, &key, NULL);
    set = route_json_parse(&b, list);
    ck_assert_msg(set != NULL, "%s", b.faults.count ? b.faults.faults[0].detail : "");
    route_build_fini(&b);
    json_object_put(list);
    route_set_number(set, revision);
    return set;
}

static void write_set(const struct route_set *set)
{
    char why[256] = "";
    int rc = route_store_write(folder, set, why, sizeof(why));

    ck_assert_msg(rc == 0, "%s", why);
}

static int read_set(struct route_store_found *found, char why[256])
{
    return route_store_read(folder, &key, found, why, 256);
}

/* The set, of which nothing is left out. */
static struct route_set *read_whole(void)
{
    struct route_store_found found;
    char why[256] = "";

    ck_assert_msg(read_set(&found, why) == 0, "%s", why);
    ck_assert_uint_eq(found.left_out.total, 0);
    return found.set;
}

static bool is_there(const char *name)
{
    char *path = in_folder(name);
    bool is_it = access(path, F_OK) == 0;

    free(path);
    return is_it;
}

static void write_text(const char *text, size_t n)
{
    char *path = in_folder("routes.json");
    FILE *out = fopen(path, "w");

    fwrite(text, 1, n, out);
    fclose(out);
    free(path);
}

/* Few routes, and more than are written at once. */
START_TEST(comes_back_as_it_was)
{
    struct route_set *set = make(77, _i == 0 ? 5 : 500), *back;
    char *path = in_folder("routes.json");
    struct stat info;

    write_set(set);
    ck_assert_int_eq(stat(path, &info), 0);
    ck_assert_uint_eq(info.st_mode & 0777, 0600);
    back = read_whole();
    ck_assert_uint_eq(back->revision, 77);
    ck_assert(!back->routes[0].auth->is_lost);
    ck_assert_str_eq(back->etag, set->etag);
    ck_assert_mem_eq(back->digest, set->digest, ROUTE_DIGEST_BYTES);
    ck_assert_int_eq(route_auth_check(back->routes[0].auth, CREDENTIALS, sizeof(CREDENTIALS) - 1),
                     AUTH_OK);
    ck_assert_str_eq(back->routes[0].cert->texts[0].key_pem, a_test_key);
    free(path);
    route_set_unref(set);
    route_set_unref(back);
}
END_TEST

START_TEST(the_password_is_not_in_it)
{
    static char text[65536];
    struct route_set *set = make(1, 0);
    char *path = in_folder("routes.json");
    FILE *in;

    write_set(set);
    in = fopen(path, "r");
    text[fread(text, 1, sizeof(text) - 1, in)] = '\0';
    fclose(in);
    ck_assert_ptr_nonnull(strstr(text, "PRIVATE KEY"));
    ck_assert_ptr_null(strstr(text, "s3:cret"));
    free(path);
    route_set_unref(set);
}
END_TEST

START_TEST(the_newer_takes_the_place)
{
    struct route_set *a = make(1, 3), *b = make(2, 1), *back;
    char *left = in_folder("routes.json.new");
    FILE *file;

    write_set(a);
    file = fopen(left, "w"); /* of a process that was killed */
    fputs("{\"format\":1,\"revision\":9,\"rou", file);
    fclose(file);
    back = read_whole();
    ck_assert_uint_eq(back->revision, 1);
    route_set_unref(back);
    write_set(b);
    ck_assert_int_ne(access(left, F_OK), 0);
    back = read_whole();
    ck_assert_uint_eq(back->revision, 2);
    ck_assert_uint_eq(back->count, 2);
    free(left);
    route_set_unref(a);
    route_set_unref(b);
    route_set_unref(back);
}
END_TEST

/* A machine that loses its power at any moment finds the old set or the new one, whole: all the
 * bytes are on the disk before the name is theirs, and that is before anyone hears of success. */
START_TEST(on_the_disk_before_it_has_the_name)
{
    struct route_set *set = make(1, 500);
    char *path = in_folder("routes.json");
    struct stat info;

    write_set(set);
    ck_assert_str_eq(asked, "fsync routes.json.new, rename to routes.json, fsync folder");
    ck_assert_int_eq(stat(path, &info), 0);
    ck_assert_int_eq(synced_bytes, info.st_size);
    free(path);
    route_set_unref(set);
}
END_TEST

/* The disk says so only at the end: an error, and what was not stored has not got the name. */
START_TEST(what_the_disk_refuses)
{
    static const char *const names[] = {"routes.json.new", "folder"};
    struct route_set *old = make(1, 2), *next = make(2, 2), *back;
    char *rest = in_folder("routes.json.new"), why[256] = "";

    write_set(old);
    refused = names[_i];
    ck_assert_int_eq(route_store_write(folder, next, why, sizeof(why)), -ERR_IO);
    ck_assert_ptr_nonnull(strstr(why, "Input/output error"));
    ck_assert_int_ne(access(rest, F_OK), 0);
    back = read_whole();
    ck_assert_uint_eq(back->revision, _i == 0 ? 1 : 2);
    route_set_unref(back);
    route_set_unref(next);
    route_set_unref(old);
    free(rest);
}
END_TEST

START_TEST(none_there)
{
    struct route_store_found found;
    char why[256];

    ck_assert_int_eq(read_set(&found, why), -ERR_NOT_FOUND);
    ck_assert_ptr_null(found.set);
    ck_assert_int_eq(route_store_read("/nowhere/at/all", &key, &found, why, sizeof(why)),
                     -ERR_NOT_FOUND);
}
END_TEST

START_TEST(what_is_no_set_is_put_aside)
{
    static const char *const texts[] = {
        "",
        "{",
        "[]",
        "{\"format\":2,\"revision\":1,\"routes\":[]}",
        "{\"format\":1,\"routes\":[]}",
        "{\"format\":1,\"revision\":1}",
        "{\"format\":1,\"revision\":-1,\"routes\":[]}",
    };
    struct route_store_found found;
    struct route_set *set;
    char why[256] = "";

    write_text(texts[_i], strlen(texts[_i]));
    ck_assert_int_eq(read_set(&found, why), -ERR_SYNTAX);
    ck_assert_ptr_null(found.set);
    ck_assert_str_ne(why, "");
    ck_assert(!is_there("routes.json"));
    ck_assert(is_there("routes.json.bad"));
    ck_assert_int_eq(read_set(&found, why), -ERR_SYNTAX); /* by the next start too */
    ck_assert_ptr_nonnull(strstr(why, "routes.json.bad was put aside"));
    set = make(3, 1);
    write_set(set);
    route_set_unref(set);
    route_set_unref(read_whole());
}
END_TEST

/* A route that cannot be used now is not the others' fault, nor the file's. */
START_TEST(what_cannot_be_used_is_left_out)
{
    struct json_object *list = json_object_new_array();
    char *ca = in_folder("ca.pem"), *options, why[256] = "";
    struct route_store_found found;
    struct route_build b;
    struct route_set *set;
    FILE *file = fopen(ca, "we");

    fputs(a_test_chain, file);
    fclose(file);
    options = must_printf(",\"upstreamTls\":{\"caFile\":\"%s\"}", ca);
    json_object_array_add(list, route_of("a.test", options));
    json_object_array_add(list, route_of("b.a.test", ""));
    json_object_array_add(list, route_of("c.a.test", options));
    route_build_init(&b, &key, NULL);
    set = route_json_parse(&b, list);
    ck_assert_msg(set != NULL, "%s", b.faults.count ? b.faults.faults[0].detail : "");
    route_build_fini(&b);
    json_object_put(list);
    route_set_number(set, 9);
    write_set(set);
    route_set_unref(set);

    ck_assert_int_eq(unlink(ca), 0);
    ck_assert_int_eq(read_set(&found, why), 0);
    ck_assert_uint_eq(found.set->count, 1);
    ck_assert_uint_eq(found.set->revision, 9);
    ck_assert_str_eq(found.set->routes[0].host, "b.a.test");
    ck_assert_uint_eq(found.left_out.total, 2);
    ck_assert_str_eq(found.left_out.faults[1].pointer, "/routes/2/upstreamTls/caFile");
    ck_assert_ptr_nonnull(strstr(found.left_out.faults[1].detail, "c.a.test: "));
    ck_assert(is_there("routes.json") && !is_there("routes.json.bad"));
    write_set(found.set); /* an edit: those that were left out are not lost by it */
    ck_assert(is_there("routes.json.whole"));
    route_set_unref(found.set);
    json_check_fini(&found.left_out);
    free(options);
    free(ca);
}
END_TEST

/* Its MACs say nothing under another key: that is known, and no password is right. */
START_TEST(a_key_that_was_lost)
{
    struct route_set *set = make(1, 1), *back;

    write_set(set);
    route_set_unref(set);
    auth_key_derive(&key, "another secret of the state folder");
    back = read_whole();
    ck_assert(back->routes[0].auth->is_lost);
    ck_assert_int_eq(route_auth_check(back->routes[0].auth, CREDENTIALS, sizeof(CREDENTIALS) - 1),
                     AUTH_WRONG);
    write_set(back); /* with an edit of another route: still lost */
    route_set_unref(back);
    back = read_whole();
    ck_assert(back->routes[0].auth->is_lost);
    route_set_unref(back);
}
END_TEST

/* However the file was cut, nothing but the whole of it is taken. */
START_TEST(no_part_of_it_is_a_set)
{
    static char text[65536];
    struct route_set *set = make(5, 2);
    char *path = in_folder("routes.json"), why[256];
    struct route_store_found found;
    FILE *in;
    size_t n;

    write_set(set);
    in = fopen(path, "r");
    n = fread(text, 1, sizeof(text), in);
    fclose(in);
    for (size_t cut = 0; cut + 2 < n; cut += 1 + cut / 16) { /* the last byte is a line feed */
        write_text(text, cut);
        ck_assert_int_eq(read_set(&found, why), -ERR_SYNTAX);
    }
    free(path);
    route_set_unref(set);
}
END_TEST

START_TEST(a_folder_that_is_not_there)
{
    struct route_set *set = make(1, 0);
    char why[256] = "";

    ck_assert_int_eq(route_store_write("/nowhere/at/all", set, why, sizeof(why)), -ERR_IO);
    ck_assert_ptr_nonnull(strstr(why, "No such file"));
    route_set_unref(set);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("store");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, comes_back_as_it_was, 0, 2);
    tcase_add_test(tcase, the_password_is_not_in_it);
    tcase_add_test(tcase, the_newer_takes_the_place);
    tcase_add_test(tcase, on_the_disk_before_it_has_the_name);
    tcase_add_loop_test(tcase, what_the_disk_refuses, 0, 2);
    tcase_add_test(tcase, none_there);
    tcase_add_loop_test(tcase, what_is_no_set_is_put_aside, 0, 7);
    tcase_add_test(tcase, what_cannot_be_used_is_left_out);
    tcase_add_test(tcase, a_key_that_was_lost);
    tcase_add_test(tcase, no_part_of_it_is_a_set);
    tcase_add_test(tcase, a_folder_that_is_not_there);
    return suite_run("traffic_route_store", tcase);
}
