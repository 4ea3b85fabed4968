/* test_tls_tickets - session tickets: who resumes, and above all who must not. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "support/tls_pair.h"
#include "support/tls_pem.h"

#define GOOD_SECS 3600u

static const char *const priorities[] = {"NORMAL:-VERS-ALL:+VERS-TLS1.3",
                                         "NORMAL:-VERS-ALL:+VERS-TLS1.2"};

/* What a server of several names has. */
struct place {
    struct tls_cert *cert; /* of every name */
    struct tls_tickets *tickets;
    struct tls_ctx *ctx;
};

static struct tls_cert *select_cert(void *arg, const char *sni)
{
    struct place *place = arg;

    return sni ? place->cert : NULL;
}

static const struct tls_tickets *get_tickets(void *arg)
{
    struct place *place = arg;

    return place->tickets;
}

static struct tls_cert *make_cert(void)
{
    struct tls_pem pem;
    struct tls_cert *cert;
    char why[160] = "";

    tls_pem_make(&pem, &(struct tls_pem_options){.name = "a.test", .more = "b.test"});
    ck_assert_msg(tls_cert_parse(&cert, pem.chain, pem.key, why, sizeof(why)) == 0, "%s", why);
    tls_pem_fini(&pem);
    return cert;
}

static void place_open(struct place *place)
{
    struct tls_server_options options = {
        .versions = TLS_12_AND_13, .select = select_cert, .tickets = get_tickets};

    place->cert = make_cert();
    place->tickets = tls_tickets_new(NULL, 3, GOOD_SECS);
    ck_assert_int_eq(tls_ctx_new_server(&place->ctx, &options), 0);
}

static void place_close(struct place *place)
{
    tls_ctx_unref(place->ctx);
    tls_tickets_unref(place->tickets);
    tls_cert_unref(place->cert);
}

static void rotate(struct place *place)
{
    struct tls_tickets *next = tls_tickets_new(place->tickets, 3, GOOD_SECS);

    tls_tickets_unref(place->tickets);
    place->tickets = next;
}

/* Reads one byte of data: tickets come in front of it. */
static void read_byte(struct raw_client *raw, struct tls_pair *p)
{
    char byte;
    ssize_t n;

    ck_assert_int_eq(tls_write(p->server, "x", 1), IO_OK);
    ck_assert_int_eq(tls_flush(p->server), IO_OK);
    do
        n = gnutls_record_recv(raw->session, &byte, 1);
    while (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED);
    ck_assert_int_eq(n, 1);
}

/* One connection for `name`, with the session `ticket` if it has one; takes the new one.  Whether
 * it was resumed: both sides must say so. */
static bool visit(struct place *place, const char *priority, const char *name,
                  gnutls_datum_t *ticket)
{
    struct raw_client raw;
    struct tls_pair p;
    enum io io;
    bool is_resumed;

    tls_pair_open(&p, PAIR_DIRECT, 0);
    tls_pair_join(&p, NULL, NULL, place->ctx, place);
    raw_client_open(&raw, p.client_fd, priority, name);
    if (ticket->data)
        ck_assert_int_eq(gnutls_session_set_data(raw.session, ticket->data, ticket->size), 0);
    ck_assert_int_eq(raw_client_handshake(&raw, &p, &io), 0);
    ck_assert_msg(io == IO_OK, "%s", tls_error_text(p.server));
    read_byte(&raw, &p);
    is_resumed = gnutls_session_is_resumed(raw.session) != 0;
    ck_assert_int_eq(tls_is_resumed(p.server), is_resumed);
    ck_assert_str_eq(tls_sni(p.server), name);
    gnutls_free(ticket->data);
    ck_assert_int_eq(gnutls_session_get_data2(raw.session, ticket), 0);
    raw_client_close(&raw);
    tls_pair_close(&p);
    return is_resumed;
}

static gnutls_datum_t copy(const gnutls_datum_t *from)
{
    gnutls_datum_t to = {gnutls_malloc(from->size), from->size};

    ck_assert_ptr_nonnull(to.data);
    memcpy(to.data, from->data, from->size);
    return to;
}

