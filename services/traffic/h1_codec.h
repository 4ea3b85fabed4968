/* h1_codec - an answer on its way to a client of HTTP/1: what the exchange hands over becomes bytes
 * of the client's next records.  These functions run in the upstream's turn; they move memory only,
 * and put the client on the ready list.
 */
#ifndef TRAFFIC_H1_CODEC_H
#define TRAFFIC_H1_CODEC_H

#include "traffic/exchange.h"

/* For the exchange of a struct h1_session. */
extern const struct exchange_codec h1_codec;

#endif
