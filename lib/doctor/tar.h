/* tar - writes a tape archive of plain files held in memory: POSIX ustar (IEEE 1003.1, pax), names
 * of up to 100 bytes.  No socket, no clock: the time of all files comes in. */
#ifndef DOCTOR_TAR_H
#define DOCTOR_TAR_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/must.h"

#define TAR_NAME_MAX 100u

struct tar {
    FILE *out;    /* borrowed */
    int64_t made; /* of every file: seconds since 1970 */
    int error;    /* -ERR_*: the first one; later calls do nothing */
};

void tar_init(struct tar *t, FILE *out, int64_t made);
/* A file of mode 0600; `name` is relative, no longer than TAR_NAME_MAX. */
void tar_add(struct tar *t, const char *name, const void *bytes, size_t n);
/* The end of the archive.  0, -ERR_IO. */
MUST_USE int tar_end(struct tar *t);

#endif
