/* Routes as JSON: what is taken, every fault with its pointer, warnings, edits, what is shown. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/suite.h"
#include "tls/tls.h"
#include "traffic/route_json.h"
#include "unit/traffic_route_fixture.h"

static struct auth_key key;
static struct route_set *empty;

static void setup(void)
{
    auth_key_init(&key);
    empty = route_set_new(0);
    route_set_seal(empty);
}

static void teardown(void)
{
    route_set_unref(empty);
}

static void add(struct json_object *obj, const char *name, struct json_object *value)
{
    json_object_object_add(obj, name, value);
}

static struct json_object *parse(const char *text)
{
    struct json_object *value;
    struct json_syntax why;
    int rc = json_read(&value, text, strlen(text), &why);

    ck_assert_msg(rc == 0, "%s: %s", text, why.reason);
    return value;
}

/* The JSON text of a list, with ' for ", @CHAIN and @KEY for the (quoted) texts of a.test, @OLD and
 * @OLDKEY for the expired ones, @NEW and @NEWKEY for the future ones. */
static char *expand(const char *text)
{
    static const struct {
        const char *word, *pem;
    } words[] = {
        {"@OLDKEY", expired_key}, {"@NEWKEY", future_key}, {"@KEY", a_test_key},
        {"@OLD", expired_chain},  {"@NEW", future_chain},  {"@CHAIN", a_test_chain},
    };
    char *json = NULL;
    size_t len;
    FILE *to = open_memstream(&json, &len);

    while (*text) {
        size_t i = 0;

        while (i < 6 && strncmp(text, words[i].word, strlen(words[i].word)) != 0)
            i++;
        if (i < 6) {
            struct json_object *pem = json_object_new_string(words[i].pem);

            fputs(json_object_to_json_string_ext(pem, JSON_C_TO_STRING_PLAIN), to);
            json_object_put(pem);
            text += strlen(words[i].word);
        } else {
            fputc(*text == '\'' ? '"' : *text, to);
            text++;
        }
    }
    fclose(to);
    return json;
}

static struct json_object *routes(const char *text)
{
    char *json = expand(text);
    struct json_object *out = parse(json);

    free(json);
    return out;
}

#define PAIR "'publicKey':@CHAIN,'privateKey':@KEY"
#define TO   "'destinationIps':['192.0.2.1'],'destinationPorts':[80]"
#define GOOD "{'hostName':'a.test'," TO "," PAIR "}"

static void tell(const struct json_check *c)
{
    for (size_t i = 0; i < c->count; i++)
        fprintf(stderr, "%s %s %s\n", c->faults[i].pointer, c->faults[i].code, c->faults[i].detail);
}

static void expect_alike(const struct json_check *a, const struct json_check *b)
{
    ck_assert_uint_eq(a->total, b->total);
    for (size_t i = 0; i < a->count; i++) {
        ck_assert_str_eq(a->faults[i].pointer, b->faults[i].pointer);
        ck_assert_str_eq(a->faults[i].code, b->faults[i].code);
        ck_assert_str_eq(a->faults[i].detail, b->faults[i].detail);
    }
}

/* Read route by route, as updates are; the whole document says the same. */
static struct route_set *build(struct route_build *b, const struct route_set *base,
                               const char *text)
{
    char *json = expand(text);
    struct json_object *rest, *body = routes(text);
    struct route_set *set, *whole;
    struct route_build by_document;
    struct json_syntax why;
    struct json_list list;

    route_build_init(b, &key, base);
    ck_assert_int_eq(json_read_list(&rest, &list, b->shape->path, json, strlen(json), &why), 0);
    set = route_json_parse_list(b, rest, &list);
    route_build_init(&by_document, &key, base);
    whole = route_json_parse(&by_document, body);
    expect_alike(&b->faults, &by_document.faults);
    expect_alike(&b->warnings, &by_document.warnings);
    ck_assert_int_eq(set != NULL, whole != NULL);
    if (set)
        ck_assert_mem_eq(set->digest, whole->digest, ROUTE_DIGEST_BYTES);
    route_set_unref(whole);
    route_build_fini(&by_document);
    json_object_put(body);
    json_object_put(rest);
    json_list_fini(&list);
    free(json);
    return set;
}

static struct route_set *good(const char *text)
{
    struct route_build b;
    struct route_set *set = build(&b, empty, text);

    tell(&b.faults);
    ck_assert_ptr_nonnull(set);
    route_build_fini(&b);
    return set;
}

