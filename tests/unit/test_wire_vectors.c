/* Runs every file of api/vectors, so that api/tunnel.md and the code can't drift apart.
 *
 *   # what it is
 *   as: frame-from-edge          what the bytes are read as; see readers[] below
 *   expect: ok DATA stream=1 bytes=5      or "error ...", or "more": not whole yet
 *   written: otherwise           only where emitting again may give other bytes
 *   00 00 00 01 20*8             the bytes in hex; xx*n is a byte n times
 *
 * What is expected is compared as a whole.  Unless "written: otherwise", an "ok" must come out of
 * the emit functions byte for byte. */
#include <arpa/inet.h>
#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tls/tls.h"
#include "wire/base64url.h"
#include "wire/frame.h"
#include "wire/hello.h"
#include "wire/proxy.h"
#include "wire/token.h"
#include "wire_vector_fixture.h"

/* What reading gave: the text to compare, and the bytes that emitting gives. */
struct result {
    char text[1000];
    uint8_t *again; /* owned */
    size_t again_n;
};

PRINTF_LIKE(2, 3)
static void say(struct result *r, const char *fmt, ...)
{
    size_t len = strlen(r->text);
    va_list args;

    va_start(args, fmt);
    int n = vsnprintf(r->text + len, sizeof(r->text) - len, fmt, args);
    va_end(args);
    ck_assert_uint_lt((size_t)n, sizeof(r->text) - len);
}

static void say_again(struct result *r, const void *bytes, size_t n)
{
    r->again = realloc(r->again, r->again_n + n + 1);
    ck_assert_ptr_nonnull(r->again);
    if (n > 0)
        memcpy(r->again + r->again_n, bytes, n);
    r->again_n += n;
}

static void say_again_text(struct result *r, char *text)
{
    say_again(r, text, strlen(text));
    free(text);
}

static void say_ports(struct result *r, const char *name, const struct port_list *l)
{
    say(r, " %s=", name);
    for (size_t i = 0; i < l->count; i++)
        say(r, "%s%u", i > 0 ? "," : "", l->ports[i]);
    if (l->count == 0)
        say(r, "-");
}

static void say_config(struct result *r, const struct wire_config *c)
{
    say(r, " revision=%llu", (unsigned long long)c->revision);
    say_ports(r, "tcp", &c->ports);
    say_ports(r, "udp", &c->ports_udp);
    say(r, " stun=%u", c->stun_interval_secs);
}

static void say_address(struct result *r, const struct proxy_header *h, const uint8_t *addr,
                        uint16_t port)
{
    char text[INET6_ADDRSTRLEN];

    ck_assert_ptr_nonnull(
        inet_ntop(h->family == PROXY_INET ? AF_INET : AF_INET6, addr, text, sizeof(text)));
    say(r, h->family == PROXY_INET ? "%s:%u" : "[%s]:%u", text, port);
}

static void say_proxy(struct result *r, const struct proxy_header *h)
{
    if (h->is_local || h->family == PROXY_UNSPEC) {
        say(r, h->is_local ? " LOCAL" : " UNKNOWN");
        return;
    }
    say(r, " %s%c ", h->transport == PROXY_STREAM ? "TCP" : "UDP",
        h->family == PROXY_INET ? '4' : '6');
    say_address(r, h, h->src, h->src_port);
    say(r, " > ");
    say_address(r, h, h->dst, h->dst_port);
}

static void say_proxy_again(struct result *r, const struct proxy_header *h, int version)
{
    uint8_t v2[PROXY_V2_EMIT_MAX];
    char v1[PROXY_V1_MAX];

    if (version == 1)
        say_again(r, v1, proxy_emit_v1(v1, h));
    else
        say_again(r, v2, proxy_emit_v2(v2, h));
}

/* --- payloads of frames; false: a malformed one ------------------------------------------------
 */

static bool read_client(struct result *r, const struct frame *f, const uint8_t *payload)
{
    struct proxy_header h;
    int version = f->type == FRAME_OPEN ? 1 : 2;
    int rc = version == 1 ? proxy_parse_open(&h, payload, f->len)
                          : proxy_parse_udp_open(&h, payload, f->len);

    if (rc != 0)
        return false;
    say_proxy(r, &h);
    say_proxy_again(r, &h, version);
    return true;
}

