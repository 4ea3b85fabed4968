/* Tests of json/json and json/json_scan: what counts as JSON, and how values and faults are read.
 */
#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "json/json.h"

/* From a copy that ends exactly where the text does, so that ASan sees a read behind it. */
static int read_exact(struct json_object **out, const char *text, size_t n, struct json_syntax *why)
{
    char *copy = malloc(n > 0 ? n : 1);

    ck_assert_ptr_nonnull(copy);
    memcpy(copy, text, n);
    int rc = json_read(out, copy, n, why);
    free(copy);
    return rc;
}

static struct json_object *read_ok(const char *text)
{
    struct json_object *out;
    struct json_syntax why;

    int rc = read_exact(&out, text, strlen(text), &why);
    ck_assert_msg(rc == 0, "%s: %s", text, why.reason);
    return out;
}

static const struct {
    const char *text, *same; /* `same`: how json-c writes it, NULL: as it stands */
} good[] = {
    {"{}", NULL},
    {"[]", NULL},
    {"null", NULL},
    {"true", NULL},
    {"false", NULL},
    {"0", NULL},
    {"-1", NULL},
    {"12", NULL},
    {" \t\r\n 7 \n", "7"},
    {"\"\"", NULL},
    {"\"a\"", NULL},
    {"1.5", NULL},
    {"1e2", NULL},
    {"1E+2", NULL},
    {"0.5e-7", NULL},
    {"-0.0", NULL},
    {"[1,2,3]", NULL},
    {" [ 1 , { \"a\" : [ ] } ] ", "[1,{\"a\":[]}]"},
    {"{\"a\":1,\"b\":{\"a\":2}}", NULL},
    {"[{\"a\":1},{\"a\":1}]", NULL},
    {"{\"\":1}", NULL},
    {"{\"a\":1,\"A\":2}", NULL},
    {"\"\\u0041\\n\\/\"", "\"A\\n/\""},
    {"\"\\ud83d\\ude00\"", "\"\xf0\x9f\x98\x80\""},
    {"\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf\xed\x9f\xbf\xee\x80\x80\"", NULL},
    {"\"\x7f\"", NULL},
    {"[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]", NULL},
    {"{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":[[[[[[[[{}]]]]]]]]}}}}}}}}", ""},
};

START_TEST(what_is_json_is_read)
{
    struct json_syntax why;
    struct json_object *out;
    const char *text = good[_i].text;

    if (good[_i].same && !*good[_i].same) { /* seventeen deep */
        ck_assert_int_eq(read_exact(&out, text, strlen(text), &why), -ERR_SYNTAX);
        ck_assert_str_eq(why.code, "depth");
        return;
    }
    out = read_ok(text);
    ck_assert_str_eq(json_object_to_json_string_ext(out, JSON_C_TO_STRING_PLAIN |
                                                             JSON_C_TO_STRING_NOSLASHESCAPE),
                     good[_i].same ? good[_i].same : text);
    json_object_put(out);
}
END_TEST

#define DIGITS_64 "1234567890123456789012345678901234567890123456789012345678901234"

