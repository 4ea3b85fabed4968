/* h1_codec - see h1_codec.h. */
#include "traffic/h1_codec.h"

#include "traffic/client.h"
#include "traffic/h1_emit.h"
#include "traffic/h1_session.h"
#include "traffic/traffic_worker_internal.h"
#include "traffic/upstream.h"

static struct h1_session *session_of(const struct exchange *x)
{
    return container_of(x, struct h1_session, exchange);
}

static void push_interim(struct exchange *x, const struct http_response *r)
{
    struct h1_session *s = session_of(x);
    struct h1_text text = {.p = x->worker->text, .size = sizeof(x->worker->text)};

    if (s->minor == 0)
        return; /* HTTP/1.0 knows none */
    h1_interim_emit(&text, r);
    must(!text.is_cut); /* a head of at most 64 KiB */
    client_put(s->client, x->worker->text, text.n);
    client_wake(s->client);
}

static void push_head(struct exchange *x, const struct http_response *r)
{
    struct h1_session *s = session_of(x);
    const struct traffic_settings *settings = x->worker->settings;
    struct h1_text text = {.p = x->worker->text, .size = sizeof(x->worker->text)};
    bool is_open_ended = r->framing == HTTP_CHUNKED || r->framing == HTTP_UNTIL_CLOSE;

    s->has_head = true;
    s->is_chunked_out = is_open_ended && s->minor > 0;
    if (r->status != 101 && ((is_open_ended && s->minor == 0) || !s->has_request_ended))
        s->closes = true;
    h1_response_emit(&text, r,
                     &(struct h1_answer){.minor = s->minor,
                                         .closes = s->closes,
                                         .is_chunked = s->is_chunked_out,
                                         .version_header = settings->version_header,
                                         .version = settings->version,
                                         .date = x->worker->date});
    must(!text.is_cut); /* a head of at most 64 KiB and a few lines */
    client_put(s->client, text.p, text.n);
    client_wake(s->client);
}

static void push_body(struct exchange *x, const uint8_t *bytes, size_t n)
{
    struct h1_session *s = session_of(x);

    if (s->is_chunked_out) {
        char frame[H1_CHUNK_HEAD_MAX];

        client_put(s->client, frame, h1_chunk_head(frame, n));
        client_put(s->client, bytes, n);
        client_put(s->client, "\r\n", 2);
    } else {
        client_put(s->client, bytes, n);
    }
    client_wake(s->client);
}

static void push_end(struct exchange *x, const struct http_fields *trailers)
{
    struct h1_session *s = session_of(x);

    if (s->is_chunked_out) {
        struct h1_text text = {.p = x->worker->text, .size = sizeof(x->worker->text)};

        h1_last_chunk_emit(&text, trailers);
        client_put(s->client, text.p, text.n);
    }
    s->has_answer_ended = true;
    client_wake(s->client);
}

static size_t room(const struct exchange *x)
{
    return client_room(session_of(x)->client);
}

static void taken(struct exchange *x, size_t n)
{
    bool was_held = exchange_room(x) - n < UPSTREAM_READ_MIN || x->body.len + n >= TLS_RECORD_BYTES;

    if (was_held && !x->is_ended)
        client_wake(session_of(x)->client);
}

static void wake(struct exchange *x)
{
    client_wake(session_of(x)->client);
}

const struct exchange_codec h1_codec = {push_interim, push_head, push_body, push_end,
                                        room,         taken,     wake};
