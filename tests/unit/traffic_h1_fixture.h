/* traffic_h1_fixture - reading a head from a literal, for the tests of the HTTP/1 codec. */
#ifndef UNIT_TRAFFIC_H1_FIXTURE_H
#define UNIT_TRAFFIC_H1_FIXTURE_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "traffic/h1_scan.h"

static const struct h1_limits fixture_limits = {16384, 8192, 100};

/* A copy of exactly n bytes, so that a sanitizer sees every byte read behind them. */
static inline char *exact_copy(const char *bytes, size_t n)
{
    char *copy = malloc(n > 0 ? n : 1);

    ck_assert_ptr_nonnull(copy);
    memcpy(copy, bytes, n);
    return copy;
}

/* Scans n bytes that come one by one; the reason, and *scan as it stands. */
static inline enum traffic_reason scan_slowly(struct h1_scan *scan, const char *bytes, size_t n)
{
    enum traffic_reason reason = REASON_NONE;

    *scan = (struct h1_scan){0};
    for (size_t i = 1; i <= n && reason == REASON_NONE && scan->head_len == 0; i++)
        reason = h1_scan_run(scan, bytes, i, &fixture_limits);
    return reason;
}

static inline bool text_is(struct http_text t, const char *want)
{
    return t.n == strlen(want) && (t.n == 0 || memcmp(t.p, want, t.n) == 0);
}

#endif
