"""A WireGuard tunnel over an edge's UDP port: both ends real (wireguard-go), iperf3 both ways and ping inside it
for WIREGUARD_SECS (150: longer than WireGuard's two minutes between handshakes).  Run by `make heavy`.

    A: wg-a, iperf3 client --UDP--> edge ==tunnel==> hub --UDP--> B: wg-b, iperf3 server

The programs' sockets are in this network namespace; each interface is moved to one of its own.
"""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess

from heavy import Case, e2e, penstock

SECS = int(os.environ.get("WIREGUARD_SECS", "150"))
REKEY_SECS = 120
ADDRESS = {"a": "192.0.2.1", "b": "192.0.2.2"}  # TEST-NET-1
RATE = "20M"  # of iperf3, each way: well below what the two cores encrypt four times


def run(*argv, secs=e2e.SECS, **more):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=secs, **more)
    if done.returncode:
        raise e2e.Failure(f"{' '.join(map(str, argv))}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def udp_counters():
    """Of this namespace, where all the programs' sockets are."""
    names, values = [line.split()[1:] for line in pathlib.Path("/proc/net/snmp").read_text().splitlines()
                     if line.startswith("Udp:")]
    return dict(zip(names, map(int, values)))


class WireGuard(Case):
    def program(self, name):
        path = shutil.which(name)
        if not path:
            raise e2e.Failure(f"{name} is not installed: scripts/deps.sh heavy")
        return path

    def process(self, *argv, **more):
        p = subprocess.Popen(argv, **more)
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        return p

    def namespace(self):
        """Lives as long as a process in it."""
        p = self.process("unshare", "-n", "sh", "-c", "ip link set lo up; echo up; exec sleep infinity",
                         stdout=subprocess.PIPE, text=True)
        self.addCleanup(p.stdout.close)
        self.assertEqual(p.stdout.readline(), "up\n")
        return p.pid

    def end_of_tunnel(self, side, port):
        """An interface with a key pair, in a namespace of its own: (namespace's pid, interface, public key)."""
        name = f"pw{side}{os.getpid() % 100000}"
        self.process(self.program("wireguard-go"), "-f", name, env={**os.environ, "LOG_LEVEL": "error"})
        e2e.wait_for(name, lambda: subprocess.run(["wg", "show", name], capture_output=True).returncode == 0)
        key = pathlib.Path(self.stack.folder) / f"key-{side}"
        key.touch(0o600)
        key.write_text(run(self.program("wg"), "genkey"))
        run("wg", "set", name, "private-key", key, "listen-port", str(port))
        public = run("wg", "show", name, "public-key").strip()
        pid = self.namespace()
        run("ip", "link", "set", name, "netns", str(pid))
        self.inside(pid, "ip", "address", "add", f"{ADDRESS[side]}/30", "dev", name)
        self.inside(pid, "ip", "link", "set", name, "mtu", "1420", "up")
        return pid, name, public

    def inside(self, pid, *argv, **more):
        return run("nsenter", "-t", str(pid), "-n", *argv, **more)

    def handshakes(self, name):
        return int(run("wg", "show", name, "latest-handshakes").split()[1])

    def test_both_ways_for_minutes(self):
        iperf3 = self.program("iperf3")
        at_b = penstock.free_port()
        self.udp_tunnel([at_b])
        a, wg_a, public_a = self.end_of_tunnel("a", penstock.free_port())
        b, wg_b, public_b = self.end_of_tunnel("b", at_b)
        run("wg", "set", wg_b, "peer", public_a, "allowed-ips", ADDRESS["a"] + "/32")
        run("wg", "set", wg_a, "peer", public_b, "allowed-ips", ADDRESS["b"] + "/32", "endpoint",
            f"127.0.0.1:{self.ports[0]}", "persistent-keepalive", "5")
        e2e.wait_for("the first handshake", lambda: self.handshakes(wg_a))
        first = self.handshakes(wg_a)
        self.process("nsenter", "-t", str(b), "-n", iperf3, "-s", stdout=subprocess.DEVNULL)
        ping = self.process("nsenter", "-t", str(a), "-n", self.program("ping"), "-i", "0.2", "-q", ADDRESS["b"],
                            stdout=subprocess.PIPE, text=True)
        self.addCleanup(ping.stdout.close)
        e2e.wait_for("iperf3", lambda: "LISTEN" in self.inside(b, "ss", "-Hltn", "sport = :5201"))
        report = json.loads(self.inside(a, iperf3, "-c", ADDRESS["b"], "-t", str(SECS), "-b", RATE, "--bidir", "-J",
                                        secs=SECS + 60))
        ping.send_signal(signal.SIGINT)
        pinged = ping.communicate(timeout=e2e.SECS)[0]
        self.assertNotIn("error", report)
        end = report["end"]
        rates = {way: end[f"sum_received{tail}"]["bits_per_second"] / 1e6
                 for way, tail in (("there", ""), ("back", "_bidir_reverse"))}
        loss, = re.findall(r"([\d.]+)% packet loss", pinged)
        rtt = re.search(r"= [\d.]+/([\d.]+)/([\d.]+)", pinged)
        drops = {s.name: s.metric(f"penstock_{s.name}_udp_dropped_total") for s in (self.edge, self.hub)}
        full = udp_counters()["RcvbufErrors"]
        print(f"{SECS} s: {rates['there']:.1f} and {rates['back']:.1f} Mbit/s, ping lost {loss} %, "
              f"{rtt[1]} ms on average, {rtt[2]} at most; dropped {drops}, by full sockets of any of the programs {full}")
        for way, rate in rates.items():
            self.assertGreater(rate, 19, way)
        self.assertLess(float(loss), 3)  # on a busy machine the six programs' sockets overflow now and then
        self.assertEqual(drops, {"edge": 0, "hub": 0})
        self.assertGreaterEqual(self.handshakes(wg_a) - first, (SECS // REKEY_SECS) * REKEY_SECS - 5)
        for service in (self.edge, self.hub):  # WireGuard's end saw one address all the time
            self.assertEqual(service.metric(f"penstock_{service.name}_udp_sessions_opened_total"), 1)


if __name__ == "__main__":
    if not os.path.exists("/dev/net/tun"):
        e2e.not_run("there is no /dev/net/tun here")
    e2e.main_in_namespace()
