/* What findings look like, and what the worst of them makes of the whole. */
#include <json-c/json.h>

#include "doctor_fixture.h"

static char *printed(void (*print)(const struct report *of, FILE *out))
{
    char *text = NULL;
    size_t n;
    FILE *out = open_memstream(&text, &n);

    print(&r, out);
    fclose(out);
    return text;
}

START_TEST(lines_and_json)
{
    char *text;
    struct json_object *top, *list, *one, *mend;

    report_ok(&r, "a", "%d is fine", 1);
    ck_assert_int_eq(report_status(&r), 0);
    report_warn(&r, "b", "do this", "so\nso \"%s\"", "x");
    ck_assert_int_eq(report_status(&r), 0);
    report_fail(&r, "c", "or that", "bad");
    ck_assert_int_eq(report_status(&r), 1);
    report_ok(&r, "d", "good");
    ck_assert_int_eq(report_status(&r), 1);
    text = printed(report_print);
    ck_assert_str_eq(text, "ok    a                      1 is fine\n"
                           "warn  b                      so?so \"x\"  -> do this\n"
                           "fail  c                      bad  -> or that\n"
                           "ok    d                      good\n");
    free(text);
    text = printed(report_print_json);
    ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
    top = json_tokener_parse(text);
    ck_assert_str_eq(json_object_get_string(json_object_object_get(top, "result")), "fail");
    list = json_object_object_get(top, "findings");
    ck_assert_uint_eq(json_object_array_length(list), 4);
    one = json_object_array_get_idx(list, 1);
    ck_assert_str_eq(json_object_get_string(json_object_object_get(one, "seen")), "so\nso \"x\"");
    ck_assert_str_eq(json_object_get_string(json_object_object_get(one, "verdict")), "warn");
    ck_assert(json_object_object_get_ex(json_object_array_get_idx(list, 0), "mend", &mend) &&
              mend == NULL);
    json_object_put(top);
    free(text);
}
END_TEST

START_TEST(more_than_it_keeps)
{
    char *text;

    for (unsigned i = 0; i < REPORT_FINDINGS_MAX; i++)
        report_ok(&r, "x", "y");
    report_fail(&r, "late", "z", "counts all the same");
    ck_assert_int_eq(report_status(&r), 1);
    ck_assert_uint_eq(r.count, REPORT_FINDINGS_MAX);
    text = printed(report_print);
    ck_assert_ptr_nonnull(strstr(text, "\n1 more are not shown\n"));
    free(text);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {lines_and_json, more_than_it_keeps};

    return run_suite("doctor_report", tests, ARRAY_LEN(tests));
}
