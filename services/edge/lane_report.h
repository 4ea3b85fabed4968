/* lane_report - what goes between the control thread (uplink.c) and a lane on a worker
 * (edge_lane.c): the order to dial, and what became of it. */
#ifndef EDGE_LANE_REPORT_H
#define EDGE_LANE_REPORT_H

#include "edge/credentials.h"
#include "link/link.h"
#include "loop/addr.h"
#include "loop/loop.h"
#include "wire/control.h"
#include "wire/hello.h"

struct edge_worker;

/* Dial the hub as this lane. */
struct lane_order {
    struct credentials *credentials; /* counted */
    uint64_t serial;                 /* names the lane between the threads */
    uint32_t number;                 /* in its session */
    enum link_transport transport;
    bool takes_collapse; /* FEATURE_COLLAPSE: there is another transport to go to */
    unsigned dial_ms;    /* to be secure, all addresses of the hub */
    bool has_session;
    uint8_t session[SESSION_BYTES];
};

void lane_order_free(struct lane_order *order);

enum lane_report_kind {
    LANE_REPORT_UP,     /* handshake done: session, config */
    LANE_REPORT_CONFIG, /* a CONFIG came: config; to be answered with edge_worker_config_taken() */
    LANE_REPORT_DRAINING,  /* the hub drains, or the lane is worn out */
    LANE_REPORT_COLLAPSED, /* its path is up and moves next to nothing: why; told again while so */
    LANE_REPORT_DEAD,      /* failed, or lost */
};

struct lane_report {
    struct task task;
    void (*on_report)(void *arg, struct lane_report *report);
    void *arg;
    struct edge_worker *worker; /* borrowed: where the lane is */
    enum lane_report_kind kind;
    uint64_t serial;
    enum link_transport transport;
    uint8_t session[SESSION_BYTES]; /* UP, CONFIG, DEAD: which one the lane belongs to */
    struct wire_config config;      /* owned */
    bool is_founded;                /* UP: it founded the session */
    uint32_t lane_number;           /* UP */
    char why[200];                  /* COLLAPSED, DEAD */
    /* DEAD */
    bool is_path_fault; /* it was the path, or nobody there: no refusal, no goodbye */
    int error;
    enum answer_code answer; /* the hub's refusal, or ANSWER_OK */
    bool has_goodbye;
    enum goodbye_code goodbye;
    uint32_t retry_after_secs;
    union addr hub; /* UP: where it is connected to */
};

struct lane_report *lane_report_new(enum lane_report_kind kind, uint64_t serial);
void lane_report_free(struct lane_report *report);

#endif