static bool read_close(struct result *r, const struct frame *f, const uint8_t *payload)
{
    enum close_code code;
    uint8_t out[1];

    if (frame_close_parse(&code, f, payload) != 0)
        return false;
    say(r, " %s", close_name(code));
    say_again(r, out, frame_close_emit(out, code));
    return true;
}

static bool read_credit(struct result *r, const uint8_t *payload)
{
    uint8_t out[FRAME_CREDIT_BYTES];
    uint32_t credit;

    if (frame_credit_parse(&credit, payload) != 0)
        return false;
    say(r, " credit=%u", credit);
    frame_credit_emit(out, credit);
    say_again(r, out, sizeof(out));
    return true;
}

static bool read_config(struct result *r, const struct frame *f, const uint8_t *payload)
{
    struct wire_config c;
    struct wire_why why;

    if (wire_config_parse(&c, payload, f->len, &why) != 0)
        return false;
    say_config(r, &c);
    say_again_text(r, wire_config_emit(&c, NULL));
    wire_config_fini(&c);
    return true;
}

static bool read_ack(struct result *r, const struct frame *f, const uint8_t *payload)
{
    struct config_ack a;
    struct wire_why why;

    if (config_ack_parse(&a, payload, f->len, &why) != 0)
        return false;
    say(r, " revision=%llu", (unsigned long long)a.revision);
    say_ports(r, "tcp", &a.ports);
    say_ports(r, "udp", &a.ports_udp);
    for (size_t i = 0; i < a.fault_count; i++)
        say(r, " %u/%s=\"%s\"", a.faults[i].port, a.faults[i].protocol == PORT_UDP ? "udp" : "tcp",
            a.faults[i].error);
    say(r, " ip=%s", *a.public_ip ? a.public_ip : "-");
    say_again_text(r, config_ack_emit(&a, NULL));
    config_ack_fini(&a);
    return true;
}

static bool read_drain(struct result *r, const struct frame *f, const uint8_t *payload)
{
    struct wire_why why;
    struct drain d;

    if (drain_parse(&d, payload, f->len, &why) != 0)
        return false;
    say(r, " deadline=%u", d.deadline_secs);
    say_again_text(r, drain_emit(&d, NULL));
    return true;
}

static bool read_goodbye(struct result *r, const struct frame *f, const uint8_t *payload)
{
    struct wire_why why;
    struct goodbye g;

    if (goodbye_parse(&g, payload, f->len, &why) != 0)
        return false;
    say(r, " %s retry=%u \"%s\"", goodbye_name(g.code), g.retry_after_secs, g.message);
    if (g.code != GOODBYE_OTHER)
        say_again_text(r, goodbye_emit(&g, NULL));
    return true;
}

static bool read_opaque(struct result *r, const struct frame *f, const uint8_t *payload)
{
    if (f->type == FRAME_PING || f->type == FRAME_PONG) {
        say(r, " ");
        for (size_t i = 0; i < f->len; i++)
            say(r, "%02x", payload[i]);
    } else {
        say(r, " bytes=%u", f->len);
    }
    say_again(r, payload, f->len);
    return true;
}

static bool read_payload(struct result *r, const struct frame *f, const uint8_t *payload)
{
    switch ((enum frame_type)f->type) {
    case FRAME_OPEN:
    case FRAME_UDP_OPEN:
        return read_client(r, f, payload);
    case FRAME_CLOSE:
    case FRAME_CLOSE_BACK:
    case FRAME_UDP_CLOSE:
        return read_close(r, f, payload);
    case FRAME_WINDOW_UPDATE:
    case FRAME_WINDOW_UPDATE_BACK:
        return read_credit(r, payload);
    case FRAME_CONFIG:
        return read_config(r, f, payload);
    case FRAME_CONFIG_ACK:
        return read_ack(r, f, payload);
    case FRAME_DRAIN:
        return read_drain(r, f, payload);
    case FRAME_GOODBYE:
        return read_goodbye(r, f, payload);
    case FRAME_DATA:
    case FRAME_DATA_BACK:
    case FRAME_PING:
    case FRAME_PONG:
    case FRAME_UDP_DATA:
    case FRAME_UDP_DATA_BACK:
        return read_opaque(r, f, payload);
    }
    return false;
}

/* --- what a vector may be ----------------------------------------------------------------------
 */

