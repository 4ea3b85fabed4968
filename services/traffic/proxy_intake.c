/* proxy_intake - see proxy_intake.h. */
#include "traffic/proxy_intake.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"

void proxy_intake_init(struct proxy_intake *p)
{
    proxy_reader_init(&p->reader);
}

static enum io finish(const struct proxy_header *header, union addr *client)
{
    if (header->transport != PROXY_STREAM && header->family != PROXY_UNSPEC)
        return IO_FAIL;
    if (header->family != PROXY_UNSPEC && !header->is_local) {
        proxy_header_src(header, &client->storage);
        addr_unmap(client);
    }
    return IO_OK;
}

/* Bytes are peeked at first and taken when it is known that they are the header's, so what follows
 * stays in the socket for TLS. */
enum io proxy_intake_run(struct proxy_intake *p, int fd, union addr *client)
{
    for (;;) {
        uint8_t bytes[4096];
        size_t used = 0;
        ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);
        int done;

        if (n == 0)
            return IO_EOF;
        if (n < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK ? IO_WAIT
                   : errno == EINTR                        ? IO_WAIT
                                                           : IO_FAIL;
        done = proxy_reader_step(&p->reader, bytes, (size_t)n, &used);
        if (done < 0)
            return IO_FAIL;
        must(used <= (size_t)n);
        if (used > 0 && recv(fd, bytes, used, MSG_DONTWAIT) != (ssize_t)used)
            return IO_FAIL;
        if (done == 1)
            return finish(&p->reader.header, client);
    }
}

/* --- trusted networks --------------------------------------------------------------------- */

struct proxy_trust *proxy_trust_new(void)
{
    struct proxy_trust *trust = must_alloc(sizeof(*trust));

    atomic_init(&trust->refs, 1);
    return trust;
}

struct proxy_trust *proxy_trust_ref(struct proxy_trust *trust)
{
    unsigned before = atomic_fetch_add_explicit(&trust->refs, 1, memory_order_relaxed);

    must(before > 0);
    return trust;
}

void proxy_trust_unref(struct proxy_trust *trust)
{
    unsigned before;

    if (!trust)
        return;
    before = atomic_fetch_sub_explicit(&trust->refs, 1, memory_order_acq_rel);
    must(before > 0);
    if (before == 1) {
        free(trust->nets);
        free(trust);
    }
}

static void add_net(struct proxy_trust *trust, const union addr *base, unsigned bits)
{
    if (trust->count == trust->room) {
        trust->room = trust->room ? trust->room * 2 : 8;
        trust->nets = realloc(trust->nets, trust->room * sizeof(*trust->nets));
        must(trust->nets != NULL);
    }
    trust->nets[trust->count++] = (struct proxy_net){*base, bits};
}

static const uint8_t *addr_bytes(const union addr *a, unsigned *bits)
{
    if (a->sa.sa_family == AF_INET) {
        *bits = 32;
        return (const uint8_t *)&a->in.sin_addr;
    }
    *bits = 128;
    return (const uint8_t *)&a->in6.sin6_addr;
}

void proxy_trust_add_address(struct proxy_trust *trust, const union addr *address)
{
    union addr plain = *address;
    unsigned bits;

    addr_unmap(&plain);
    addr_bytes(&plain, &bits);
    add_net(trust, &plain, bits);
}

int proxy_trust_add(struct proxy_trust *trust, const char *text)
{
    const char *slash = strchr(text, '/');
    size_t n = slash ? (size_t)(slash - text) : strlen(text);
    char host[INET6_ADDRSTRLEN];
    union addr base = {0};
    unsigned width, bits = 0;

    if (n >= sizeof(host))
        return -ERR_SYNTAX;
    memcpy(host, text, n);
    host[n] = '\0';
    if (inet_pton(AF_INET, host, &base.in.sin_addr) == 1)
        base.sa.sa_family = AF_INET;
    else if (inet_pton(AF_INET6, host, &base.in6.sin6_addr) == 1)
        base.sa.sa_family = AF_INET6;
    else
        return -ERR_SYNTAX;
    addr_bytes(&base, &width);
    if (!slash) {
        proxy_trust_add_address(trust, &base);
        return 0;
    }
    if (!slash[1] || strlen(slash + 1) > 3 || (slash[1] == '0' && slash[2]))
        return -ERR_SYNTAX;
    for (const char *p = slash + 1; *p; p++) {
        if (*p < '0' || *p > '9')
            return -ERR_SYNTAX;
        bits = bits * 10 + (unsigned)(*p - '0');
    }
    if (bits > width)
        return -ERR_SYNTAX;
    add_net(trust, &base, bits);
    return 0;
}

static bool is_inside(const struct proxy_net *net, const union addr *peer)
{
    unsigned width;
    const uint8_t *a, *b;
    unsigned whole = net->bits / 8, rest = net->bits % 8;

    if (net->base.sa.sa_family != peer->sa.sa_family)
        return false;
    a = addr_bytes(&net->base, &width);
    b = addr_bytes(peer, &width);
    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ b[whole]) & (uint8_t)(0xff << (8 - rest))) == 0;
}

bool proxy_trust_has(const struct proxy_trust *trust, const union addr *peer)
{
    union addr plain = *peer;

    addr_unmap(&plain);
    for (size_t i = 0; i < trust->count; i++)
        if (is_inside(&trust->nets[i], &plain))
            return true;
    return false;
}
