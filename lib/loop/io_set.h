/* io_set - readiness of many descriptors that may leave for another loop.
 *
 * A loop_io stays in the kernel's set of its loop until the descriptor is closed (libev tells the
 * kernel lazily), so one that goes to another thread would go on to wake the loop that it left, and
 * be asked about there after its number is somebody else's.  Here a descriptor that was removed is
 * out of the set when io_set_remove() returns.  One loop, its own thread.
 */
#ifndef LOOP_IO_SET_H
#define LOOP_IO_SET_H

#include "loop/loop.h"

#define IO_SET_BATCH 64u /* descriptors that are told in a turn; the others come in the next */

struct io_set {
    struct loop_io io;
    int fd;                               /* owned: epoll's; -1: none */
    struct io_entry *batch[IO_SET_BATCH]; /* borrowed: of this turn, NULL once removed */
    unsigned batch_count;
};

/* A member of whoever owns the descriptor.  Readable (or in error) each turn until it was read. */
struct io_entry {
    int fd; /* borrowed; -1: in no set */
    void (*on_readable)(struct io_entry *entry);
};

/* 0, -ERR_SYS: the process has no descriptor left. */
MUST_USE int io_set_init(struct io_set *s, struct loop *loop);
void io_set_fini(struct io_set *s); /* fine on a zeroed one and twice; the entries are not asked */

void io_entry_init(struct io_entry *e, void (*on_readable)(struct io_entry *entry));
/* 0, -ERR_SYS: the kernel has no room (fs.epoll.max_user_watches). */
MUST_USE int io_set_add(struct io_set *s, struct io_entry *e, int fd);
/* Before the descriptor is closed or given away; also from within on_readable(), its own and
 * others'.  Fine when it is in no set. */
void io_set_remove(struct io_set *s, struct io_entry *e);

#endif