/* One line of the list is "pointer code". */
static void expect_list(const struct json_check *c, const char *const *lines)
{
    size_t n = 0;

    tell(c);
    for (; lines[n]; n++) {
        char line[200];

        ck_assert_msg(n < c->count, "not among the faults: %s", lines[n]);
        snprintf(line, sizeof(line), "%s %s", c->faults[n].pointer, c->faults[n].code);
        ck_assert_str_eq(line, lines[n]);
    }
    ck_assert_uint_eq(c->count, n);
}

static const struct {
    const char *text;
    const char *faults[8];
} bad[] = {
    {"17", {" type"}},
    {"null", {" type"}},
    {"{}", {"/routes required"}},
    {"{'routes':{}}", {"/routes type"}},
    {"{'routes':[],'more':1}", {"/more unknown"}},
    {"[7]", {"/0 type"}},
    {"[" GOOD ",null]", {"/1 type"}},
    {"[{}]",
     {"/0/hostName required", "/0/destinationIps required", "/0/destinationPorts required",
      "/0/publicKey required", "/0/privateKey required"}},
    {"[{'hostName':'a_b.test'," TO "," PAIR "}]", {"/0/hostName invalid"}},
    {"[{'hostName':'192.0.2.1'," TO "," PAIR "}]", {"/0/hostName invalid"}},
    {"[{'hostName':'*'," TO "," PAIR "}]", {"/0/hostName invalid"}},
    {"[{'hostName':''," TO "," PAIR "}]", {"/0/hostName range"}},
    {"[{'hostName':1," TO "," PAIR "}]", {"/0/hostName type"}},
    {"[{'hostName':'a.test','balance':'least'," TO "," PAIR "}]", {"/0/balance invalid"}},
    {"[{'hostName':'a.test','ballance':'p2c'," TO "," PAIR "}]", {"/0/ballance unknown"}},
    {"[{'hostName':'a.test'," TO "," PAIR ",'moreKeys':[{'publicKey':@OLD},7]}]",
     {"/0/moreKeys/0/privateKey required", "/0/moreKeys/1 type"}},
    {"[{'hostName':'a.test'," TO "," PAIR ",'moreKeys':[{'publicKey':@OLD,'privateKey':@KEY}]}]",
     {"/0/moreKeys/0/privateKey mismatch"}},
    {"[{'hostName':'a.test'," TO "," PAIR ",'moreKeys':[{'publicKey':@OLD,'privateKey':@OLDKEY}]}]",
     {"/0/moreKeys/0/privateKey mismatch"}}, /* two of a kind */
    {"[{'hostName':'a.test','destinationIps':[],'destinationPorts':[]," PAIR "}]",
     {"/0/destinationIps range", "/0/destinationPorts range"}},
    {"[{'hostName':'a.test','destinationIps':['1.2.3','::g','localhost',4,'0.0.0.0','224.0.0.1'],"
     "'destinationPorts':[80]," PAIR "}]",
     {"/0/destinationIps/0 invalid", "/0/destinationIps/1 invalid", "/0/destinationIps/2 invalid",
      "/0/destinationIps/3 type", "/0/destinationIps/4 invalid", "/0/destinationIps/5 invalid"}},
    {"[{'hostName':'a.test','destinationIps':['::1'],'destinationPorts':[0,65536,-1,'80',1.5,"
     "99999999999999999999]," PAIR "}]",
     {"/0/destinationPorts/0 range", "/0/destinationPorts/1 range", "/0/destinationPorts/2 range",
      "/0/destinationPorts/3 type", "/0/destinationPorts/4 type", "/0/destinationPorts/5 range"}},
    {"[{'hostName':'a.test','destinationIp':'::1','destinationPort':80," TO "," PAIR "}]",
     {"/0/destinationIp conflict", "/0/destinationPort conflict"}},
    {"[{'hostName':'a.test','destinationIp':'x','destinationPort':0," PAIR "}]",
     {"/0/destinationIp invalid", "/0/destinationPort range"}},
    {"[{'hostName':'a.test'," TO ",'publicKey':'no','privateKey':'pem'}]",
     {"/0/publicKey invalid", "/0/privateKey invalid"}},
    {"[{'hostName':'a.test'," TO ",'publicKey':@CHAIN,'privateKey':@OLDKEY}]",
     {"/0/privateKey mismatch"}},
    {"[{'hostName':'a.test'," TO ",'publicKey':@KEY,'privateKey':@CHAIN}]",
     {"/0/publicKey invalid", "/0/privateKey invalid"}},
    {"[{'hostName':'a.test'," TO ",'publicKey':'-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END "
     "CERTIFICATE-----\\n','privateKey':@KEY}]",
     {"/0/publicKey invalid"}},
    {"[{'hostName':'a.test'," TO ",'publicKey':@CHAIN,'privateKey':'-----BEGIN PRIVATE KEY-----\\n"
     "AAAA\\n-----END PRIVATE KEY-----\\n'}]",
     {"/0/privateKey invalid"}},
    {"[{'hostName':'a.test'," TO ",'publicKey':true,'privateKey':[]}]",
     {"/0/publicKey type", "/0/privateKey type"}},
    {"[{'hostName':'a.test'," TO "," PAIR ",'authentication':null,'forwardAuthorization':'yes'}]",
     {"/0/authentication type", "/0/forwardAuthorization type"}},
    {"[{'hostName':'a.test'," TO "," PAIR ",'authentication':{}}]",
     {"/0/authentication/type required", "/0/authentication/user required",
      "/0/authentication/pass required"}},
    {"[{'hostName':'a.test'," TO "," PAIR
     ",'authentication':{'type':'Digest','user':'a:b','pass':'','passHash':'x'}}]",
     {"/0/authentication/type invalid", "/0/authentication/user invalid",
      "/0/authentication/passHash conflict", "/0/authentication/passHash invalid"}},
    {"[{'hostName':'a.test'," TO "," PAIR
     ",'authentication':{'type':'Basic','user':'a','pass':''}}]",
     {"/0/authentication/pass range"}},
    {"[{'hostName':'a.test'," TO "," PAIR
     ",'authentication':{'type':'Basic','user':'a','pass':'b','passMac':'00'}}]",
     {"/0/authentication/passMac unknown"}}, /* only the state file may */
    {"[" GOOD ",{'hostName':'b.test'," TO "," PAIR "},{'hostName':'A.TEST.'," TO "," PAIR
     "},{'hostName':'a.Test'," TO "," PAIR "}]",
     {"/2/hostName duplicate", "/3/hostName duplicate"}},
};

