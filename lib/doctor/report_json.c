/* report - see report.h. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "doctor/report.h"
#include "json/json.h"

#define NAME_WIDTH 22

static const char *const verdict_names[] = {"ok", "warn", "fail"};

void report_init(struct report *r, const char *service)
{
    *r = (struct report){.service = service,
                         .findings = must_alloc(REPORT_FINDINGS_MAX * sizeof(struct finding))};
}

void report_fini(struct report *r)
{
    for (size_t i = 0; i < r->count; i++) {
        free(r->findings[i].name);
        free(r->findings[i].seen);
        free(r->findings[i].mend);
    }
    free(r->findings);
    *r = (struct report){0};
}

PRINTF_LIKE(5, 0)
static void add(struct report *r, enum report_verdict verdict, const char *name, const char *mend,
                const char *format, va_list args)
{
    struct finding f = {.verdict = verdict};

    r->total++;
    r->worst = MAX(r->worst, verdict);
    if (r->count == REPORT_FINDINGS_MAX)
        return;
    must(vasprintf(&f.seen, format, args) >= 0);
    f.name = must_strdup(name);
    f.mend = mend ? must_strdup(mend) : NULL;
    r->findings[r->count++] = f;
}

void report_ok(struct report *r, const char *name, const char *seen, ...)
{
    va_list args;

    va_start(args, seen);
    add(r, REPORT_OK, name, NULL, seen, args);
    va_end(args);
}

void report_warn(struct report *r, const char *name, const char *mend, const char *seen, ...)
{
    va_list args;

    va_start(args, seen);
    add(r, REPORT_WARN, name, mend, seen, args);
    va_end(args);
}

void report_fail(struct report *r, const char *name, const char *mend, const char *seen, ...)
{
    va_list args;

    va_start(args, seen);
    add(r, REPORT_FAIL, name, mend, seen, args);
    va_end(args);
}

static void put_clean(FILE *out, const char *text)
{
    for (; *text; text++)
        fputc((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, out);
}

void report_print(const struct report *r, FILE *out)
{
    for (size_t i = 0; i < r->count; i++) {
        const struct finding *f = &r->findings[i];

        fprintf(out, "%-5s %-*s ", verdict_names[f->verdict], NAME_WIDTH, f->name);
        put_clean(out, f->seen);
        if (f->mend) {
            fputs("  -> ", out);
            put_clean(out, f->mend);
        }
        fputc('\n', out);
    }
    if (r->total > r->count)
        fprintf(out, "%zu more are not shown\n", r->total - r->count);
}

void report_print_json(const struct report *r, FILE *out)
{
    struct json_object *top = json_object_new_object(), *list = json_object_new_array();

    json_object_object_add(top, "service", json_object_new_string(r->service));
    json_object_object_add(top, "result", json_object_new_string(verdict_names[r->worst]));
    for (size_t i = 0; i < r->count; i++) {
        const struct finding *f = &r->findings[i];
        struct json_object *item = json_object_new_object();

        json_object_object_add(item, "verdict", json_object_new_string(verdict_names[f->verdict]));
        json_object_object_add(item, "name", json_object_new_string(f->name));
        json_object_object_add(item, "seen", json_object_new_string(f->seen));
        json_object_object_add(item, "mend", f->mend ? json_object_new_string(f->mend) : NULL);
        json_object_array_add(list, item);
    }
    json_object_object_add(top, "findings", list);
    fprintf(out, "%s\n",
            json_object_to_json_string_ext(top, JSON_C_TO_STRING_PLAIN |
                                                    JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(top);
}

int report_status(const struct report *r)
{
    return r->worst == REPORT_FAIL ? 1 : 0;
}
