/* Tests of wire/hello: both lines there and back, and in which step of the hub's order a hello
 * fails: the line, the version, the proof, the rest. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "wire/hello.h"

#define PROOF   "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
#define SESSION "AAECAwQFBgcICQoLDA0ODw"

static int parse(struct hello *out, const char *text, struct wire_why *why)
{
    size_t n = strlen(text);
    uint8_t *copy = malloc(n > 0 ? n : 1);

    ck_assert_ptr_nonnull(copy);
    memcpy(copy, text, n);
    int rc = hello_parse(out, copy, n, why);
    free(copy);
    return rc;
}

static struct hello new_hello(void)
{
    struct hello h = {.version = 1,
                      .edge_id = "edge-1",
                      .instance = "host \"1\" \xc3\xa9",
                      .software = "penstock/0.1.0"};

    for (size_t i = 0; i < PROOF_BYTES; i++)
        h.proof[i] = (uint8_t)i;
    for (size_t i = 0; i < SESSION_BYTES; i++)
        h.session[i] = (uint8_t)i;
    return h;
}

START_TEST(a_hello_is_one_line_in_the_order_of_the_document)
{
    struct hello h = new_hello();
    size_t len;

    char *text = hello_emit(&h, &len);
    ck_assert_str_eq(
        text, "{\"version\":1,\"edgeId\":\"edge-1\",\"instance\":\"host \\\"1\\\" \xc3\xa9\","
              "\"lane\":0,\"proof\":\"" PROOF "\",\"software\":\"penstock/0.1.0\","
              "\"features\":[]}\n");
    ck_assert_uint_eq(len, strlen(text));
    free(text);
    h.has_session = true;
    h.lane = LANE_MAX;
    feature_list_add(&h.features, "udp");
    text = hello_emit(&h, NULL);
    ck_assert_ptr_nonnull(strstr(text, "\"session\":\"" SESSION "\",\"lane\":65535,"));
    ck_assert_ptr_nonnull(strstr(text, "\"features\":[\"udp\"]}\n"));
    free(text);
}
END_TEST

START_TEST(a_hello_comes_back_as_it_went)
{
    struct hello h = new_hello(), back;
    struct wire_why why;
    size_t len;

    memset(h.edge_id, 'x', EDGE_ID_MAX);
    memset(h.instance, '"', INSTANCE_MAX);
    memset(h.software, '\\', SOFTWARE_MAX);
    for (int i = 0; i < FEATURES_MAX; i++) {
        char name[FEATURE_MAX + 1];
        memset(name, 'a' + i, FEATURE_MAX);
        name[FEATURE_MAX] = '\0';
        feature_list_add(&h.features, name);
    }
    h.has_session = true;
    h.lane = 9;
    char *text = hello_emit(&h, &len);
    ck_assert_uint_le(len, HELLO_MAX);
    ck_assert_int_eq(parse(&back, text, &why), (int)len);
    ck_assert_int_eq(back.version, 1);
    ck_assert_str_eq(back.edge_id, h.edge_id);
    ck_assert_str_eq(back.instance, h.instance);
    ck_assert(back.has_session);
    ck_assert(back.is_session_formed);
    ck_assert_mem_eq(back.session, h.session, SESSION_BYTES);
    ck_assert_uint_eq(back.lane, 9);
    ck_assert(back.is_proof_formed);
    ck_assert_mem_eq(back.proof, h.proof, PROOF_BYTES);
    ck_assert_str_eq(back.software, h.software);
    ck_assert_uint_eq(back.features.count, FEATURES_MAX);
    ck_assert_mem_eq(back.features.names, h.features.names, sizeof(h.features.names));
    ck_assert_ptr_null(back.rest_fault);
    for (size_t cut = 0; cut < len; cut++) {
        text[cut] = '\0';
        ck_assert_int_eq(parse(&back, text, &why), 0);
        text[cut] = cut == len - 1 ? '\n' : '.';
    }
    free(text);
}
END_TEST

/* A hello with each value to choose. */
#define HELLO(version, id, instance, more, lane, proof)                                            \
    "{\"version\":" version ",\"edgeId\":" id ",\"instance\":" instance more ",\"lane\":" lane     \
    ",\"proof\":" proof ",\"software\":\"s\",\"features\":[]}\n"
#define P "\"" PROOF "\""
#define S ",\"session\":\"" SESSION "\""

