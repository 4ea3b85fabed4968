/* cert_time - see cert_time.h. */
#include "admin/cert_time.h"

#include <time.h>

#include "base/log.h"
#include "tls/tls.h"

static const char *text_of(int64_t when, char out[32])
{
    time_t t = (time_t)when;
    struct tm tm;

    gmtime_r(&t, &tm);
    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return out;
}

void cert_time_warn(const char *service, const char *key, const struct tls_cert *cert, int64_t now)
{
    char text[32];

    for (unsigned i = 0; i < tls_cert_count(cert); i++) {
        int64_t from = tls_cert_not_before(cert, i), until = tls_cert_not_after(cert, i);

        if (now >= until)
            log_warn(service, "certificate_expired", LOG_S("key", key),
                     LOG_S("ended", text_of(until, text)));
        else if (now < from)
            log_warn(service, "certificate_not_yet_valid", LOG_S("key", key),
                     LOG_S("begins", text_of(from, text)));
    }
}
