/* test_loop_address_count - loop/address_count.h: the limit of one address, from many threads. */
#include "loop/address_count.h"

#include <check.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/must.h"
#include "support/suite.h"

static union addr address(const char *text)
{
    union addr a;

    ck_assert_int_eq(addr_parse_host(&a, text, 0), 0);
    return a;
}

static struct address_count counts;

START_TEST(addresses_are_counted)
{
    static const uint64_t key[2] = {0x0123456789abcdef, 0xfedcba9876543210};
    union addr one = address("192.0.2.1"), mapped = address("::ffff:192.0.2.1"),
               other = address("192.0.2.2"), v6 = address("2001:db8::1"),
               near = address("2001:db8::ffff:1"), far = address("2001:db8:0:1::1");
    uint32_t slots[8];

    address_count_init(&counts, key);
    ck_assert(address_count_add(&counts, &one, 2, &slots[0]));
    ck_assert(address_count_add(&counts, &mapped, 2, &slots[1]));
    ck_assert_uint_eq(slots[0], slots[1]);
    ck_assert(!address_count_add(&counts, &one, 2, &slots[2]));
    ck_assert(address_count_add(&counts, &other, 2, &slots[3]));
    address_count_remove(&counts, slots[1]);
    ck_assert(address_count_add(&counts, &one, 2, &slots[2]));
    ck_assert(address_count_add(&counts, &v6, 1, &slots[4]));
    ck_assert(!address_count_add(&counts, &near, 1, &slots[5])); /* the same /64 */
    ck_assert(address_count_add(&counts, &far, 1, &slots[6]));
}
END_TEST

static void *count_up_and_down(void *arg)
{
    union addr one = address("192.0.2.1");
    uint32_t slot;

    (void)arg;
    for (unsigned i = 0; i < 20000; i++)
        if (address_count_add(&counts, &one, 2, &slot))
            address_count_remove(&counts, slot);
    return NULL;
}

START_TEST(nothing_is_lost_between_threads)
{
    static const uint64_t key[2] = {1, 2};
    pthread_t threads[3];

    address_count_init(&counts, key);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, count_up_and_down, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < ADDRESS_SLOTS; i++)
        ck_assert_uint_eq(atomic_load(&counts.open[i]), 0);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("all");

    tcase_add_test(tcase, addresses_are_counted);
    tcase_add_test(tcase, nothing_is_lost_between_threads);
    return suite_run("loop/address_count", tcase);
}
