/* tls_session - see tls_session.h. */
#include "tls/tls_session.h"

#include <string.h>

#include "tls/tls_internal.h"

int tls_session_new_server(struct tls **out, struct tls_ctx *ctx, void *select_arg)
{
    must(ctx->is_only_13 && ctx->alpn_count > 0);
    return tls_open_server(out, ctx, &(struct tls_carrier){.is_quic = true, .fd = -1}, select_arg);
}

int tls_session_new_client(struct tls **out, struct tls_ctx *ctx, const char *name)
{
    must(ctx->is_only_13 && ctx->alpn_count > 0);
    return tls_open_client(out, ctx, &(struct tls_carrier){.is_quic = true, .fd = -1}, name);
}

gnutls_session_t tls_session_handle(struct tls *t)
{
    return t->session;
}

int tls_session_finish(struct tls *t)
{
    must(t->is_quic && t->state == TLS_HANDSHAKE);
    if (!tls_ctx_is_satisfied(t)) {
        tls_note(t, -ERR_CERT, "the server's certificate was not checked");
        t->state = TLS_FAILED;
        return t->error;
    }
    tls_learn(t);
    if (t->alpn[0] == '\0') {
        tls_note(t, -ERR_TLS, "the peers have no protocol in common");
        t->state = TLS_FAILED;
        return t->error;
    }
    t->state = TLS_OPEN;
    return 0;
}

int tls_session_fail(struct tls *t, uint8_t alert, bool is_theirs)
{
    const char *name = gnutls_alert_get_name((gnutls_alert_description_t)alert);

    must(t->is_quic);
    tls_note(t, tls_alert_error((gnutls_alert_description_t)alert), "%s with an alert: %s",
             is_theirs ? "the peer ended it" : "the handshake failed", name ? name : "unknown");
    t->state = TLS_FAILED;
    return t->error;
}
