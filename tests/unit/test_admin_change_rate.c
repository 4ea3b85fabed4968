/* The rate of changes: the bucket alone, and what the server answers when it is empty. */
#include "admin/change_rate.h"
#include "admin_fixture.h"

static unsigned take_all(struct change_rate *c, uint64_t now_ms)
{
    unsigned n = 0, wait_secs;

    while (n < 100000 && change_rate_take(c, now_ms, &wait_secs))
        n++;
    return n;
}

START_TEST(ten_seconds_at_once_then_the_rate)
{
    struct change_rate c;
    unsigned wait_secs = 0;

    change_rate_set(&c, 5, 1000);
    ck_assert_uint_eq(take_all(&c, 1000), 50);
    ck_assert(!change_rate_take(&c, 1199, &wait_secs));
    ck_assert_uint_eq(wait_secs, 1);
    ck_assert(change_rate_take(&c, 1200, &wait_secs)); /* five a second: one each 200 ms */
    ck_assert_uint_eq(wait_secs, 0);
    ck_assert(!change_rate_take(&c, 1200, &wait_secs));
    ck_assert_uint_eq(take_all(&c, 3200), 10);
}
END_TEST

START_TEST(the_bucket_has_an_end)
{
    struct change_rate c;

    change_rate_set(&c, CHANGE_RATE_MAX, 0);
    ck_assert(take_all(&c, UINT64_MAX / 2) == 100000);
    change_rate_set(&c, 1, 0);
    ck_assert_uint_eq(take_all(&c, 0), 10);
    ck_assert_uint_eq(take_all(&c, UINT64_MAX), 10); /* however long it was */
    ck_assert_uint_eq(take_all(&c, 5), 0);           /* a time before brings nothing */
    ck_assert_uint_eq(take_all(&c, UINT64_MAX), 0);
}
END_TEST

START_TEST(zero_is_no_limit)
{
    struct change_rate c;

    change_rate_set(&c, 0, 0);
    ck_assert_uint_eq(take_all(&c, 0), 100000);
}
END_TEST

START_TEST(changes_are_refused_and_reading_goes_on)
{
    static const char delete_[] = "DELETE /v1/things/x HTTP/1.1\r\n" HOST AUTH "\r\n";
    static const char put[] =
        "PUT /v1/things?dryRun=true HTTP/1.1\r\n" HOST AUTH JSON "Content-Length: 2\r\n\r\n{}";
    static const char read_only[] = "DELETE /v1/things/x HTTP/1.1\r\n" HOST READ "\r\n";
    struct service s;
    struct answer a;

    service_prepare(&s);
    s.options.changes_per_sec = 1;
    service_start(&s);
    ask_problem(&s, read_only, 403, "readOnly"); /* takes none out */
    for (unsigned i = 0; i < 5; i++) {
        ask_status(&s, delete_, 204);
        ask_status(&s, put, 200);
    }
    do { /* a slow machine may have filled one in */
        ask(&s, &a, delete_);
        ck_assert(a.status == 204 || a.status == 429);
        if (a.status == 204)
            answer_fini(&a);
    } while (a.status == 204);
    expect_problem(&a, 429, "tooManyChanges");
    expect_header(&a, "Retry-After", "1");
    answer_fini(&a);
    ask_problem(&s, read_only, 403, "readOnly");
    ask(&s, &a, "GET /metrics HTTP/1.1\r\n" HOST READ "\r\n");
    ck_assert_uint_eq(a.status, 200);
    ck_assert_ptr_nonnull(strstr(a.body, "penstock_admin_refused_total{reason=\"changes\"} 1\n"));
    answer_fini(&a);
    service_stop(&s);
}
END_TEST

static void limit_to_none(struct service *s)
{
    admin_limit_changes(s->admin, 0);
}

START_TEST(another_rate_while_it_runs)
{
    static const char delete_[] = "DELETE /v1/things/x HTTP/1.1\r\n" HOST AUTH "\r\n";
    struct service s;

    service_prepare(&s);
    s.options.changes_per_sec = 1;
    service_start(&s);
    on_loop(&s, limit_to_none);
    for (unsigned i = 0; i < 30; i++)
        ask_status(&s, delete_, 204);
    service_stop(&s);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        ten_seconds_at_once_then_the_rate,       the_bucket_has_an_end,      zero_is_no_limit,
        changes_are_refused_and_reading_goes_on, another_rate_while_it_runs,
    };

    return run_suite("admin_change_rate", tests, ARRAY_LEN(tests));
}
