/* test_hub_near_targets - the congestion control of the hub's sockets to targets on this machine: a
 * whole hub, which is told of a system's default that this one may not have.  (socket.h, dial.h,
 * forward.h) */
#include <netinet/tcp.h>
#include <sys/syscall.h>

#include "hub_tunnel_fixture.h"
#include "loop/listener.h"
#include "loop/socket.h"
#include "support/client_stream.h"

static const char *_Atomic told; /* the system's default, to the hub; NULL: what it is */
static char standard[CONGESTION_NAME_MAX];

/* Both in place of the C library's: what is told as the default can be set, too. */
int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    bool is_told = told && level == IPPROTO_TCP && name == TCP_CONGESTION &&
                   strncmp(value, told, len) == 0 && strlen(told) == len;

    return (int)syscall(SYS_setsockopt, fd, level, name, is_told ? standard : value,
                        is_told ? (socklen_t)strlen(standard) : len);
}

int getsockopt(int fd, int level, int name, void *restrict value, socklen_t *restrict len)
{
    const char *now = told;

    if (!now || level != IPPROTO_TCP || name != TCP_CONGESTION)
        return (int)syscall(SYS_getsockopt, fd, level, name, value, len);
    ck_assert_uint_ge(*len, strlen(now));
    memcpy(value, now, strlen(now));
    return 0;
}

static void read_standard(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t len = sizeof(standard);

    ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, standard, &len), 0);
    close(fd);
}

/* --- a target that takes and says nothing ----------------------------------------------------- */

static int target_fd; /* owned */
static union addr target_at;

static void hub_up_where(const char *congestion)
{
    char ports[64];

    ck_assert_int_eq(addr_parse_host(&target_at, "127.0.0.1", 0), 0);
    ck_assert_int_eq(listen_bind(&target_at, 1, &target_fd, &target_at), 0);
    snprintf(ports, sizeof(ports), "target.ports={\"80\":%u}", addr_port(&target_at));
    told = congestion;
    hub_up((const char *const[]){
        "edges=[{\"id\":\"e1\",\"listenPorts\":[80],\"secret\":\"" SECRET_OF_E1 "\"}]", ports,
        NULL});
    told = NULL;
}

/* The hub's socket to it, which is in this process. */
static bool is_dialled(void *arg)
{
    for (int fd = 3; fd < 1024; fd++) {
        union addr peer = {0};
        socklen_t len = sizeof(peer);

        if (getpeername(fd, &peer.sa, &len) != 0 || !addr_is_same(&peer, &target_at))
            continue;
        *(int *)arg = fd;
        return true;
    }
    return false;
}

static const struct {
    const char *standard;
    const char *near; /* NULL: what the system has */
} rows[] = {{"bbr", "reno"}, {"bbr2", "reno"}, {"cubic", NULL}};

START_TEST(a_socket_to_a_near_target_is_not_paced)
{
    char has[CONGESTION_NAME_MAX] = "";
    socklen_t len = sizeof(has);
    struct client_stream s = {0};
    struct test_lane t = {0};
    int fd = -1;

    read_standard();
    hub_up_where(rows[_i].standard);
    edge_up(&t);
    client_stream_open(&s, t.link, 5000, 80);
    UNTIL(is_dialled, &fd);
    ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, has, &len), 0);
    ck_assert_str_eq(has, rows[_i].near ? rows[_i].near : standard);
    stream_release(&s.stream);
    lane_down(&t);
    hub_down();
    close(target_fd);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_add_loop_test(tc, a_socket_to_a_near_target_is_not_paced, 0, ARRAY_LEN(rows));
    return suite_run("near_targets", tc);
}
