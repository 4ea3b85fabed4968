/* machine - see machine.h. */
#include "doctor/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "loop/listener.h"
#include "loop/socket.h"

#define ROOM_LEAST_MIB 64u
#define LOW_PORT_FIRST 1023
#define LOW_PORT_LAST  900
#define DAY_SECS       86400

/* --- folders and files ------------------------------------------------------------------------ */

/* The first folder above it that is there. */
static void check_missing_folder(struct report *r, const char *name, const char *path)
{
    char *above = must_strdup(path);
    struct stat st;

    while (stat(above, &st) != 0 && strlen(above) > 1 && strcmp(above, ".") != 0)
        memmove(above, dirname(above), strlen(dirname(above)) + 1);
    if (access(above, W_OK | X_OK) == 0)
        report_ok(r, name, "%s is not there yet; it is made at the first start", path);
    else
        report_fail(r, name,
                    "make it (install -d -m 700), or give stateDir a folder of the service's user",
                    "%s is not there, and %s cannot be written", path, above);
    free(above);
}

/* The locks that the store and the token files rely on, tried on a file of our own.  0 or errno. */
static int try_locks(const char *path)
{
    char *file = must_printf("%s/.check-XXXXXX", path);
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    int fd = mkostemp(file, O_CLOEXEC), err = 0;

    if (fd < 0) {
        err = errno;
    } else {
        if (flock(fd, LOCK_EX | LOCK_NB) != 0 || fcntl(fd, F_SETLK, &range) != 0 || fsync(fd) != 0)
            err = errno;
        unlink(file);
        close(fd);
    }
    free(file);
    return err;
}

static void check_room(struct report *r, const char *name, const char *path)
{
    struct statvfs fs;
    uint64_t mib;

    if (statvfs(path, &fs) != 0)
        return;
    mib = (uint64_t)fs.f_bavail * fs.f_frsize >> 20;
    if (mib < ROOM_LEAST_MIB || (fs.f_files && fs.f_favail == 0))
        report_warn(r, name, "make room on its disk",
                    "%s has %" PRIu64 " MiB and %ju files left: little", path, mib,
                    (uintmax_t)fs.f_favail);
    else
        report_ok(r, name, "%s can be written and locked, %" PRIu64 " MiB are left", path, mib);
}

void machine_check_folder(struct report *r, const char *name, const char *path)
{
    struct stat st;
    int err;

    if (stat(path, &st) != 0 && errno == ENOENT) {
        check_missing_folder(r, name, path);
        return;
    }
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
        report_fail(r, name, "give stateDir a folder of the service's user", "%s: %s", path,
                    errno ? strerrordesc_np(errno) : "is no folder");
        return;
    }
    if (access(path, W_OK | X_OK) != 0) {
        report_fail(r, name, "chown it to the service's user, or run the check as that user",
                    "%s belongs to user %u and cannot be written by user %u", path,
                    (unsigned)st.st_uid, (unsigned)geteuid());
        return;
    }
    err = try_locks(path);
    if (err)
        report_fail(r, name, "put stateDir on a local file system that is not read-only",
                    "%s: a file cannot be made, locked and synced there: %s", path,
                    strerrordesc_np(err));
    else if ((st.st_mode & S_IWOTH) && !(st.st_mode & S_ISVTX))
        report_warn(r, name, "chmod o-w it", "%s can be written by everybody", path);
    else
        check_room(r, name, path);
}

void machine_check_secret_file(struct report *r, const char *name, const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0 && errno == ENOENT)
        report_ok(r, name, "%s is not there yet; it is made at the first start", path);
    else if (access(path, R_OK) != 0)
        report_fail(r, name, "chown it to the service's user", "%s: %s", path,
                    strerrordesc_np(errno));
    else if (st.st_mode & (S_IROTH | S_IWOTH | S_IWGRP))
        report_warn(r, name, "chmod 600 it", "%s is a secret, and its mode is %03o", path,
                    (unsigned)(st.st_mode & 0777));
    else
        report_ok(r, name, "%s can be read", path);
}

/* --- clock and limits ------------------------------------------------------------------------- */

void machine_check_clock(struct report *r)
{
    struct timex now = {.modes = 0};
    struct tm made = {0}, shown;
    time_t wall = time(NULL);
    char text[32];

    must(strptime(PENSTOCK_DATE, "%Y-%m-%d", &made) != NULL);
    gmtime_r(&wall, &shown);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &shown);
    if (wall < timegm(&made) - DAY_SECS)
        report_fail(r, "clock", "set the clock; run a time service (chrony, systemd-timesyncd)",
                    "it says %s, before this program was made", text);
    else if (adjtimex(&now) == TIME_ERROR || (now.status & STA_UNSYNC))
        report_warn(r, "clock", "run a time service (chrony, systemd-timesyncd)",
                    "it says %s, and the kernel knows of nothing that keeps it right", text);
    else
        report_ok(r, "clock", "it says %s and is kept in step", text);
}

