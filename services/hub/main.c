/* penstock-hub - what its program is made of: the table of its keys, its commands, the service. */
#include <string.h>

#include "admin/program.h"
#include "doctor/command.h"
#include "hub/hub.h"
#include "hub/hub_check.h"
#include "hub/token_command_json.h"

static const struct conf_option token_options[] = {
    {"--show-secret", NULL, "decode: show the secret too"},
    {NULL, NULL, NULL},
};

static const struct conf_command commands[] = {
    SERVICE_COMMANDS,
    DOCTOR_COMMANDS,
    {.name = "token",
     .doc = "Makes a connection token of JSON with the secret on standard input, or shows one.",
     .synopsis = "encode|decode [hubHost=... hubPort=... edgeId=... pin=... | FILE]",
     .options = token_options},
    {.name = NULL},
};

static int run_command(const char *name, char **rest, const void *of)
{
    const struct hub_conf *conf = of;
    const struct doctor_diag diag = {
        .table = &hub_conf_table, .conf = conf, .service = &conf->service, .examine = hub_check};

    if (strcmp(name, "token") == 0)
        return token_command(rest);
    if (strcmp(name, "check") == 0)
        return doctor_check("hub", rest, hub_check, conf);
    if (strcmp(name, "diag") == 0)
        return doctor_diag(&diag, rest);
    return service_command(name, rest, &conf->service);
}

static int start(void *hub)
{
    return hub_start(hub);
}

static void stop(void *hub)
{
    hub_stop(hub);
}

static int reload(void *hub, void *next)
{
    return hub_reload(hub, next);
}

int main(int argc, char **argv)
{
    static struct hub hub;
    const struct program program = {.table = &hub_conf_table,
                                    .commands = commands,
                                    .command = run_command,
                                    .arg = &hub,
                                    .conf = &hub.conf,
                                    .service = &hub.conf.service,
                                    .crash = &hub.crash,
                                    .loop = &hub.loop,
                                    .drain = &hub.drain,
                                    .start = start,
                                    .stop = stop,
                                    .reload = reload};

    return program_run(&program, argc, argv);
}
