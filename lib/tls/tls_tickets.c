/* tls_tickets - what session tickets are sealed with (RFC 5077, RFC 8446 4.6.1).
 *
 *   master, fresh at each rotation --HMAC(name, leaf)--> key of one host --> GnuTLS seals and opens
 *
 * A ticket opens only for the name that it was given out for, and only while that name has the same
 * certificate: a ticket of a.test is of no use for b.test (RFC 6066 3), and who renews a
 * certificate is not asked for the old one any more.
 *
 * GnuTLS takes one key a session and has no call that tells whether a ticket is that key's.  Which
 * of our masters sealed a ticket is found by its first 16 bytes, the key's name, which GnuTLS makes
 * from the key and the time (SHA3-512, since 3.6.14).  Should that ever change, tickets of older
 * masters are not known any more and their clients make a full handshake: nothing worse.
 */
#include <gnutls/crypto.h>

#include "tls/tls_internal.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MASTER_BYTES 32u
#define KEY_BYTES    64u /* GnuTLS's: name, cipher key, MAC key */
#define NAME_PERIODS 3u  /* GnuTLS's key changes with the time, each so many times its expiry */

#define EXTENSION_TICKET 35u /* TLS 1.2 */
#define EXTENSION_PSK    41u /* TLS 1.3 */

struct tls_tickets {
    atomic_uint refs;
    unsigned count, good_secs;
    uint8_t masters[TLS_TICKET_KEYS_MAX][MASTER_BYTES]; /* the newest first */
};

struct tls_tickets *tls_tickets_new(const struct tls_tickets *before, unsigned keep,
                                    unsigned good_secs)
{
    struct tls_tickets *tickets = must_alloc(sizeof(*tickets));

    must(keep > 0 && keep <= TLS_TICKET_KEYS_MAX && good_secs > 0);
    atomic_init(&tickets->refs, 1);
    tickets->good_secs = good_secs;
    tickets->count = before ? MIN(before->count + 1, keep) : 1;
    if (before)
        memcpy(tickets->masters[1], before->masters[0], (tickets->count - 1) * MASTER_BYTES);
    tls_random(tickets->masters[0], MASTER_BYTES);
    return tickets;
}

struct tls_tickets *tls_tickets_ref(struct tls_tickets *tickets)
{
    must(atomic_fetch_add_explicit(&tickets->refs, 1, memory_order_relaxed) > 0);
    return tickets;
}

void tls_tickets_unref(struct tls_tickets *tickets)
{
    if (!tickets || atomic_fetch_sub_explicit(&tickets->refs, 1, memory_order_acq_rel) > 1)
        return;
    tls_wipe(tickets, sizeof(*tickets));
    free(tickets);
}

/* --- the ticket that a client brings ------------------------------------------------------- */

/* The first bytes of the first ticket; GnuTLS tries that one first too. */
static int on_extension(void *arg, unsigned id, const unsigned char *bytes, unsigned n)
{
    struct tls_ticket_name *name = arg;
    unsigned skip = id == EXTENSION_PSK ? 4u : 0; /* two lengths */

    if ((id == EXTENSION_PSK || id == EXTENSION_TICKET) && n >= skip + TLS_TICKET_NAME_BYTES) {
        memcpy(name->bytes, bytes + skip, TLS_TICKET_NAME_BYTES);
        name->is_known = true;
    }
    return 0;
}

/* Before GnuTLS has looked at it; what is not well formed there it will refuse itself. */
static int on_hello_bytes(gnutls_session_t session, unsigned type, unsigned when, unsigned incoming,
                          const gnutls_datum_t *message)
{
    struct tls *t = tls_of(session);

    (void)type;
    (void)when;
    (void)incoming;
    t->ticket_name.is_known = false;
    (void)gnutls_ext_raw_parse(&t->ticket_name, on_extension, message,
                               GNUTLS_EXT_RAW_FLAG_TLS_CLIENT_HELLO);
    return 0;
}

void tls_tickets_setup(struct tls *t)
{
    gnutls_handshake_set_hook_function(t->session, GNUTLS_HANDSHAKE_CLIENT_HELLO, GNUTLS_HOOK_PRE,
                                       on_hello_bytes);
}

/* --- keys ----------------------------------------------------------------------------------- */

static void derive(const struct tls_tickets *tickets, unsigned i, const char *host,
                   const struct tls_cert *cert, uint8_t key[KEY_BYTES])
{
    uint8_t text[1 + TLS_SNI_MAX + 1 + sizeof(cert->prints[0])];
    size_t n =
        strlen(host) + 1; /* with its end, so that name and certificate cannot run together */

    must(n <= TLS_SNI_MAX + 1);
    memcpy(text + 1, host, n);
    memcpy(text + 1 + n, cert->prints[0], sizeof(cert->prints[0]));
    n += 1 + sizeof(cert->prints[0]);
    for (uint8_t half = 0; half < 2; half++) {
        text[0] = half;
        tls_hmac_sha256(tickets->masters[i], MASTER_BYTES, text, n, key + 32u * half);
    }
}

/* Whether GnuTLS will call a ticket of this key by this name, now. */
static bool is_named(const uint8_t key[KEY_BYTES], unsigned good_secs,
                     const struct tls_ticket_name *name)
{
    uint64_t period = (uint64_t)time(NULL) / (good_secs * NAME_PERIODS);
    uint8_t text[8 + KEY_BYTES], hash[64];
    bool is_same;

    for (unsigned i = 0; i < 8; i++)
        text[i] = (uint8_t)(period >> (56 - 8 * i));
    memcpy(text + 8, key, KEY_BYTES);
    must(gnutls_hash_fast(GNUTLS_DIG_SHA3_512, text, sizeof(text), hash) == 0);
    is_same = memcmp(hash, name->bytes, TLS_TICKET_NAME_BYTES) == 0;
    tls_wipe(text, sizeof(text));
    tls_wipe(hash, sizeof(hash));
    return is_same;
}

int tls_tickets_enable(struct tls *t, const struct tls_tickets *tickets)
{
    uint8_t key[KEY_BYTES];
    gnutls_datum_t datum = {key, sizeof(key)};
    int rc;

    derive(tickets, 0, t->name, t->cert, key);
    for (unsigned i = 1; t->ticket_name.is_known && i < tickets->count; i++) {
        uint8_t older[KEY_BYTES];

        if (is_named(key, tickets->good_secs, &t->ticket_name))
            break;
        derive(tickets, i, t->name, t->cert, older);
        if (is_named(older, tickets->good_secs, &t->ticket_name)) {
            memcpy(key, older, sizeof(key));
            i = tickets->count;
        }
        tls_wipe(older, sizeof(older));
    }
    gnutls_db_set_cache_expiration(t->session, (int)tickets->good_secs);
    rc = gnutls_session_ticket_enable_server(t->session, &datum);
    tls_wipe(key, sizeof(key));
    return rc;
}
