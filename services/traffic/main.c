/* penstock-traffic - what its program is made of: the table of its keys, its commands, the service.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/program.h"
#include "base/err.h"
#include "doctor/command.h"
#include "signer/signer.h"
#include "tls/tls.h"
#include "traffic/pass_hash.h"
#include "traffic/traffic.h"
#include "traffic/traffic_check.h"

#define STATUS_BAD 2 /* of hash-password: it was asked in a wrong way */

static const struct conf_command commands[] = {
    SERVICE_COMMANDS,
    DOCTOR_COMMANDS,
    {.name = "hash-password",
     .doc = "Reads a password from standard input and prints its hash for passHash.",
     .synopsis = "[yescrypt|bcrypt|sha512]"},
    {.name = NULL},
};

/* A line feed at the end is the terminal's, not the password's. */
static int hash_password(const char *method)
{
    char password[AUTH_PASS_MAX + 2], hash[PASS_HASH_MAX];
    size_t n = fread(password, 1, sizeof(password) - 1, stdin);
    int rc;

    if (n > 0 && password[n - 1] == '\n')
        n--;
    password[n] = '\0';
    if (n == 0 || n > AUTH_PASS_MAX || strlen(password) != n) {
        fprintf(stderr, "penstock-traffic: standard input must be a password of 1 to %d bytes\n",
                AUTH_PASS_MAX);
        return STATUS_BAD;
    }
    rc = pass_hash_make(method, password, hash, sizeof(hash));
    tls_wipe(password, sizeof(password));
    if (rc != 0) {
        fprintf(stderr, "penstock-traffic: hash-password: %s\n",
                rc == -ERR_NOT_FOUND ? "the method must be yescrypt, bcrypt or sha512"
                                     : "no hash could be made");
        return STATUS_BAD;
    }
    return puts(hash) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int run_command(const char *name, char **rest, const void *of)
{
    const struct traffic_conf *conf = of;
    const struct doctor_diag diag = {.table = &traffic_conf_table,
                                     .conf = conf,
                                     .service = &conf->service,
                                     .examine = traffic_check};

    if (strcmp(name, "hash-password") == 0)
        return hash_password(rest && rest[0] ? rest[0] : "yescrypt");
    if (strcmp(name, "check") == 0)
        return doctor_check("traffic", rest, traffic_check, conf);
    if (strcmp(name, "diag") == 0)
        return doctor_diag(&diag, rest);
    return service_command(name, rest, &conf->service);
}

static int start(void *traffic)
{
    return traffic_start(traffic);
}

static void stop(void *traffic)
{
    traffic_stop(traffic);
}

static int reload(void *traffic, void *next)
{
    return traffic_reload(traffic, next);
}

int main(int argc, char **argv)
{
    static struct traffic traffic;
    const struct program program = {.table = &traffic_conf_table,
                                    .commands = commands,
                                    .command = run_command,
                                    .arg = &traffic,
                                    .conf = &traffic.conf,
                                    .service = &traffic.conf.service,
                                    .crash = &traffic.crash,
                                    .loop = &traffic.loop,
                                    .drain = &traffic.drain,
                                    .start = start,
                                    .stop = stop,
                                    .reload = reload};

    signer_start();
    return program_run(&program, argc, argv);
}
