/* penstock-edge - what its program is made of: the table of its keys, its commands, the service. */
#include <string.h>

#include "admin/program.h"
#include "doctor/command.h"
#include "edge/edge.h"
#include "edge/edge_check.h"

static const struct conf_command commands[] = {
    SERVICE_COMMANDS,
    DOCTOR_COMMANDS,
    {.name = NULL},
};

static int run_command(const char *name, char **rest, const void *of)
{
    const struct edge_conf *conf = of;
    const struct doctor_diag diag = {.table = &edge_conf_table,
                                     .conf = conf,
                                     .service = &conf->service,
                                     .each_secret = edge_each_secret,
                                     .examine = edge_check};

    if (strcmp(name, "check") == 0)
        return doctor_check("edge", rest, edge_check, conf);
    if (strcmp(name, "diag") == 0)
        return doctor_diag(&diag, rest);
    return service_command(name, rest, &conf->service);
}

static int start(void *edge)
{
    return edge_start(edge);
}

static void stop(void *edge)
{
    edge_stop(edge);
}

static int reload(void *edge, void *next)
{
    return edge_reload(edge, next);
}

int main(int argc, char **argv)
{
    static struct edge edge;
    const struct program program = {.table = &edge_conf_table,
                                    .commands = commands,
                                    .command = run_command,
                                    .arg = &edge,
                                    .conf = &edge.conf,
                                    .service = &edge.conf.service,
                                    .crash = &edge.crash,
                                    .loop = &edge.loop,
                                    .drain = &edge.drain,
                                    .start = start,
                                    .stop = stop,
                                    .reload = reload};

    return program_run(&program, argc, argv);
}
