/* refusing_malloc - included by a test whose malloc() shall say no to what nobody has, under a
 * sanitizer as without. */
#ifndef TESTS_UNIT_REFUSING_MALLOC_H
#define TESTS_UNIT_REFUSING_MALLOC_H

const char *__asan_default_options(void);
const char *__tsan_default_options(void);

const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

#endif
