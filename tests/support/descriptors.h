/* descriptors - how many this process has open: a test that leaves one behind sees it. */
#ifndef SUPPORT_DESCRIPTORS_H
#define SUPPORT_DESCRIPTORS_H

unsigned count_fds(void);

#endif
