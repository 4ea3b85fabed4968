/* Tests of wire/stun: the vectors of RFC 5769, every cut and every changed bit of them, answers as
 * servers should not give them, and the schedule of RFC 8489, section 6.2.1. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "wire/stun.h"

#define ID          "\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae"
#define COOKIE      "\x21\x12\xa4\x42"
#define HEAD        COOKIE ID
#define BYTES(text) (const uint8_t *)(text), sizeof(text) - 1

/* RFC 5769, 2.2 and 2.3 */
#define VECTOR_IPV4                                                                                \
    "\x01\x01\x00\x3c" HEAD "\x80\x22\x00\x0btest vector\x20\x00\x20\x00\x08\x00\x01\xa1\x47"      \
    "\xe1\x12\xa6\x43\x00\x08\x00\x14\x2b\x91\xf5\x99\xfd\x9e\x90\xc3\x8c\x74\x89\xf9\x2a\xf9\xba" \
    "\x53\xf0\x6b\xe7\xd7\x80\x28\x00\x04\xc0\x7d\x4c\x96"
#define VECTOR_IPV6                                                                                \
    "\x01\x01\x00\x48" HEAD "\x80\x22\x00\x0btest vector\x20\x00\x20\x00\x14\x00\x02\xa1\x47"      \
    "\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9\x00\x08\x00\x14\xa3\x82\x95" \
    "\x4e\x4b\xe6\x7b\xf1\x17\x84\xc9\x7c\x82\x92\xc2\x75\xbf\xe3\xed\x41\x80\x28\x00\x04\xc8\xfb" \
    "\x0b\x4c"

static const uint8_t ipv4[] = {192, 0, 2, 1};
static const uint8_t ipv6[] = {0x20, 0x01, 0x0d, 0xb8, 0x12, 0x34, 0x56, 0x78,
                               0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77};

/* From a block of its own size: reading past it is seen. */
static int parse(struct stun_answer *out, const uint8_t *src, size_t n)
{
    uint8_t *copy = malloc(n > 0 ? n : 1);
    int err;

    ck_assert_ptr_nonnull(copy);
    memcpy(copy, src, n);
    err = stun_answer_parse(out, (const uint8_t *)ID, copy, n);
    free(copy);
    return err;
}

START_TEST(the_vectors_of_rfc_5769_are_read)
{
    struct stun_answer a;

    ck_assert_int_eq(parse(&a, BYTES(VECTOR_IPV4)), 0);
    ck_assert_int_eq(a.kind, STUN_MAPPED);
    ck_assert(!a.is_ipv6);
    ck_assert_mem_eq(a.address, ipv4, sizeof(ipv4));
    ck_assert_uint_eq(a.port, 32853);
    ck_assert_int_eq(parse(&a, BYTES(VECTOR_IPV6)), 0);
    ck_assert_int_eq(a.kind, STUN_MAPPED);
    ck_assert(a.is_ipv6);
    ck_assert_mem_eq(a.address, ipv6, sizeof(ipv6));
    ck_assert_uint_eq(a.port, 32853);
}
END_TEST