START_TEST(faults)
{
    struct route_build b;

    ck_assert_ptr_null(build(&b, empty, bad[_i].text));
    expect_list(&b.faults, bad[_i].faults);
    route_build_fini(&b);
}
END_TEST

START_TEST(limits)
{
    struct json_object *body = routes("[" GOOD ",{'hostName':'b.test','destinationIps':"
                                      "['::1','::2'],'destinationPorts':[1,2]," PAIR "}]");
    struct route_build b;

    route_build_init(&b, &key, empty);
    b.routes_max = 1;
    ck_assert_ptr_null(route_json_parse(&b, body));
    expect_list(&b.faults, (const char *const[]){" range", NULL});
    route_build_fini(&b);

    route_build_init(&b, &key, empty);
    b.destinations_max = 3;
    ck_assert_ptr_null(route_json_parse(&b, body));
    expect_list(&b.faults, (const char *const[]){"/1/destinationIps range", NULL});
    route_build_fini(&b);

    route_build_init(&b, &key, empty);
    b.routes_max = 2;
    b.destinations_max = 4;
    struct route_set *set = route_json_parse(&b, body);
    ck_assert_ptr_nonnull(set);
    route_set_unref(set);
    route_build_fini(&b);
    json_object_put(body);
}
END_TEST

START_TEST(a_whole_route)
{
    struct route_set *set =
        good("{'routes':[{'hostName':'A.Test.','destinationIps':['192.0.2.1','2001:db8::1',"
             "'::ffff:192.0.2.2'],'destinationPorts':[80,8080]," PAIR ",'authentication':{'type':"
             "'Basic','user':'alice','pass':'s3:cret'},'forwardAuthorization':true}]}");
    const struct route *r = route_set_find(set, "a.test");
    static const char *const expected[] = {"192.0.2.1:80",     "192.0.2.1:8080",
                                           "[2001:db8::1]:80", "[2001:db8::1]:8080",
                                           "192.0.2.2:80",     "192.0.2.2:8080"};

    ck_assert_ptr_nonnull(r);
    ck_assert_uint_eq(r->destination_count, 6);
    ck_assert_uint_eq(r->port_count, 2);
    for (size_t i = 0; i < 6; i++)
        ck_assert_str_eq(r->destinations[i].key, expected[i]);
    ck_assert_str_eq(r->cert->texts[0].chain_pem, a_test_chain);
    ck_assert(r->options->forwards_authorization);
    ck_assert_int_eq(route_auth_check(r->auth, "Basic YWxpY2U6czM6Y3JldA==", 26), AUTH_OK);
    route_set_unref(set);
}
END_TEST