enum step { FINE, LINE, VERSION, PROOF_STEP, NO_SESSION, REST };

static const struct {
    const char *text;
    enum step step;
} hellos[] = {
    {HELLO("1", "\"e\"", "\"i\"", "", "0", P), FINE},
    {HELLO("1", "\"e\"", "\"i\"", S, "7", P), FINE},
    {HELLO("1", "\"e\"", "\"i\"", S, "0", P), FINE},
    {HELLO("1", "\"e\"", "\"i\"", ",\"x\":{\"y\":[1.5,null]}", "0", P), FINE},
    {"\t" HELLO("1", "\"e\"", "\"i\"", "", "-0", P), FINE},
    {"{\"version\":1}\r\n", LINE},
    {"\n", LINE},
    {"GET / HTTP/1.1\r\n", LINE},
    {"[]\n", LINE},
    {"null\n", LINE},
    {"{}\n", LINE},
    {HELLO("1", "\"e\"", "\"i\"", "", "0", P) " ", LINE},
    {HELLO("1", "\"e\"", "\"i\"", "", "0", P) "\n", LINE},
    {HELLO("1", "\"e\"", "\"i\"", ",\"lane\":0", "0", P), LINE},
    {HELLO("1", "\"e\"", "\"i\"", ",\"x\":{\"y\":1,\"y\":1}", "0", P), LINE},
    {HELLO("1", "\"e\"", "\"i\"", ",\"x\":[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]", "0", P), LINE},
    {HELLO("1", "\"e\"", "\"i\"", ",\"x\":[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]", "0", P), FINE},
    {HELLO("\"1\"", "\"e\"", "\"i\"", "", "0", P), LINE},
    {HELLO("1.0", "\"e\"", "\"i\"", "", "0", P), LINE},
    {HELLO("1", "1", "\"i\"", "", "0", P), LINE},
    {HELLO("1", "\"e\"", "null", "", "0", P), LINE},
    {HELLO("1", "\"e\"", "\"i\"", ",\"session\":null", "0", P), LINE},
    {HELLO("1", "\"e\"", "\"i\"", "", "\"0\"", P), LINE},
    {HELLO("1", "\"e\"", "\"i\"", "", "0.5", P), LINE},
    {HELLO("1", "\"e\"", "\"i\"", "", "0", "{}"), LINE},
    {"{\"edgeId\":\"e\",\"instance\":\"i\",\"lane\":0,\"proof\":" P
     ",\"software\":\"s\",\"features\":[]}\n",
     LINE},
    {"{\"version\":1,\"instance\":\"i\",\"lane\":0,\"proof\":" P
     ",\"software\":\"s\",\"features\":[]}\n",
     LINE},
    {"{\"version\":1,\"edgeId\":\"e\",\"lane\":0,\"proof\":" P
     ",\"software\":\"s\",\"features\":[]}\n",
     LINE},
    {"{\"version\":1,\"edgeId\":\"e\",\"instance\":\"i\",\"proof\":" P
     ",\"software\":\"s\",\"features\":[]}\n",
     LINE},
    {"{\"version\":1,\"edgeId\":\"e\",\"instance\":\"i\",\"lane\":0"
     ",\"software\":\"s\",\"features\":[]}\n",
     LINE},
    {"{\"version\":1,\"edgeId\":\"e\",\"instance\":\"i\",\"lane\":0,\"proof\":" P
     ",\"features\":[]}\n",
     LINE},
    {"{\"version\":1,\"edgeId\":\"e\",\"instance\":\"i\",\"lane\":0,\"proof\":" P
     ",\"software\":\"s\"}\n",
     LINE},
    {"{\"version\":1,\"edgeId\":\"e\",\"instance\":\"i\",\"lane\":0,\"proof\":" P
     ",\"software\":\"s\",\"features\":[1]}\n",
     LINE},
    {"{\"version\":1,\"edgeId\":\"e\",\"instance\":\"i\",\"lane\":0,\"proof\":" P
     ",\"software\":1,\"features\":[]}\n",
     LINE},
    /* a wrong type anywhere comes before a version that isn't ours */
    {HELLO("2", "\"e\"", "\"i\"", "", "\"0\"", P), LINE},
    {HELLO("2", "\"e\"", "\"i\"", "", "0", P), VERSION},
    {HELLO("0", "\"e\"", "\"i\"", "", "0", P), VERSION},
    {HELLO("-1", "\"e\"", "\"i\"", "", "0", P), VERSION},
    {HELLO("18446744073709551617", "\"e\"", "\"i\"", "", "0", P), VERSION},
    {HELLO("2", "\"e\"", "\"\"", "", "70000", "\"\""), VERSION},
    {HELLO("1", "\"e\"", "\"i\"", "", "0", "\"\""), PROOF_STEP},
    {HELLO("1", "\"e\"", "\"i\"", "", "0", "\"" PROOF "=\""), PROOF_STEP},
    {HELLO("1", "\"e\"", "\"i\"", "", "0", "\"a\\u0000b\""), PROOF_STEP},
    {HELLO("1", "\"\"", "\"i\"", "", "0", P), PROOF_STEP},
    {HELLO("1", "\"e e\"", "\"i\"", "", "0", P), PROOF_STEP},
    {HELLO("1", "\"e\\u0000\"", "\"i\"", "", "0", P), PROOF_STEP},
    {HELLO("1", "\"e\"", "\"\"", "", "70000", "\"\""), PROOF_STEP},
    {HELLO("1", "\"e\"", "\"\"", "", "0", P), REST},
    {HELLO("1", "\"e\"", "\"a\\nb\"", "", "0", P), REST},
    {HELLO("1", "\"e\"", "\"i\"", "", "-1", P), REST},
    {HELLO("1", "\"e\"", "\"i\"", S, "65536", P), REST},
    {HELLO("1", "\"e\"", "\"i\"", S, "99999999999999999999", P), REST},
    {HELLO("1", "\"e\"", "\"i\"", "", "1", P), REST},
    {HELLO("1", "\"e\"", "\"i\"", ",\"session\":\"\"", "1", P), NO_SESSION},
    {HELLO("1", "\"e\"", "\"i\"", ",\"session\":\"" SESSION "A\"", "1", P), NO_SESSION},
    {HELLO("1", "\"e\"", "\"i\"", ",\"session\":\"AAECAwQFBgcICQoLDA0ODx\"", "1", P), NO_SESSION},
    {HELLO("1", "\"e\"", "\"i\"", ",\"session\":\"a\\u0000\"", "1", P), NO_SESSION},
};

