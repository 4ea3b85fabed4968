/* log_writer - the thread that writes the log of a service, so that nobody who logs waits for who
 * reads it.
 *
 *   log_write() -> log_ring (LOG_RING_BYTES) -> thread "log": poll(2), write(2) -> descriptor
 *
 * Lines leave in order, each whole: as many at once as a pipe takes or refuses as a whole
 * (PIPE_BUF), so that neither the supervisor's lines nor the end of the process cut into one.  It
 * is woken when it sleeps, gathers for LOG_GATHER_MS, and then writes until there is nothing left.
 * Lines for which the ring had no room, or that the descriptor refused, are counted
 * (penstock_log_lines_dropped_total) and told in their place, at every level:
 *
 *   {"ts":"...","level":"warn","module":"log","event":"log_dropped","count":4711}
 *
 * One a process.  Start and stop: the control thread.
 */
#ifndef LOOP_LOG_WRITER_H
#define LOOP_LOG_WRITER_H

#include <stdint.h>

#include "base/must.h"

#define LOG_GATHER_MS 5u    /* from a line to its write(2): what comes meanwhile goes along */
#define LOG_FLUSH_MS  1000u /* what an orderly end waits for who reads */

/* In the process that logs: a thread does not survive fork(2).  After log_init() and
 * crash_log_start(), before other threads.  0; -ERR_SYS: the reason was logged, and lines are
 * written as before. */
MUST_USE int log_writer_start(void);
/* When nobody else logs any more: what is in the ring is written, within LOG_FLUSH_MS, then lines
 * are written as before log_writer_start(); where that was too short what is left is lost, with all
 * that is still logged.  Fine where it was not started. */
void log_writer_stop(void);
/* Any thread, any time: lines lost since the start. */
uint64_t log_writer_dropped(void);

#endif
