/* crash_log - see crash_log.h. */
#include "loop/crash_log.h"

#include <errno.h>
#include <execinfo.h>
#include <link.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/must.h"

#define STACK_BYTES  65536u
#define FRAMES_MAX   48
#define MODULES_MAX  64
#define NAME_MAX_LEN 32u
#define LINE_BYTES   4096u
#define SECS_A_DAY   86400

/* A piece of code that is mapped: the program or a library. */
struct module {
    uintptr_t base, start, end;
    char name[NAME_MAX_LEN];
};

static struct module modules[MODULES_MAX]; /* written before the handler is in place */
static unsigned module_count;
static _Thread_local void *own_stack;
static struct sigaction action;

static const struct {
    int number;
    const char *name;
} fatal[] = {{SIGSEGV, "SEGV"}, {SIGBUS, "BUS"}, {SIGILL, "ILL"},  {SIGFPE, "FPE"},
             {SIGABRT, "ABRT"}, {SIGSYS, "SYS"}, {SIGTRAP, "TRAP"}};

/* --- beforehand --- */

static void keep_name(struct module *m, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;

    if (!*name)
        name = program_invocation_short_name;
    strncpy(m->name, name, sizeof(m->name) - 1);
}

static int on_module(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    (void)arg;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        struct module *m;

        if (header->p_type != PT_LOAD || !(header->p_flags & PF_X))
            continue;
        if (module_count == MODULES_MAX)
            return 1;
        m = &modules[module_count++];
        m->base = info->dlpi_addr;
        m->start = info->dlpi_addr + header->p_vaddr;
        m->end = m->start + header->p_memsz;
        keep_name(m, info->dlpi_name);
    }
    return 0;
}

/* --- the line --- */

struct crash_line {
    char text[LINE_BYTES];
    size_t len;
    int signum;
};

static _Thread_local struct crash_line *unfinished; /* its backtrace is being made */

static void put(struct crash_line *l, const char *text)
{
    while (*text && l->len < sizeof(l->text) - 8) /* room for what closes the line */
        l->text[l->len++] = *text++;
}

static void put_hex(struct crash_line *l, uintptr_t value)
{
    char digits[2 * sizeof(value) + 1];
    size_t at = sizeof(digits) - 1;

    digits[at] = '\0';
    do {
        digits[--at] = "0123456789abcdef"[value & 15];
        value >>= 4;
    } while (value);
    put(l, "0x");
    put(l, digits + at);
}

static void put_number(struct crash_line *l, long value, int width)
{
    char digits[24];
    size_t at = sizeof(digits) - 1;

    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
        width--;
    } while (at > 0 && (value || width > 0));
    put(l, digits + at);
}

/* gmtime_r() takes a lock.  Days since 1970 to a date: years are counted from March of the year 0,
 * so that the leap day is the last of its year, in eras of 400 years, 146,097 days. */
static void put_time(struct crash_line *l)
{
    struct timespec now;
    long days, era, of_era, year, of_year, month;

    clock_gettime(CLOCK_REALTIME, &now);
    days = now.tv_sec / SECS_A_DAY + 719468;
    era = days / 146097;
    of_era = days % 146097;
    year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    of_year = of_era - (365 * year + year / 4 - year / 100);
    month = (5 * of_year + 2) / 153;
    put_number(l, year + era * 400 + (month >= 10), 4);
    put(l, "-");
    put_number(l, month < 10 ? month + 3 : month - 9, 2);
    put(l, "-");
    put_number(l, of_year - (153 * month + 2) / 5 + 1, 2);
    put(l, "T");
    put_number(l, now.tv_sec % SECS_A_DAY / 3600, 2);
    put(l, ":");
    put_number(l, now.tv_sec % 3600 / 60, 2);
    put(l, ":");
    put_number(l, now.tv_sec % 60, 2);
    put(l, ".");
    put_number(l, now.tv_nsec / 1000000, 3);
    put(l, "Z");
}

static void put_address(struct crash_line *l, uintptr_t at)
{
    for (unsigned i = 0; i < module_count; i++)
        if (at >= modules[i].start && at < modules[i].end) {
            put(l, modules[i].name);
            put(l, "+");
            at -= modules[i].base;
            break;
        }
    put_hex(l, at);
}

static void put_field(struct crash_line *l, const char *key, bool is_json)
{
    put(l, is_json ? ",\"" : " ");
    put(l, key);
    put(l, is_json ? "\":\"" : "=\"");
}

