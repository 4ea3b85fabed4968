/* test_edge_udp_room - edge/udp_room.h: who is in, in which order, and who goes. */
#include "edge/udp_room.h"

#include <check.h>

#include "support/suite.h"
#include "wire/proxy.h"

static struct udp_room room;

static struct proxy_header of(uint8_t address)
{
    return (struct proxy_header){
        .family = PROXY_INET, .transport = PROXY_DGRAM, .src = {192, 0, 2, address}};
}

static void enter(struct udp_place *p, uint8_t address)
{
    struct proxy_header client = of(address);

    ck_assert(udp_room_enter(&room, p, &client));
}

static void leave_all(struct udp_place *p, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        udp_room_leave(&room, &p[i]);
}

static const struct udp_place *victim(uint8_t address, enum udp_eviction why)
{
    struct proxy_header client = of(address);
    enum udp_eviction said;
    const struct udp_place *p = udp_room_victim(&room, &client, &said);

    ck_assert_int_eq(said, why);
    return p;
}

static void setup(void)
{
    udp_room_init(&room, 7);
}

static void teardown(void)
{
    ck_assert(list_is_empty(&room.lru));
    ck_assert_uint_eq(room.sources.flows, 0);
    udp_room_fini(&room);
}

START_TEST(to_enter_or_leave_twice_is_nothing)
{
    struct udp_place p = {0};

    udp_room_leave(&room, &p);
    enter(&p, 1);
    enter(&p, 1);
    ck_assert_uint_eq(room.sources.flows, 1);
    udp_room_leave(&room, &p);
    udp_room_leave(&room, &p);
    ck_assert_ptr_null(victim(1, UDP_EVICTED_LEAST_RECENT));
    enter(&p, 1); /* again */
    ck_assert_ptr_eq(victim(2, UDP_EVICTED_LEAST_RECENT), &p);
    udp_room_leave(&room, &p);
}
END_TEST

START_TEST(where_all_have_the_same_the_least_recently_used_goes)
{
    struct udp_place p[3] = {{0}};

    for (uint8_t i = 0; i < 3; i++)
        enter(&p[i], i);
    ck_assert_ptr_eq(victim(3, UDP_EVICTED_LEAST_RECENT), &p[0]);
    udp_room_touch(&room, &p[0]);
    ck_assert_ptr_eq(victim(3, UDP_EVICTED_LEAST_RECENT), &p[1]);
    udp_room_touch(&room, &p[0]); /* the last one already */
    udp_room_leave(&room, &p[1]);
    ck_assert_ptr_eq(victim(3, UDP_EVICTED_LEAST_RECENT), &p[2]);
    leave_all(p, 3);
}
END_TEST

/* The one that was used least recently is not its. */
START_TEST(who_has_more_than_its_share_gives_its_own_oldest)
{
    struct udp_place one = {0}, many[3] = {{0}};

    enter(&one, 1);
    for (unsigned i = 0; i < 3; i++)
        enter(&many[i], 2);
    udp_room_touch(&room, &many[0]);
    ck_assert_ptr_eq(victim(2, UDP_EVICTED_ADDRESS_SHARE), &many[1]);
    ck_assert_ptr_eq(victim(3, UDP_EVICTED_ADDRESS_SHARE), &many[1]);
    leave_all(many, 3);
    udp_room_leave(&room, &one);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, to_enter_or_leave_twice_is_nothing);
    tcase_add_test(tc, where_all_have_the_same_the_least_recently_used_goes);
    tcase_add_test(tc, who_has_more_than_its_share_gives_its_own_oldest);
    return suite_run("edge_udp_room", tc);
}
