/* h2_stream_internal - what the two halves of a stream over HTTP/2 see of each other: its request
 * and its life (h2_stream.c), its answer on the way to the client (h2_answer.c).
 */
#ifndef TRAFFIC_H2_STREAM_INTERNAL_H
#define TRAFFIC_H2_STREAM_INTERNAL_H

#include <nghttp2/nghttp2.h>

#include "traffic/client.h"
#include "traffic/h2_session.h"
#include "traffic/h2_stream.h"
#include "traffic/traffic_worker_internal.h"

static inline struct traffic_worker *worker_of(const struct h2_stream *st)
{
    return st->session->client->worker;
}

static inline uint64_t now_ms(const struct h2_stream *st)
{
    return loop_now_ms(worker_of(st)->loop);
}

static inline uint64_t body_idle_ms(const struct h2_stream *st)
{
    return (uint64_t)worker_of(st)->settings->timeouts.body_idle_secs * 1000;
}

/* --- h2_stream.c ----------------------------------------------------------------------------- */

void h2_stream_enter(struct h2_stream *st, enum h2_stream_state to);
/* The head is not held any more: the answer has begun, or never will. */
void h2_stream_let_go_of_head(struct h2_stream *st);
/* Sends nothing more; the client must not take what it has for whole. */
void h2_stream_reset(struct h2_stream *st, enum traffic_reason reason, uint32_t code);
/* LINGERING, if the answer went and the request did not end. */
void h2_stream_linger(struct h2_stream *st);

/* --- h2_answer.c ----------------------------------------------------------------------------- */

extern const struct exchange_codec h2_answer_codec;
/* A refusal or a failure, as an answer; or a reset, where there is none for it. */
void h2_answer_own(struct h2_stream *st, enum traffic_reason reason);
/* Something of the answer waits for the client: payload, what the origin has of it, or its end,
 * which goes nowhere either while the window is shut. */
bool h2_stream_waits(const struct h2_stream *st);
/* When it must have opened its window further, by limits.readRate on the whole; UINT64_MAX: it need
 * not. */
uint64_t h2_stream_take_due_ms(const struct h2_stream *st);
/* The exchange failed: an answer if none has begun, else the cut must show. */
void h2_answer_break_off(struct h2_stream *st, enum traffic_reason reason, uint32_t code);

#endif
