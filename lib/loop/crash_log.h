/* crash_log - the last line of a process that dies of a fatal signal: which, where, and from where
 * it was called, as module+offset, for addr2line.
 *
 *   {"ts":"...","level":"error","module":"crash","event":"fatal_signal","signal":"SEGV",
 *    "address":"0x10","thread":"hub-0","backtrace":"penstock-hub+0x1a2b libc.so.6+0x3bd5f ..."}
 *
 * Everything that may allocate or lock is done beforehand: the handler only copies, waits a moment
 * for the lines before its own (log_last_words()), writes once, and lets the signal have its way.
 * It has a stack of its own, for a stack that overflowed too; one that is broken so that it cannot
 * be walked costs the backtrace and nothing else.
 */
#ifndef LOOP_CRASH_LOG_H
#define LOOP_CRASH_LOG_H

/* For SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS and SIGTRAP, from now on; the alternative
 * stack is the calling thread's.  Before other threads start; after log_init(). */
void crash_log_start(void);
/* First in each thread that is made: its alternative stack, and the fatal signals let through,
 * which its maker may have blocked with the others; at its end crash_log_thread_end(). */
void crash_log_thread_start(void);
void crash_log_thread_end(void);

#endif
