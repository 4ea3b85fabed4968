/* The UDP side of the tunnel's port, which comes up when it can. */
#include "hub_tunnel_fixture.h"

static int blocker; /* has the port */

/* False: somebody has its UDP half. */
static bool try_port(union addr *at)
{
    int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = sizeof(*at);
    bool is_ours;

    ck_assert_int_eq(addr_parse(at, "127.0.0.1:0"), 0);
    ck_assert_int_eq(bind(tcp, &at->sa, addr_len(at)), 0);
    ck_assert_int_eq(getsockname(tcp, &at->sa, &size), 0);
    blocker = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    is_ours = bind(blocker, &at->sa, addr_len(at)) == 0;
    if (!is_ours)
        close(blocker);
    close(tcp);
    return is_ours;
}

/* A number that is free on TCP; its UDP half is ours. */
static uint16_t block_port(void)
{
    unsigned tries = 0;
    union addr at;

    while (!try_port(&at))
        ck_assert_uint_lt(++tries, 100);
    return addr_port(&at);
}

/* The hub starts without QUIC. */
static void setup(void)
{
    char listen[64];

    snprintf(listen, sizeof(listen), "tunnel.listen=127.0.0.1:%u", block_port());
    hub_up((const char *const[]){listen, NULL});
    ck_assert_ptr_null(hub.quic.fds);
}

static bool has_failed(void *arg)
{
    (void)arg;
    return hub.quic_log.used > 0;
}

/* Its sockets are the workers'. */
static bool is_open(void *arg)
{
    (void)arg;
    return hub.quic.fds && hub.quic.fds[0] < 0;
}

START_TEST(its_port_is_free_again)
{
    close(blocker);
    UNTIL(is_open, NULL);
    hub_down();
}
END_TEST

/* Nothing is bound meanwhile that nobody reads, and it is tried again. */
START_TEST(its_keys_cannot_be_read_at_first)
{
    char *key = must_printf("%s/quic.key", state_dir);

    ck_assert_int_eq(mkdir(key, 0700), 0);
    close(blocker);
    UNTIL(has_failed, NULL);
    ck_assert_ptr_null(hub.quic.fds);
    ck_assert_int_eq(rmdir(key), 0);
    UNTIL(is_open, NULL);
    hub_down();
    free(key);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("door");

    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, its_port_is_free_again);
    tcase_add_test(tcase, its_keys_cannot_be_read_at_first);
    return suite_run("hub_quic_door", tcase);
}
