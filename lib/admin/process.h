/* process - what main() does first, so that the secrets of a service stay inside it. */
#ifndef ADMIN_PROCESS_H
#define ADMIN_PROCESS_H

/* No core dump and no ptrace by others (PR_SET_DUMPABLE 0, RLIMIT_CORE 0), SIGPIPE ignored, umask
 * 077.  Before threads start and before a secret is read.  A failure is logged, not fatal: a
 * container may forbid some of it. */
void process_harden(void);

#endif
