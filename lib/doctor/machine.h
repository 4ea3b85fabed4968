/* machine - what `check` looks at on the machine itself: the state folder, the clock, descriptors,
 * socket buffers, ports.  Each adds one finding or more, and leaves nothing behind. */
#ifndef DOCTOR_MACHINE_H
#define DOCTOR_MACHINE_H

#include <stdint.h>

#include "doctor/report.h"

enum machine_port { MACHINE_TCP, MACHINE_UDP };
/* Whose a port is that is taken: the running service said that it is its own (SERVICE) or not, or
 * no service runs (STRANGER); or one runs and did not tell. */
enum machine_holder { MACHINE_STRANGER, MACHINE_SERVICE, MACHINE_UNTOLD };

/* Can be written, by this user, on a file system with locks that has some room.  One that is not
 * there yet is well when it can be made. */
void machine_check_folder(struct report *r, const char *name, const char *path);
/* `file` may be read, if it is there; of a secret: by no others. */
void machine_check_secret_file(struct report *r, const char *name, const char *path);
/* Not before this program was made; whether the kernel says that something keeps it. */
void machine_check_clock(struct report *r);
/* Descriptors for `wanted` connections at once, the hard limit counts. */
void machine_check_files(struct report *r, uint64_t wanted);
/* What the kernel gave `fd`, a UDP socket that asked for `wanted` bytes each way. */
void machine_check_udp_buffers(struct report *r, int fd, int wanted);
/* Binds it for a moment; `holder` has it where that fails. */
void machine_check_port(struct report *r, const char *name, const char *listen,
                        enum machine_port kind, enum machine_holder holder);
/* Whether this process may bind ports below 1024, on `address` ("": any). */
void machine_check_low_ports(struct report *r, const char *address);

#endif
