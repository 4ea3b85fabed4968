/* Tests of wire/token: the token there and back, and the key that an error names. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "wire/base64url.h"
#include "wire/token.h"

#define SECRET "abcdefghijklmnopqrstuv"
#define PIN    "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU" /* SHA-256 of nothing */

static int parse_json(struct token *out, const char *json, struct wire_why *why)
{
    char text[6000];

    base64url_emit(text, (const uint8_t *)json, strlen(json));
    return token_parse(out, text, why);
}

START_TEST(a_token_is_read_with_and_without_a_pin)
{
    struct token t;
    struct wire_why why;

    ck_assert_int_eq(parse_json(&t,
                                "{\"hubHost\":\"hub.example.com\",\"hubPort\":8443,\"edgeId\":"
                                "\"edge-1\",\"secret\":\"" SECRET "\",\"pin\":\"" PIN "\"}",
                                &why),
                     0);
    ck_assert_str_eq(t.hub_host, "hub.example.com");
    ck_assert_uint_eq(t.hub_port, 8443);
    ck_assert_str_eq(t.edge_id, "edge-1");
    ck_assert_str_eq(t.secret, SECRET);
    ck_assert(t.has_pin);
    ck_assert_uint_eq(t.pin[0], 0xe3);
    ck_assert_uint_eq(t.pin[31], 0x55);
    token_fini(&t);
    ck_assert_str_eq(t.secret, "");
    ck_assert_int_eq(
        parse_json(&t,
                   " { \"more\" : [ ] , \"hubHost\" : \"2001:db8::1\" , \"hubPort\" : 1 "
                   ", \"edgeId\" : \"E\" , \"secret\" : \"" SECRET "\" } ",
                   &why),
        0);
    ck_assert_str_eq(t.hub_host, "2001:db8::1");
    ck_assert(!t.has_pin);
}
END_TEST

START_TEST(a_token_comes_back_as_it_went)
{
    struct token t = {.hub_host = "h", .hub_port = 65535, .edge_id = "a.b_c-d"}, back;
    struct wire_why why;

    memset(t.secret, '~', SECRET_MAX);
    for (int has_pin = 0; has_pin < 2; has_pin++) {
        t.has_pin = has_pin;
        if (has_pin)
            ck_assert_int_eq(pin_parse(t.pin, PIN), 0);
        char *text = token_emit(&t);
        ck_assert_uint_eq(strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                       "0123456789-_"),
                          strlen(text));
        ck_assert_int_eq(token_parse(&back, text, &why), 0);
        ck_assert_str_eq(back.hub_host, t.hub_host);
        ck_assert_uint_eq(back.hub_port, t.hub_port);
        ck_assert_str_eq(back.edge_id, t.edge_id);
        ck_assert_str_eq(back.secret, t.secret);
        ck_assert_int_eq(back.has_pin, t.has_pin);
        ck_assert_mem_eq(back.pin, t.pin, PIN_BYTES);
        free(text);
    }
}
END_TEST

