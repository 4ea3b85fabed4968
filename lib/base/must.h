/* must - assertions that stay on in release, and the handful of macros that every module needs.
 *
 * must(c) states a fact about our own code: a precondition, a legal transition, who owns what.
 * It is never used on bytes of a peer.  When it fails the program says where and aborts.
 */
#ifndef BASE_MUST_H
#define BASE_MUST_H

#include <stddef.h>

#define MUST_USE               __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

#define BIT(n)       (1u << (n))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)    ((a) < (b) ? (a) : (b))
#define MAX(a, b)    ((a) > (b) ? (a) : (b))

/* The object of `type` whose `member` p points to. */
#define container_of(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))

#define must(c) ((c) ? (void)0 : must_fail(#c, __FILE__, __LINE__))

_Noreturn void must_fail(const char *what, const char *file, int line);

/* malloc and calloc for what a program cannot run without (start-up, configuration, control
 * plane): they end the program when memory is out.  The data path uses the chunk pool instead. */
void *must_alloc(size_t size) MUST_USE __attribute__((malloc, returns_nonnull));
char *must_strdup(const char *s) MUST_USE __attribute__((malloc, returns_nonnull));
char *must_printf(const char *fmt, ...) MUST_USE PRINTF_LIKE(1, 2);
/* "a, b, c" of a NULL-ended list, for sentences that say what is allowed; NULL is an empty list. */
char *must_join(const char *const *words) MUST_USE __attribute__((malloc, returns_nonnull));

#endif