static void put_backtrace(struct crash_line *l)
{
    void *frames[FRAMES_MAX];
    int count = backtrace(frames, FRAMES_MAX);

    for (int i = 2; i < count; i++) { /* without this and the handler */
        put(l, i > 2 ? " " : "");
        put_address(l, (uintptr_t)frames[i]);
    }
}

static void begin_line(struct crash_line *l, const char *name, uintptr_t address)
{
    bool is_json = log_format() == LOG_JSON;
    char thread[17] = "";

    if (is_json)
        put(l, "{\"ts\":\"");
    put_time(l);
    put(l, is_json ? "\",\"level\":\"error\",\"module\":\"crash\",\"event\":\"fatal_signal\""
                   : " error crash fatal_signal");
    put_field(l, "signal", is_json);
    put(l, name);
    put(l, "\"");
    put_field(l, "address", is_json);
    put_hex(l, address);
    put(l, "\"");
    prctl(PR_GET_NAME, thread);
    put_field(l, "thread", is_json);
    put(l, thread);
    put(l, "\"");
    put_field(l, "backtrace", is_json);
}

/* False: nobody reads. */
static bool write_line(struct crash_line *l)
{
    bool is_json = log_format() == LOG_JSON;

    memcpy(l->text + l->len, is_json ? "\"}\n" : "\"\n", is_json ? 3 : 2);
    l->len += is_json ? 3 : 2;
    return log_last_words(log_descriptor(), l->text, l->len);
}

#if defined(__SANITIZE_ADDRESS__)
void __sanitizer_print_stack_trace(void);
#endif

/* Threads are made with every signal blocked, and a handler blocks its own.  A fault whose signal
 * its thread blocks ends the process at once, without a handler. */
static void unblock_fatal(void)
{
    sigset_t set;

    sigemptyset(&set);
    for (unsigned i = 0; i < ARRAY_LEN(fatal); i++)
        sigaddset(&set, fatal[i].number);
    must(pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0);
}

/* Walks the stack, which may be what is broken: a fault on the way comes to on_fatal() again. */
static void add_backtrace(struct crash_line *l)
{
    (void)sigaction(SIGSEGV, &action, NULL);
    (void)sigaction(SIGBUS, &action, NULL);
    unfinished = l;
    unblock_fatal();
    put_backtrace(l);
    unfinished = NULL;
}

/* By the default, now or, where it is blocked, as soon as the handler returns. */
static void die_of(int signum)
{
    (void)signal(signum, SIG_DFL);
    raise(signum);
}

/* SA_RESETHAND has put the default back. */
static void on_fatal(int signum, siginfo_t *info, void *context)
{
    struct crash_line l = {.signum = signum};
    const char *name = "?";

    (void)context;
    if (unfinished) { /* what there is of the backtrace has to do */
        (void)write_line(unfinished);
        die_of(unfinished->signum);
        return;
    }
    for (unsigned i = 0; i < ARRAY_LEN(fatal); i++)
        if (fatal[i].number == signum)
            name = fatal[i].name;
    begin_line(&l, name, info->si_code > 0 ? (uintptr_t)info->si_addr : 0);
    add_backtrace(&l);
#if defined(__SANITIZE_ADDRESS__)
    if (write_line(&l))
        __sanitizer_print_stack_trace(); /* with names: the sanitizer's own handler is ours now */
#else
    (void)write_line(&l);
#endif
    die_of(signum);
}

/* --- life --- */

void crash_log_thread_start(void)
{
    stack_t stack = {.ss_size = STACK_BYTES}, now;

    unblock_fatal();
    must(sigaltstack(NULL, &now) == 0);
    if (!(now.ss_flags & SS_DISABLE)) /* ours, or a sanitizer's */
        return;
    own_stack = must_alloc(STACK_BYTES);
    stack.ss_sp = own_stack;
    must(sigaltstack(&stack, NULL) == 0);
}

void crash_log_thread_end(void)
{
    stack_t off = {.ss_flags = SS_DISABLE};

    if (!own_stack)
        return;
    must(sigaltstack(&off, NULL) == 0);
    free(own_stack);
    own_stack = NULL;
}

void crash_log_start(void)
{
    void *first[4];

    module_count = 0;
    dl_iterate_phdr(on_module, NULL);
    (void)backtrace(first, ARRAY_LEN(first)); /* loads the unwinder, which allocates */
    crash_log_thread_start();
    action.sa_sigaction = on_fatal;
    action.sa_flags = (int)(SA_SIGINFO | SA_ONSTACK | SA_RESETHAND);
    sigemptyset(&action.sa_mask);
    for (unsigned i = 0; i < ARRAY_LEN(fatal); i++)
        must(sigaction(fatal[i].number, &action, NULL) == 0);
}