START_TEST(the_older_form)
{
    struct route_set *set = good("[{'hostName':'*.a.test','destinationIp':'::1',"
                                 "'destinationPort':3000," PAIR "}]");

    ck_assert_uint_eq(set->routes[0].destination_count, 1);
    ck_assert_str_eq(set->routes[0].destinations[0].key, "[::1]:3000");
    ck_assert(set->routes[0].is_wildcard);
    ck_assert(!set->routes[0].options->forwards_authorization);
    ck_assert_ptr_null(set->routes[0].auth);
    route_set_unref(set);
}
END_TEST

START_TEST(warnings)
{
    struct route_build b;
    struct route_set *set = build(
        &b, empty,
        "[{'hostName':'old.test'," TO ",'publicKey':@OLD,'privateKey':@OLDKEY},"
        "{'hostName':'new.test'," TO ",'publicKey':@NEW,'privateKey':@NEWKEY},"
        "{'hostName':'b.test'," TO "," PAIR "},{'hostName':'*.a.test'," TO "," PAIR "},"
        "{'hostName':'*.b.test'," TO "," PAIR "},{'hostName':'a.test','destinationIps':['::1',"
        "'::1','::2'],'destinationPorts':[80,81,80]," PAIR "}]");

    ck_assert_ptr_nonnull(set);
    expect_list(&b.warnings, (const char *const[]){
                                 "/0/publicKey certificateExpired",
                                 "/1/publicKey certificateNotYetValid",
                                 "/2/publicKey certificateNameMismatch",
                                 "/4/publicKey certificateNameMismatch",
                                 "/5/destinationIps/1 duplicateDestination",
                                 "/5/destinationPorts/2 duplicateDestination",
                                 NULL,
                             });
    ck_assert_uint_eq(set->routes[5].destination_count, 4);
    route_set_unref(set);
    route_build_fini(&b);
}
END_TEST

/* A certificate of the same content is parsed once, in one set and from set to set. */
START_TEST(certificates_are_shared)
{
    struct route_build b;
    struct route_set *first, *second;

    first = build(&b, empty, "[" GOOD ",{'hostName':'b.a.test'," TO "," PAIR "}]");
    ck_assert_uint_eq(b.parsed, 1);
    ck_assert_uint_eq(b.reused, 1);
    ck_assert_ptr_eq(first->routes[0].cert, first->routes[1].cert);
    route_build_fini(&b);

    second = build(&b, first,
                   "[{'hostName':'c.a.test'," TO "," PAIR "},{'hostName':'old.test'," TO
                   ",'publicKey':@OLD,'privateKey':@OLDKEY}]");
    ck_assert_uint_eq(b.parsed, 1);
    ck_assert_uint_eq(b.reused, 1);
    ck_assert_ptr_eq(second->routes[0].cert, first->routes[0].cert);
    route_build_fini(&b);
    route_set_unref(first);
    route_set_unref(second);
}
END_TEST

/* The same pair of texts is the only thing that is shared: a known chain with a wrong key is
 * refused. */
START_TEST(a_known_chain_with_another_key)
{
    struct route_build b;
    struct route_set *first = good("[" GOOD "]");

    ck_assert_ptr_null(
        build(&b, first, "[{'hostName':'a.test'," TO ",'publicKey':@CHAIN,'privateKey':@OLDKEY}]"));
    expect_list(&b.faults, (const char *const[]){"/0/privateKey mismatch", NULL});
    route_build_fini(&b);
    route_set_unref(first);
}
END_TEST

static struct route_set *put(struct route_build *b, const struct route_set *base, const char *host,
                             const char *text)
{
    struct json_object *body = routes(text);
    struct route_set *set;

    route_build_init(b, &key, base);
    set = route_json_put(b, host, body);
    json_object_put(body);
    tell(&b->faults);
    return set;
}

