/* Tests of base/list: order, removal from anywhere, moving all, removal while walking. */
#include <check.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/must.h"

struct item {
    struct list node;
    int number;
};

static struct item items[6];

static void setup(void)
{
    for (int i = 0; i < (int)ARRAY_LEN(items); i++) {
        items[i].number = i;
        list_init(&items[i].node);
    }
}

/* The numbers in the list as digits of one number; walks it back too. */
static int digits(struct list *head)
{
    int forth = 0, back = 0, unit = 1;

    LIST_EACH (head, n, after) {
        forth = forth * 10 + container_of(n, struct item, node)->number;
    }
    for (struct list *n = head->prev; n != head; n = n->prev, unit *= 10)
        back += unit * container_of(n, struct item, node)->number;
    ck_assert_int_eq(forth, back);
    return forth;
}

START_TEST(nodes_leave_in_the_order_they_came)
{
    struct list head;

    list_init(&head);
    ck_assert(list_is_empty(&head));
    ck_assert_ptr_null(list_pop(&head));
    for (int i = 1; i <= 3; i++)
        list_push(&head, &items[i].node);
    ck_assert_int_eq(digits(&head), 123);
    ck_assert_ptr_eq(list_pop(&head), &items[1].node);
    ck_assert(list_is_empty(&items[1].node));
    ck_assert_int_eq(digits(&head), 23);
}
END_TEST

START_TEST(a_node_is_removed_from_anywhere_and_twice)
{
    struct list head;

    list_init(&head);
    for (int i = 1; i <= 4; i++)
        list_push(&head, &items[i].node);
    list_remove(&items[2].node);
    list_remove(&items[2].node);
    ck_assert_int_eq(digits(&head), 134);
    list_remove(&items[1].node);
    list_remove(&items[4].node);
    ck_assert_int_eq(digits(&head), 3);
    list_push(&items[3].node, &items[5].node); /* before a node */
    ck_assert_int_eq(digits(&head), 53);
}
END_TEST

START_TEST(all_nodes_move_behind_what_is_there)
{
    struct list a, b;

    list_init(&a);
    list_init(&b);
    list_move_all(&a, &b);
    ck_assert(list_is_empty(&a));
    list_push(&a, &items[1].node);
    list_push(&b, &items[2].node);
    list_push(&b, &items[3].node);
    list_move_all(&a, &b);
    ck_assert_int_eq(digits(&a), 123);
    ck_assert(list_is_empty(&b));
    list_move_all(&b, &a);
    ck_assert_int_eq(digits(&b), 123);
    ck_assert(list_is_empty(&a));
}
END_TEST

START_TEST(the_walk_survives_the_removal_of_its_node)
{
    struct list head;
    int seen = 0;

    list_init(&head);
    for (int i = 1; i <= 5; i++)
        list_push(&head, &items[i].node);
    LIST_EACH (&head, n, after) {
        seen++;
        if (container_of(n, struct item, node)->number % 2)
            list_remove(n);
    }
    ck_assert_int_eq(seen, 5);
    ck_assert_int_eq(digits(&head), 24);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("base_list");
    TCase *tc = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, nodes_leave_in_the_order_they_came);
    tcase_add_test(tc, a_node_is_removed_from_anywhere_and_twice);
    tcase_add_test(tc, all_nodes_move_behind_what_is_there);
    tcase_add_test(tc, the_walk_survives_the_removal_of_its_node);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
