/* pieces - bytes that lie in several pieces of memory (readv(2), writev(2)). */
#ifndef BASE_PIECES_H
#define BASE_PIECES_H

#include <stddef.h>
#include <sys/uio.h>

/* How many bytes they have in all. */
static inline size_t pieces_bytes(const struct iovec *pieces, size_t count)
{
    size_t n = 0;

    for (size_t i = 0; i < count; i++)
        n += pieces[i].iov_len;
    return n;
}

#endif
