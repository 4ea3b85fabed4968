/* Many names and ports at once, some of them nobody's. */
#include "base/err.h"
#include "doctor/reach.h"
#include "doctor_fixture.h"
#include "loop/listener.h"

START_TEST(connects)
{
    union addr at, bound;
    struct reach all[3] = {{.host = "127.0.0.1"}, {.host = "localhost"}, {.host = "127.0.0.1"}};
    int fd, gone;

    ck_assert_int_eq(addr_parse(&at, "127.0.0.1:0"), 0);
    ck_assert_int_eq(listen_bind(&at, 1, &fd, &bound), 0);
    all[0].port = all[1].port = addr_port(&bound);
    ck_assert_int_eq(listen_bind(&at, 1, &gone, &bound), 0);
    all[2].port = addr_port(&bound);
    close(gone);
    reach_connect(all, 3);
    ck_assert_int_eq(all[0].err, 0);
    ck_assert_int_eq(all[1].err, 0);
    ck_assert_int_eq(all[2].err, -ERR_CONNECT);
    reach_report_connect(&r, "target", &all[1], REPORT_FAIL);
    expect(REPORT_OK, "target", "localhost:");
    reach_report_connect(&r, "target", &all[2], REPORT_WARN);
    expect(REPORT_WARN, "target", "Connection refused");
    reach_report_connect(&r, "target", &all[2], REPORT_FAIL);
    expect(REPORT_FAIL, "target", "Connection refused");
    close(fd);
}
END_TEST

START_TEST(looks_up)
{
    struct reach all[2] = {{.host = "192.0.2.7", .port = 1}, {.host = "nowhere.invalid"}};

    reach_lookup(all, 2);
    ck_assert_uint_eq(all[0].count, 1);
    ck_assert_int_eq(all[1].err, -ERR_RESOLVE);
    reach_report_lookup(&r, "name", &all[0]);
    expect(REPORT_OK, "name", "192.0.2.7 is 192.0.2.7");
    reach_report_lookup(&r, "name", &all[1]);
    expect(REPORT_FAIL, "name", "nowhere.invalid has no address");
    reach_lookup(all, 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {connects, looks_up};

    return run_suite("doctor_reach", tests, ARRAY_LEN(tests));
}
