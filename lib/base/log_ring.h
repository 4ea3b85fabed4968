/* log_ring - lines of the log on their way to one writer: whole lines, in order, in bounded memory.
 *
 *   tail           head          tail + LOG_RING_BYTES
 *     |<-- lines -->|<--- room --->|
 *
 * A line that finds no room is lost, and with it every line after it, until the writer has written
 * all that came before and takes the gap: how many were lost.  So a gap is told in its place, and
 * there is one where a reader has stopped, not one between each two lines that still found room.
 *
 * Any thread pushes, under a mutex that is held for one copy.  One thread, the writer, peeks; it
 * takes that mutex for gaps alone, so that a thread that dies with it keeps no line back.
 */
#ifndef BASE_LOG_RING_H
#define BASE_LOG_RING_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_RING_BYTES (1u << 20)

struct log_ring {
    pthread_mutex_t lock;     /* of who pushes, and of gap */
    _Atomic uint64_t head;    /* bytes since the beginning: pushed */
    _Atomic uint64_t tail;    /* and written; the writer's */
    _Atomic uint64_t gap;     /* lines lost that nobody was told of yet; not 0: none is taken */
    _Atomic uint64_t telling; /* the gap that the writer has taken and is writing about */
    _Atomic uint64_t dropped; /* lines lost since the beginning */
    char text[LOG_RING_BYTES];
};

/* Nobody uses it yet.  There is no fini: it owns nothing. */
void log_ring_init(struct log_ring *r);

/* --- any thread */

/* One line with its end, LOG_LINE_BYTES at most. */
void log_ring_push(struct log_ring *r, const char *text, size_t len);
/* For log_ring_is_settled(): where the newest line ends.  This one and the next two take no lock.
 */
uint64_t log_ring_end(const struct log_ring *r);
/* All up to there is written, and what was lost is told. */
bool log_ring_is_settled(const struct log_ring *r, uint64_t end);
uint64_t log_ring_dropped(const struct log_ring *r);

/* --- the writer */

/* Copies whole lines out, as many as find room in `max` (LOG_LINE_BYTES at least); how many bytes.
 * They stay in the ring until log_ring_written(). */
size_t log_ring_peek(const struct log_ring *r, char *out, size_t max);
/* The first n bytes of what was peeked are dealt with; a rest of a line is peeked again. */
void log_ring_written(struct log_ring *r, size_t n);
/* So many lines could not be written: a gap, where the writer is. */
void log_ring_lose(struct log_ring *r, uint64_t lines);
/* The lines lost; 0: none, or lines before them are not written yet.  From now on lines are taken
 * again.  log_ring_told() or log_ring_untold() follows. */
uint64_t log_ring_take_gap(struct log_ring *r);
void log_ring_told(struct log_ring *r);
void log_ring_untold(
    struct log_ring *r); /* it could not be written either: it is a gap as before */
bool log_ring_is_empty(const struct log_ring *r);
bool log_ring_has_gap(const struct log_ring *r);

#endif
