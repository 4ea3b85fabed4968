/* errand - something that a test has done on another thread's loop, and waits for. */
#ifndef SUPPORT_ERRAND_H
#define SUPPORT_ERRAND_H

struct loop;

/* `run` runs on the loop `there`; meanwhile the caller's own loop goes on. */
void errand_run(struct loop *here, struct loop *there, void (*run)(void *arg), void *arg);

#endif