static const struct {
    const char *text;
    size_t n; /* 0: to the NUL */
    size_t offset;
    const char *code, *pointer;
} bad[] = {
    {"", 0, 0, "syntax", ""},
    {"  ", 0, 2, "syntax", ""},
    {"{", 0, 1, "syntax", ""},
    {"}", 0, 0, "syntax", ""},
    {"[", 0, 1, "syntax", "/0"},
    {"[1", 0, 2, "syntax", "/0"},
    {"[1,]", 0, 3, "syntax", "/1"},
    {"[,1]", 0, 1, "syntax", "/0"},
    {"[1 2]", 0, 3, "syntax", "/0"},
    {"{\"a\":1,}", 0, 7, "syntax", ""},
    {"{\"a\" 1}", 0, 5, "syntax", "/a"},
    {"{\"a\"}", 0, 4, "syntax", "/a"},
    {"{\"a\":}", 0, 5, "syntax", "/a"},
    {"{a:1}", 0, 1, "syntax", ""},
    {"{'a':1}", 0, 1, "syntax", ""},
    {"'a'", 0, 0, "syntax", ""},
    {"{1:1}", 0, 1, "syntax", ""},
    {"{} {}", 0, 3, "syntax", ""},
    {"{}x", 0, 2, "syntax", ""},
    {"1 2", 0, 2, "syntax", ""},
    {"NaN", 0, 0, "syntax", ""},
    {"Infinity", 0, 0, "syntax", ""},
    {"-Infinity", 0, 1, "syntax", ""},
    {"nul", 0, 0, "syntax", ""},
    {"nulL", 0, 0, "syntax", ""},
    {"TRUE", 0, 0, "syntax", ""},
    {"truex", 0, 4, "syntax", ""},
    {"01", 0, 1, "syntax", ""},
    {"-", 0, 1, "syntax", ""},
    {"+1", 0, 0, "syntax", ""},
    {"1.", 0, 2, "syntax", ""},
    {".5", 0, 0, "syntax", ""},
    {"1e", 0, 2, "syntax", ""},
    {"1e+", 0, 3, "syntax", ""},
    {"0x1", 0, 1, "syntax", ""},
    {"1e400", 0, 0, "syntax", ""},
    {"[-1e400]", 0, 1, "syntax", "/0"},
    {DIGITS_64 "5", 0, 0, "syntax", ""},
    {"/* c */ 1", 0, 0, "syntax", ""},
    {"1 // c", 0, 2, "syntax", ""},
    {"\xef\xbb\xbf{}", 0, 0, "syntax", ""},
    {"\"", 0, 1, "syntax", ""},
    {"\"a", 0, 2, "syntax", ""},
    {"\"\\", 0, 2, "syntax", ""},
    {"\"\\\"", 0, 3, "syntax", ""},
    {"\"\\x41\"", 0, 1, "syntax", ""},
    {"\"\\'\"", 0, 1, "syntax", ""},
    {"\"\\u12\"", 0, 1, "syntax", ""},
    {"\"\\u12g4\"", 0, 1, "syntax", ""},
    {"\"\\ud800\"", 0, 1, "syntax", ""},
    {"\"\\udc00\"", 0, 1, "syntax", ""},
    {"\"\\ud800x\"", 0, 1, "syntax", ""},
    {"\"\\ud800\\n\"", 0, 1, "syntax", ""},
    {"\"\\ud800\\ud800\"", 0, 1, "syntax", ""},
    {"\"a\nb\"", 0, 2, "syntax", ""},
    {"\"a\tb\"", 0, 2, "syntax", ""},
    {"\"a\0b\"", 5, 2, "syntax", ""},
    {"{}\0", 3, 2, "syntax", ""},
    {"1\0", 2, 1, "syntax", ""},
    {"\"\x80\"", 0, 1, "syntax", ""},
    {"\"\xc0\xaf\"", 0, 1, "syntax", ""},
    {"\"\xc3\"", 0, 1, "syntax", ""},
    {"\"\xe0\x80\x80\"", 0, 1, "syntax", ""},
    {"\"\xed\xa0\x80\"", 0, 1, "syntax", ""},
    {"\"\xf0\x80\x80\x80\"", 0, 1, "syntax", ""},
    {"\"\xf4\x90\x80\x80\"", 0, 1, "syntax", ""},
    {"\"\xf8\x88\x80\x80\x80\"", 0, 1, "syntax", ""},
    {"\"\xe2\x82", 0, 1, "syntax", ""},
    {"{\"a\\u0000b\":1}", 0, 1, "syntax", ""},
    {"{\"\\u0000\":1}", 0, 1, "syntax", ""},
    {"[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]", 0, 16, "depth", "/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0"},
    {"{\"a\":1,\"a\":2}", 0, 7, "duplicate", "/a"},
    {"{\"a\":1,\"\\u0061\":2}", 0, 7, "duplicate", "/\\u0061"},
    {"{\"\\u0061\":1,\"a\":2}", 0, 12, "duplicate", "/a"},
    {"{\"\xc3\xa9\":1,\"\\u00e9\":2}", 0, 8, "duplicate", "/\\u00e9"},
    {"{\"\xf0\x9f\x98\x80\":1,\"\\ud83d\\uDE00\":2}", 0, 10, "duplicate", "/\\ud83d\\uDE00"},
    {"{\"\":1,\"\":1}", 0, 6, "duplicate", "/"},
    {"{\"\\/\":1,\"/\":1}", 0, 8, "duplicate", "/~1"},
    {"{\"b\":1,\"a\":[3,{\"x\":1,\"y~/\":2,\"y~/\":3}]}", 0, 29, "duplicate", "/a/1/y~0~1"},
    {"{\"a\":{\"b\":1},\"a\":{\"c\":1}}", 0, 13, "duplicate", "/a"},
    {"{\"k\":[{\"z\":1},[0,{\"q\":nope}]]}", 0, 22, "syntax", "/k/1/1/q"},
};

