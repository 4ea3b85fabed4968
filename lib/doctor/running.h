/* running - the service that answers at management.listen, if one does, and which listeners it says
 * it has: so that `check` knows whose a port is that is taken.  It is asked once, by the token that
 * may only read (GET /v1/status, `listeners`). */
#ifndef DOCTOR_RUNNING_H
#define DOCTOR_RUNNING_H

#include "conf/service_conf.h"
#include "doctor/machine.h"

struct running {
    bool is_there;                 /* it answers /healthz */
    struct json_object *listeners; /* owned; NULL: it did not tell */
    char why[200];                 /* why it did not */
};

/* Blocks for a few seconds at most.  running_fini() is due. */
void running_ask(struct running *out, const struct service_conf *conf);
void running_fini(struct running *r); /* fine on a zeroed one */
/* Whose `listen` is where it is taken. */
enum machine_holder running_holder(const struct running *r, const char *listen,
                                   enum machine_port kind);

#endif
