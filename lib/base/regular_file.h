/* regular_file - a small file, read whole.
 *
 * Who names a file may name a FIFO, a device or a directory as well: nothing is read that could
 * make its reader wait, or has no end.  May hold secrets: no copy stays behind.
 */
#ifndef BASE_REGULAR_FILE_H
#define BASE_REGULAR_FILE_H

#include <stddef.h>

#include "base/must.h"

/* All of it, at most `max` bytes, and a NUL behind them: the caller's, `*n` bytes and one more to
 * wipe and to free.  0; -ERR_NOT_FOUND; -ERR_TOO_BIG; -ERR_IO: all other causes, also that it is no
 * regular file.  Then *out is NULL and *why (static) says it, without the path. */
MUST_USE int regular_file_read(const char *path, size_t max, char **out, size_t *n,
                               const char **why);

#endif