void machine_check_files(struct report *r, uint64_t wanted)
{
    unsigned long limit = rlimit_raise_files();

    if (limit < wanted)
        report_warn(r, "descriptors",
                    "raise the limit of open files (LimitNOFILE=, ulimit -n, --ulimit nofile), or "
                    "lower the limits of the configuration",
                    "%lu open files are allowed; the configuration's limits ask for %" PRIu64,
                    limit, wanted);
    else
        report_ok(r, "descriptors", "%lu open files are allowed; %" PRIu64 " are asked for", limit,
                  wanted);
}

static int buffer_of(int fd, int option)
{
    int value = 0;
    socklen_t len = sizeof(value);

    if (getsockopt(fd, SOL_SOCKET, option, &value, &len) != 0)
        return 0;
    return value / 2; /* the kernel counts its own records too */
}

static void check_buffer(struct report *r, int fd, int option, const char *name, const char *mend,
                         int wanted)
{
    int got = buffer_of(fd, option);

    if (got < wanted)
        report_warn(r, name, mend, "the kernel gives a UDP socket %d bytes of %d", got, wanted);
    else
        report_ok(r, name, "a UDP socket gets %d bytes", got);
}

void machine_check_udp_buffers(struct report *r, int fd, int wanted)
{
    char *read_mend = must_printf("sysctl -w net.core.rmem_max=%d", wanted);
    char *write_mend = must_printf("sysctl -w net.core.wmem_max=%d", wanted);

    check_buffer(r, fd, SO_RCVBUF, "buffers.receive", read_mend, wanted);
    check_buffer(r, fd, SO_SNDBUF, "buffers.send", write_mend, wanted);
    free(read_mend);
    free(write_mend);
}

/* --- ports ------------------------------------------------------------------------------------ */

static void tell_taken(struct report *r, const char *name, const char *listen, const char *protocol,
                       enum machine_holder holder)
{
    switch (holder) {
    case MACHINE_SERVICE:
        report_ok(r, name, "%s (%s) is held by the running service", listen, protocol);
        break;
    case MACHINE_UNTOLD:
        report_warn(r, name,
                    "run the check as the service's user and with its configuration; or see who "
                    "has it (ss -lntup)",
                    "%s (%s) is taken, and the service that runs does not say by whom", listen,
                    protocol);
        break;
    case MACHINE_STRANGER:
        report_fail(r, name, "end the other program (ss -lntup shows it), or choose another port",
                    "%s (%s) is taken by another program", listen, protocol);
        break;
    }
}

static void tell_port(struct report *r, const char *name, const char *listen, const char *protocol,
                      int err)
{
    if (!err)
        report_ok(r, name, "%s (%s) can be bound", listen, protocol);
    else if (err == -EACCES)
        report_fail(r, name,
                    "AmbientCapabilities=CAP_NET_BIND_SERVICE, or a port from "
                    "net.ipv4.ip_unprivileged_port_start on",
                    "%s (%s): this user may not bind it", listen, protocol);
    else if (err == -EADDRNOTAVAIL)
        report_fail(r, name, "choose an address of this machine (ip address)",
                    "%s (%s) is no address of this machine", listen, protocol);
    else
        report_fail(r, name, "see the system's error", "%s (%s): %s", listen, protocol,
                    strerrordesc_np(-err));
}

void machine_check_port(struct report *r, const char *name, const char *listen,
                        enum machine_port kind, enum machine_holder holder)
{
    const char *protocol = kind == MACHINE_TCP ? "tcp" : "udp";
    union addr at;
    int fds[2], err;
    unsigned sets = 0;

    must(addr_parse(&at, listen) == 0); /* the configuration was checked */
    err = kind == MACHINE_TCP ? listen_bind_any(&at, 1, fds, &sets, NULL)
                              : listen_bind_udp(&at, 1, fds, &sets, NULL);
    for (unsigned i = 0; !err && i < sets; i++)
        close(fds[i]);
    if (err == -EADDRINUSE)
        tell_taken(r, name, listen, protocol, holder);
    else
        tell_port(r, name, listen, protocol, err);
}

void machine_check_low_ports(struct report *r, const char *address)
{
    union addr at;
    int fd = -1, err = -EADDRINUSE;
    uint16_t port = LOW_PORT_FIRST;

    if (addr_parse_host(&at, *address ? address : "0.0.0.0", port) != 0)
        return;
    for (; err == -EADDRINUSE && port > LOW_PORT_LAST; port--) {
        addr_set_port(&at, port);
        err = listen_bind(&at, 1, &fd, NULL);
    }
    if (!err)
        close(fd);
    if (!err)
        report_ok(r, "ports.low", "ports below 1024 can be bound");
    else if (err == -EACCES)
        report_warn(r, "ports.low",
                    "AmbientCapabilities=CAP_NET_BIND_SERVICE, or sysctl -w "
                    "net.ipv4.ip_unprivileged_port_start=0; or have the hub assign others",
                    "this user may not bind ports below 1024");
    else
        report_fail(r, "ports.low", "see bindAddress and the system's error", "%s: %s",
                    *address ? address : "any address", strerrordesc_np(-err));
}
