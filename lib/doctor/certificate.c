/* certificate - see certificate.h. */
#include "doctor/certificate.h"

#include <time.h>

#include "tls/tls.h"

#define DAY_SECS 86400

static const char *day_of(int64_t when, char out[16])
{
    time_t t = (time_t)when;
    struct tm tm;

    gmtime_r(&t, &tm);
    strftime(out, 16, "%Y-%m-%d", &tm);
    return out;
}

void certificate_check(struct report *r, const char *name, const struct tls_cert *cert,
                       unsigned pair, const char *host, int64_t now)
{
    int64_t from = tls_cert_not_before(cert, pair), until = tls_cert_not_after(cert, pair);
    char day[16];

    if (now < from)
        report_fail(r, name, "set this machine's clock, or wait",
                    "it is good only from %s on: one of the two clocks is wrong",
                    day_of(from, day));
    else if (now >= until)
        report_fail(r, name, "renew it, or set this machine's clock", "it ended on %s",
                    day_of(until, day));
    else if (until - now < CERTIFICATE_SOON_DAYS * DAY_SECS)
        report_warn(r, name, "renew it", "it ends on %s", day_of(until, day));
    else if (host && *host && !tls_cert_covers(cert, pair, host))
        report_warn(r, name, "make one for that name; who checks names will refuse this one",
                    "it does not cover %s", host);
    else
        report_ok(r, name, "good until %s", day_of(until, day));
}
