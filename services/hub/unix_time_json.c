/* unix_time - see unix_time.h. */
#include <json-c/json.h>
#include <time.h>

#include "hub/unix_time.h"

int64_t unix_time_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec;
}

const char *unix_time_format(int64_t secs, char out[UNIX_TIME_TEXT_MAX])
{
    struct tm parts;
    time_t at = (time_t)secs;

    gmtime_r(&at, &parts);
    strftime(out, UNIX_TIME_TEXT_MAX, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return out;
}

struct json_object *unix_time_json(int64_t secs)
{
    char text[UNIX_TIME_TEXT_MAX];

    return json_object_new_string(unix_time_format(secs, text));
}
