/* dns_server - see dns_server.h.  Messages as in RFC 1035, section 4. */
#include "support/dns_server.h"

#include <arpa/inet.h>
#include <check.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define HEADER_BYTES 12
#define NAME_BYTES   256
#define TYPE_A       1
#define TYPE_AAAA    28

/* The question's name as text; returns where it ends, 0 for what is no question. */
static size_t question_name(const unsigned char *query, size_t len, char name[NAME_BYTES])
{
    size_t at = HEADER_BYTES, out = 0;

    while (at < len && query[at] != 0) {
        size_t label = query[at];

        if (label > 63 || at + 1 + label >= len || out + label + 2 > NAME_BYTES)
            return 0;
        if (out > 0)
            name[out++] = '.';
        memcpy(name + out, query + at + 1, label);
        out += label;
        at += 1 + label;
    }
    name[out] = '\0';
    return at + 5 <= len ? at + 1 : 0;
}

static size_t put_record(unsigned char *to, const union addr *a)
{
    size_t n = a->sa.sa_family == AF_INET ? 4 : 16;
    unsigned char head[12] = {0xc0, HEADER_BYTES, 0, 0, 0, 1, 0, 0, 0, 60, 0, 0};

    head[3] = a->sa.sa_family == AF_INET ? TYPE_A : TYPE_AAAA;
    head[11] = (unsigned char)n;
    memcpy(to, head, sizeof(head));
    if (n == 4)
        memcpy(to + sizeof(head), &a->in.sin_addr, n);
    else
        memcpy(to + sizeof(head), &a->in6.sin6_addr, n);
    return sizeof(head) + n;
}

/* Writes the answer to `query` into `out`; its length. */
static size_t answer(const struct dns_server *s, const unsigned char *query, size_t question_end,
                     const char *name, unsigned char *out, size_t size)
{
    unsigned type = query[question_end + 1];
    size_t len = question_end + 4;
    unsigned count = 0;
    bool is_known = false;

    memcpy(out, query, len);
    for (unsigned i = 0; i < s->record_count; i++) {
        const struct dns_record *r = &s->records[i];
        unsigned own = r->addr.sa.sa_family == AF_INET ? TYPE_A : TYPE_AAAA;

        if (strcasecmp(r->name, name) != 0)
            continue;
        is_known = true;
        if (own != type || len + 28 > size)
            continue;
        len += put_record(out + len, &r->addr);
        count++;
    }
    out[2] = (unsigned char)(0x84 | (query[2] & 1)); /* a response, authoritative */
    out[3] = is_known ? 0x80 : 0x83;                 /* or NXDOMAIN */
    memcpy(out + 4, (unsigned char[]){0, 1, 0, (unsigned char)count, 0, 0, 0, 0}, 8);
    return len;
}

static void on_query(struct loop_io *io, unsigned events)
{
    struct dns_server *s = container_of(io, struct dns_server, io);
    unsigned char query[1024], out[512];
    char name[NAME_BYTES];

    (void)events;
    for (;;) {
        union addr from = {0};
        socklen_t from_len = sizeof(from);
        ssize_t n = recvfrom(s->fd, query, sizeof(query), 0, &from.sa, &from_len);
        size_t end, len;

        if (n < 0)
            return;
        end = question_name(query, (size_t)n, name);
        if (end == 0)
            continue;
        s->asked++;
        if (s->silent && strcasecmp(s->silent, name) == 0)
            continue;
        len = answer(s, query, end, name, out, sizeof(out));
        if (s->late && strcasecmp(s->late, name) == 0) {
            ck_assert_uint_lt(s->held_count, DNS_HELD_MAX);
            s->held[s->held_count].from = from;
            s->held[s->held_count].len = len;
            memcpy(s->held[s->held_count++].bytes, out, len);
            if (s->on_held)
                s->on_held(s);
            continue;
        }
        ck_assert_int_eq(sendto(s->fd, out, len, 0, &from.sa, from_len), (ssize_t)len);
    }
}

void dns_server_start(struct dns_server *s, struct loop *loop, const char *host, uint16_t port)
{
    union addr at;
    socklen_t len = sizeof(at);

    *s = (struct dns_server){0};
    ck_assert_int_eq(addr_parse_host(&at, host, port), 0);
    s->fd = socket(at.sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(s->fd, 0);
    ck_assert_int_eq(bind(s->fd, &at.sa, addr_len(&at)), 0);
    ck_assert_int_eq(getsockname(s->fd, &at.sa, &len), 0);
    s->port = addr_port(&at);
    loop_io_init(&s->io, loop, s->fd, on_query);
    loop_io_arm(&s->io, LOOP_READ);
}

void dns_server_add(struct dns_server *s, const char *name, const char *addr)
{
    struct dns_record *r = &s->records[s->record_count++];

    ck_assert_uint_le(s->record_count, DNS_RECORDS_MAX);
    r->name = name;
    ck_assert_int_eq(addr_parse_host(&r->addr, addr, 0), 0);
}

void dns_server_release(struct dns_server *s)
{
    for (unsigned i = 0; i < s->held_count; i++)
        ck_assert_int_eq(sendto(s->fd, s->held[i].bytes, s->held[i].len, 0, &s->held[i].from.sa,
                                addr_len(&s->held[i].from)),
                         (ssize_t)s->held[i].len);
    s->held_count = 0;
    s->late = NULL;
}

void dns_server_stop(struct dns_server *s)
{
    loop_io_arm(&s->io, 0);
    close(s->fd);
}
