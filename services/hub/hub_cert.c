/* hub_cert - see hub_cert.h. */
#include "hub/hub_cert.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"

static int write_all(int fd, const char *text)
{
    size_t n = strlen(text);

    while (n > 0) {
        ssize_t wrote = write(fd, text, n);

        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return -errno;
        text += wrote;
        n -= (size_t)wrote;
    }
    return fsync(fd) == 0 ? 0 : -errno;
}

/* Whole or not at all: written beside it, then renamed.  0, -errno. */
static int write_private(const char *path, const char *text)
{
    char *beside = must_printf("%s.%ld.new", path, (long)getpid());
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int err = fd < 0 ? -errno : write_all(fd, text);

    if (fd >= 0)
        close(fd);
    if (err == 0 && rename(beside, path) != 0)
        err = -errno;
    if (err && fd >= 0)
        unlink(beside);
    free(beside);
    return err;
}

static int make_folder(const char *path)
{
    char *copy = must_printf("%s/", path);

    for (char *p = copy + 1; (p = strchr(p, '/')) != NULL; p++) {
        *p = '\0';
        (void)mkdir(copy, 0700); /* what is missing then is told by whoever writes there */
        *p = '/';
    }
    free(copy);
    return access(path, W_OK | X_OK) == 0 ? 0 : -errno;
}

/* The key first: a certificate without its key would be an error at the next start. */
static int make(const char *name, const char *folder, const char *cert_file, const char *key_file,
                char *why, size_t why_size)
{
    char *chain = NULL, *key = NULL;
    int err = make_folder(folder);

    if (!err && tls_cert_make_pem(name, &chain, &key) != 0) {
        snprintf(why, why_size, "a certificate cannot be made");
        return -ERR_TLS;
    }
    if (!err)
        err = write_private(key_file, key);
    if (!err)
        err = write_private(cert_file, chain);
    if (err)
        snprintf(why, why_size, "%s: %s", folder, strerrordesc_np(-err));
    else
        log_info("hub", "certificate_made", LOG_S("file", cert_file), LOG_S("name", name));
    if (key)
        tls_wipe(key, strlen(key));
    free(key);
    free(chain);
    return err ? -ERR_IO : 0;
}

int hub_cert_load(struct tls_cert **out, const struct hub_conf *conf, char *why, size_t why_size)
{
    const char *folder = conf->service.state_dir;
    char *cert_file, *key_file;
    int err = 0;

    if (*conf->tunnel_cert_file)
        return tls_cert_load(out, conf->tunnel_cert_file, conf->tunnel_key_file, why, why_size);
    cert_file = must_printf("%s/hub.crt", folder);
    key_file = must_printf("%s/hub.key", folder);
    if (access(cert_file, F_OK) != 0 && errno == ENOENT)
        err = make(*conf->public_host ? conf->public_host : "penstock-hub", folder, cert_file,
                   key_file, why, why_size);
    if (!err)
        err = tls_cert_load(out, cert_file, key_file, why, why_size);
    free(cert_file);
    free(key_file);
    return err;
}
