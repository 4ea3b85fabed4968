"""The supervisor around the real programs: what crashes comes again and says so, what ends in order ends."""
import os
import pathlib
import re
import signal

import e2e
from e2e import penstock, wait_for

SERVICES = ("hub", "edge", "traffic")
FATAL = ("SEGV", "BUS", "ILL", "FPE", "ABRT", "SYS", "TRAP", "KILL")


def children(pid):
    return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Supervisor(e2e.Case):
    def start(self, service, **conf):
        """Supervised, at a management port that stays."""
        conf = {"supervise": True, "management_port": penstock.free_port(), **conf}
        return {"hub": lambda: self.stack.hub({}, **conf), "edge": lambda: self.stack.edge(**conf),
                "traffic": lambda: self.stack.traffic(**conf)}[service]()

    def crash(self, running, signum, row=1):
        """Ends the service process by a signal; the line of the next one."""
        (child,) = children(running.pid)
        os.kill(child, signum)
        line = running.wait_event("crash_recovered", count=row)
        self.assertNotEqual(children(running.pid), [child])
        return line

    def test_every_fatal_signal(self):
        for name in FATAL:
            with self.subTest(name):
                running = self.start("edge")
                running.wait_event("listening", name="management")
                line = self.crash(running, getattr(signal, f"SIG{name}"))
                self.assertEqual((line["signal"], line["row"], line["recovered"]), (name, 1, 1))
                self.assertEqual(running.api("GET", "/healthz").status, 200)
                self.assertEqual(running.metric("penstock_crash_recoveries_total"), 1)
                last = running.events("fatal_signal")
                self.assertEqual(len(last), name != "KILL")
                for each in last:
                    self.assertEqual(each["signal"], name)
                    self.assertRegex(each["backtrace"], r"penstock-edge\+0x[0-9a-f]+")
                running.stop(0)

    def test_of_each_service(self):
        for service in SERVICES:
            with self.subTest(service):
                running = self.start(service)
                running.wait_event("listening", name="management")
                self.crash(running, signal.SIGSEGV)
                self.assertEqual(running.api("GET", "/healthz").status, 200)
                running.stop(0)

    def test_the_path_comes_back(self):
        """Edge and hub crash one after the other; both times the tunnel is there again by itself."""
        target = e2e.Target(e2e.echo)
        self.addCleanup(target.close)
        self.tunnel([target.port], hub={"supervise": True, "tunnel_port": penstock.free_port(),
                                        "management_port": penstock.free_port()},
                    edge={"supervise": True, "management_port": penstock.free_port()},
                    fields={"secret": "s" * 43})
        self.hub.conf["edges"] = [{"id": "e1", "listenPorts": self.ports, "secret": "s" * 43}]
        (self.hub.folder / "hub.json").write_text(penstock.json.dumps(self.hub.conf))
        for service in (self.edge, self.hub):
            with self.subTest(service.name):
                self.crash(service, signal.SIGKILL)  # the hub reads its configuration again
                self.wait_ports(self.edge, self.ports)
                wait_for("an echo", self.is_served)

    def is_served(self):
        """An edge on QUIC learns of its hub's end when the next one tells it, or after 6 s."""
        try:
            with e2e.connect(self.ports[0], secs=3) as s:
                s.sendall(b"hello")
                return e2e.receive(s, 5) == b"hello"
        except (OSError, e2e.Failure):
            return False

    def test_giving_up(self):
        running = self.start("hub", limits={"restarts": 1})
        running.wait_event("listening", name="management")
        self.crash(running, signal.SIGABRT)
        (child,) = children(running.pid)
        os.kill(child, signal.SIGABRT)
        self.assertEqual(running.process.wait(e2e.SECS), 70)
        self.assertEqual(len(running.events("crash_recovery_failed", signal="ABRT")), 1)
        running.stop(70)

    def test_a_start_that_fails_is_not_tried_again(self):
        running = self.start("hub", tunnel={"certFile": "/nowhere", "keyFile": "/nowhere"})
        self.assertEqual(running.process.wait(e2e.SECS), 1)
        self.assertEqual(running.events("crashed"), [])
        running.stop(1)

    def test_the_end_and_the_reload_are_passed_on(self):
        running = self.start("traffic")
        running.wait_event("listening", name="https")
        running.conf["log"]["level"] = "debug"
        (running.folder / "traffic.json").write_text(penstock.json.dumps(running.conf))
        running.process.send_signal(signal.SIGHUP)
        running.wait_event("reloaded")
        (child,) = children(running.pid)
        running.stop(0)
        self.assertFalse(is_alive(child))

    def test_the_service_does_not_outlive_its_supervisor(self):
        running = self.start("edge")
        running.wait_event("listening", name="management")
        (child,) = children(running.pid)
        running.kill()
        wait_for("the service's end", lambda: not is_alive(child))

    def test_commands_run_beside_it(self):
        """healthcheck is not supervised: it says what it found and ends."""
        running = self.start("edge")
        running.wait_event("listening", name="management")
        done = penstock.subprocess.run(
            [running.program, "--config", running.folder / "edge.json", "--set",
             f"management.listen=127.0.0.1:{running.address('management')[1]}", "healthcheck"],
            capture_output=True, text=True, timeout=e2e.SECS)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_no_secret_in_a_core_dump(self):
        """Neither process may leave one."""
        running = self.start("hub")
        running.wait_event("listening", name="management")
        for pid in (running.pid, *children(running.pid)):
            limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
            self.assertIsNotNone(re.search(r"Max core file size\s+0\s+0", limits))


if __name__ == "__main__":
    e2e.main()
