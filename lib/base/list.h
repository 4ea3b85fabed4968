/* list - an intrusive, doubly linked, circular list.  A node that is in no list points to itself,
 * so that list_remove() may be called on it at any time after list_init(). */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *prev; /* borrowed from their owners */
};

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}

static inline bool list_is_empty(const struct list *l)
{
    return l->next == l;
}

/* Before `at`: with the head of a list, at its end. */
static inline void list_push(struct list *at, struct list *node)
{
    node->prev = at->prev;
    node->next = at;
    at->prev->next = node;
    at->prev = node;
}

static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* The first node, taken out; NULL when empty. */
static inline struct list *list_pop(struct list *head)
{
    struct list *node = head->next;

    if (node == head)
        return NULL;
    list_remove(node);
    return node;
}

/* All of `from` to the end of `to`; `from` is empty after it. */
static inline void list_move_all(struct list *to, struct list *from)
{
    if (list_is_empty(from))
        return;
    from->next->prev = to->prev;
    from->prev->next = to;
    to->prev->next = from->next;
    to->prev = from->prev;
    list_init(from);
}

/* Walks the list; `n` may be removed (and freed) by the body. */
#define LIST_EACH(head, n, after)                                                                  \
    for (struct list *n = (head)->next, *after = n->next; n != (head); n = after, after = n->next)

#endif
