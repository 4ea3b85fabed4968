/* secret - files of tokens and secrets, made when they are missing: whole or not at all, 0600. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/admin.h"
#include "base/err.h"
#include "base/log.h"
#include "tls/tls.h"

#define SECRET_MIN  16
#define SECRET_MAX  256
#define SECRET_FILE 2048 /* bytes that such a file may have */

char *admin_secret_make(void)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint8_t random[33] = {0}; /* 32 and one to fill the last group of three */
    char *out = must_alloc(45);

    tls_random(random, 32);
    for (size_t i = 0; i < 11; i++) {
        unsigned group =
            (unsigned)(random[3 * i] << 16 | random[3 * i + 1] << 8 | random[3 * i + 2]);
        for (size_t k = 0; k < 4; k++)
            out[4 * i + k] = digits[group >> (18 - 6 * k) & 63];
    }
    out[43] = '\0'; /* 256 bits end in the 43rd */
    tls_wipe(random, sizeof(random));
    return out;
}

static int fail(char *why, size_t why_size, const char *path, const char *what)
{
    snprintf(why, why_size, "%s: %s", path, what);
    return -ERR_IO;
}

/* The folders above a file, 0700 each that is missing. */
static int make_folders(const char *path)
{
    char *copy = must_strdup(path);
    int err = 0;

    for (char *p = copy + 1; err == 0 && (p = strchr(p, '/')) != NULL; p++) {
        *p = '\0';
        if (mkdir(copy, 0700) != 0 && errno != EEXIST)
            err = -errno;
        *p = '/';
    }
    free(copy);
    return err;
}

static int write_all(int fd, const char *text, size_t n)
{
    while (n > 0) {
        ssize_t wrote = write(fd, text, n);

        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return wrote < 0 ? -errno : -EIO;
        text += wrote;
        n -= (size_t)wrote;
    }
    return fsync(fd) == 0 ? 0 : -errno;
}

/* Written beside it and linked: a crash leaves no half file, and of two processes that start at
 * once one wins and both read its secret. */
static int make_file(const char *path)
{
    char *beside = must_printf("%s.%ld.new", path, (long)getpid());
    char *secret = admin_secret_make();
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int err = fd < 0 ? -errno : 0;

    secret[43] = '\n';
    if (fd >= 0) {
        err = write_all(fd, secret, 44);
        close(fd);
        if (err == 0 && link(beside, path) != 0 && errno != EEXIST)
            err = -errno;
        unlink(beside);
    }
    tls_wipe(secret, 44);
    free(secret);
    free(beside);
    return err;
}

/* The lines of a text, checked and put together again with one newline between them. */
static const char *check_lines(char *text, size_t n, size_t lines_max)
{
    size_t lines = 0, out = 0;

    if (strlen(text) != n)
        return "holds a NUL byte";
    for (char *p = text; *p;) {
        size_t line_n = strcspn(p, "\r\n");

        if (line_n) {
            if (line_n < SECRET_MIN || line_n > SECRET_MAX)
                return "a line must have 16 to 256 characters";
            for (size_t i = 0; i < line_n; i++)
                if ((unsigned char)p[i] <= 0x20 || (unsigned char)p[i] >= 0x7f)
                    return "a line must not hold blanks or control characters";
            if (lines++ == lines_max)
                return lines_max == 1 ? "must hold one line" : "must hold one line or two";
            if (lines > 1)
                text[out++] = '\n';
            memmove(text + out, p, line_n);
            out += line_n;
        }
        p += line_n;
        p += strspn(p, "\r\n");
    }
    tls_wipe(text + out, n - out);
    return lines ? NULL : "is empty";
}

static int read_file(const char *path, size_t lines_max, char **out, char *why, size_t why_size)
{
    char *text = must_alloc(SECRET_FILE + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : read(fd, text, SECRET_FILE);
    const char *fault = n < 0 ? strerrordesc_np(errno) : NULL;
    struct stat st;

    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & S_IROTH))
        log_warn("admin", "secret_is_readable_by_all", LOG_S("path", path));
    if (fd >= 0)
        close(fd);
    if (!fault)
        fault = n == SECRET_FILE ? "is too large" : check_lines(text, (size_t)n, lines_max);
    if (!fault) {
        *out = text;
        return 0;
    }
    tls_wipe(text, SECRET_FILE);
    free(text);
    return fail(why, why_size, path, fault);
}

static bool is_missing(const char *path)
{
    return access(path, F_OK) != 0 && errno == ENOENT;
}

static int read_or_make(const char *path, size_t lines_max, char **out, char *why, size_t why_size)
{
    int err;

    *out = NULL;
    if (is_missing(path)) {
        err = make_folders(path);
        if (err == 0)
            err = make_file(path);
        if (err != 0)
            return fail(why, why_size, path, strerrordesc_np(-err));
        log_info("admin", "secret_made", LOG_S("path", path));
    }
    return read_file(path, lines_max, out, why, why_size);
}

int admin_token_file(const char *path, char **out, char *why, size_t why_size)
{
    return read_or_make(path, 2, out, why, why_size);
}

int admin_token_look(const char *path, char **out, char *why, size_t why_size)
{
    *out = NULL;
    if (is_missing(path)) {
        fail(why, why_size, path, strerrordesc_np(ENOENT));
        return -ERR_NOT_FOUND;
    }
    return read_file(path, 2, out, why, why_size);
}

int admin_secret_file(const char *path, char **out, char *why, size_t why_size)
{
    return read_or_make(path, 1, out, why, why_size);
}