/* As the hub goes about it. */
static enum step step_of(const struct hello *h, int rc)
{
    if (rc < 0)
        return LINE;
    if (h->version != WIRE_VERSION)
        return VERSION;
    if (!h->is_proof_formed || !*h->edge_id)
        return PROOF_STEP;
    if (h->rest_fault)
        return REST;
    return h->has_session && !h->is_session_formed ? NO_SESSION : FINE;
}

START_TEST(each_hello_fails_at_its_step)
{
    struct hello h;
    struct wire_why why = {""};
    int rc = parse(&h, hellos[_i].text, &why);

    ck_assert_msg(step_of(&h, rc) == hellos[_i].step, "%s: %d %s", hellos[_i].text, rc, why.text);
    if (hellos[_i].step == LINE) {
        ck_assert_int_eq(rc, -ERR_PROTO);
        ck_assert_uint_gt(strlen(why.text), 0);
    } else {
        ck_assert_int_eq(rc, (int)strlen(hellos[_i].text));
    }
}
END_TEST

START_TEST(an_instance_has_at_most_253_bytes)
{
    char text[1000], instance[255] = "";
    struct hello h;
    struct wire_why why;

    for (size_t n = 252; n <= 254; n++) {
        memset(instance, 'i', n);
        instance[n] = '\0';
        snprintf(text, sizeof(text),
                 "{\"version\":1,\"edgeId\":\"e\",\"instance\":\"%s\",\"lane\":0,\"proof\":" P
                 ",\"software\":\"s\",\"features\":[]}\n",
                 instance);
        ck_assert_int_gt(parse(&h, text, &why), 0);
        ck_assert_int_eq(h.rest_fault != NULL, n > INSTANCE_MAX);
        ck_assert_str_eq(h.instance, n > INSTANCE_MAX ? "" : instance);
    }
}
END_TEST

