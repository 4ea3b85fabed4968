/* log - one line an event, as JSON or as text, written with one write(2) to standard error.
 *
 *   log_info("link", "lane_open", LOG_S("edge", id), LOG_U("lane", n));
 *
 *   {"ts":"2026-01-02T03:04:05.678Z","level":"info","module":"link","event":"lane_open","edge":"e1","lane":3}
 *   2026-01-02T03:04:05.678Z info  link lane_open edge=e1 lane=3
 *
 * Values are escaped, so that no peer can forge a line or a field; a byte above ASCII becomes
 * \u00xx, since it may be no UTF-8.  A line is at most 4 KiB: longer values are cut and marked so,
 * fields that find no room are left out; it always ends well formed.
 * Never log a secret, a key, a token, an Authorization header.
 * Any thread may log.  What a peer can trigger is logged through a log_limit.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
 * front or cut.  For lines of a form of their own (traffic's access log); at most 4 KiB. */
void log_raw(enum log_level level, const char *line, size_t n);

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
