/* report - what `check` found: one finding a thing that was looked at, in order, each with what was
 * seen and, unless it is well, with how to mend it.  Printed as lines or as JSON. */
#ifndef DOCTOR_REPORT_H
#define DOCTOR_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/must.h"

#define REPORT_FINDINGS_MAX                                                                        \
    1000 /* further ones are counted only; a failure among them counts too */

enum report_verdict { REPORT_OK, REPORT_WARN, REPORT_FAIL };

struct finding {
    enum report_verdict verdict;
    char *name; /* owned, like all strings here: "tunnel.tls" */
    char *seen;
    char *mend; /* NULL: nothing to mend */
};

struct report {
    const char *service;      /* borrowed: "hub" */
    struct finding *findings; /* owned */
    size_t count, total;      /* kept, seen */
    enum report_verdict worst;
};

void report_init(struct report *r, const char *service);
void report_fini(struct report *r); /* fine on a zeroed one */

void report_ok(struct report *r, const char *name, const char *seen, ...) PRINTF_LIKE(3, 4);
/* `mend` is copied. */
void report_warn(struct report *r, const char *name, const char *mend, const char *seen, ...)
    PRINTF_LIKE(4, 5);
void report_fail(struct report *r, const char *name, const char *mend, const char *seen, ...)
    PRINTF_LIKE(4, 5);

/* "ok    name  what was seen" and "  -> how to mend it" behind it on the same line; control
 * characters as '?'. */
void report_print(const struct report *r, FILE *out);
/* {service, result, findings: [{verdict, name, seen, mend}]}, one line; `mend` null where there is
 * nothing to mend. */
void report_print_json(const struct report *r, FILE *out);
/* 0: nothing fails; 1. */
int report_status(const struct report *r);

#endif
