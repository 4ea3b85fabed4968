/* The dashboard's files, over HTTP against a whole hub: without a token, each that another one
 * names, and none that only the API should give. */
#include <arpa/inet.h>

#include "hub_api_fixture.h"

static void setup(void)
{
    hub_up((const char *const[]){NULL});
}

static unsigned get(const char *path)
{
    snprintf(call.request, sizeof(call.request),
             "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path);
    return make_call();
}

START_TEST(the_page_needs_no_token)
{
    ck_assert_uint_eq(get("/"), 200);
    ck_assert_ptr_nonnull(strstr(call.answer, "\r\nContent-Type: text/html; charset=utf-8\r\n"));
    ck_assert_ptr_nonnull(strstr(call.answer, "\r\nContent-Security-Policy: default-src 'none'; "));
    ck_assert_ptr_nonnull(strstr(call.body, "<!doctype html>"));
    ck_assert_uint_eq(get("/v1/edges"), 401);
    ck_assert_uint_eq(get("/v1/status"), 401);
}
END_TEST

/* Asks for what stands between `before` and the next `after` in `text`, each time. */
static unsigned get_named(const char *text, const char *before, char after)
{
    unsigned count = 0;

    for (const char *p = text; (p = strstr(p, before)) != NULL; count++) {
        const char *name = p + strlen(before), *end = strchr(name, after);
        char path[128];

        ck_assert_ptr_nonnull(end);
        snprintf(path, sizeof(path), "/dashboard/%.*s", (int)(end - name), name);
        ck_assert_msg(get(path) == 200, "%s: %u", path, call.status);
        p = end;
    }
    return count;
}

START_TEST(each_file_is_there)
{
    char *page;

    ck_assert_uint_eq(get("/"), 200);
    page = must_strdup(call.body);
    ck_assert_uint_ge(get_named(page, "\"dashboard/", '"'), 4);
    free(page);
    ck_assert_uint_eq(get("/dashboard/app.js"), 200);
    ck_assert_ptr_nonnull(
        strstr(call.answer, "\r\nContent-Type: text/javascript; charset=utf-8\r\n"));
    page = must_strdup(call.body);
    ck_assert_uint_ge(get_named(page, "from \"./", '"'), 6);
    free(page);
}
END_TEST

START_TEST(nothing_else_is_there)
{
    static const char *const paths[] = {
        "/dashboard/",       "/dashboard/index.html", "/dashboard/nope.js",  "/dashboard/../hub.db",
        "/dashboard/%2e%2e", "/dashboard/a/app.js",   "/dashboard/app.js%2f"};

    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        get(paths[i]);
        ck_assert_msg(call.status == 404 || call.status == 401, "%s: %u", paths[i], call.status);
    }
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("hub_dashboard");

    tcase_add_checked_fixture(t, setup, hub_down);
    tcase_add_test(t, the_page_needs_no_token);
    tcase_add_test(t, each_file_is_there);
    tcase_add_test(t, nothing_else_is_there);
    return suite_run("hub_dashboard", t);
}
