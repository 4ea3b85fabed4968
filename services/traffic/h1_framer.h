/* h1_framer - puts the payload of a body into HTTP/1 framing as it leaves: all that is held becomes
 * one chunk, however it came.
 *
 *   text       payload      tail      text       payload     tail      text
 *   "4e20\r\n" 20000 bytes  "\r\n"    "7f\r\n"   127 bytes   "\r\n"    "0\r\n" and "\r\n" or
 * trailers
 *
 * Payload of a body that has a length, or of an upgraded connection, goes as it is: no text at all.
 */
#ifndef TRAFFIC_H1_FRAMER_H
#define TRAFFIC_H1_FRAMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define H1_FRAMER_TEXT_MAX 18u

struct h1_framer {
    bool is_chunked;
    bool is_last; /* the text is that of the last chunk */
    uint8_t text_len, text_sent;
    uint8_t tail_left;
    size_t left; /* of the payload under way */
    char text[H1_FRAMER_TEXT_MAX];
};

/* What goes next, when `held` bytes of payload wait and `has_ended` says that no more will come
 * (`has_trailers`: trailers and the empty line follow from the caller).  Changes nothing while a
 * chunk is under way. */
void h1_framer_next(struct h1_framer *f, size_t held, bool has_ended, bool has_trailers);
/* What is left to be sent of the text, and of the tail behind f->left bytes of payload. */
size_t h1_framer_text(const struct h1_framer *f, const char **out);
size_t h1_framer_tail(const struct h1_framer *f, const char **out);
/* *n bytes were sent: text, payload, tail in this order.  Returns how many were payload; *n becomes
 * what is none of them. */
size_t h1_framer_sent(struct h1_framer *f, size_t *n);
/* Nothing of a chunk is under way, and none will come. */
bool h1_framer_is_done(const struct h1_framer *f);
/* The body begins anew: not a byte of its payload went. */
void h1_framer_rewind(struct h1_framer *f);

#endif
