/* traffic_api_json - the management API of traffic: its table of paths, its status, its metrics.
 * api/traffic.yaml describes it. */
#ifndef TRAFFIC_TRAFFIC_API_JSON_H
#define TRAFFIC_TRAFFIC_API_JSON_H

#include "base/must.h"

struct traffic;

/* Starts the server: t->apply is there already.  0, or -ERR_* after the reason was logged. */
MUST_USE int traffic_api_start(struct traffic *t);
/* Answers what is open (the apply thread has ended already) and stops to listen. */
void traffic_api_stop(struct traffic *t);

/* The texts of api/traffic.yaml and api/common.yaml (traffic_openapi.c). */
extern const char traffic_openapi[], traffic_openapi_common[];

#endif
