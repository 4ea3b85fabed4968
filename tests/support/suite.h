/* suite - one test program's suite of Check, run. */
#ifndef SUPPORT_SUITE_H
#define SUPPORT_SUITE_H

#include <check.h>

/* What main() returns. */
int suite_run(const char *name, TCase *tcase);

#endif
