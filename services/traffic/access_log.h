/* access_log - one line a request, and for connections that never came to one. */
#ifndef TRAFFIC_ACCESS_LOG_H
#define TRAFFIC_ACCESS_LOG_H

#include "traffic/traffic_reason.h"

struct client;
struct exchange;

/* The request of `x` was answered (or refused) with `status`; 0: no answer could be sent. */
void access_log_request(const struct client *c, const struct exchange *x, unsigned status,
                        enum traffic_reason reason);

#endif
