/* Files of a page: what they carry, that they are kept and asked for again, and need no token. */
#include "admin_fixture.h"

#define PAGE "<!doctype html><title>x</title>"

static void get_page(void *service, struct admin_request *r)
{
    static const struct admin_page page = {"index.html", "text/html; charset=utf-8", PAGE};

    (void)service;
    admin_reply_page(r, &page);
}

static const struct admin_route routes[] = {
    {.method = "GET", .pattern = "/", .access = ADMIN_PUBLIC, .handle = get_page},
    {.method = NULL},
};

static struct service s;

static void setup(void)
{
    service_prepare(&s);
    s.options.routes = routes;
    service_start(&s);
}

static void teardown(void)
{
    service_stop(&s);
}

START_TEST(what_a_page_carries)
{
    static const char *const refused[] = {"'unsafe", "data:", "blob:", "*", "http"};
    struct answer a;
    char policy[1024];

    ask(&s, &a, "GET / HTTP/1.1\r\n" HOST "\r\n");
    ck_assert_uint_eq(a.status, 200);
    ck_assert_str_eq(a.body, PAGE);
    expect_header(&a, "Content-Type", "text/html; charset=utf-8");
    expect_header(&a, "Cache-Control", "no-cache");
    expect_header(&a, "X-Content-Type-Options", "nosniff");
    expect_header(&a, "Referrer-Policy", "no-referrer");
    expect_header(&a, "Cross-Origin-Resource-Policy", "same-origin");
    ck_assert_ptr_nonnull(header_of(&a, "Content-Security-Policy", policy));
    ck_assert_ptr_nonnull(strstr(policy, "default-src 'none'; script-src 'self'; "));
    ck_assert_ptr_nonnull(strstr(policy, "frame-ancestors 'none'"));
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        ck_assert_ptr_null(strstr(policy, refused[i]));
    answer_fini(&a);
}
END_TEST

START_TEST(asked_for_again)
{
    struct answer a;
    char etag[1024], *request;

    ask(&s, &a, "HEAD / HTTP/1.1\r\n" HOST "\r\n");
    ck_assert_uint_eq(a.status, 200);
    ck_assert_ptr_nonnull(header_of(&a, "ETag", etag));
    answer_fini(&a);
    request = must_printf("GET / HTTP/1.1\r\n" HOST "If-None-Match: W/%s\r\n\r\n", etag);
    ask(&s, &a, request);
    ck_assert_uint_eq(a.status, 304);
    expect_header(&a, "ETag", etag);
    expect_header(&a, "Content-Type", NULL);
    expect_header(&a, "Cache-Control", "no-cache");
    answer_fini(&a);
    free(request);
    ask(&s, &a, "GET / HTTP/1.1\r\n" HOST "If-None-Match: \"other\"\r\n\r\n");
    ck_assert_uint_eq(a.status, 200);
    answer_fini(&a);
}
END_TEST

/* What holds data is not kept. */
START_TEST(answers_stay_uncached)
{
    struct answer a;

    ask(&s, &a, "GET /v1/config HTTP/1.1\r\n" HOST READ "\r\n");
    ck_assert_uint_eq(a.status, 200);
    expect_header(&a, "Cache-Control", "no-store");
    answer_fini(&a);
    ask_problem(&s, "GET /v1/config HTTP/1.1\r\n" HOST "\r\n", 401, "unauthenticated");
}
END_TEST

/* Another site's name that leads here (DNS rebinding) gets nothing. */
START_TEST(only_under_its_own_name)
{
    ask_problem(&s, "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403, "hostNotAllowed");
    ask_problem(&s, "GET / HTTP/1.1\r\n" HOST "Origin: http://evil.example\r\n\r\n", 403,
                "originNotAllowed");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("admin_page");
    TCase *t = tcase_create("admin_page");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, what_a_page_carries);
    tcase_add_test(t, asked_for_again);
    tcase_add_test(t, answers_stay_uncached);
    tcase_add_test(t, only_under_its_own_name);
    suite_add_tcase(suite, t);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
