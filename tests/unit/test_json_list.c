/* Documents that are read without their list: what is left of them, and the list's elements. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "support/suite.h"
#include "json/json.h"

/* The document without its list, and the list's elements behind it. */
static const struct {
    const char *const *path;
    const char *text, *rest, *parts;
} lists[] = {
#define SHORT                                                                                      \
    (const char *const[])                                                                          \
    {                                                                                              \
        "r", NULL                                                                                  \
    }
#define LONG                                                                                       \
    (const char *const[])                                                                          \
    {                                                                                              \
        "q", "r", NULL                                                                             \
    }
    {SHORT, "[1, {\"r\":[2]} ,\"x\",null]", "[]", "1|{\"r\":[2]}|\"x\"|null"},
    {SHORT, " { \"a\":[1],\"r\" : [ 2 ,\t[3]\n, 4.5 ] ,\"c\":{\"r\":[5]}} ",
     "{\"a\":[1],\"r\":[],\"c\":{\"r\":[5]}}", "2|[3]|4.5"},
    {SHORT, "{\"\\u0072\":[1]}", "{\"r\":[]}", "1"},
    {SHORT, "{\"r\":[ ]}", "{\"r\":[]}", ""},
    {SHORT, "{\"r\":{\"r\":[1]},\"rr\":[2],\"\":[3]}", "{\"r\":{\"r\":[1]},\"rr\":[2],\"\":[3]}",
     ""},
    {SHORT, "{\"r\":7}", "{\"r\":7}", ""},
    {SHORT, "7", "7", ""},
    {LONG, "{\"q\":{\"r\":[\"]\"],\"s\":[2]},\"r\":[3]}", "{\"q\":{\"r\":[],\"s\":[2]},\"r\":[3]}",
     "\"]\""},
    {LONG, "{\"q\":[{\"r\":[1]},2],\"r\":[3]}", "{\"q\":[],\"r\":[3]}", "{\"r\":[1]}|2"},
    {LONG, "[1]", "[1]", ""},
    {LONG, "[{\"q\":{\"r\":[1]}}]", "[{\"q\":{\"r\":[1]}}]", ""},
#undef SHORT
#undef LONG
};

START_TEST(a_list_is_left_out)
{
    size_t n = strlen(lists[_i].text);
    struct json_object *rest, *part;
    struct json_list list;
    struct json_syntax why;
    char *parts, *copy = malloc(n);
    size_t len;
    FILE *to;

    ck_assert_ptr_nonnull(copy);
    memcpy(copy, lists[_i].text, n);
    ck_assert_int_eq(json_read_list(&rest, &list, lists[_i].path, copy, n, &why), 0);
    ck_assert_str_eq(json_object_to_json_string_ext(rest, JSON_C_TO_STRING_PLAIN), lists[_i].rest);
    for (size_t i = list.count; i > 0; i--) { /* in any order, and again */
        ck_assert_int_eq(json_list_read(&list, i - 1, &part, &why), 0);
        json_object_put(part);
    }
    to = open_memstream(&parts, &len);
    for (size_t i = 0; i < list.count; i++) {
        ck_assert_int_eq(json_list_read(&list, i, &part, &why), 0);
        fprintf(to, "%s%s", i > 0 ? "|" : "",
                json_object_to_json_string_ext(part, JSON_C_TO_STRING_PLAIN));
        json_object_put(part);
    }
    fclose(to);
    ck_assert_str_eq(parts, lists[_i].parts);
    json_object_put(rest);
    json_list_fini(&list);
    free(parts);
    free(copy);
}
END_TEST

START_TEST(a_fault_in_a_list_keeps_its_place)
{
    static const char text[] = "{\"r\":[1,{\"a\":[0,{\"b\":1,\"b\":2}]}]}";
    struct json_object *rest;
    struct json_list list;
    struct json_syntax why;

    ck_assert_int_eq(
        json_read_list(&rest, &list, (const char *const[]){"r", NULL}, text, strlen(text), &why),
        -ERR_SYNTAX);
    ck_assert_str_eq(why.pointer, "/r/1/a/1/b");
    ck_assert_str_eq(why.code, "duplicate");
    ck_assert_uint_eq(list.count, 0);
    ck_assert_ptr_null(rest);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("list");

    tcase_add_loop_test(tcase, a_list_is_left_out, 0, ARRAY_LEN(lists));
    tcase_add_test(tcase, a_fault_in_a_list_keeps_its_place);
    return suite_run("json_list", tcase);
}