START_TEST(a_line_has_at_most_4096_bytes_with_its_newline)
{
    static const char end[] = "\",\"version\":1,\"edgeId\":\"e\",\"instance\":\"i\",\"lane\":0,"
                              "\"proof\":" P ",\"software\":\"s\",\"features\":[]}\n";
    char *text = malloc(HELLO_MAX + 2);
    struct hello h;
    struct wire_why why;

    ck_assert_ptr_nonnull(text);
    for (size_t n = HELLO_MAX - 1; n <= HELLO_MAX + 1; n++) {
        memset(text, 'x', n);
        memcpy(text, "{\"x\":\"", 6);
        memcpy(text + n - (sizeof(end) - 1), end, sizeof(end));
        ck_assert_int_eq(parse(&h, text, &why), n > HELLO_MAX ? -ERR_TOO_BIG : (int)n);
    }
    memset(text, ' ', HELLO_MAX + 1);
    text[HELLO_MAX + 1] = '\0';
    ck_assert_int_eq(parse(&h, text, &why), -ERR_TOO_BIG);
    text[HELLO_MAX] = '\0';
    ck_assert_int_eq(parse(&h, text, &why), -ERR_TOO_BIG);
    text[HELLO_MAX - 1] = '\0';
    ck_assert_int_eq(parse(&h, text, &why), 0);
    free(text);
}
END_TEST

START_TEST(features_that_can_not_be_ours_are_passed_over)
{
    static const char text[] =
        "{\"version\":1,\"edgeId\":\"e\",\"instance\":\"i\",\"lane\":0,\"proof\":" P
        ",\"software\":\"a\\nb\",\"features\":[\"udp\",\"\",\"udp\",\"ud\\u0000p\","
        "\"123456789012345678901234567890123\",\"quic\"]}\n";
    struct hello h;
    struct wire_why why;

    ck_assert_int_gt(parse(&h, text, &why), 0);
    ck_assert_uint_eq(h.features.count, 2);
    ck_assert(feature_list_has(&h.features, "udp"));
    ck_assert(feature_list_has(&h.features, "quic"));
    ck_assert(!feature_list_has(&h.features, "ud"));
    ck_assert_str_eq(h.software, "a b");
}
END_TEST

static struct answer new_answer(void)
{
    struct answer a = {.code = ANSWER_OK,
                       .edge_id = "edge-1",
                       .initial_window = INITIAL_WINDOW,
                       .config = {.revision = 3, .stun_interval_secs = 300}};

    for (size_t i = 0; i < PROOF_BYTES; i++)
        a.proof[i] = (uint8_t)i;
    for (size_t i = 0; i < SESSION_BYTES; i++)
        a.session[i] = (uint8_t)i;
    port_list_set(&a.config.ports, (uint16_t[]){80, 443}, 2);
    return a;
}

START_TEST(an_answer_comes_back_as_it_went)
{
    struct answer a = new_answer(), back;
    struct wire_why why;
    size_t len;

    char *text = answer_emit(&a, &len);
    ck_assert_str_eq(text, "{\"version\":1,\"edgeId\":\"edge-1\",\"proof\":\"" PROOF
                           "\",\"session\":\"" SESSION "\",\"initialWindow\":65536,"
                           "\"features\":[],\"config\":{\"revision\":3,\"listenPorts\":[80,443],"
                           "\"listenPortsUdp\":[],\"stunIntervalSecs\":300}}\n");
    ck_assert_int_eq(answer_parse(&back, (uint8_t *)text, len, &why), (int)len);
    ck_assert_int_eq(back.code, ANSWER_OK);
    ck_assert_str_eq(back.edge_id, "edge-1");
    ck_assert(back.is_proof_formed);
    ck_assert_mem_eq(back.proof, a.proof, PROOF_BYTES);
    ck_assert_mem_eq(back.session, a.session, SESSION_BYTES);
    ck_assert_uint_eq(back.initial_window, INITIAL_WINDOW);
    ck_assert_uint_eq(back.config.revision, 3);
    ck_assert(port_list_is_equal(&back.config.ports, &a.config.ports));
    answer_fini(&back);
    for (size_t cut = 0; cut < len; cut++)
        ck_assert_int_eq(answer_parse(&back, (uint8_t *)text, cut, &why), 0);
    free(text);
    answer_fini(&a);
    answer_fini(&a);
}
END_TEST

