/* log - see log.h.  A line is put together on the stack and leaves in one piece, so that lines of
 * several threads do not mix. */
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/must.h"

#define LINE_END_BYTES 32 /* room that values leave for what closes them and the line */

static_assert(LOG_LINE_BYTES <= PIPE_BUF, "a pipe may tear a line");

static enum log_format line_format = LOG_TEXT;
static int line_fd = 2;
static _Atomic int threshold = LOG_INFO;
static const struct log_sink *_Atomic diverted_to; /* borrowed; NULL: line_fd */

static const char *const level_names[] = {"debug", "info", "warn", "error"};

struct line {
    char *text; /* borrowed: LOG_LINE_BYTES */
    size_t len;
};

void log_init(enum log_format format, enum log_level level, int fd)
{
    line_format = format;
    line_fd = fd;
    log_set_level(level);
}

enum log_format log_format(void)
{
    return line_format;
}

int log_descriptor(void)
{
    return line_fd;
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&threshold, (int)level, memory_order_relaxed);
}

enum log_level log_level(void)
{
    return (enum log_level)atomic_load_explicit(&threshold, memory_order_relaxed);
}

bool log_is_on(enum log_level level)
{
    return level >= log_level();
}

const char *log_level_name(enum log_level level)
{
    return level < LOG_LEVEL_COUNT ? level_names[level] : "?";
}

int log_level_parse(const char *name)
{
    for (int i = 0; i < LOG_LEVEL_COUNT; i++)
        if (strcmp(name, level_names[i]) == 0)
            return i;
    return -1;
}

static void put(struct line *l, const char *s, size_t n)
{
    size_t room = LOG_LINE_BYTES - l->len;

    if (n > room)
        n = room;
    memcpy(l->text + l->len, s, n);
    l->len += n;
}

static void put_str(struct line *l, const char *s)
{
    put(l, s, strlen(s));
}

/* JSON's own escapes serve text as well: a control character or a quote never gets out bare.
 * A sequence is written whole or not at all. */
static void put_escaped(struct line *l, const char *s)
{
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        char esc[8];
        size_t n;

        if (c == '"' || c == '\\')
            n = (size_t)snprintf(esc, sizeof(esc), "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            n = (size_t)snprintf(esc, sizeof(esc), "\\u%04x", c);
        else if (c >= 0x80) /* bytes above ASCII may be no UTF-8: shown, never passed on */
            n = (size_t)snprintf(esc, sizeof(esc), "\\u%04x", c);
        else {
            esc[0] = (char)c;
            n = 1;
        }
        if (l->len + n + LINE_END_BYTES > LOG_LINE_BYTES) {
            put_str(l, "...");
            return;
        }
        put(l, esc, n);
    }
}

static bool is_bare(const char *s)
{
    if (!*s)
        return false;
    for (; *s; s++)
        if ((unsigned char)*s <= 0x20 || (unsigned char)*s >= 0x7f || strchr("\"=\\", *s))
            return false;
    return true;
}

static void put_time(struct line *l)
{
    struct timespec now;
    struct tm tm;
    char text[40];

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    size_t n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    put(l, text, n);
    n = (size_t)snprintf(text, sizeof(text), ".%03ldZ", now.tv_nsec / 1000000);
    put(l, text, n);
}

static void put_value(struct line *l, const struct log_field *f, enum log_format format)
{
    char num[32];

    switch (f->kind) {
    case LOG_KIND_STR:
        if (format == LOG_TEXT && f->str && is_bare(f->str)) {
            put_escaped(l, f->str); /* nothing to escape: it cuts what is too long */
            break;
        }
        if (!f->str) {
            put_str(l, format == LOG_JSON ? "null" : "-");
            break;
        }
        put_str(l, "\"");
        put_escaped(l, f->str);
        put_str(l, "\"");
        break;
    case LOG_KIND_U64:
        snprintf(num, sizeof(num), "%" PRIu64, f->num);
        put_str(l, num);
        break;
    case LOG_KIND_I64:
        snprintf(num, sizeof(num), "%" PRId64, (int64_t)f->num);
        put_str(l, num);
        break;
    case LOG_KIND_BOOL:
        put_str(l, f->num ? "true" : "false");
        break;
    case LOG_KIND_NONE:
        break;
    }
}

size_t log_emit_line(char *out, enum log_level level, const char *module, const char *event,
                     const struct log_field *fields, size_t n)
{
    struct line l = {.text = out};
    bool json = line_format == LOG_JSON;

    if (json)
        put_str(&l, "{\"ts\":\"");
    put_time(&l);
    put_str(&l, json ? "\",\"level\":\"" : " ");
    put_str(&l, log_level_name(level));
    put_str(&l, json ? "\",\"module\":\"" : level == LOG_INFO || level == LOG_WARN ? "  " : " ");
    put_escaped(&l, module);
    put_str(&l, json ? "\",\"event\":\"" : " ");
    put_escaped(&l, event);
    if (json)
        put_str(&l, "\"");
    for (size_t i = 0; i < n; i++) {
        if (fields[i].kind == LOG_KIND_NONE)
            continue;
        if (l.len + strlen(fields[i].key) + 64 > LOG_LINE_BYTES)
            break; /* the rest does not fit */
        put_str(&l, json ? ",\"" : " ");
        put_str(&l, fields[i].key);
        put_str(&l, json ? "\":" : "=");
        put_value(&l, &fields[i], line_format);
    }
    put_str(&l, json ? "}\n" : "\n");
    return l.len;
}

/* A log that cannot be written stops nobody. */
static bool write_text(int fd, const char *text, size_t len, unsigned patience_ms)
{
    struct pollfd room = {.fd = fd, .events = POLLOUT};
    int n;

    do
        n = poll(&room, 1, (int)patience_ms);
    while (n < 0 && errno == EINTR);
    return n > 0 && write(fd, text, len) >= 0;
}

static void put_line(const char *text, size_t len)
{
    const struct log_sink *sink = atomic_load_explicit(&diverted_to, memory_order_acquire);

    if (sink)
        sink->push(text, len);
    else
        (void)write_text(line_fd, text, len, LOG_LAST_MS);
}

void log_write(enum log_level level, const char *module, const char *event,
               const struct log_field *fields, size_t n)
{
    char text[LOG_LINE_BYTES];

    put_line(text, log_emit_line(text, level, module, event, fields, n));
}

void log_raw(enum log_level level, const char *line, size_t n)
{
    must(n <= LOG_LINE_BYTES);
    if (log_is_on(level))
        put_line(line, n);
}

void log_divert(const struct log_sink *sink)
{
    atomic_store_explicit(&diverted_to, sink, memory_order_release);
}

bool log_last_words(int fd, const char *text, size_t len)
{
    const struct log_sink *sink = atomic_load_explicit(&diverted_to, memory_order_acquire);
    bool is_read = !sink || sink->settle();

    return write_text(fd, text, len, is_read ? LOG_LAST_MS : 0);
}

bool log_limit_pass(struct log_limit *limit, uint64_t now_ms)
{
    unsigned burst = limit->burst ? limit->burst : 10;
    unsigned every_ms = limit->every_ms ? limit->every_ms : 1000;
    uint64_t earned = (now_ms - limit->since_ms) / every_ms;

    if (earned >= limit->used) { /* rested: the next period begins now */
        limit->used = 0;
        limit->since_ms = now_ms;
    } else {
        limit->used -= (unsigned)earned;
        limit->since_ms += earned * every_ms; /* what is left of a period counts on */
    }
    if (limit->used >= burst) {
        limit->held++;
        return false;
    }
    limit->used++;
    return true;
}
