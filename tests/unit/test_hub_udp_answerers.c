/* test_hub_udp_answerers - hub/udp_answerers.h. */
#include <check.h>
#include <stdlib.h>

#include "hub/udp_answerers.h"

static struct udp_answerers known;
static union addr addrs[3];

static void stand_up(void)
{
    known = (struct udp_answerers){0};
    ck_assert_int_eq(addr_parse_host(&addrs[0], "::1", 53), 0);
    ck_assert_int_eq(addr_parse_host(&addrs[1], "127.0.0.1", 53), 0);
    ck_assert_int_eq(addr_parse_host(&addrs[2], "127.0.0.9", 53), 0);
}

START_TEST(who_answered_last_is_first)
{
    struct target t = {.host = "dns", .port = 53}, other = {.host = "dns", .port = 54};

    stand_up();
    ck_assert_uint_eq(udp_answerers_first(&known, &t, addrs, 3), 0);
    udp_answerers_note(&known, &t, &addrs[2]);
    ck_assert_uint_eq(udp_answerers_first(&known, &t, addrs, 3), 2);
    ck_assert_uint_eq(udp_answerers_first(&known, &t, addrs + 1, 2), 1);
    udp_answerers_note(&known, &t, &addrs[1]);
    ck_assert_uint_eq(udp_answerers_first(&known, &t, addrs, 3), 1);
    ck_assert_uint_eq(udp_answerers_first(&known, &other, addrs, 3), 0);
}
END_TEST

START_TEST(an_address_that_the_name_has_no_more_is_forgotten)
{
    struct target t = {.host = "dns", .port = 53};

    stand_up();
    udp_answerers_note(&known, &t, &addrs[2]);
    ck_assert_uint_eq(udp_answerers_first(&known, &t, addrs, 2), 0);
    ck_assert_uint_eq(udp_answerers_first(&known, &t, addrs, 0), 0);
}
END_TEST

START_TEST(more_targets_than_places)
{
    char names[4 * UDP_ANSWERERS][8];
    unsigned right = 0;

    stand_up();
    for (unsigned i = 0; i < 4 * UDP_ANSWERERS; i++)
        udp_answerers_note(&known, &(struct target){.host = names[i], .port = 53}, &addrs[1]);
    for (unsigned i = 0; i < 4 * UDP_ANSWERERS; i++)
        right +=
            udp_answerers_first(&known, &(struct target){.host = names[i], .port = 53}, addrs, 3);
    ck_assert_uint_gt(right, 0);
    ck_assert_uint_le(right, UDP_ANSWERERS);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("udp_answerers");
    TCase *c = tcase_create("all");
    SRunner *r = srunner_create(s);
    int failed;

    tcase_add_test(c, who_answered_last_is_first);
    tcase_add_test(c, an_address_that_the_name_has_no_more_is_forgotten);
    tcase_add_test(c, more_targets_than_places);
    suite_add_tcase(s, c);
    srunner_run_all(r, CK_NORMAL);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
