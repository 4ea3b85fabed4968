/* dns_server - a small DNS server on a loopback address, run by the test's own loop: it answers
 * what it was told, counts what it was asked, and can hold an answer back. */
#ifndef SUPPORT_DNS_SERVER_H
#define SUPPORT_DNS_SERVER_H

#include "loop/addr.h"
#include "loop/loop.h"

#define DNS_RECORDS_MAX 40
#define DNS_HELD_MAX    8

struct dns_record {
    const char *name; /* without a final dot; borrowed */
    union addr addr;
};

struct dns_server {
    struct loop_io io;
    int fd;
    uint16_t port;
    struct dns_record records[DNS_RECORDS_MAX];
    unsigned record_count;
    const char *silent; /* a name that gets no answer; borrowed */
    const char *late;   /* a name whose answers wait for dns_server_release(); borrowed */
    unsigned asked;     /* queries of any kind */
    struct {
        union addr from;
        unsigned char bytes[512];
        size_t len;
    } held[DNS_HELD_MAX];
    unsigned held_count;
    void (*on_held)(struct dns_server *s); /* may be NULL */
};

/* `host` is a loopback address, port 0 takes one from the kernel; ends the test when it cannot. */
void dns_server_start(struct dns_server *s, struct loop *loop, const char *host, uint16_t port);
/* An A or AAAA record.  A name with neither does not exist (NXDOMAIN). */
void dns_server_add(struct dns_server *s, const char *name, const char *addr);
void dns_server_release(struct dns_server *s);
void dns_server_stop(struct dns_server *s);

#endif
