/* edge_check - what `penstock-edge check` looks at: this machine, and the way to the hub. */
#ifndef EDGE_EDGE_CHECK_H
#define EDGE_EDGE_CHECK_H

#include "doctor/report.h"

/* `conf` is a struct edge_conf. */
void edge_check(struct report *r, const void *conf);

#endif
