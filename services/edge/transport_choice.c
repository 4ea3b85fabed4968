/* transport_choice - see transport_choice.h. */
#include "edge/transport_choice.h"

const char *transport_reason_name(enum transport_reason reason)
{
    static const char *const names[] = {
#define X(name, text) text,
        TRANSPORT_REASONS(X)
#undef X
    };

    return names[reason];
}

void transport_choice_init(struct transport_choice *c, enum transport_mode mode, uint64_t retry_ms)
{
    *c = (struct transport_choice){
        .mode = mode,
        .retry_ms = retry_ms,
        .next = mode == TRANSPORT_TLS ? LINK_TLS : LINK_QUIC,
        .reason =
            mode == TRANSPORT_FALLBACK ? TRANSPORT_REASON_PREFERRED : TRANSPORT_REASON_CONFIGURED,
        .probe_due_ms = UINT64_MAX,
    };
}

static void turn_to(struct transport_choice *c, enum link_transport next,
                    enum transport_reason reason)
{
    if (c->next != next)
        c->switches[reason]++;
    c->next = next;
    c->reason = reason;
}

/* Between half of it and all of it: the edges of a hub must not come back to QUIC in step. */
static void plan_probe(struct transport_choice *c, uint64_t within_ms, uint64_t now_ms,
                       uint64_t random)
{
    c->probe_due_ms = now_ms + within_ms - random % (within_ms / 2 + 1);
}

void transport_choice_quic_up(struct transport_choice *c)
{
    if (c->mode != TRANSPORT_FALLBACK)
        return;
    turn_to(c, LINK_QUIC, TRANSPORT_REASON_PREFERRED);
    c->probe_due_ms = UINT64_MAX;
    c->is_hub_away = false;
}

void transport_choice_tls_up(struct transport_choice *c, uint64_t now_ms, uint64_t random)
{
    if (c->is_hub_away && c->next == LINK_TLS)
        plan_probe(c, TRANSPORT_PROBE_SOON_MS, now_ms, random);
    c->is_hub_away = false;
}

void transport_choice_quic_failed(struct transport_choice *c, uint64_t ran_ms, uint64_t now_ms,
                                  uint64_t random)
{
    bool ran_well = ran_ms >= TRANSPORT_RAN_WELL_MS;

    if (c->mode != TRANSPORT_FALLBACK)
        return;
    if (c->next == LINK_TLS && ran_ms == 0) /* a probe: the next one is planned */
        return;
    turn_to(c, LINK_TLS, ran_ms > 0 ? TRANSPORT_REASON_QUIC_LOST : TRANSPORT_REASON_QUIC_NOT_UP);
    plan_probe(c, ran_well ? TRANSPORT_PROBE_SOON_MS : c->retry_ms, now_ms, random);
}

/* In a row: the path did not do well for as long as it was left alone before. */
void transport_choice_quic_collapsed(struct transport_choice *c, uint64_t ran_ms, uint64_t now_ms,
                                     uint64_t random)
{
    if (c->mode != TRANSPORT_FALLBACK || c->next == LINK_TLS || now_ms < c->deaf_until_ms)
        return;
    if (ran_ms > c->collapse_pause_ms)
        c->collapses = 0;
    c->collapses = MIN(c->collapses + 1, TRANSPORT_COLLAPSES_MAX);
    c->collapse_pause_ms = c->retry_ms << (c->collapses - 1);
    c->is_hub_away = false;
    turn_to(c, LINK_TLS, TRANSPORT_REASON_QUIC_COLLAPSED);
    plan_probe(c, c->collapse_pause_ms, now_ms, random);
}

void transport_choice_tls_failed(struct transport_choice *c, uint64_t now_ms)
{
    if (c->mode != TRANSPORT_FALLBACK)
        return;
    c->deaf_until_ms = now_ms + TRANSPORT_DEAF_MS;
    turn_to(c, LINK_QUIC,
            c->next == LINK_QUIC ? c->reason : TRANSPORT_REASON_TLS_NOT_UP); /* another slot did */
    c->probe_due_ms = UINT64_MAX;
    c->is_hub_away = true;
}

bool transport_choice_probe(struct transport_choice *c, uint64_t now_ms, uint64_t random)
{
    if (c->next != LINK_TLS || now_ms < c->probe_due_ms)
        return false;
    plan_probe(c, c->retry_ms, now_ms, random);
    return true;
}