START_TEST(what_is_not_is_refused_with_its_place)
{
    size_t n = bad[_i].n ? bad[_i].n : strlen(bad[_i].text);
    struct json_object *out = (struct json_object *)1;
    struct json_syntax why;

    int rc = read_exact(&out, bad[_i].text, n, &why);
    ck_assert_msg(rc == -ERR_SYNTAX, "%s is taken", bad[_i].text);
    ck_assert_ptr_null(out);
    ck_assert_msg(why.offset == bad[_i].offset, "%s: at %zu: %s", bad[_i].text, why.offset,
                  why.reason);
    ck_assert_str_eq(why.code, bad[_i].code);
    ck_assert_str_eq(why.pointer, bad[_i].pointer);
    ck_assert_uint_gt(strlen(why.reason), 0);
}
END_TEST

START_TEST(no_text_at_all_is_no_document)
{
    struct json_object *out;
    struct json_syntax why;

    ck_assert_int_eq(json_read(&out, NULL, 0, &why), -ERR_SYNTAX);
    ck_assert_ptr_null(out);
}
END_TEST

START_TEST(every_cut_of_a_document_is_refused)
{
    static const char text[] = "{\"a\":[1,-2.5e3,\"\\ud83d\\ude00\xc3\xa9\"],\"b\":{\"c\":null}}";
    struct json_object *out;
    struct json_syntax why;

    for (size_t n = 0; n < sizeof(text) - 1; n++)
        ck_assert_int_eq(read_exact(&out, text, n, &why), -ERR_SYNTAX);
    ck_assert_int_eq(read_exact(&out, text, sizeof(text) - 1, &why), 0);
    json_object_put(out);
}
END_TEST

START_TEST(long_keys_are_cut_in_the_report_between_characters)
{
    struct json_object *out;
    struct json_syntax why;
    char key[400] = "", text[900];

    for (size_t i = 0; i < 150; i++)
        strcat(key, "\xc3\xa9");
    snprintf(text, sizeof(text), "{\"%s\":1,\"%s\":2}", key, key);
    ck_assert_int_eq(read_exact(&out, text, strlen(text), &why), -ERR_SYNTAX);
    ck_assert_str_eq(why.code, "duplicate");
    ck_assert_uint_eq(strlen(why.pointer), 127);
    ck_assert_uint_eq((unsigned char)why.pointer[126], 0xa9);
    /* The reason is valid UTF-8 too: as a JSON string it can be read. */
    for (char *p = why.reason; *p; p++)
        if (*p == '"')
            *p = '\'';
    snprintf(text, sizeof(text), "\"%s\"", why.reason);
    json_object_put(read_ok(text));
}
END_TEST

START_TEST(many_keys_are_compared_fast_and_none_is_missed)
{
    enum { KEYS = 50000 };
    size_t cap = KEYS * 24, n = 1;
    char *text = malloc(cap);
    struct json_object *out;
    struct json_syntax why;

    ck_assert_ptr_nonnull(text);
    text[0] = '{';
    for (int i = 0; i < KEYS; i++)
        n += (size_t)snprintf(text + n, cap - n, "\"key%d\":%d,", i * 7919 % KEYS, i);
    text[n - 1] = '}';
    ck_assert_int_eq(json_read(&out, text, n, &why), 0);
    ck_assert_int_eq(json_object_object_length(out), KEYS);
    json_object_put(out);
    n--;
    n += (size_t)snprintf(text + n, cap - n, ",\"\\u006bey4711\":0}");
    ck_assert_int_eq(json_read(&out, text, n, &why), -ERR_SYNTAX);
    ck_assert_str_eq(why.pointer, "/\\u006bey4711");
    free(text);
}
END_TEST

