/* Tests of wire/frame: the header of a frame, and the payloads of CLOSE and WINDOW_UPDATE. */
#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "wire/frame.h"

/* The table once more, as api/tunnel.md has it, so that a slip in the macro is seen. */
static const struct {
    uint8_t type;
    const char *name;
    bool is_from_edge, is_from_hub;
    enum frame_kind kind;
    uint32_t min, max;
} table[] = {
    {0x01, "OPEN", 1, 0, FRAME_OF_STREAM, 1, 107},
    {0x02, "DATA", 1, 0, FRAME_OF_STREAM, 0, 65536},
    {0x03, "CLOSE", 1, 0, FRAME_OF_STREAM, 0, 1},
    {0x04, "DATA_BACK", 0, 1, FRAME_OF_STREAM, 0, 65536},
    {0x05, "CLOSE_BACK", 0, 1, FRAME_OF_STREAM, 0, 1},
    {0x06, "CONFIG", 0, 1, FRAME_OF_CONNECTION, 2, 65536},
    {0x07, "PING", 0, 1, FRAME_OF_CONNECTION, 8, 8},
    {0x08, "PONG", 1, 0, FRAME_OF_CONNECTION, 8, 8},
    {0x09, "WINDOW_UPDATE", 1, 0, FRAME_OF_STREAM, 4, 4},
    {0x0a, "WINDOW_UPDATE_BACK", 0, 1, FRAME_OF_STREAM, 4, 4},
    {0x0b, "UDP_OPEN", 1, 0, FRAME_OF_UDP, 28, 65536},
    {0x0c, "UDP_DATA", 1, 0, FRAME_OF_UDP, 0, 65536},
    {0x0d, "UDP_DATA_BACK", 0, 1, FRAME_OF_UDP, 0, 65536},
    {0x0e, "UDP_CLOSE", 1, 1, FRAME_OF_UDP, 0, 1},
    {0x0f, "CONFIG_ACK", 1, 0, FRAME_OF_CONNECTION, 2, 65536},
    {0x10, "DRAIN", 1, 1, FRAME_OF_CONNECTION, 2, 65536},
    {0x11, "GOODBYE", 1, 1, FRAME_OF_CONNECTION, 2, 65536},
};

static void put_header(uint8_t out[9], uint32_t stream, uint8_t type, uint32_t len)
{
    for (int i = 0; i < 4; i++) {
        out[i] = (uint8_t)(stream >> (24 - 8 * i));
        out[5 + i] = (uint8_t)(len >> (24 - 8 * i));
    }
    out[4] = type;
}

static const char *fault_of(uint32_t stream, uint8_t type, uint32_t len)
{
    struct frame f;
    uint8_t bytes[9];

    put_header(bytes, stream, type, len);
    int rc = frame_parse(&f, bytes, sizeof(bytes));
    ck_assert_uint_eq(f.stream, stream);
    ck_assert_uint_eq(f.type, type);
    ck_assert_uint_eq(f.len, len);
    const char *fault = frame_fault(&f);
    ck_assert_int_eq(rc, fault ? -ERR_PROTO : 9);
    return fault;
}

START_TEST(each_type_is_what_the_table_says)
{
    uint8_t type = table[_i].type;
    bool is_connection = table[_i].kind == FRAME_OF_CONNECTION;
    uint32_t id = is_connection ? 0 : 7, wrong = is_connection ? 7 : 0;
    uint8_t bytes[9], want[9];

    ck_assert(frame_is_known(type));
    ck_assert_str_eq(frame_name(type), table[_i].name);
    ck_assert_int_eq(frame_is_from_edge(type), table[_i].is_from_edge);
    ck_assert_int_eq(frame_is_from_hub(type), table[_i].is_from_hub);
    ck_assert_int_eq(frame_kind(type), table[_i].kind);
    ck_assert_ptr_null(fault_of(id, type, table[_i].min));
    ck_assert_ptr_null(fault_of(id, type, table[_i].max));
    if (table[_i].min > 0)
        ck_assert_str_eq(fault_of(id, type, table[_i].min - 1), "bad_length");
    ck_assert_str_eq(fault_of(id, type, table[_i].max + 1),
                     table[_i].max == FRAME_PAYLOAD_MAX ? "oversized" : "bad_length");
    ck_assert_str_eq(fault_of(wrong, type, table[_i].max),
                     is_connection ? "connection_frame_on_stream" : "stream_frame_on_0");
    frame_emit(bytes, id, (enum frame_type)type, table[_i].max);
    put_header(want, id, type, table[_i].max);
    ck_assert_mem_eq(bytes, want, 9);
}
END_TEST

START_TEST(every_other_type_is_unknown)
{
    for (unsigned type = 0; type < 256; type++) {
        if (type >= 0x01 && type <= 0x11)
            continue;
        ck_assert(!frame_is_known((uint8_t)type));
        ck_assert_str_eq(frame_name((uint8_t)type), "unknown");
        ck_assert_str_eq(fault_of(1, (uint8_t)type, 0), "unknown_type");
        ck_assert_str_eq(fault_of(0, (uint8_t)type, 0), "unknown_type");
    }
}
END_TEST