START_TEST(frames_may_follow_an_answer)
{
    struct answer a = new_answer(), back;
    struct wire_why why;
    size_t len;
    char more[1000];

    char *text = answer_emit(&a, &len);
    memcpy(more, text, len);
    memcpy(more + len, "\0\0\0\0\x07\0\0\0\x08{\n", 11);
    ck_assert_int_eq(answer_parse(&back, (uint8_t *)more, len + 11, &why), (int)len);
    answer_fini(&back);
    answer_fini(&a);
    free(text);
}
END_TEST

START_TEST(each_error_comes_back_as_it_went)
{
    struct answer a = {.code = (enum answer_code)_i, .message = "no \"way\""}, back;
    struct wire_why why;
    size_t len;

    for (uint32_t secs = 0; secs <= 30; secs += 30) {
        a.retry_after_secs = secs;
        char *text = answer_emit(&a, &len);
        ck_assert_ptr_nonnull(strstr(text, answer_name(a.code)));
        ck_assert_int_eq(answer_parse(&back, (uint8_t *)text, len, &why), (int)len);
        ck_assert_int_eq(back.code, a.code);
        ck_assert_str_eq(back.message, a.message);
        ck_assert_uint_eq(back.retry_after_secs, secs);
        answer_fini(&back);
        free(text);
    }
}
END_TEST

START_TEST(an_unproven_hub_can_not_ask_for_a_long_wait)
{
    static const char text[] =
        "{\"error\":{\"code\":\"overloaded\",\"message\":\"\",\"retryAfterSecs\":86400}}\n";
    static const char later[] = "{\"error\":{\"code\":\"sorry\",\"message\":\"m\",\"x\":1}}\n";
    struct answer a;
    struct wire_why why;

    ck_assert_int_gt(answer_parse(&a, (const uint8_t *)text, strlen(text), &why), 0);
    ck_assert_uint_eq(a.retry_after_secs, RETRY_UNPROVEN_MAX_SECS);
    ck_assert_int_gt(answer_parse(&a, (const uint8_t *)later, strlen(later), &why), 0);
    ck_assert_int_eq(a.code, ANSWER_OTHER);
    ck_assert_str_eq(answer_name(a.code), "other");
    ck_assert_str_eq(answer_name(ANSWER_OK), "ok");
}
END_TEST

#define CONFIG "{\"revision\":1,\"listenPorts\":[],\"listenPortsUdp\":[],\"stunIntervalSecs\":0}"
#define ANSWER(version, id, proof, session, window, features, config)                              \
    "{\"version\":" version ",\"edgeId\":" id ",\"proof\":" proof ",\"session\":" session          \
    ",\"initialWindow\":" window ",\"features\":" features ",\"config\":" config "}\n"
#define T "\"" SESSION "\""

static const struct {
    const char *text, *why; /* NULL: taken */
} answers[] = {
    {ANSWER("1", "\"e\"", P, T, "65536", "[]", CONFIG), NULL},
    {ANSWER("1", "\"e\"", P, T, "4096", "[\"x\"]", CONFIG), NULL},
    {ANSWER("1", "\"e\"", P, T, "1048576", "[]", CONFIG), NULL},
    {ANSWER("1", "\"e\"", "\"\"", T, "65536", "[]", CONFIG), NULL}, /* a wrong proof: below */
    {"\n", "the text ends"},
    {"{}\n", "version: is missing"},
    {"[]\n", "must be an object"},
    {ANSWER("2", "\"e\"", P, T, "65536", "[]", CONFIG), "version: "},
    {ANSWER("1", "\"\"", P, T, "65536", "[]", CONFIG), "edgeId: "},
    {ANSWER("1", "\"e e\"", P, T, "65536", "[]", CONFIG), "edgeId: "},
    {ANSWER("1", "\"e\"", "1", T, "65536", "[]", CONFIG), "proof: "},
    {ANSWER("1", "\"e\"", P, "\"AAAA\"", "65536", "[]", CONFIG), "session: "},
    {ANSWER("1", "\"e\"", P, "null", "65536", "[]", CONFIG), "session: "},
    {ANSWER("1", "\"e\"", P, T, "4095", "[]", CONFIG), "initialWindow: "},
    {ANSWER("1", "\"e\"", P, T, "1048577", "[]", CONFIG), "initialWindow: "},
    {ANSWER("1", "\"e\"", P, T, "65536", "{}", CONFIG), "features: "},
    {ANSWER("1", "\"e\"", P, T, "65536", "[]", "null"), "config: "},
    {ANSWER("1", "\"e\"", P, T, "65536", "[]", "{}"), "config/revision: is missing"},
    {ANSWER("1", "\"e\"", P, T, "65536", "[]", CONFIG ",\"config\":{}"), "twice"},
    {"{\"error\":null}\n", "error: "},
    {"{\"error\":{}}\n", "error/code: is missing"},
    {"{\"error\":{\"code\":\"overloaded\"}}\n", "error/message: is missing"},
    {"{\"error\":{\"code\":1,\"message\":\"\"}}\n", "error/code: "},
    {"{\"error\":{\"code\":\"\",\"message\":\"\"}}\n", "error/code: "},
    {"{\"error\":{\"code\":\"x\",\"message\":\"\",\"retryAfterSecs\":-1}}\n",
     "error/retryAfterSecs: "},
};