/* Fixture of the checks: one document, one list of faults. */
static struct json_check check;
static struct json_object *doc;

static void begin(const char *text)
{
    doc = read_ok(text);
    json_check_init(&check);
}

static void finish(void)
{
    json_check_fini(&check);
    json_check_fini(&check);
    json_object_put(doc);
}

static void expect_fault(size_t i, const char *pointer, const char *code)
{
    ck_assert_uint_lt(i, check.count);
    ck_assert_str_eq(check.faults[i].pointer, pointer);
    ck_assert_str_eq(check.faults[i].code, code);
    ck_assert_uint_gt(strlen(check.faults[i].detail), 0);
}

START_TEST(values_of_the_right_kind_are_read)
{
    begin("{\"s\":\"\xc3\xa9\",\"i\":-5,\"b\":true,\"a\":[1],\"o\":{\"x\":1},\"e\":\"\"}");
    ck_assert_str_eq(json_str(&check, "", doc, "s", JSON_REQUIRED, 2, 2), "\xc3\xa9");
    ck_assert_str_eq(json_str(&check, "", doc, "e", JSON_REQUIRED, 0, 2), "");
    ck_assert_int_eq(json_int(&check, "", doc, "i", JSON_REQUIRED, -5, -5, 9), -5);
    ck_assert(json_flag(&check, "", doc, "b", JSON_REQUIRED, false));
    ck_assert_uint_eq(
        json_object_array_length(json_array(&check, "", doc, "a", JSON_REQUIRED, 1, 1)), 1);
    struct json_object *o = json_obj(&check, "", doc, "o", JSON_REQUIRED);
    ck_assert_int_eq(json_int(&check, "/o", o, "x", JSON_REQUIRED, 0, 2, 0), 1);
    ck_assert(json_has(doc, "e"));
    ck_assert(!json_has(doc, "f"));
    ck_assert(!json_check_failed(&check));
    finish();
}
END_TEST

START_TEST(what_is_absent_is_a_fault_only_when_required)
{
    begin("{}");
    ck_assert_ptr_null(json_str(&check, "", doc, "s", JSON_OPTIONAL, 1, 2));
    ck_assert_int_eq(json_int(&check, "", doc, "i", JSON_OPTIONAL, 1, 2, 77), 77);
    ck_assert(json_flag(&check, "", doc, "b", JSON_OPTIONAL, true));
    ck_assert_ptr_null(json_array(&check, "", doc, "a", JSON_OPTIONAL, 1, 2));
    ck_assert_ptr_null(json_obj(&check, "", doc, "o", JSON_OPTIONAL));
    ck_assert(!json_check_failed(&check));
    ck_assert_ptr_null(json_str(&check, "/x", doc, "s/~", JSON_REQUIRED, 1, 2));
    ck_assert_int_eq(json_int(&check, "/x", doc, "i", JSON_REQUIRED, 1, 2, 77), 77);
    ck_assert(json_flag(&check, "", doc, "b", JSON_REQUIRED, true));
    ck_assert_ptr_null(json_array(&check, "", doc, "a", JSON_REQUIRED, 1, 2));
    ck_assert_ptr_null(json_obj(&check, "", doc, "o", JSON_REQUIRED));
    ck_assert_uint_eq(check.total, 5);
    expect_fault(0, "/x/s~1~0", "required");
    expect_fault(1, "/x/i", "required");
    expect_fault(4, "/o", "required");
    finish();
}
END_TEST

