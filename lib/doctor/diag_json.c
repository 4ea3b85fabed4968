/* diag - the command `diag`: one tar file of text files about a service and its machine.
 *
 * What is asked of the running service is asked by its management API with the token that may only
 * read, and with a certificate of the caller's where it asks for one.  Every file goes through
 * scrub.h on its way in, with all secrets that the configuration and stateDir hold. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "admin/client.h"
#include "admin/service.h"
#include "base/log.h"
#include "doctor/command.h"
#include "doctor/scrub.h"
#include "doctor/tar.h"
#include "tls/tls.h"
#include "json/json.h"

#define LOG_TAIL_MAX   (1 << 20)
#define FILE_READ_MAX  (256 << 10)
#define EVENTS_REST_MS 300

const struct conf_option doctor_diag_options[] = {
    {"--output", "FILE",
     "the file to write, - for standard output; penstock-SERVICE-TIME.tar here"},
    {"--log", "FILE", "a log file of the service, whose last MiB goes into the bundle"},
    {"--cert", "FILE",
     "PEM of a certificate to show the service, where management.clientCaFile asks for one"},
    {"--key", "FILE", "PEM of its key, where the certificate's file has it not"},
    {NULL, NULL, NULL},
};

struct wishes {
    const char *output, *log, *cert, *key; /* borrowed from argv; NULL: not given */
};

struct bundle {
    struct tar tar;
    struct scrub scrub;
    const char *folder; /* borrowed: the name in front of each file's */
    FILE *list;         /* owned: what is in it; NULL: written already */
    char *list_text;
    size_t list_len;
};

static void on_secret(void *arg, const char *secret)
{
    scrub_add(arg, secret);
}

/* Takes the text over. */
static void put(struct bundle *b, const char *name, char *text, size_t n)
{
    char *path = must_printf("%s/%s", b->folder, name);

    scrub_text(&b->scrub, text, n);
    tar_add(&b->tar, path, text, n);
    if (b->list)
        fprintf(b->list, "%-24s %zu bytes\n", name, n);
    free(path);
    free(text);
}

static void put_string(struct bundle *b, const char *name, const char *text)
{
    put(b, name, must_strdup(text), strlen(text));
}

/* --- files of the machine --- */

/* The last `max` bytes of a file, or the first of one that has no size; NULL with errno. */
static char *slurp(const char *path, size_t max, size_t *n)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), saved;
    char *text = NULL;
    struct stat st;
    ssize_t got = -1;

    if (fd >= 0 && fstat(fd, &st) == 0) {
        text = must_alloc(max + 1);
        if (S_ISREG(st.st_mode) && (size_t)st.st_size > max)
            (void)lseek(fd, st.st_size - (off_t)max, SEEK_SET);
        *n = 0;
        while (*n < max && (got = read(fd, text + *n, max - *n)) > 0)
            *n += (size_t)got;
    }
    saved = errno;
    if (fd >= 0)
        close(fd);
    if (got >= 0)
        return text;
    free(text);
    errno = saved;
    return NULL;
}

static void put_file(struct bundle *b, const char *name, const char *path, size_t max)
{
    size_t n = 0;
    char *text = slurp(path, max, &n);

    if (!text) {
        text = must_printf("%s: %s\n", path, strerrordesc_np(errno));
        n = strlen(text);
    }
    put(b, name, text, n);
}

/* Many small files as one: a line of its path, then its content. */
static void put_files(struct bundle *b, const char *name, const char *const *paths, size_t count)
{
    char *all = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&all, &len);

    must(out != NULL);
    for (size_t i = 0; i < count; i++) {
        size_t n = 0;
        char *text = slurp(paths[i], FILE_READ_MAX, &n);

        fprintf(out, "==> %s\n", paths[i]);
        if (text)
            fwrite(text, 1, n, out);
        else
            fprintf(out, "(%s)\n", strerrordesc_np(errno));
        free(text);
    }
    fclose(out);
    put(b, name, all, len);
}

