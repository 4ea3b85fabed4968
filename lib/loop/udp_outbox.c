/* udp_outbox - see udp_outbox.h. */
#include "loop/udp_outbox.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/pieces.h"

#define SEGMENT_MAX  1472u  /* larger ones are fragmented, which segments cannot be */
#define SEGMENTS_MAX 64u    /* the kernel's UDP_MAX_SEGMENTS */
#define BUNDLE_MAX   65000u /* with headers it has to fit into one packet */
#define PLAIN_AFTER  1000u  /* messages that go one by one after one was refused */

static void count(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

struct udp_outbox *udp_outbox_new(struct udp_out_counters *counters, void *owner,
                                  void (*on_error)(struct udp_outbox *box, int err))
{
    struct udp_outbox *box = malloc(sizeof(*box)); /* touched as far as it is used */

    must(box != NULL);
    memset(box, 0, offsetof(struct udp_outbox, messages));
    box->fd = -1;
    box->counters = counters;
    box->owner = owner;
    box->on_error = on_error;
    return box;
}

void udp_outbox_free(struct udp_outbox *box)
{
    free(box);
}

/* --- out -------------------------------------------------------------------------------------- */

static const union addr *peer_of(const struct udp_message *m)
{
    return m->peer.sa.sa_family != 0 ? &m->peer : NULL;
}

/* Is about this datagram, and would be so again. */
static bool is_own_error(int err)
{
    return err == -EAGAIN || err == -ENOBUFS || err == -EMSGSIZE;
}

static void tell_pending(struct udp_outbox *box, int err)
{
    if (err == -ECONNREFUSED && box->on_pending)
        box->on_pending(box, err);
}

/* An error that waited on the socket (ICMP) is about an earlier datagram, and a firewall's EPERM
 * may be once: so each is tried twice. */
static void send_plain(struct udp_outbox *box, const struct udp_message *m, size_t at, size_t n)
{
    struct iovec piece = {box->bytes + m->at + at, n};
    int err = 0;

    for (unsigned i = 0; i < 2 && (i == 0 || (err && !is_own_error(err))); i++) {
        count(&box->counters->calls);
        err = udp_socket_send(box->fd, peer_of(m), &m->local, &piece, 1);
        if (i == 0)
            tell_pending(box, err);
    }
    if (err)
        box->on_error(box, err);
}

static void send_one_by_one(struct udp_outbox *box, const struct udp_message *m)
{
    for (size_t i = 0; i < m->count; i++)
        send_plain(box, m, i * m->segment, MIN(m->segment, m->len - i * m->segment));
}

static void prepare(struct udp_outbox *box, unsigned i)
{
    struct udp_message *m = &box->messages[i];
    struct msghdr *h = &box->headers[i].msg_hdr;

    box->pieces[i] = (struct iovec){box->bytes + m->at, m->len};
    *h = (struct msghdr){.msg_iov = &box->pieces[i], .msg_iovlen = 1};
    if (m->peer.sa.sa_family != 0) {
        h->msg_name = &m->peer;
        h->msg_namelen = addr_len(&m->peer);
    }
    udp_control_put(h, &box->controls[i], &m->local, m->count > 1 ? (uint16_t)m->segment : 0);
}

static bool is_for_one_call(const struct udp_outbox *box, unsigned i)
{
    return box->messages[i].count == 1 || box->plain_left == 0;
}

/* What the kernel refused to take: told at the first message of a call only. */
static void on_refused(struct udp_outbox *box, const struct udp_message *m, int err)
{
    bool is_of_segments = err == -EIO || err == -EINVAL || err == -EOPNOTSUPP || err == -EMSGSIZE;

    tell_pending(box, err);
    if (m->count > 1 && is_of_segments) { /* even after it worked: the path's MTU may change */
        count(&box->counters->refused);
        box->plain_left = PLAIN_AFTER;
    }
    if (m->count == 1 && is_own_error(err))
        box->on_error(box, err);
    else
        send_one_by_one(box, m);
}

/* Messages from the first on, up to `end`, in one call; how many are done with. */
static unsigned send_many(struct udp_outbox *box, unsigned first, unsigned end)
{
    int n;

    count(&box->counters->calls);
    n = sendmmsg(box->fd, box->headers + first, end - first, MSG_NOSIGNAL);
    if (n <= 0) {
        on_refused(box, &box->messages[first], n < 0 ? -errno : -EAGAIN);
        return 1;
    }
    for (unsigned i = first; i < first + (unsigned)n; i++)
        if (box->messages[i].count > 1)
            count(&box->counters->bundles);
    return (unsigned)n;
}

void udp_outbox_flush(struct udp_outbox *box)
{
    unsigned i = 0;

    while (i < box->used) {
        unsigned end = i;

        while (end < box->used && is_for_one_call(box, end))
            prepare(box, end++);
        if (end > i) {
            i += send_many(box, i, end);
            continue;
        }
        box->plain_left--;
        send_one_by_one(box, &box->messages[i++]);
    }
    box->fd = -1;
    box->used = 0;
    box->len = 0;
}

void udp_outbox_forget(struct udp_outbox *box, int fd)
{
    if (fd >= 0 && box->fd == fd)
        udp_outbox_flush(box);
}

/* --- in --------------------------------------------------------------------------------------- */

static bool is_same(const union addr *a, const union addr *b)
{
    if (!a)
        return b->sa.sa_family == 0;
    return a->sa.sa_family == b->sa.sa_family && memcmp(a, b, addr_len(a)) == 0;
}

/* Whether a datagram of n bytes may follow in the message. */
static bool fits(const struct udp_message *m, const union addr *peer, const union addr *local,
                 size_t n)
{
    return !m->is_closed && m->count < SEGMENTS_MAX && n > 0 && n <= m->segment &&
           m->segment <= SEGMENT_MAX && m->len + n <= BUNDLE_MAX && is_same(peer, &m->peer) &&
           (!local || is_same(local, &m->local));
}

static struct udp_message *begin(struct udp_outbox *box, const union addr *peer,
                                 const union addr *local, size_t n)
{
    struct udp_message *m = &box->messages[box->used++];

    m->peer = peer ? *peer : (union addr){0};
    m->local = local ? *local : (union addr){0};
    m->at = box->len;
    m->segment = n;
    m->len = m->count = 0;
    m->is_closed = false;
    return m;
}

void udp_outbox_add(struct udp_outbox *box, int fd, const union addr *peer, const union addr *local,
                    const struct iovec *pieces, size_t count)
{
    struct udp_message *m = NULL;
    size_t n = pieces_bytes(pieces, count);

    must(n <= UDP_BUFFER_BYTES);
    if (box->fd != fd || box->len + n > sizeof(box->bytes))
        udp_outbox_flush(box);
    box->fd = fd;
    if (box->used > 0 && fits(&box->messages[box->used - 1], peer, local, n))
        m = &box->messages[box->used - 1];
    if (!m && box->used == UDP_OUT_MESSAGES) {
        udp_outbox_flush(box);
        box->fd = fd;
    }
    if (!m)
        m = begin(box, peer, local, n);
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].iov_len > 0)
            memcpy(box->bytes + box->len, pieces[i].iov_base, pieces[i].iov_len);
        box->len += pieces[i].iov_len;
    }
    m->len += n;
    m->is_closed = n < m->segment;
    m->count++;
}