static void refuse_every_fault(const uint8_t *vector, size_t n)
{
    struct stun_answer whole, a;
    uint8_t changed[128];
    unsigned passed = 0;

    for (size_t cut = 0; cut < n; cut++)
        ck_assert_int_eq(parse(&a, vector, cut), -ERR_PROTO);
    memcpy(changed, vector, n);
    changed[n] = 0;
    ck_assert_int_eq(parse(&a, changed, n + 1), -ERR_PROTO);
    /* Its FINGERPRINT sees each bit, or is itself what is not there any more. */
    ck_assert_int_eq(parse(&whole, vector, n), 0);
    for (size_t bit = 0; bit < n * 8; bit++) {
        changed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (parse(&a, changed, n) == 0) {
            ck_assert_uint_ge(bit / 8, n - 8 - 24);
            ck_assert_int_eq(a.kind, STUN_MAPPED);
            ck_assert_mem_eq(a.address, whole.address, sizeof(a.address));
            ck_assert_uint_eq(a.port, whole.port);
            passed++;
        }
        changed[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    ck_assert_uint_le(passed, 16 + 1); /* its type; a length before it that swallows it */
}

START_TEST(no_cut_passes_and_no_changed_bit_is_another_address)
{
    refuse_every_fault(BYTES(VECTOR_IPV4));
    refuse_every_fault(BYTES(VECTOR_IPV6));
}
END_TEST

#define SUCCESS(len, attributes) "\x01\x01\x00" len HEAD attributes
#define FAILURE(len, attributes) "\x01\x11\x00" len HEAD attributes
#define XOR4                     "\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43"
#define PLAIN4                   "\x00\x01\x00\x08\x00\x01\x80\x55\xc0\x00\x02\x01"
#define ALTERNATE4               "\x80\x23\x00\x08\x00\x01\x80\x55\xc0\x00\x02\x01"
#define OTHER4                   "\x00\x01\x00\x08\x00\x01\x80\x55\xc0\x00\x02\x09"
#define INTEGRITY                                                                                  \
    "\x00\x08\x00\x14"                                                                             \
    "12345678901234567890"
#define CODE(class, number) "\x00\x09\x00\x04\x00\x00" class number

#define MAPPED  0 /* to 192.0.2.1:32853 */
#define USELESS 1
#define ERROR   300 /* and above: that code */
static const struct {
    const char *what;
    const char *bytes;
    size_t n;
    int expect; /* above, or -ERR_* */
} answers[] = {
#define A(what, bytes, expect)                                                                     \
    {                                                                                              \
        what, bytes, sizeof(bytes) - 1, expect                                                     \
    }
    A("without fingerprint", SUCCESS("\x0c", XOR4), MAPPED),
    A("an old server", SUCCESS("\x0c", PLAIN4), MAPPED),
    A("the XORed one counts", SUCCESS("\x18", OTHER4 XOR4), MAPPED),
    A("in any order", SUCCESS("\x18", XOR4 OTHER4), MAPPED),
    A("the first one counts", SUCCESS("\x18", PLAIN4 OTHER4), MAPPED),
    A("what RFC 3489 had",
      SUCCESS("\x24", PLAIN4 "\x00\x04\x00\x08"
                             "\0\1\1\1\1\2\3\4"
                             "\x00\x05\x00\x08"
                             "\0\1\1\1\1\2\3\4"),
      MAPPED),
    A("an optional one of no length", SUCCESS("\x10", "\xc0\x01\x00\x00" XOR4), MAPPED),
    A("an unknown one that must be understood", SUCCESS("\x10", "\x7f\xff\x00\x00" XOR4), USELESS),
    A("no address", SUCCESS("\x00", ""), USELESS),
    A("an address behind the integrity", SUCCESS("\x24", INTEGRITY XOR4), USELESS),
    A("nonsense behind the integrity", SUCCESS("\x28", XOR4 INTEGRITY "\x7f\xff\x00\x00"), MAPPED),
    A("a family that is none", SUCCESS("\x0c", "\x00\x20\x00\x08\x00\x03\xa1\x47\xe1\x12\xa6\x43"),
      -ERR_PROTO),
    A("IPv6 too short", SUCCESS("\x0c", "\x00\x20\x00\x08\x00\x02\xa1\x47\xe1\x12\xa6\x43"),
      -ERR_PROTO),
    A("IPv4 too long",
      SUCCESS("\x10", "\x00\x20\x00\x0c\x00\x01\xa1\x47\xe1\x12\xa6\x43"
                      "1234"),
      -ERR_PROTO),
    A("an empty address", SUCCESS("\x04", "\x00\x20\x00\x00"), -ERR_PROTO),
    A("an attribute past the end",
      SUCCESS("\x0c", "\x80\x22\x00\x09"
                      "12345678"),
      -ERR_PROTO),
    A("padding past the end",
      SUCCESS("\x08", "\x80\x22\x00\x05"
                      "1234"),
      -ERR_PROTO),
    A("half an attribute's head", SUCCESS("\x0e", XOR4 "\x80\x22"), -ERR_PROTO),
    A("a fingerprint that is wrong",
      SUCCESS("\x14", XOR4 "\x80\x28\x00\x04"
                           "1234"),
      -ERR_PROTO),
    A("a fingerprint that is short", SUCCESS("\x10", XOR4 "\x80\x28\x00\x00"), -ERR_PROTO),
    A("an error", FAILURE("\x08", CODE("\x04", "\x14")), 420),
    A("an error with a text",
      FAILURE("\x0c", "\x00\x09\x00\x07\x00\x00\x05\x00"
                      "Err\x20"),
      500),
    A("another server", FAILURE("\x14", CODE("\x03", "\x00") ALTERNATE4), 300),
    A("another server behind an error of its own", FAILURE("\x14", CODE("\x04", "\x14") ALTERNATE4),
      420),
    A("another server that is cut",
      FAILURE("\x10", CODE("\x03", "\x00") "\x80\x23\x00\x04\0\1\1\1"), -ERR_PROTO),
    A("another server in a success", SUCCESS("\x18", ALTERNATE4 XOR4), MAPPED),
    A("an error of no class", FAILURE("\x08", CODE("\x02", "\x00")), -ERR_PROTO),
    A("an error above 99", FAILURE("\x08", CODE("\x04", "\x64")), -ERR_PROTO),
    A("an error cut short", FAILURE("\x04", "\x00\x09\x00\x00"), -ERR_PROTO),
    A("an error without a code", FAILURE("\x00", ""), USELESS),
    A("an error with an address", FAILURE("\x0c", XOR4), USELESS),
    A("a length that is none of four", "\x01\x01\x00\x03" HEAD "123", -ERR_PROTO),
    A("another cookie", "\x01\x01\x00\x0c\x21\x12\xa4\x43" ID XOR4, -ERR_PROTO),
    A("no STUN", "\x81\x01\x00\x0c" HEAD XOR4, -ERR_PROTO),
    A("a request", "\x00\x01\x00\x00" HEAD, -ERR_NOT_FOUND),
    A("an indication", "\x00\x11\x00\x0c" HEAD XOR4, -ERR_NOT_FOUND),
    A("another method", "\x01\x03\x00\x0c" HEAD XOR4, -ERR_NOT_FOUND),
    A("another transaction", "\x01\x01\x00\x0c" COOKIE "abcdefghijkl" XOR4, -ERR_NOT_FOUND),
#undef A
};

START_TEST(an_answer_is_taken_for_what_it_is)
{
    struct stun_answer a;
    int expect = answers[_i].expect,
        err = parse(&a, (const uint8_t *)answers[_i].bytes, answers[_i].n);

    ck_assert_msg(err == MIN(expect, 0), "%s: %d", answers[_i].what, err);
    if (expect == MAPPED) {
        ck_assert_msg(a.kind == STUN_MAPPED, "%s", answers[_i].what);
        ck_assert_mem_eq(a.address, ipv4, sizeof(ipv4));
        ck_assert_uint_eq(a.port, 32853);
    } else if (expect == USELESS) {
        ck_assert_msg(a.kind == STUN_USELESS, "%s", answers[_i].what);
    } else if (expect >= ERROR) {
        ck_assert_msg(a.kind == STUN_ERROR, "%s", answers[_i].what);
        ck_assert_uint_eq(a.error_code, (unsigned)expect);
        ck_assert_msg(a.has_address == (expect == STUN_TRY_ALTERNATE), "%s", answers[_i].what);
        if (a.has_address) {
            ck_assert_mem_eq(a.address, ipv4, sizeof(ipv4));
            ck_assert_uint_eq(a.port, 32853);
        }
    }
}
END_TEST

START_TEST(an_answer_of_more_than_a_datagram_is_none)
{
    static uint8_t big[STUN_ANSWER_MAX + 8] = "\x01\x01\x05\xcc" HEAD XOR4 "\x80\x22\x05\xbc";
    struct stun_answer a;

    big[3] = 0xc8; /* 1,480: 1,500 in all */
    big[35] = 0xb8;
    ck_assert_int_eq(parse(&a, big, STUN_ANSWER_MAX), 0);
    ck_assert_int_eq(a.kind, STUN_MAPPED);
    big[3] = 0xcc;
    big[35] = 0xbc;
    ck_assert_int_eq(parse(&a, big, STUN_ANSWER_MAX + 4), -ERR_PROTO);
}
END_TEST

START_TEST(a_request_has_a_fingerprint_that_holds)
{
    uint8_t request[STUN_REQUEST_BYTES];
    struct stun_answer a;

    stun_request_emit(request, (const uint8_t *)ID);
    ck_assert_mem_eq(request, "\x00\x01\x00\x08" HEAD "\x80\x28\x00\x04", 24);
    ck_assert_int_eq(parse(&a, request, sizeof(request)), -ERR_NOT_FOUND);
    /* CRC-32 of the 20 bytes before, XOR 0x5354554e, by another implementation */
    ck_assert_mem_eq(request + 24, "\xfd\xf6\xae\x02", 4);
}
END_TEST

START_TEST(the_waits_are_those_of_the_rfc)
{
    static const uint64_t at_ms[] = {0, 500, 1500, 3500, 7500, 15500, 31500, 39500}; /* 6.2.1 */
    uint64_t now_ms = 0;

    for (unsigned sent = 1; sent <= 7; sent++) {
        ck_assert_uint_eq(now_ms, at_ms[sent - 1]);
        now_ms += stun_wait_ms(sent, 7, 500);
    }
    ck_assert_uint_eq(now_ms, at_ms[7]);
    ck_assert_uint_eq(stun_wait_ms(1, 1, 10), 160);
    ck_assert_uint_eq(stun_wait_ms(15, 16, 60000), 60000ull << 14);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wire/stun");
    TCase *tcase = tcase_create("all");

    tcase_add_test(tcase, the_vectors_of_rfc_5769_are_read);
    tcase_add_test(tcase, no_cut_passes_and_no_changed_bit_is_another_address);
    tcase_add_loop_test(tcase, an_answer_is_taken_for_what_it_is, 0, (int)ARRAY_LEN(answers));
    tcase_add_test(tcase, an_answer_of_more_than_a_datagram_is_none);
    tcase_add_test(tcase, a_request_has_a_fingerprint_that_holds);
    tcase_add_test(tcase, the_waits_are_those_of_the_rfc);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