static void read_frame(struct result *r, const struct vector *v)
{
    bool is_from_edge = strcmp(v->as, "frame-from-edge") == 0;
    uint8_t header[FRAME_HEADER_BYTES];
    struct frame f;

    int rc = frame_parse(&f, v->bytes, v->n);
    if (rc < 0) {
        say(r, "error %s", frame_fault(&f));
        return;
    }
    if (rc > 0 && !(is_from_edge ? frame_is_from_edge(f.type) : frame_is_from_hub(f.type))) {
        say(r, "error wrong_direction");
        return;
    }
    if (rc == 0 || v->n - FRAME_HEADER_BYTES < f.len) {
        say(r, "more");
        return;
    }
    ck_assert_uint_eq(v->n, FRAME_HEADER_BYTES + f.len);
    say(r, "ok %s", frame_name(f.type));
    if (frame_kind(f.type) != FRAME_OF_CONNECTION)
        say(r, " %s=%u", frame_kind(f.type) == FRAME_OF_UDP ? "session" : "stream", f.stream);
    frame_emit(header, f.stream, (enum frame_type)f.type, f.len);
    say_again(r, header, sizeof(header));
    if (!read_payload(r, &f, v->bytes + FRAME_HEADER_BYTES))
        snprintf(r->text, sizeof(r->text), "error payload");
}

static void say_features(struct result *r, const struct feature_list *l)
{
    say(r, " features=%s", l->count == 0 ? "-" : "");
    for (size_t i = 0; i < l->count; i++)
        say(r, "%s%s", i > 0 ? "," : "", l->names[i]);
}

static void say_session(struct result *r, const uint8_t session[SESSION_BYTES])
{
    char text[SESSION_TEXT_LEN + 1];

    base64url_emit(text, session, SESSION_BYTES);
    say(r, " session=%s", text);
}

/* In the hub's order; "error close": without an answer. */
static void read_hello(struct result *r, const struct vector *v)
{
    struct wire_why why;
    struct hello h;
    int rc = hello_parse(&h, v->bytes, v->n, &why);

    if (rc == 0)
        say(r, "more");
    else if (rc < 0)
        say(r, rc == -ERR_TOO_BIG ? "error close" : "error bad_request");
    else if (h.version != WIRE_VERSION)
        say(r, "error unsupported_version");
    else if (!h.is_proof_formed || !*h.edge_id)
        say(r, "error unauthorized");
    else if (h.rest_fault)
        say(r, "error bad_request after the proof: %s", h.rest_fault);
    else if (h.has_session && !h.is_session_formed)
        say(r, "error unknown_session");
    if (*r->text)
        return;
    say(r, "ok edge=%s instance=\"%s\"", h.edge_id, h.instance);
    if (h.has_session)
        say_session(r, h.session);
    say(r, " lane=%u software=\"%s\"", h.lane, h.software);
    say_features(r, &h.features);
    say_again_text(r, hello_emit(&h, NULL));
}

static void read_answer(struct result *r, const struct vector *v)
{
    struct wire_why why;
    struct answer a;
    int rc = answer_parse(&a, v->bytes, v->n, &why);

    if (rc <= 0) {
        say(r, rc == 0 ? "more" : "error protocol");
        return;
    }
    if (a.code != ANSWER_OK) {
        say(r, "ok error=%s retry=%u \"%s\"", answer_name(a.code), a.retry_after_secs, a.message);
    } else if (!a.is_proof_formed) {
        say(r, "error proof");
    } else {
        say(r, "ok edge=%s", a.edge_id);
        say_session(r, a.session);
        say(r, " window=%u", a.initial_window);
        say_features(r, &a.features);
        say_config(r, &a.config);
    }
    if (a.code != ANSWER_OTHER)
        say_again_text(r, answer_emit(&a, NULL));
    answer_fini(&a);
}

static void read_token(struct result *r, const struct vector *v)
{
    char *text = strndup((const char *)v->bytes, v->n), pin[PIN_TEXT_LEN + 1];
    struct wire_why why;
    struct token t;

    ck_assert_ptr_nonnull(text);
    if (token_parse(&t, text, &why) != 0) {
        say(r, "error %s", why.text);
        free(text);
        return;
    }
    free(text);
    say(r, "ok hub=%s port=%u edge=%s secret=%s", t.hub_host, t.hub_port, t.edge_id, t.secret);
    pin_emit(pin, t.pin);
    say(r, " pin=%s", t.has_pin ? pin : "-");
    text = token_emit(&t);
    say_again_text(r, text);
    token_fini(&t);
}

