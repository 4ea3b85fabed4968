/* Tests of h2_websocket: the example of RFC 6455 1.3, and its key. */
#include "traffic/h2_websocket.h"

#include "traffic_h1_fixture.h"

START_TEST(the_example_of_the_rfc)
{
    struct h2_websocket w;

    h2_websocket_make(&w, (const uint8_t *)"the sample nonce");
    ck_assert_str_eq(w.key, "dGhlIHNhbXBsZSBub25jZQ==");
    ck_assert_str_eq(w.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("traffic/h2_websocket");
    TCase *tcase = tcase_create("keys");

    tcase_add_test(tcase, the_example_of_the_rfc);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
