/* unix_time - times for people: RFC 3339, UTC. */
#ifndef HUB_UNIX_TIME_H
#define HUB_UNIX_TIME_H

#include <stdint.h>

struct json_object;

#define UNIX_TIME_TEXT_MAX 32

int64_t unix_time_now(void);
/* "2026-01-02T03:04:05Z" */
const char *unix_time_format(int64_t secs, char out[UNIX_TIME_TEXT_MAX]);
/* The same as a JSON string, the caller's. */
struct json_object *unix_time_json(int64_t secs);

#endif