START_TEST(another_type_is_a_fault_even_when_optional)
{
    begin("{\"n\":null,\"s\":\"1\",\"d\":1.0,\"i\":1,\"t\":true}");
    ck_assert_ptr_null(json_str(&check, "", doc, "n", JSON_OPTIONAL, 0, 9));
    ck_assert_int_eq(json_int(&check, "", doc, "s", JSON_OPTIONAL, 0, 9, 3), 3);
    ck_assert_int_eq(json_int(&check, "", doc, "d", JSON_OPTIONAL, 0, 9, 3), 3);
    ck_assert_int_eq(json_int(&check, "", doc, "t", JSON_OPTIONAL, 0, 9, 3), 3);
    ck_assert(!json_flag(&check, "", doc, "i", JSON_OPTIONAL, false));
    ck_assert_ptr_null(json_array(&check, "", doc, "i", JSON_OPTIONAL, 0, 9));
    ck_assert_ptr_null(json_obj(&check, "", doc, "i", JSON_OPTIONAL));
    ck_assert_uint_eq(check.count, 7);
    for (size_t i = 0; i < check.count; i++)
        ck_assert_str_eq(check.faults[i].code, "type");
    ck_assert_str_eq(check.faults[2].detail, "must be an integer, is number");
    finish();
}
END_TEST

static const struct {
    const char *text;
    int64_t min, max;
    bool ok;
    int64_t value;
} integers[] = {
    {"[0]", 0, 0, true, 0},
    {"[-0]", 0, 0, true, 0},
    {"[9223372036854775807]", INT64_MIN, INT64_MAX, true, INT64_MAX},
    {"[-9223372036854775807]", INT64_MIN, INT64_MAX, true, -INT64_MAX},
    {"[9223372036854775808]", INT64_MIN, INT64_MAX, false, 0},
    {"[18446744073709551615]", INT64_MIN, INT64_MAX, false, 0},
    {"[18446744073709551616]", INT64_MIN, INT64_MAX, false, 0},
    {"[99999999999999999999999999999999]", INT64_MIN, INT64_MAX, false, 0},
    {"[-9223372036854775808]", INT64_MIN, INT64_MAX, false, 0},
    {"[-9223372036854775809]", INT64_MIN, INT64_MAX, false, 0},
    {"[-99999999999999999999999999999999]", INT64_MIN, INT64_MAX, false, 0},
    {"[5]", 6, 7, false, 0},
    {"[8]", 6, 7, false, 0},
    {"[6]", 6, 7, true, 6},
    {"[7]", 6, 7, true, 7},
};

START_TEST(integers_keep_their_range)
{
    char text[80];

    snprintf(text, sizeof(text), "{\"v\":%.*s}", (int)strlen(integers[_i].text) - 2,
             integers[_i].text + 1);
    begin(text);
    int64_t v =
        json_int(&check, "", doc, "v", JSON_REQUIRED, integers[_i].min, integers[_i].max, 4242);
    ck_assert_int_eq(json_check_failed(&check), !integers[_i].ok);
    ck_assert_int_eq(v, integers[_i].ok ? integers[_i].value : 4242);
    if (!integers[_i].ok)
        expect_fault(0, "/v", "range");
    finish();
}
END_TEST

START_TEST(strings_keep_their_limits)
{
    begin("{\"s\":\"abc\",\"nul\":\"a\\u0000b\",\"lf\":\"a\\nb\",\"del\":\"a\\u007f\","
          "\"esc\":\"\\u001b\"}");
    ck_assert_ptr_null(json_str(&check, "", doc, "s", JSON_REQUIRED, 4, 9));
    ck_assert_ptr_null(json_str(&check, "", doc, "s", JSON_REQUIRED, 0, 2));
    ck_assert_ptr_null(json_str(&check, "", doc, "s", JSON_REQUIRED, 9, 9));
    ck_assert_ptr_null(json_str(&check, "", doc, "nul", JSON_REQUIRED, 0, 9));
    ck_assert_ptr_null(json_str(&check, "", doc, "lf", JSON_REQUIRED, 0, 9));
    ck_assert_ptr_null(json_str(&check, "", doc, "del", JSON_REQUIRED, 0, 9));
    ck_assert_ptr_null(json_text(&check, "", doc, "nul", JSON_REQUIRED, 0, 9));
    ck_assert_ptr_null(json_text(&check, "", doc, "esc", JSON_REQUIRED, 0, 9));
    ck_assert_uint_eq(check.count, 8);
    for (size_t i = 0; i < check.count; i++)
        ck_assert_str_eq(check.faults[i].code, i < 3 ? "range" : "invalid");
    ck_assert_str_eq(json_text(&check, "", doc, "lf", JSON_REQUIRED, 0, 9), "a\nb");
    ck_assert_uint_eq(check.count, 8);
    finish();
}
END_TEST

