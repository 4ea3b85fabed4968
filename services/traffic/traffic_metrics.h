/* traffic_metrics - one scrape of traffic: the workers' sums and the state of the routes. */
#ifndef TRAFFIC_TRAFFIC_METRICS_H
#define TRAFFIC_TRAFFIC_METRICS_H

struct metrics;
struct traffic;

void traffic_collect(struct traffic *t, struct metrics *m);

#endif