START_TEST(put_one)
{
    struct route_build b;
    struct route_set *first = good("[" GOOD ",{'hostName':'b.a.test'," TO "," PAIR "}]");
    struct route_set *second = put(&b, first, "c.a.test", "{" TO "," PAIR "}");

    ck_assert_uint_eq(second->count, 3);
    ck_assert_str_eq(second->routes[2].host, "c.a.test");
    ck_assert_uint_eq(b.parsed, 0);
    route_build_fini(&b);
    ck_assert_ptr_null(put(&b, second, "c.a.test", "{'hostName':'d.a.test'," TO "," PAIR "}"));
    expect_list(&b.faults, (const char *const[]){"/hostName conflict", NULL});
    route_build_fini(&b);
    ck_assert_ptr_null(put(&b, second, "d.a.test", "{" TO "}"));
    expect_list(&b.faults,
                (const char *const[]){"/publicKey required", "/privateKey required", NULL});
    route_build_fini(&b);
    ck_assert_ptr_null(put(&b, second, "d.a.test", "[]"));
    expect_list(&b.faults, (const char *const[]){" type", NULL});
    route_build_fini(&b);
    route_set_unref(first);
    route_set_unref(second);
}
END_TEST

/* What GET shows can be put back: certificate and password that it hides stay. */
START_TEST(put_what_get_shows)
{
    struct route_build b;
    struct route_set *first = good("[{'hostName':'a.test'," TO "," PAIR ",'authentication':{'type':"
                                   "'Basic','user':'alice','pass':'s3:cret'},"
                                   "'forwardAuthorization':true}]");
    struct json_object *shown = route_json_emit(&first->routes[0]);
    struct route_set *second;

    route_build_init(&b, &key, first);
    second = route_json_put(&b, "a.test", shown);
    tell(&b.faults);
    ck_assert_ptr_nonnull(second);
    ck_assert_mem_eq(first->digest, second->digest, ROUTE_DIGEST_BYTES);
    route_build_fini(&b);
    route_set_unref(second);
    json_object_put(shown);

    /* Another user, another chain: both need what belongs to them. */
    ck_assert_ptr_null(put(&b, first, "a.test",
                           "{" TO ",'publicKey':@OLD,'authentication':{'type':"
                           "'Basic','user':'bob'}}"));
    expect_list(&b.faults, (const char *const[]){"/privateKey required",
                                                 "/authentication/pass required", NULL});
    route_build_fini(&b);
    ck_assert_ptr_null(put(&b, first, "a.test", "{" TO ",'privateKey':@KEY}"));
    expect_list(&b.faults, (const char *const[]){"/publicKey required", NULL});
    route_build_fini(&b);
    route_set_unref(first);
}
END_TEST

START_TEST(nothing_secret_is_shown)
{
    struct route_set *set = good("[{'hostName':'a.test'," TO "," PAIR ",'authentication':{'type':"
                                 "'Basic','user':'alice','pass':'s3:cret'}}]");
    struct json_object *shown = route_json_emit_set(set);
    const char *text = json_object_to_json_string(shown);
    struct json_object *list, *one;

    ck_assert_ptr_null(strstr(text, "PRIVATE"));
    ck_assert_ptr_null(strstr(text, "s3:cret"));
    json_object_object_get_ex(shown, "routes", &list);
    one = json_object_array_get_idx(list, 0);
    ck_assert_str_eq(json_object_get_string(json_object_object_get(one, "hostName")), "a.test");
    ck_assert_str_eq(json_object_get_string(json_object_object_get(one, "destinationIps")),
                     "[ \"192.0.2.1\" ]");
    ck_assert_str_eq(json_object_get_string(json_object_object_get(one, "destinationPorts")),
                     "[ 80 ]");
    ck_assert_str_eq(json_object_get_string(json_object_object_get(one, "publicKey")),
                     a_test_chain);
    ck_assert_str_eq(json_object_get_string(json_object_object_get(one, "authentication")),
                     "{ \"type\": \"Basic\", \"user\": \"alice\" }");
    json_object_put(shown);
    route_set_unref(set);
}
END_TEST

