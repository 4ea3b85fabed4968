/* What is said of folders, files, limits and ports; and that looking leaves nothing behind. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "doctor/machine.h"
#include "doctor_fixture.h"
#include "loop/listener.h"

static unsigned entries(const char *path)
{
    DIR *dir = opendir(path);
    unsigned n = 0;

    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

START_TEST(folders)
{
    char *below = must_printf("%s/a/b", folder), *file = must_printf("%s/file", folder);
    char *open = must_printf("%s/open", folder);

    machine_check_folder(&r, "stateDir", folder);
    expect(REPORT_OK, "stateDir", "MiB are left");
    ck_assert_uint_eq(entries(folder), 2); /* . and .. */
    machine_check_folder(&r, "stateDir", below);
    expect(REPORT_OK, "stateDir", "is made at the first start");
    ck_assert_int_ne(access(below, F_OK), 0);
    close(creat(file, 0600));
    machine_check_folder(&r, "stateDir", file);
    expect(REPORT_FAIL, "stateDir", file);
    mkdir(open, 0700);
    chmod(open, 0777);
    machine_check_folder(&r, "stateDir", open);
    expect(REPORT_WARN, "stateDir", "by everybody");
    machine_check_folder(&r, "stateDir", "/proc");
    expect(REPORT_FAIL, "stateDir", "/proc");
    free(below);
    free(file);
    free(open);
}
END_TEST

START_TEST(secret_files)
{
    char *file = must_printf("%s/token", folder);

    machine_check_secret_file(&r, "token", file);
    expect(REPORT_OK, "token", "is made at the first start");
    close(creat(file, 0600));
    machine_check_secret_file(&r, "token", file);
    expect(REPORT_OK, "token", "can be read");
    chmod(file, 0644);
    machine_check_secret_file(&r, "token", file);
    expect(REPORT_WARN, "token", "644");
    free(file);
}
END_TEST

START_TEST(descriptors)
{
    struct rlimit limit = {1000, 1000};

    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    machine_check_files(&r, 1000);
    expect(REPORT_OK, "descriptors", "1000 open files");
    machine_check_files(&r, 1001);
    expect(REPORT_WARN, "descriptors", "ask for 1001");
}
END_TEST

START_TEST(udp_buffers)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), bytes = 65536;

    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)), 0);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)), 0);
    machine_check_udp_buffers(&r, fd, 65536);
    expect(REPORT_OK, "buffers.send", "65536");
    machine_check_udp_buffers(&r, fd, 65537);
    expect(REPORT_WARN, "buffers.send", "65536 bytes of 65537");
    ck_assert_str_eq(r.findings[r.count - 2].mend, "sysctl -w net.core.rmem_max=65537");
    close(fd);
}
END_TEST

START_TEST(ports)
{
    union addr at, bound;
    char text[ADDR_TEXT_MAX];
    int fd;

    ck_assert_int_eq(addr_parse(&at, "127.0.0.1:0"), 0);
    ck_assert_int_eq(listen_bind(&at, 1, &fd, &bound), 0);
    addr_format(&bound, text);
    machine_check_port(&r, "x.listen", text, MACHINE_TCP, MACHINE_STRANGER);
    expect(REPORT_FAIL, "x.listen", "taken by another");
    machine_check_port(&r, "x.listen", text, MACHINE_TCP, MACHINE_SERVICE);
    expect(REPORT_OK, "x.listen", "is held by the running service");
    machine_check_port(&r, "x.listen", text, MACHINE_TCP, MACHINE_UNTOLD);
    expect(REPORT_WARN, "x.listen", "does not say by whom");
    machine_check_port(&r, "x.listen", text, MACHINE_UDP, MACHINE_UNTOLD);
    expect(REPORT_OK, "x.listen", "(udp) can be bound");
    close(fd);
    machine_check_port(&r, "x.listen", text, MACHINE_TCP, MACHINE_STRANGER);
    expect(REPORT_OK, "x.listen", "(tcp) can be bound");
    machine_check_port(&r, "x.listen", "192.0.2.1:80", MACHINE_TCP, MACHINE_STRANGER);
    expect(REPORT_FAIL, "x.listen", "no address of this machine");
}
END_TEST

/* Whether this user may, and whether something keeps the clock, is the machine's own affair. */
START_TEST(low_ports_and_clock)
{
    machine_check_low_ports(&r, "127.0.0.1");
    ck_assert_str_eq(r.findings[0].name, "ports.low");
    ck_assert_int_ne((int)r.findings[0].verdict, (int)REPORT_FAIL);
    machine_check_low_ports(&r, "192.0.2.1");
    expect(REPORT_FAIL, "ports.low", "192.0.2.1");
    machine_check_clock(&r);
    ck_assert_int_ne((int)r.findings[2].verdict, (int)REPORT_FAIL);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {folders,     secret_files, descriptors,
                                  udp_buffers, ports,        low_ports_and_clock};

    return run_suite("doctor_machine", tests, ARRAY_LEN(tests));
}
