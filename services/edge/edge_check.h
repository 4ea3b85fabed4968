/* edge_check - what `penstock-edge check` looks at: this machine, and the way to the hub. */
#ifndef EDGE_EDGE_CHECK_H
#define EDGE_EDGE_CHECK_H

#include "doctor/report.h"

/* `conf` is a struct edge_conf. */
void edge_check(struct report *r, const void *conf);

/* The secret inside a connection token, which is a secret itself. */
void edge_each_secret(const void *conf, void (*on_secret)(void *arg, const char *secret),
                      void *arg);

#endif
