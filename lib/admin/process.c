/* process - see process.h. */
#include "admin/process.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/log.h"

static void tell(const char *what)
{
    log_warn("admin", "harden_failed", LOG_S("what", what), LOG_S("error", strerrordesc_np(errno)));
}

void process_harden(void)
{
    struct rlimit none = {0, 0};
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        tell("PR_SET_DUMPABLE");
    if (setrlimit(RLIMIT_CORE, &none) != 0)
        tell("RLIMIT_CORE");
    sigemptyset(&ignore.sa_mask);
    if (sigaction(SIGPIPE, &ignore, NULL) != 0)
        tell("SIGPIPE");
    umask(077);
}
