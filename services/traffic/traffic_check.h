/* traffic_check - what `penstock-traffic check` looks at. */
#ifndef TRAFFIC_TRAFFIC_CHECK_H
#define TRAFFIC_TRAFFIC_CHECK_H

#include "doctor/report.h"

/* `conf` is a struct traffic_conf. */
void traffic_check(struct report *r, const void *conf);

#endif
