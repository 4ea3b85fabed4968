/* metrics - one scrape in the text format 0.0.4 (or OpenMetrics 1.0 when the client asks for it).
 *
 * Families come in order: metrics_family() once, then its samples.  Names carry base units,
 * counters end in _total.  Values of labels come from bounded sets only, and are escaped here.
 */
#ifndef ADMIN_METRICS_H
#define ADMIN_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct metrics;

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

void metrics_family(struct metrics *m, const char *name, enum metric_type type, const char *help);
/* labels: "name", "value", ..., NULL. */
void metrics_value(struct metrics *m, double value, ...) __attribute__((sentinel));
/* A histogram's sample: `bounds` are upper bounds in seconds, `counts` per bucket (not cumulated),
 * count of bounds + 1 (the last is +Inf), `sum` in seconds. */
void metrics_histogram(struct metrics *m, const double *bounds, const uint64_t *counts, size_t n,
                       double sum, ...) __attribute__((sentinel));

/* For admin and tests. */
struct metrics *metrics_new(bool is_open_metrics);
char *metrics_finish(struct metrics *m, size_t *len); /* the text, the caller's; frees m */

#endif
