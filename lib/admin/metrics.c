/* metrics - see metrics.h.  The text is put together in one memory stream. */
#include "admin/metrics.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"

struct metrics {
    FILE *out;  /* owned: a memory stream over `text` */
    char *text; /* owned */
    size_t len;
    bool is_open_metrics;
    enum metric_type type; /* of the family that is open */
    char *family;          /* owned: its name, without _total for OpenMetrics */
    char **names;          /* owned: the families so far; a family twice breaks a whole scrape */
    size_t names_count, names_cap;
};

struct metrics *metrics_new(bool is_open_metrics)
{
    struct metrics *m = must_alloc(sizeof(*m));

    m->is_open_metrics = is_open_metrics;
    m->out = open_memstream(&m->text, &m->len);
    must(m->out != NULL);
    return m;
}

static bool is_name(const char *name)
{
    if (!*name || (*name >= '0' && *name <= '9'))
        return false;
    return name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:")] ==
           '\0';
}

static bool ends_in(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);

    return n > m && strcmp(name + n - m, end) == 0;
}

static void remember_name(struct metrics *m, const char *name)
{
    for (size_t i = 0; i < m->names_count; i++)
        must(strcmp(m->names[i], name) != 0);
    if (m->names_count == m->names_cap) {
        m->names_cap = m->names_cap ? 2 * m->names_cap : 64;
        m->names = realloc(m->names, m->names_cap * sizeof(*m->names));
        must(m->names != NULL);
    }
    m->names[m->names_count++] = must_strdup(name);
}

/* In a help text a line's end and a backslash are escaped; in a label a quote too.  What is no
 * ASCII becomes a question mark: labels come from bounded sets, and one byte that is no UTF-8 would
 * cost the whole scrape. */
static void put_escaped(struct metrics *m, const char *text, bool is_quoted)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if (c == '\n')
            fputs("\\n", m->out);
        else if (c == '\\' || (c == '"' && is_quoted))
            fprintf(m->out, "\\%c", c);
        else
            fputc(c < 0x20 || c >= 0x7f ? '?' : c, m->out);
    }
}

void metrics_family(struct metrics *m, const char *name, enum metric_type type, const char *help)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};

    must(is_name(name));
    must((type == METRIC_COUNTER) == ends_in(name, "_total"));
    remember_name(m, name);
    free(m->family);
    m->family = must_strdup(name);
    m->type = type;
    if (type == METRIC_COUNTER && m->is_open_metrics)
        m->family[strlen(name) - strlen("_total")] = '\0';
    fprintf(m->out, "# HELP %s ", m->family);
    put_escaped(m, help, m->is_open_metrics);
    fprintf(m->out, "\n# TYPE %s %s\n", m->family, types[type]);
}

/* The shortest decimal that reads back as the same double; OpenMetrics wants 1.0 where a bound is
 * whole. */
static void put_number(struct metrics *m, double value, bool is_bound)
{
    char text[40];

    if (isnan(value)) {
        fputs("NaN", m->out);
        return;
    }
    if (isinf(value)) {
        fputs(value > 0 ? "+Inf" : "-Inf", m->out);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) >= value && strtod(text, NULL) <= value)
            break;
    }
    fputs(text, m->out);
    if (is_bound && m->is_open_metrics && !strpbrk(text, ".e"))
        fputs(".0", m->out);
}

/* {a="b",le="0.5"}; nothing for no label. */
static void put_labels(struct metrics *m, va_list args, const double *bound)
{
    const char *name;
    char before = '{';

    while ((name = va_arg(args, const char *)) != NULL) {
        const char *value = va_arg(args, const char *);

        must(value != NULL && is_name(name) && !strchr(name, ':'));
        fprintf(m->out, "%c%s=\"", before, name);
        put_escaped(m, value, true);
        fputc('"', m->out);
        before = ',';
    }
    if (bound) {
        fprintf(m->out, "%cle=\"", before);
        put_number(m, *bound, true);
        fputc('"', m->out);
        before = ',';
    }
    if (before == ',')
        fputc('}', m->out);
}

void metrics_value(struct metrics *m, double value, ...)
{
    va_list args;

    must(m->family != NULL && m->type != METRIC_HISTOGRAM);
    fprintf(m->out, "%s%s", m->family,
            m->type == METRIC_COUNTER && m->is_open_metrics ? "_total" : "");
    va_start(args, value);
    put_labels(m, args, NULL);
    va_end(args);
    fputc(' ', m->out);
    put_number(m, value, false);
    fputc('\n', m->out);
}

void metrics_histogram(struct metrics *m, const double *bounds, const uint64_t *counts, size_t n,
                       double sum, ...)
{
    uint64_t total = 0;
    va_list args;

    must(m->family != NULL && m->type == METRIC_HISTOGRAM);
    for (size_t i = 0; i <= n; i++) {
        double bound = i < n ? bounds[i] : (double)INFINITY;

        total += counts[i];
        fprintf(m->out, "%s_bucket", m->family);
        va_start(args, sum);
        put_labels(m, args, &bound);
        va_end(args);
        fprintf(m->out, " %" PRIu64 "\n", total);
    }
    fprintf(m->out, "%s_sum", m->family);
    va_start(args, sum);
    put_labels(m, args, NULL);
    va_end(args);
    fputc(' ', m->out);
    put_number(m, sum, false);
    fprintf(m->out, "\n%s_count", m->family);
    va_start(args, sum);
    put_labels(m, args, NULL);
    va_end(args);
    fprintf(m->out, " %" PRIu64 "\n", total);
}

char *metrics_finish(struct metrics *m, size_t *len)
{
    char *text;

    if (m->is_open_metrics)
        fputs("# EOF\n", m->out);
    must(fclose(m->out) == 0); /* a memory stream fails only when memory is out */
    text = m->text;
    *len = m->len;
    for (size_t i = 0; i < m->names_count; i++)
        free(m->names[i]);
    free(m->names);
    free(m->family);
    free(m);
    return text;
}