static void read_proxy(struct result *r, const struct vector *v)
{
    struct proxy_reader reader;
    size_t used;

    proxy_reader_init(&reader);
    int rc = proxy_reader_step(&reader, v->bytes, v->n, &used);
    if (rc != 1) {
        say(r, rc == 0 ? "more" : "error close");
        return;
    }
    say(r, "ok v%d", reader.version);
    say_proxy(r, &reader.header);
    if (used < v->n)
        say(r, " left=%zu", v->n - used);
    say_proxy_again(r, &reader.header, reader.version);
    say_again(r, v->bytes + used, v->n - used);
}

/* The bytes are the exporter's. */
static void read_proof(struct result *r, const struct vector *v)
{
    bool is_edge = strcmp(v->as, "proof-of-edge") == 0;
    uint8_t message[PROOF_MESSAGE_MAX], mac[PROOF_BYTES], back[PROOF_BYTES];
    char text[PROOF_TEXT_LEN + 1];

    ck_assert_uint_eq(v->n, PROOF_EXPORTER_BYTES);
    ck_assert(edge_id_is_valid(v->edge_id));
    ck_assert(secret_is_valid(v->secret));
    size_t n = proof_message_emit(message, is_edge ? PROOF_EDGE : PROOF_HUB, v->bytes, v->edge_id);
    tls_hmac_sha256(v->secret, strlen(v->secret), message, n, mac);
    proof_emit(text, mac);
    ck_assert_int_eq(proof_parse(back, text), 0);
    ck_assert(proof_is_equal(back, mac));
    say(r, "ok %s", text);
    say_again(r, v->bytes, v->n);
}

static const struct {
    const char *as;
    void (*read)(struct result *r, const struct vector *v);
} readers[] = {
    {"frame-from-edge", read_frame}, {"frame-from-hub", read_frame}, {"hello", read_hello},
    {"answer", read_answer},         {"token", read_token},          {"proxy", read_proxy},
    {"proof-of-edge", read_proof},   {"proof-of-hub", read_proof},
};

START_TEST(each_vector_is_read_as_it_says)
{
    const char *name = names[_i];
    struct vector v = load(name);
    struct result r = {.text = ""};
    size_t i = 0;

    while (i < ARRAY_LEN(readers) && strcmp(readers[i].as, v.as) != 0)
        i++;
    ck_assert_msg(i < ARRAY_LEN(readers), "%s: as what?", name);
    readers[i].read(&r, &v);
    ck_assert_msg(strcmp(r.text, v.expect) == 0, "%s:\n  expected: %s\n  is:       %s", name,
                  v.expect, r.text);
    if (strncmp(r.text, "ok ", 3) == 0 && !v.is_written_otherwise) {
        ck_assert_msg(r.again_n == v.n, "%s: written again %zu bytes: %.*s", name, r.again_n,
                      (int)r.again_n, (const char *)r.again);
        ck_assert_msg(memcmp(r.again, v.bytes, v.n) == 0, "%s: written again differs", name);
    }
    free(r.again);
    free(v.bytes);
}
END_TEST

/* Each type of frame has one vector that is taken and one that is refused. */
START_TEST(no_frame_type_is_without_vectors)
{
    unsigned taken[256] = {0}, refused[256] = {0};

    for (size_t i = 0; i < name_count; i++) {
        struct vector v = load(names[i]);
        if (strncmp(v.as, "frame-", 6) == 0 && v.n > 4) {
            taken[v.bytes[4]] += strncmp(v.expect, "ok ", 3) == 0;
            refused[v.bytes[4]] += strncmp(v.expect, "error ", 6) == 0;
        }
        free(v.bytes);
    }
    for (uint8_t type = 1; frame_is_known(type); type++) {
        ck_assert_msg(taken[type] > 0, "no %s is taken", frame_name(type));
        ck_assert_msg(refused[type] > 0, "no %s is refused", frame_name(type));
    }
}
END_TEST

int main(void)
{
    list_vectors();
    if (name_count == 0) {
        fprintf(stderr, "no vectors in %s\n", SOURCE_DIR "/api/vectors");
        return 1;
    }
    Suite *suite = suite_create("wire vectors");
    TCase *tcase = tcase_create("all");

    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, each_vector_is_read_as_it_says, 0, (int)name_count);
    tcase_add_test(tcase, no_frame_type_is_without_vectors);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner,
                            CK_NOFORK); /* hundreds of small files: a fork each takes longer */
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
