/* access_log - one line a request. */
#ifndef TRAFFIC_ACCESS_LOG_H
#define TRAFFIC_ACCESS_LOG_H

#include <stdint.h>

#include "traffic/traffic_reason.h"

struct exchange;

/* The request of `x` was answered (or refused) with `status` after `us`; 0: no answer could be
 * sent. */
void access_log_request(const struct exchange *x, unsigned status, uint64_t us,
                        enum traffic_reason reason);

#endif