static void put_machine(struct bundle *b)
{
    static const char *const system[] = {"/etc/os-release",   "/proc/version", "/proc/uptime",
                                         "/proc/loadavg",     "/proc/meminfo", "/proc/self/limits",
                                         "/proc/self/cgroup", "/proc/cpuinfo"};
    static const char *const sysctls[] = {
        "/proc/sys/net/core/rmem_max",
        "/proc/sys/net/core/wmem_max",
        "/proc/sys/net/core/rmem_default",
        "/proc/sys/net/core/wmem_default",
        "/proc/sys/net/core/somaxconn",
        "/proc/sys/net/core/netdev_max_backlog",
        "/proc/sys/net/core/default_qdisc",
        "/proc/sys/net/ipv4/tcp_congestion_control",
        "/proc/sys/net/ipv4/tcp_available_congestion_control",
        "/proc/sys/net/ipv4/tcp_rmem",
        "/proc/sys/net/ipv4/tcp_wmem",
        "/proc/sys/net/ipv4/tcp_mem",
        "/proc/sys/net/ipv4/udp_mem",
        "/proc/sys/net/ipv4/tcp_mtu_probing",
        "/proc/sys/net/ipv4/tcp_max_syn_backlog",
        "/proc/sys/net/ipv4/tcp_syncookies",
        "/proc/sys/net/ipv4/ip_local_port_range",
        "/proc/sys/net/ipv4/ip_unprivileged_port_start",
        "/proc/sys/net/ipv6/conf/all/disable_ipv6",
        "/proc/sys/net/netfilter/nf_conntrack_max",
        "/proc/sys/net/netfilter/nf_conntrack_count",
        "/proc/sys/fs/file-max",
        "/proc/sys/fs/file-nr",
    };
    static const char *const network[] = {
        "/proc/net/sockstat", "/proc/net/sockstat6", "/proc/net/snmp",  "/proc/net/snmp6",
        "/proc/net/netstat",  "/proc/net/dev",       "/proc/net/route", "/proc/net/ipv6_route",
        "/proc/net/if_inet6", "/etc/resolv.conf",    "/etc/hosts"};

    put_files(b, "system.txt", system, ARRAY_LEN(system));
    put_files(b, "sysctl.txt", sysctls, ARRAY_LEN(sysctls));
    put_files(b, "network.txt", network, ARRAY_LEN(network));
}

/* --- the service --- */

static void put_version(struct bundle *b, const struct doctor_diag *d)
{
    struct utsname u;
    char *text;

    must(uname(&u) == 0);
    text =
        must_printf("penstock-%s %s of %s\ncompiler: %s\nmachine: %s %s %s\n", d->table->service,
                    PENSTOCK_VERSION, PENSTOCK_DATE, __VERSION__, u.sysname, u.release, u.machine);
    put(b, "version.txt", text, strlen(text));
}

static void put_configuration(struct bundle *b, const struct doctor_diag *d)
{
    struct json_object *shown = conf_emit(d->table, d->conf);
    char *names = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&names, &len);

    put_string(b, "config.json",
               json_object_to_json_string_ext(shown, JSON_C_TO_STRING_PRETTY |
                                                         JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(shown);
    must(out != NULL);
    for (char **e = environ; *e; e++) /* what is set, not to what */
        if (strncmp(*e, "PENSTOCK_", 9) == 0)
            fprintf(out, "%.*s\n", (int)strcspn(*e, "="), *e);
    fclose(out);
    put(b, "environment.txt", names, len);
}

static void put_findings(struct bundle *b, const struct doctor_diag *d)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    struct report r;

    must(out != NULL);
    report_init(&r, d->table->service);
    d->examine(&r, d->conf);
    report_print(&r, out);
    report_fini(&r);
    fclose(out);
    put(b, "check.txt", text, len);
}

static void list_folder(FILE *out, const char *path, const char *shown, bool goes_deeper)
{
    DIR *dir = opendir(path);
    struct dirent *entry;

    if (!dir)
        fprintf(out, "%s: %s\n", shown, strerrordesc_np(errno));
    while (dir && (entry = readdir(dir)) != NULL) {
        char *file = must_printf("%s/%s", path, entry->d_name);
        struct stat st;

        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            lstat(file, &st) == 0) {
            fprintf(out, "%06o %u:%u %12jd %12jd %s/%s\n", (unsigned)st.st_mode,
                    (unsigned)st.st_uid, (unsigned)st.st_gid, (intmax_t)st.st_size,
                    (intmax_t)st.st_mtime, shown, entry->d_name);
            if (S_ISDIR(st.st_mode) && goes_deeper)
                list_folder(out, file, entry->d_name, false);
        }
        free(file);
    }
    if (dir)
        closedir(dir);
}

static void put_state_dir(struct bundle *b, const struct doctor_diag *d)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    must(out != NULL);
    fputs("mode owner size changed name (names only: none of these files is in here)\n", out);
    list_folder(out, d->service->state_dir, ".", true);
    fclose(out);
    put(b, "state-dir.txt", text, len);
}

/* The service as it runs, as far as it answers. */
static void put_live(struct bundle *b, const struct doctor_diag *d, const struct wishes *w)
{
    static const struct {
        const char *name, *path;
        unsigned rest_ms;
    } asked[] = {
        {"live/healthz.json", "/healthz", 0},
        {"live/readyz.json", "/readyz", 0},
        {"live/status.json", "/v1/status", 0},
        {"live/config.json", "/v1/config", 0},
        {"live/metrics.txt", "/metrics", 0},
        {"live/log-level.json", "/v1/log-level", 0},
        {"live/events.txt", "/v1/events", EVENTS_REST_MS},
    };
    char *token = service_read_token(d->service);
    struct client_where where = {.listen = d->service->management_listen,
                                 .is_tls = *d->service->management_cert_file != '\0',
                                 .token = token,
                                 .cert_file = w->cert,
                                 .key_file = w->key};

    scrub_add(&b->scrub, token);
    for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
        struct client_answer answer;
        const char *fault = client_get(&answer, &where, asked[i].path, asked[i].rest_ms);

        if (fault)
            put_string(b, asked[i].name, fault);
        else if (answer.status != 200 && strcmp(asked[i].path, "/readyz") != 0) {
            char *text = must_printf("status %u\n%s\n", answer.status, answer.body);
            put(b, asked[i].name, text, strlen(text));
            client_answer_fini(&answer);
        } else {
            put(b, asked[i].name, answer.body, answer.len);
        }
    }
    if (token)
        tls_wipe(token, strlen(token));
    free(token);
}

