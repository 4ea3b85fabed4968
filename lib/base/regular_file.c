/* regular_file - see regular_file.h. */
#include "base/regular_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"

static int fail(int number, const char **why)
{
    *why = strerrordesc_np(number);
    return number == ENOENT || number == ENOTDIR ? -ERR_NOT_FOUND : -ERR_IO;
}

/* O_NONBLOCK: to open a FIFO would wait for who writes into it. */
static int open_regular(const char *path, size_t max, size_t *size, const char **why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), err = 0;
    struct stat info;

    if (fd < 0)
        return fail(errno, why);
    if (fstat(fd, &info) != 0) {
        err = fail(errno, why);
    } else if (!S_ISREG(info.st_mode)) {
        *why = "is no regular file";
        err = -ERR_IO;
    } else if (info.st_size > (off_t)max) {
        *why = "is too large";
        err = -ERR_TOO_BIG;
    }
    *size = (size_t)info.st_size;
    if (!err)
        return fd;
    close(fd);
    return err;
}

/* Up to `size` bytes: what it grew by meanwhile is left out.  0, or errno. */
static int read_all(int fd, char *text, size_t size, size_t *n)
{
    ssize_t got;

    *n = 0;
    do {
        got = read(fd, text + *n, size - *n);
        if (got > 0)
            *n += (size_t)got;
    } while ((got > 0 && *n < size) || (got < 0 && errno == EINTR));
    return got < 0 ? errno : 0;
}

int regular_file_read(const char *path, size_t max, char **out, size_t *n, const char **why)
{
    size_t size = 0;
    int fd = open_regular(path, max, &size, why), number;
    char *text;

    *out = NULL;
    *n = 0;
    if (fd < 0)
        return fd;
    text = must_alloc(size + 1);
    number = size > 0 ? read_all(fd, text, size, n) : 0;
    close(fd);
    if (number != 0) {
        explicit_bzero(text, size);
        free(text);
        *n = 0;
        return fail(number, why);
    }
    text[*n] = '\0';
    *out = text;
    return 0;
}