START_TEST(arrays_keep_their_limits)
{
    begin("{\"a\":[1,2,3]}");
    ck_assert_ptr_null(json_array(&check, "", doc, "a", JSON_REQUIRED, 4, 9));
    ck_assert_ptr_null(json_array(&check, "", doc, "a", JSON_REQUIRED, 0, 2));
    ck_assert_ptr_nonnull(json_array(&check, "", doc, "a", JSON_REQUIRED, 3, 3));
    ck_assert_uint_eq(check.count, 2);
    expect_fault(0, "/a", "range");
    finish();
}
END_TEST

START_TEST(unknown_keys_are_all_named)
{
    begin("{\"a\":1,\"x/\":1,\"b\":2,\"\":3}");
    json_only(&check, "/edges/0", doc, (const char *const[]){"a", "b", "c", NULL});
    ck_assert_uint_eq(check.count, 2);
    expect_fault(0, "/edges/0/x~1", "unknown");
    expect_fault(1, "/edges/0/", "unknown");
    ck_assert_str_eq(check.faults[0].detail, "is not known here; allowed: a, b, c");
    finish();
}
END_TEST

START_TEST(the_names_that_are_allowed_are_bounded)
{
    static char name[] = "0123456789012345678901234567890123456789";
    const char *names[100] = {NULL};

    for (size_t i = 0; i < ARRAY_LEN(names) - 1; i++)
        names[i] = name;
    begin("{\"x\":1}");
    json_only(&check, "", doc, names);
    expect_fault(0, "/x", "unknown");
    ck_assert_uint_lt(strlen(check.faults[0].detail), 450);
    ck_assert_ptr_nonnull(strstr(check.faults[0].detail, "..."));
    finish();
}
END_TEST

static const char *const no_objects[] = {"[]", "null", "1", "\"s\""};

START_TEST(what_is_no_object_is_one_fault_at_its_place)
{
    begin(no_objects[_i]);
    json_only(&check, "", doc, (const char *const[]){"a", NULL});
    ck_assert_ptr_null(json_str(&check, "", doc, "a", JSON_REQUIRED, 1, 2));
    ck_assert_int_eq(json_int(&check, "", doc, "b", JSON_OPTIONAL, 1, 2, 5), 5);
    ck_assert_uint_eq(check.total, 1);
    expect_fault(0, "", "type");
    ck_assert(!json_has(doc, "a"));
    finish();
}
END_TEST

START_TEST(faults_become_json)
{
    begin("{}");
    json_fault(&check, "/a/b", "invalid", "has %d legs", 3);
    json_fault_at(&check, "/a", "~", "range", "%s", "must be \"1\"");
    struct json_object *list = json_faults_emit(&check);
    ck_assert_str_eq(
        json_object_to_json_string_ext(list,
                                       JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE),
        "[{\"pointer\":\"/a/b\",\"code\":\"invalid\",\"detail\":\"has 3 legs\"},"
        "{\"pointer\":\"/a/~0\",\"code\":\"range\",\"detail\":\"must be \\\"1\\\"\"}]");
    json_object_put(list);
    finish();
}
END_TEST

START_TEST(faults_beyond_the_limit_are_counted_only)
{
    begin("{}");
    for (size_t i = 0; i < JSON_FAULTS_MAX + 5; i++) {
        if (i % 2)
            json_fault(&check, "/x", "invalid", "%zu", i);
        else
            json_fault_at(&check, "", "x", "invalid", "%zu", i);
    }
    ck_assert_uint_eq(check.count, JSON_FAULTS_MAX);
    ck_assert_uint_eq(check.total, JSON_FAULTS_MAX + 5);
    ck_assert_str_eq(check.faults[JSON_FAULTS_MAX - 1].detail, "999");
    finish();
}
END_TEST