#define BEFORE "{\"hubHost\":\"h\",\"hubPort\":8443,\"edgeId\":\"e\","
static const struct {
    const char *json, *named;
} wrong[] = {
    {"{\"hubPort\":8443,\"edgeId\":\"e\",\"secret\":\"" SECRET "\"}", "hubHost: is missing"},
    {"{\"hubHost\":\"h\",\"edgeId\":\"e\",\"secret\":\"" SECRET "\"}", "hubPort: is missing"},
    {"{\"hubHost\":\"h\",\"hubPort\":8443,\"secret\":\"" SECRET "\"}", "edgeId: is missing"},
    {"{\"hubHost\":\"h\",\"hubPort\":8443,\"edgeId\":\"e\"}", "secret: is missing"},
    {"{\"hubHost\":1,\"hubPort\":8443,\"edgeId\":\"e\",\"secret\":\"" SECRET "\"}", "hubHost: "},
    {"{\"hubHost\":\"\",\"hubPort\":8443,\"edgeId\":\"e\",\"secret\":\"" SECRET "\"}", "hubHost: "},
    {"{\"hubHost\":\"a/b\",\"hubPort\":8443,\"edgeId\":\"e\",\"secret\":\"" SECRET "\"}",
     "hubHost: "},
    {"{\"hubHost\":\"h\",\"hubPort\":\"8443\",\"edgeId\":\"e\",\"secret\":\"" SECRET "\"}",
     "hubPort: "},
    {"{\"hubHost\":\"h\",\"hubPort\":8443.0,\"edgeId\":\"e\",\"secret\":\"" SECRET "\"}",
     "hubPort: "},
    {"{\"hubHost\":\"h\",\"hubPort\":0,\"edgeId\":\"e\",\"secret\":\"" SECRET "\"}", "hubPort: "},
    {"{\"hubHost\":\"h\",\"hubPort\":65536,\"edgeId\":\"e\",\"secret\":\"" SECRET "\"}",
     "hubPort: "},
    {"{\"hubHost\":\"h\",\"hubPort\":8443,\"edgeId\":\"e e\",\"secret\":\"" SECRET "\"}",
     "edgeId: "},
    {BEFORE "\"secret\":\"short\"}", "secret: "},
    {BEFORE "\"secret\":\"abcdefghijklmnopqrst v\"}", "secret: "},
    {BEFORE "\"secret\":null}", "secret: "},
    {BEFORE "\"secret\":\"" SECRET "\",\"pin\":null}", "pin: "},
    {BEFORE "\"secret\":\"" SECRET "\",\"pin\":\"\"}", "pin: "},
    {BEFORE "\"secret\":\"" SECRET "\",\"pin\":\"" PIN "=\"}", "pin: "},
    {BEFORE "\"secret\":\"" SECRET "\",\"pin\":\"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU\"}",
     "pin: "},
    {BEFORE "\"secret\":\"" SECRET "\",\"secret\":\"" SECRET "\"}", "twice"},
    {BEFORE "\"secret\":\"" SECRET "\"} x", "follows"},
    {"[]", "must be an object"},
    {"", "the text ends"},
};

START_TEST(an_error_names_the_key_and_shows_no_value)
{
    struct token t;
    struct wire_why why;

    ck_assert_int_eq(parse_json(&t, wrong[_i].json, &why), -ERR_SYNTAX);
    ck_assert_msg(strstr(why.text, wrong[_i].named), "%s: %s", wrong[_i].json, why.text);
    ck_assert_ptr_null(strstr(why.text, SECRET));
    ck_assert_ptr_null(strstr(why.text, "short"));
    ck_assert_str_eq(t.secret, "");
}
END_TEST

static const char *const no_tokens[] = {"!", "e30=", "e3 0", " e30", "e30\n", "A", "e31"};

START_TEST(what_is_not_base64url_is_no_token)
{
    struct token t;
    struct wire_why why;

    ck_assert_int_eq(token_parse(&t, no_tokens[_i], &why), -ERR_SYNTAX);
    ck_assert_str_eq(why.text, "not base64url without padding");
}
END_TEST

START_TEST(a_token_has_its_limit)
{
    char *text = malloc(TOKEN_TEXT_MAX + 2);
    struct token t;
    struct wire_why why;

    ck_assert_ptr_nonnull(text);
    memset(text, 'A', TOKEN_TEXT_MAX + 1);
    text[TOKEN_TEXT_MAX + 1] = '\0';
    ck_assert_int_eq(token_parse(&t, text, &why), -ERR_SYNTAX);
    ck_assert_ptr_nonnull(strstr(why.text, "longer"));
    text[TOKEN_TEXT_MAX] = '\0';
    ck_assert_int_eq(token_parse(&t, text, &why), -ERR_SYNTAX);
    ck_assert_ptr_null(strstr(why.text, "longer"));
    free(text);
}
END_TEST

START_TEST(pins_are_43_characters)
{
    uint8_t pin[PIN_BYTES];
    char text[PIN_TEXT_LEN + 1];

    ck_assert_int_eq(pin_parse(pin, PIN), 0);
    pin_emit(text, pin);
    ck_assert_str_eq(text, PIN);
    ck_assert_int_eq(pin_parse(pin, PIN "="), -ERR_SYNTAX);
    ck_assert_int_eq(pin_parse(pin, "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFV"), -ERR_SYNTAX);
    ck_assert_int_eq(pin_parse(pin, ""), -ERR_SYNTAX);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wire/token");
    TCase *tcase = tcase_create("all");

    tcase_add_test(tcase, a_token_is_read_with_and_without_a_pin);
    tcase_add_test(tcase, a_token_comes_back_as_it_went);
    tcase_add_loop_test(tcase, an_error_names_the_key_and_shows_no_value, 0, ARRAY_LEN(wrong));
    tcase_add_loop_test(tcase, what_is_not_base64url_is_no_token, 0, ARRAY_LEN(no_tokens));
    tcase_add_test(tcase, a_token_has_its_limit);
    tcase_add_test(tcase, pins_are_43_characters);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
