/* scrub - see scrub.h. */
#include "doctor/scrub.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tls/tls.h"

#define FILE_MAX 65536
#define WORD_MIN 22u

void scrub_init(struct scrub *s)
{
    *s = (struct scrub){.secrets = must_alloc(SCRUB_MAX * sizeof(char *))};
}

void scrub_fini(struct scrub *s)
{
    for (size_t i = 0; i < s->count; i++) {
        tls_wipe(s->secrets[i], strlen(s->secrets[i]));
        free(s->secrets[i]);
    }
    free(s->secrets);
    *s = (struct scrub){0};
}

static void add(struct scrub *s, const char *secret, size_t n)
{
    if (n < SCRUB_SECRET_MIN)
        return;
    if (s->count == SCRUB_MAX) {
        s->is_full = true;
        return;
    }
    s->secrets[s->count] = must_alloc(n + 1);
    memcpy(s->secrets[s->count++], secret, n);
}

void scrub_add(struct scrub *s, const char *secret)
{
    for (const char *line = secret; line && *line;) {
        size_t n = strcspn(line, "\n");

        add(s, line, n);
        line += n + (line[n] == '\n');
    }
}

void scrub_add_file(struct scrub *s, const char *path)
{
    static const char word[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                               "-_.~+/=";
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    char *text;
    ssize_t n;

    if (fd < 0)
        return;
    text = must_alloc(FILE_MAX + 1);
    n = read(fd, text, FILE_MAX);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    for (char *at = text; *(at += strcspn(at, word));) {
        size_t len = strspn(at, word);

        if (len >= WORD_MIN)
            add(s, at, len);
        at += len;
    }
    tls_wipe(text, FILE_MAX);
    free(text);
}

static void add_folder(struct scrub *s, const char *path, bool goes_deeper)
{
    DIR *dir = opendir(path);
    struct dirent *entry;

    while (dir && (entry = readdir(dir)) != NULL) {
        char *file = must_printf("%s/%s", path, entry->d_name);
        struct stat st;

        if (lstat(file, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= FILE_MAX)
            scrub_add_file(s, file);
        else if (goes_deeper && strcmp(entry->d_name, "edges") == 0)
            add_folder(s, file, false);
        free(file);
    }
    if (dir)
        closedir(dir);
}

void scrub_add_folder(struct scrub *s, const char *path)
{
    add_folder(s, path, true);
}

static void blot_all(char *text, size_t n, const char *secret)
{
    size_t len = strlen(secret);
    char *at = text;

    while ((at = memmem(at, n - (size_t)(at - text), secret, len)) != NULL) {
        memset(at, '*', len);
        at += len;
    }
}

/* The word behind `begin`. */
static void blot_behind(char *text, size_t n, const char *begin)
{
    char *at = text, *stop = text + n;

    while ((at = memmem(at, (size_t)(stop - at), begin, strlen(begin))) != NULL)
        for (at += strlen(begin); at < stop && !strchr(" \t\r\n\"'\\,", *at); at++)
            *at = '*';
}

/* PEM, also with its line feeds written as "\n". */
static void blot_keys(char *text, size_t n)
{
    static const char begin[] = "PRIVATE KEY-----", end[] = "-----END";
    char *at = text, *stop = text + n;

    while ((at = memmem(at, (size_t)(stop - at), begin, strlen(begin))) != NULL) {
        char *to;

        at += strlen(begin);
        to = memmem(at, (size_t)(stop - at), end, strlen(end));
        if (!to)
            to = stop;
        for (; at < to; at++)
            if (*at != '\n')
                *at = '*';
        at = MIN(at + strlen(end), stop); /* "-----END ... PRIVATE KEY-----" begins none */
        while (at < stop && strncmp(at, begin, MIN(strlen(begin), (size_t)(stop - at))) != 0 &&
               *at != '\n')
            at++;
        at = MIN(at + strlen(begin), stop);
    }
}

void scrub_text(const struct scrub *s, char *text, size_t n)
{
    for (size_t i = 0; i < s->count; i++)
        blot_all(text, n, s->secrets[i]);
    blot_behind(text, n, "Bearer ");
    blot_behind(text, n, "Basic ");
    blot_behind(text, n, "eyJ"); /* base64 of {": a connection token, a JSON web token */
    blot_keys(text, n);
}