START_TEST(each_answer_is_taken_or_its_fault_named)
{
    struct answer a;
    struct wire_why why = {""};
    size_t n = strlen(answers[_i].text);
    int rc = answer_parse(&a, (const uint8_t *)answers[_i].text, n, &why);

    if (answers[_i].why) {
        ck_assert_int_eq(rc, -ERR_PROTO);
        ck_assert_msg(strstr(why.text, answers[_i].why), "%s: %s", answers[_i].text, why.text);
        ck_assert_ptr_null(a.config.ports.ports);
        return;
    }
    ck_assert_int_eq(rc, (int)n);
    ck_assert_int_eq(a.code, ANSWER_OK);
    ck_assert_int_eq(a.is_proof_formed, !strstr(answers[_i].text, "\"proof\":\"\""));
    answer_fini(&a);
}
END_TEST

START_TEST(an_answer_has_at_most_65536_bytes)
{
    uint8_t *text = malloc(ANSWER_MAX);
    struct answer a;
    struct wire_why why;

    ck_assert_ptr_nonnull(text);
    memset(text, ' ', ANSWER_MAX);
    ck_assert_int_eq(answer_parse(&a, text, ANSWER_MAX - 1, &why), 0);
    ck_assert_int_eq(answer_parse(&a, text, ANSWER_MAX, &why), -ERR_TOO_BIG);
    text[ANSWER_MAX - 1] = '\n';
    ck_assert_int_eq(answer_parse(&a, text, ANSWER_MAX, &why), -ERR_PROTO);
    free(text);
}
END_TEST

START_TEST(the_largest_answer_fits)
{
    struct answer a = new_answer(), back;
    uint16_t ports[CONFIG_PORTS_MAX];
    struct wire_why why;
    size_t len;

    port_list_fini(&a.config.ports);
    for (unsigned i = 0; i < CONFIG_PORTS_MAX; i++)
        ports[i] = (uint16_t)(65535 - i);
    port_list_set(&a.config.ports, ports, CONFIG_PORTS_MAX);
    char *text = answer_emit(&a, &len);
    ck_assert_int_eq(answer_parse(&back, (uint8_t *)text, len, &why), (int)len);
    ck_assert(port_list_is_equal(&back.config.ports, &a.config.ports));
    answer_fini(&back);
    answer_fini(&a);
    free(text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wire/hello");
    TCase *tcase = tcase_create("all");

    tcase_add_test(tcase, a_hello_is_one_line_in_the_order_of_the_document);
    tcase_add_test(tcase, a_hello_comes_back_as_it_went);
    tcase_add_loop_test(tcase, each_hello_fails_at_its_step, 0, ARRAY_LEN(hellos));
    tcase_add_test(tcase, an_instance_has_at_most_253_bytes);
    tcase_add_test(tcase, a_line_has_at_most_4096_bytes_with_its_newline);
    tcase_add_test(tcase, features_that_can_not_be_ours_are_passed_over);
    tcase_add_test(tcase, an_answer_comes_back_as_it_went);
    tcase_add_test(tcase, frames_may_follow_an_answer);
    tcase_add_loop_test(tcase, each_error_comes_back_as_it_went, ANSWER_OK + 1, ANSWER_OTHER);
    tcase_add_test(tcase, an_unproven_hub_can_not_ask_for_a_long_wait);
    tcase_add_loop_test(tcase, each_answer_is_taken_or_its_fault_named, 0, ARRAY_LEN(answers));
    tcase_add_test(tcase, an_answer_has_at_most_65536_bytes);
    tcase_add_test(tcase, the_largest_answer_fits);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
