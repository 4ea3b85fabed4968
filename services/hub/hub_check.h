/* hub_check - what `penstock-hub check` looks at. */
#ifndef HUB_HUB_CHECK_H
#define HUB_HUB_CHECK_H

#include "doctor/report.h"

/* `conf` is a struct hub_conf. */
void hub_check(struct report *r, const void *conf);

#endif