START_TEST(same_name_resumes)
{
    gnutls_datum_t ticket = {NULL, 0};
    struct place place;

    place_open(&place);
    ck_assert(!visit(&place, priorities[_i], "a.test", &ticket));
    for (int i = 0; i < 3; i++)
        ck_assert(visit(&place, priorities[_i], "a.test", &ticket));
    gnutls_free(ticket.data);
    place_close(&place);
}
END_TEST

/* The certificate covers both names, and the same keys are in force: only the binding holds it. */
START_TEST(another_name_does_not)
{
    gnutls_datum_t ticket = {NULL, 0}, stolen;
    struct place place;

    place_open(&place);
    ck_assert(!visit(&place, priorities[_i], "a.test", &ticket));
    stolen = copy(&ticket);
    ck_assert(!visit(&place, priorities[_i], "b.test", &stolen));
    ck_assert(visit(&place, priorities[_i], "a.test", &ticket));
    gnutls_free(stolen.data);
    gnutls_free(ticket.data);
    place_close(&place);
}
END_TEST

START_TEST(another_certificate_does_not)
{
    gnutls_datum_t ticket = {NULL, 0};
    struct place place;

    place_open(&place);
    ck_assert(!visit(&place, priorities[_i], "a.test", &ticket));
    tls_cert_unref(place.cert);
    place.cert = make_cert();
    ck_assert(!visit(&place, priorities[_i], "a.test", &ticket));
    ck_assert(visit(&place, priorities[_i], "a.test", &ticket));
    gnutls_free(ticket.data);
    place_close(&place);
}
END_TEST

/* Three keys are kept: a ticket lives through two rotations and not through a third. */
START_TEST(older_keys_open_until_they_are_gone)
{
    gnutls_datum_t ticket = {NULL, 0}, old;
    struct place place;

    place_open(&place);
    ck_assert(!visit(&place, priorities[_i], "a.test", &ticket));
    old = copy(&ticket);
    for (int i = 0; i < 2; i++) {
        gnutls_datum_t used = copy(&old);

        rotate(&place);
        ck_assert_msg(visit(&place, priorities[_i], "a.test", &used), "rotation %d", i);
        gnutls_free(used.data);
    }
    rotate(&place);
    ck_assert(!visit(&place, priorities[_i], "a.test", &old));
    ck_assert(visit(&place, priorities[_i], "a.test", &old)); /* the one that it got now */
    gnutls_free(old.data);
    gnutls_free(ticket.data);
    place_close(&place);
}
END_TEST

START_TEST(no_keys_no_tickets)
{
    gnutls_datum_t ticket = {NULL, 0};
    struct place place;
    struct tls_tickets *kept;

    place_open(&place);
    ck_assert(!visit(&place, priorities[_i], "a.test", &ticket));
    kept = place.tickets;
    place.tickets = NULL;
    ck_assert(!visit(&place, priorities[_i], "a.test", &ticket));
    ck_assert(!visit(&place, priorities[_i], "a.test", &ticket));
    place.tickets = kept;
    gnutls_free(ticket.data);
    place_close(&place);
}
END_TEST

/* A hello that asks for another group first: the callback comes twice. */
START_TEST(hello_retry_request)
{
    static const char priority[] =
        "NORMAL:-VERS-ALL:+VERS-TLS1.3:-GROUP-ALL:+GROUP-SECP521R1:+GROUP-SECP384R1";
    gnutls_datum_t ticket = {NULL, 0};
    struct place place;

    place_open(&place);
    ck_assert(!visit(&place, priority, "a.test", &ticket));
    ck_assert(visit(&place, priority, "a.test", &ticket));
    gnutls_free(ticket.data);
    place_close(&place);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tls_tickets");
    TCase *tc = tcase_create("tickets");
    SRunner *runner;
    int failed;

    tcase_add_loop_test(tc, same_name_resumes, 0, 2);
    tcase_add_loop_test(tc, another_name_does_not, 0, 2);
    tcase_add_loop_test(tc, another_certificate_does_not, 0, 2);
    tcase_add_loop_test(tc, older_keys_open_until_they_are_gone, 0, 2);
    tcase_add_loop_test(tc, no_keys_no_tickets, 0, 2);
    tcase_add_test(tc, hello_retry_request);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
