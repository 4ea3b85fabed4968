/* log - one line an event, as JSON or as text, on standard error.
 *
 *   log_info("link", "lane_open", LOG_S("edge", id), LOG_U("lane", n));
 *
 *   {"ts":"2026-01-02T03:04:05.678Z","level":"info","module":"link","event":"lane_open","edge":"e1","lane":3}
 *   2026-01-02T03:04:05.678Z info  link lane_open edge=e1 lane=3
 *
 * Values are escaped, so that no peer can forge a line or a field; a byte above ASCII becomes
 * \u00xx, since it may be no UTF-8.  A line is at most 4 KiB: longer values are cut and marked so,
 * fields that find no room are left out; it always ends well formed.
 * In a service nobody who logs waits for who reads: from log_writer_start() (loop/log_writer.h) a
 * line goes into a ring in memory, or is lost and counted, and a thread of its own writes it.
 * Before that, in a command and in the supervisor it leaves at once, with one write(2); a reader
 * that has stopped is waited for LOG_LAST_MS, then the line is lost.
 * Never log a secret, a key, a token, an Authorization header.
 * Any thread may log.  What a peer can trigger is logged through a log_limit.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_LINE_BYTES 4096u /* PIPE_BUF: a pipe takes a line whole or not at all */
#define LOG_LAST_MS    500u  /* what who has no log_writer, or dies, waits for a reader at most */

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERR, LOG_LEVEL_COUNT };
enum log_format { LOG_TEXT, LOG_JSON };

enum log_kind { LOG_KIND_NONE, LOG_KIND_STR, LOG_KIND_U64, LOG_KIND_I64, LOG_KIND_BOOL };

struct log_field {
    enum log_kind kind;
    const char *key;
    const char *str; /* borrowed from the caller for the call */
    uint64_t num;
};

#define LOG_S(k, v) ((struct log_field){LOG_KIND_STR, (k), (v), 0})
#define LOG_U(k, v) ((struct log_field){LOG_KIND_U64, (k), NULL, (uint64_t)(v)})
#define LOG_I(k, v) ((struct log_field){LOG_KIND_I64, (k), NULL, (uint64_t)(int64_t)(v)})
#define LOG_B(k, v) ((struct log_field){LOG_KIND_BOOL, (k), NULL, (v) ? 1 : 0})

#define LOG_NOTHING ((struct log_field){LOG_KIND_NONE, NULL, NULL, 0})
#define LOG_FIELDS(...)                                                                            \
    (struct log_field[])                                                                           \
    {                                                                                              \
        LOG_NOTHING, ##__VA_ARGS__                                                                 \
    }
#define LOG_AT(level, module, event, ...)                                                          \
    (log_is_on(level) ? log_write((level), (module), (event), LOG_FIELDS(__VA_ARGS__),             \
                                  sizeof(LOG_FIELDS(__VA_ARGS__)) / sizeof(struct log_field))      \
                      : (void)0)

#define log_debug(module, event, ...) LOG_AT(LOG_DEBUG, module, event, ##__VA_ARGS__)
#define log_info(module, event, ...)  LOG_AT(LOG_INFO, module, event, ##__VA_ARGS__)
#define log_warn(module, event, ...)  LOG_AT(LOG_WARN, module, event, ##__VA_ARGS__)
#define log_err(module, event, ...)   LOG_AT(LOG_ERR, module, event, ##__VA_ARGS__)

/* Where and how; until it is called: text, LOG_INFO, descriptor 2.  Before threads start. */
void log_init(enum log_format format, enum log_level level, int fd);
/* What log_init() was told: for whoever cannot call log_write() (a signal handler). */
enum log_format log_format(void);
int log_descriptor(void);
/* Any thread, any time. */
void log_set_level(enum log_level level);
enum log_level log_level(void);
bool log_is_on(enum log_level level);
/* "info"; and the level of a name, or -1. */
const char *log_level_name(enum log_level level);
int log_level_parse(const char *name);

/* Fields of kind NONE are passed over. */
void log_write(enum log_level level, const char *module, const char *event,
               const struct log_field *fields, size_t n);

/* A line that is made already, its newline included, written as it is: nothing is escaped, put in
 * front or cut.  For lines of a form of their own (traffic's access log); at most
 * LOG_LINE_BYTES. */
void log_raw(enum log_level level, const char *line, size_t n);
/* The text of a line, with its end, into `out`, which has LOG_LINE_BYTES; how long it is. */
size_t log_emit_line(char *out, enum log_level level, const char *module, const char *event,
                     const struct log_field *fields, size_t n);

/* The last words of a process that dies: what was logged before is written first, then `text` to
 * fd.  Neither is waited for longer than LOG_LAST_MS; false: nobody reads, the text is lost.
 * Async-signal-safe. */
bool log_last_words(int fd, const char *text, size_t len);

/* Takes the lines in place of the descriptor; for log_writer. */
struct log_sink {
    void (*push)(const char *text, size_t len); /* any thread; must not block */
    /* Waits, LOG_LAST_MS at most, until all that was pushed is written: true.  Async-signal-safe.
     */
    bool (*settle)(void);
};
/* Borrowed from now on; NULL: to the descriptor again.  Any thread. */
void log_divert(const struct log_sink *sink);

/* At most `burst` lines at once and one more each `every_ms`; what is held back is counted in
 * `held`: the caller tells it with the next line that passes and sets it to 0.  One a call site,
 * zeroed; used by one thread. */
struct log_limit {
    unsigned burst, every_ms; /* 0: 10 lines, 1,000 ms */
    unsigned used;
    uint64_t since_ms;
    uint64_t held;
};

/* True when a line may be written now. */
bool log_limit_pass(struct log_limit *limit, uint64_t now_ms);

#endif