START_TEST(ids_and_lengths_are_big_endian_and_unsigned)
{
    static const uint8_t bytes[9] = {0xfe, 0xdc, 0xba, 0x98, 0x02, 0x00, 0x00, 0xab, 0xcd};
    struct frame f;

    ck_assert_int_eq(frame_parse(&f, bytes, 9), 9);
    ck_assert_uint_eq(f.stream, 0xfedcba98);
    ck_assert_uint_eq(f.len, 0xabcd);
    ck_assert_str_eq(fault_of(1, 0x02, 0xffffffff), "oversized");
    ck_assert_str_eq(fault_of(1, 0x02, 0x80000000), "oversized");
}
END_TEST

START_TEST(fewer_than_nine_bytes_are_no_header_yet)
{
    uint8_t *bytes = malloc(9);
    struct frame f;

    ck_assert_ptr_nonnull(bytes);
    put_header(bytes, 1, 0xff, 0xffffffff); /* not even a wrong one is judged before it is whole */
    for (size_t n = 0; n < 9; n++)
        ck_assert_int_eq(frame_parse(&f, bytes + 9 - n, n), 0);
    ck_assert_int_eq(frame_parse(&f, bytes, 9), -ERR_PROTO);
    free(bytes);
}
END_TEST

START_TEST(an_illegal_header_is_never_emitted)
{
    uint8_t bytes[9];

    frame_emit(bytes, 0, FRAME_DATA, 1);
}
END_TEST

START_TEST(an_oversized_header_is_never_emitted)
{
    uint8_t bytes[9];

    frame_emit(bytes, 1, FRAME_DATA, FRAME_PAYLOAD_MAX + 1);
}
END_TEST

START_TEST(close_bytes_are_listed_for_their_type)
{
    static const struct {
        uint8_t type, from, to; /* bytes that are listed */
    } listed[] = {{FRAME_CLOSE, 1, 1}, {FRAME_CLOSE_BACK, 1, 3}, {FRAME_UDP_CLOSE, 3, 3}};

    for (size_t i = 0; i < ARRAY_LEN(listed); i++) {
        struct frame f = {1, listed[i].type, 0};
        enum close_code code = CLOSE_RESET;
        ck_assert_int_eq(frame_close_parse(&code, &f, NULL), 0);
        ck_assert_int_eq(code, CLOSE_FIN);
        f.len = 1;
        for (unsigned b = 0; b < 256; b++) {
            uint8_t byte = (uint8_t)b, out[1];
            bool is_listed = b >= listed[i].from && b <= listed[i].to;
            ck_assert_int_eq(frame_close_parse(&code, &f, &byte), is_listed ? 0 : -ERR_PROTO);
            if (!is_listed)
                continue;
            ck_assert_uint_eq(code, b);
            ck_assert_uint_eq(frame_close_emit(out, code), 1);
            ck_assert_uint_eq(out[0], b);
        }
    }
}
END_TEST

START_TEST(close_codes_have_names)
{
    uint8_t out[1];

    ck_assert_uint_eq(frame_close_emit(out, CLOSE_FIN), 0);
    ck_assert_str_eq(close_name(CLOSE_FIN), "fin");
    ck_assert_str_eq(close_name(CLOSE_RESET), "reset");
    ck_assert_str_eq(close_name(CLOSE_UNREACHABLE), "unreachable");
    ck_assert_str_eq(close_name(CLOSE_NOT_ALLOWED), "not_allowed");
}
END_TEST

START_TEST(credit_is_from_1_to_2_31_less_1)
{
    static const struct {
        uint8_t bytes[4];
        int rc;
        uint32_t credit;
    } cases[] = {
        {{0, 0, 0, 0}, -ERR_PROTO, 0},
        {{0, 0, 0, 1}, 0, 1},
        {{0, 1, 0, 0}, 0, 65536},
        {{0x12, 0x34, 0x56, 0x78}, 0, 0x12345678},
        {{0x7f, 0xff, 0xff, 0xff}, 0, 0x7fffffff},
        {{0x80, 0, 0, 0}, -ERR_PROTO, 0},
        {{0xff, 0xff, 0xff, 0xff}, -ERR_PROTO, 0},
    };
    uint8_t out[4];
    uint32_t credit;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ck_assert_int_eq(frame_credit_parse(&credit, cases[i].bytes), cases[i].rc);
        if (cases[i].rc != 0)
            continue;
        ck_assert_uint_eq(credit, cases[i].credit);
        frame_credit_emit(out, credit);
        ck_assert_mem_eq(out, cases[i].bytes, 4);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wire/frame");
    TCase *tcase = tcase_create("frame");

    tcase_add_loop_test(tcase, each_type_is_what_the_table_says, 0, ARRAY_LEN(table));
    tcase_add_test(tcase, every_other_type_is_unknown);
    tcase_add_test(tcase, ids_and_lengths_are_big_endian_and_unsigned);
    tcase_add_test(tcase, fewer_than_nine_bytes_are_no_header_yet);
    tcase_add_test_raise_signal(tcase, an_illegal_header_is_never_emitted, SIGABRT);
    tcase_add_test_raise_signal(tcase, an_oversized_header_is_never_emitted, SIGABRT);
    tcase_add_test(tcase, close_bytes_are_listed_for_their_type);
    tcase_add_test(tcase, close_codes_have_names);
    tcase_add_test(tcase, credit_is_from_1_to_2_31_less_1);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