START_TEST(certificates_are_shown)
{
    struct route_set *set = good("[{'hostName':'www.a.test'," TO "," PAIR "},{'hostName':"
                                 "'old.test'," TO ",'publicKey':@OLD,'privateKey':@OLDKEY}]");
    int64_t now = tls_cert_not_after(set->routes[1].cert->cert, 0) + 1;
    struct json_object *shown = route_json_emit_certificates(set, now), *list, *one;

    json_object_object_get_ex(shown, "certificates", &list);
    ck_assert_uint_eq(json_object_array_length(list), 2);
    one = json_object_array_get_idx(list, 0);
    ck_assert_str_eq(json_object_get_string(json_object_object_get(one, "host")), "www.a.test");
    ck_assert_str_eq(json_object_get_string(json_object_object_get(one, "names")),
                     "[ \"a.test\", \"*.a.test\" ]");
    ck_assert_str_eq(json_object_get_string(json_object_object_get(one, "notAfter")),
                     "2099-01-01T00:00:00Z");
    ck_assert_int_eq(json_object_get_string_len(json_object_object_get(one, "fingerprint")), 64);
    one = json_object_array_get_idx(list, 1);
    ck_assert_str_eq(json_object_get_string(json_object_object_get(one, "notBefore")),
                     "2020-01-01T00:00:00Z");
    ck_assert_int_eq(json_object_get_int(json_object_object_get(one, "daysLeft")), -1);
    json_object_put(shown);
    shown = route_json_emit_certificates(set, now - 1 - 86400);
    json_object_object_get_ex(shown, "certificates", &list);
    one = json_object_array_get_idx(list, 1);
    ck_assert_int_eq(json_object_get_int(json_object_object_get(one, "daysLeft")), 1);
    json_object_put(shown);
    route_set_unref(set);
}
END_TEST

static void expect_wiped(struct json_object *obj, const char *name, size_t n)
{
    struct json_object *value = json_object_object_get(obj, name);
    const char *text = json_object_get_string(value);

    ck_assert_uint_eq((size_t)json_object_get_string_len(value), n);
    for (size_t i = 0; i < n; i++)
        ck_assert_int_eq(text[i], 0);
}

START_TEST(secrets_are_wiped)
{
    struct json_object *body = routes("{'routes':[{'hostName':'a.test'," TO "," PAIR
                                      ",'authentication':{'type':'Basic','user':'alice','pass':"
                                      "'s3cret'}},7,{'authentication':3,'privateKey':['key'],"
                                      "'PrivateKey':'key'}]}");
    struct json_object *one;

    route_json_wipe(body);
    one = json_object_array_get_idx(json_object_object_get(body, "routes"), 0);
    expect_wiped(one, "privateKey", strlen(a_test_key));
    expect_wiped(json_object_object_get(one, "authentication"), "pass", 6);
    one = json_object_array_get_idx(json_object_object_get(body, "routes"), 2);
    expect_wiped(one, "PrivateKey", 3); /* misspelled */
    one = json_object_array_get_idx(json_object_object_get(one, "privateKey"), 0);
    ck_assert_str_eq(json_object_get_string(one), "");
    json_object_put(body);

    body = json_object_new_object();
    add(body, "privateKey", json_object_new_string("key"));
    route_json_wipe(body); /* one route by itself */
    expect_wiped(body, "privateKey", 3);
    json_object_put(body);
    route_json_wipe(NULL);
}
END_TEST

/* The faults kept are bounded, the number seen is not. */
START_TEST(thousands_of_faults)
{
    struct json_object *list = json_object_new_array();
    struct route_build b;

    for (int i = 0; i < 3000; i++)
        json_object_array_add(list, json_object_new_int(i));
    route_build_init(&b, &key, empty);
    ck_assert_ptr_null(route_json_parse(&b, list));
    ck_assert_uint_eq(b.faults.count, JSON_FAULTS_MAX);
    ck_assert_uint_eq(b.faults.total, 3000);
    route_build_fini(&b);
    json_object_put(list);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("route_json");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, faults, 0, (int)(sizeof(bad) / sizeof(bad[0])));
    tcase_add_test(tcase, limits);
    tcase_add_test(tcase, a_whole_route);
    tcase_add_test(tcase, the_older_form);
    tcase_add_test(tcase, warnings);
    tcase_add_test(tcase, certificates_are_shared);
    tcase_add_test(tcase, a_known_chain_with_another_key);
    tcase_add_test(tcase, put_one);
    tcase_add_test(tcase, put_what_get_shows);
    tcase_add_test(tcase, nothing_secret_is_shown);
    tcase_add_test(tcase, certificates_are_shown);
    tcase_add_test(tcase, secrets_are_wiped);
    tcase_add_test(tcase, thousands_of_faults);
    return suite_run("traffic_route_json", tcase);
}