START_TEST(types_have_names)
{
    static const char *const names[] = {"null",   "string",  "integer", "number",
                                        "number", "boolean", "object",  "array"};
    begin("[null,\"\",1,1.0,1e2,false,{},[]]");
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        ck_assert_str_eq(json_type_of(json_object_array_get_idx(doc, i)), names[i]);
    finish();
}
END_TEST

/* Each byte at each place of a string: what is skipped eight at a time is what one look at each
 * would let pass. */
START_TEST(every_byte_at_every_place_of_a_string)
{
    for (unsigned byte = 0; byte < 256; byte++)
        for (size_t at = 0; at < 20; at++) {
            char text[] = "\"aaaaaaaaaaaaaaaaaaaaaaaa\"";
            struct json_object *out;
            struct json_syntax why;
            bool is_plain = byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';

            text[1 + at] = (char)byte;
            int rc = read_exact(&out, text, sizeof(text) - 1, &why);
            ck_assert_msg(rc == (is_plain ? 0 : -ERR_SYNTAX), "%02x at %zu", byte, at);
            if (!is_plain) /* behind the quote that ends it is too much */
                ck_assert_uint_eq(why.offset, 1 + at + (byte == '"'));
            json_object_put(out);
        }
}
END_TEST

/* Of any number of keys, any two alike. */
START_TEST(two_keys_alike_among_few_and_many)
{
    for (unsigned count = 2; count < 16; count++)
        for (unsigned i = 1; i < count; i++) {
            char *text = NULL;
            size_t len;
            FILE *to = open_memstream(&text, &len);
            struct json_object *out;
            struct json_syntax why;

            for (unsigned k = 0; k < count; k++)
                fprintf(to, "%s\"%s%u\":1", k > 0 ? "," : "{", k == i ? "\\u006b" : "k",
                        k == i ? i / 2 : k);
            fputc('}', to);
            fclose(to);
            ck_assert_int_eq(read_exact(&out, text, len, &why), -ERR_SYNTAX);
            ck_assert_str_eq(why.code, "duplicate");
            free(text);
        }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("json");
    TCase *scan = tcase_create("scan"), *reading = tcase_create("reading");

    tcase_add_loop_test(scan, what_is_json_is_read, 0, ARRAY_LEN(good));
    tcase_add_loop_test(scan, what_is_not_is_refused_with_its_place, 0, ARRAY_LEN(bad));
    tcase_add_test(scan, no_text_at_all_is_no_document);
    tcase_add_test(scan, every_cut_of_a_document_is_refused);
    tcase_add_test(scan, long_keys_are_cut_in_the_report_between_characters);
    tcase_add_test(scan, many_keys_are_compared_fast_and_none_is_missed);
    tcase_add_test(scan, every_byte_at_every_place_of_a_string);
    tcase_add_test(scan, two_keys_alike_among_few_and_many);
    tcase_add_test(reading, values_of_the_right_kind_are_read);
    tcase_add_test(reading, what_is_absent_is_a_fault_only_when_required);
    tcase_add_test(reading, another_type_is_a_fault_even_when_optional);
    tcase_add_loop_test(reading, integers_keep_their_range, 0, ARRAY_LEN(integers));
    tcase_add_test(reading, strings_keep_their_limits);
    tcase_add_test(reading, arrays_keep_their_limits);
    tcase_add_test(reading, unknown_keys_are_all_named);
    tcase_add_test(reading, the_names_that_are_allowed_are_bounded);
    tcase_add_loop_test(reading, what_is_no_object_is_one_fault_at_its_place, 0,
                        ARRAY_LEN(no_objects));
    tcase_add_test(reading, faults_become_json);
    tcase_add_test(reading, faults_beyond_the_limit_are_counted_only);
    tcase_add_test(reading, types_have_names);
    suite_add_tcase(suite, scan);
    suite_add_tcase(suite, reading);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