static void gather_secrets(struct bundle *b, const struct doctor_diag *d, const struct wishes *w)
{
    conf_each_secret(d->table, d->conf, on_secret, &b->scrub);
    if (d->each_secret)
        d->each_secret(d->conf, on_secret, &b->scrub);
    scrub_add_folder(&b->scrub, d->service->state_dir);
    if (*d->service->management_token_file)
        scrub_add_file(&b->scrub, d->service->management_token_file);
    if (*d->service->management_read_token_file)
        scrub_add_file(&b->scrub, d->service->management_read_token_file);
    if (w->key)
        scrub_add_file(&b->scrub, w->key);
}

static int write_bundle(FILE *out, const char *folder, const struct doctor_diag *d,
                        const struct wishes *w)
{
    struct bundle b = {.folder = folder};
    int err;

    tar_init(&b.tar, out, time(NULL));
    scrub_init(&b.scrub);
    gather_secrets(&b, d, w);
    b.list = open_memstream(&b.list_text, &b.list_len);
    must(b.list != NULL);
    fprintf(b.list,
            "What penstock-%s knows of itself and of this machine.  Secrets are masked; names, "
            "addresses and\nports are not: look it through before you hand it on.\n\n",
            d->table->service);
    put_version(&b, d);
    put_configuration(&b, d);
    put_findings(&b, d);
    put_state_dir(&b, d);
    put_live(&b, d, w);
    put_machine(&b);
    if (w->log)
        put_file(&b, "log.txt", w->log, LOG_TAIL_MAX);
    if (b.scrub.is_full)
        fprintf(b.list, "\nThere were more secrets than could be looked for.\n");
    fclose(b.list);
    b.list = NULL;
    put(&b, "README.txt", b.list_text, b.list_len);
    scrub_fini(&b.scrub);
    err = tar_end(&b.tar);
    return err;
}

/* --- the command --- */

static const char *value_of(char ***rest, const char *name)
{
    size_t n = strlen(name);

    if (strncmp(**rest, name, n) != 0)
        return NULL;
    if ((**rest)[n] == '=')
        return **rest + n + 1;
    if ((**rest)[n] || !(*rest)[1])
        return NULL;
    return *++*rest;
}

/* False: told. */
static bool parse(struct wishes *w, char **rest)
{
    for (; rest && *rest; rest++) {
        const char *value;

        if ((value = value_of(&rest, "--output")) != NULL) {
            w->output = value;
        } else if ((value = value_of(&rest, "--log")) != NULL) {
            w->log = value;
        } else if ((value = value_of(&rest, "--cert")) != NULL) {
            w->cert = value;
        } else if ((value = value_of(&rest, "--key")) != NULL) {
            w->key = value;
        } else {
            fprintf(stderr,
                    "diag: takes --output FILE, --log FILE, --cert FILE and --key FILE, not %s\n",
                    *rest);
            return false;
        }
    }
    return true;
}

/* A pair that is none is told here, not by seven files of the bundle.  False: told. */
static bool check_cert(struct wishes *w)
{
    struct tls_cert *cert = NULL;
    char why[200] = "";

    if (!w->cert && !w->key)
        return true;
    if (!w->cert) {
        fprintf(stderr, "diag: --key needs --cert FILE\n");
        return false;
    }
    if (!w->key) /* one file with both, as curl takes it */
        w->key = w->cert;
    if (tls_cert_load(&cert, w->cert, w->key, why, sizeof(why)) != 0) {
        fprintf(stderr, "diag: --cert: %s\n", why);
        return false;
    }
    tls_cert_unref(cert);
    return true;
}

int doctor_diag(const struct doctor_diag *diag, char **rest)
{
    struct wishes w = {0};
    char *folder, *name = NULL, when[32];
    time_t now = time(NULL);
    struct tm tm;
    FILE *out = stdout;
    int fd, err;

    if (!parse(&w, rest) || !check_cert(&w))
        return 2;
    log_set_level(LOG_ERR);
    gmtime_r(&now, &tm);
    strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", &tm);
    folder = must_printf("penstock-%s-%s", diag->table->service, when);
    name = w.output ? must_strdup(w.output) : must_printf("%s.tar", folder);
    if (strcmp(name, "-") != 0) {
        /* Never into a file that is there: it keeps its owner and its mode. */
        fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        out = fd >= 0 ? fdopen(fd, "w") : NULL;
    }
    err = out ? write_bundle(out, folder, diag, &w) : -1;
    if (out && out != stdout && fclose(out) != 0)
        err = -1;
    if (err)
        fprintf(stderr, "diag: %s cannot be written%s\n", name,
                out || errno != EEXIST ? "" : ": it is there already");
    else if (out != stdout)
        printf("%s\n", name);
    free(folder);
    free(name);
    return err ? 1 : 0;
}
