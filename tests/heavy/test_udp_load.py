"""UDP in numbers, and with other people's programs: a million datagrams, ten thousand sessions, dnsdist,
iperf3.  Run by `make heavy`."""
import json
import os
import pathlib
import resource
import selectors
import shutil
import socket
import struct
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(os.environ["PENSTOCK_SOURCE"]) / "tests" / "e2e"))

import e2e  # noqa: E402
import udp_stand as u  # noqa: E402
from e2e import penstock  # noqa: E402


class EchoProcess:
    """An echo of datagrams in a process of its own, so that the test's threads do not slow it."""

    PROGRAM = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
buffer = bytearray(65536)
while True:
    n, peer = s.recvfrom_into(buffer)
    s.sendto(memoryview(buffer)[:n], peer)
"""

    def __init__(self):
        self.process = subprocess.Popen([sys.executable, "-c", self.PROGRAM], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Load(u.Case):
    def echo(self):
        process = EchoProcess()
        self.addCleanup(process.close)
        return process.port

    def drops(self):
        return {s.name: s.metric(f"penstock_{s.name}_udp_dropped_total") for s in (self.edge, self.hub)}

    def test_a_million_datagrams_and_none_lost(self):
        """A window of 128 on the way: below what any queue holds.  Each answer is the next in order."""
        count, window = 1_000_000, 128
        self.udp_tunnel([self.echo()])
        s = self.client(self.ports[0])
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        pad = bytes(60)
        sent = got = 0
        begun = time.monotonic()
        while got < count:
            while sent < count and sent - got < window:
                s.send(struct.pack("!Q", sent) + pad)
                sent += 1
            number, = struct.unpack("!Q", s.recv(100)[:8])
            self.assertEqual(number, got)
            got += 1
        print(f"{count / (time.monotonic() - begun):.0f} datagrams a second, both ways")
        self.assertEqual(self.drops(), {"edge": 0, "hub": 0})

    def test_ten_thousand_sessions_come_and_go(self):
        """All of them open at once, then idle, then again: memory stays within its bound."""
        count = 10_000
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < count + 500:
            self.skipTest(f"this process may have {hard} descriptors")
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        # What was freed must not wait in AddressSanitizer's quarantine: the test is about memory.
        os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1:thread_local_quarantine_size_kb=16"
        self.addCleanup(os.environ.pop, "ASAN_OPTIONS")
        self.udp_tunnel([self.echo()], edge={"limits": {"udpIdleSecs": 3}})
        if self.hub.status()["limits"]["udpSessions"] < count:
            self.skipTest("the hub may not have so many sockets")
        held = []
        for _ in range(6):
            self.round(count)
            e2e.wait_for("the sessions' end", lambda: self.hub.metric("penstock_hub_udp_flows") == 0
                         and self.edge.metric("penstock_edge_udp_flows") == 0, 60)
            held.append((self.edge.resident_bytes(), self.hub.resident_bytes()))
        print("resident MB, edge and hub:", [(round(a / 1e6, 1), round(b / 1e6, 1)) for a, b in held])
        edges, hubs = zip(*held)
        self.assertLess(edges[-1], edges[2] * 1.25)
        # While a new session looks for its socket its datagrams hold a chunk of 16 KiB, and the heap keeps
        # the most that ever were: a bound, where the edge is flat.
        self.assertLess(hubs[-1], count * 16384 + hubs[0])

    def round(self, count):
        """Every client has its echo, asked again where one was lost on the way here."""
        selector = selectors.DefaultSelector()
        waiting = {}
        with selector:
            for i in range(count):
                s = u.client(self.ports[0])
                selector.register(s, selectors.EVENT_READ, i)
                waiting[i] = s
            for tries in range(20):
                for n, (i, s) in enumerate(list(waiting.items())):
                    s.send(struct.pack("!I", i))
                    if n % 100 == 99:
                        self.collect(selector, waiting, 0)
                self.collect(selector, waiting, 2)
                if not waiting:
                    break
            self.assertEqual(len(waiting), 0)
            e2e.wait_for("all sessions", lambda: self.edge.metric("penstock_edge_udp_sessions_open") == count
                         or self.edge.metric("penstock_edge_udp_idle_total") > 0)
            for key in list(selector.get_map().values()):
                key.fileobj.close()

    def collect(self, selector, waiting, secs):
        until = time.monotonic() + secs
        while waiting:
            ready = selector.select(max(until - time.monotonic(), 0))
            for key, _ in ready:
                number, = struct.unpack("!I", key.fileobj.recv(100))
                self.assertEqual(number, key.data)
                waiting.pop(number, None)
            if time.monotonic() >= until:
                return


class Programs(u.Case):
    def program(self, name):
        path = shutil.which(name)
        if not path:
            self.skipTest(f"{name} is not installed")
        return path

    def test_dnsdist_learns_the_client(self):
        """`each`: dnsdist reads the header in front of every query and logs who asked."""
        dnsdist, dig = self.program("dnsdist"), self.program("dig")
        port = penstock.free_port()
        conf = self.stack.folder / "dnsdist.conf"
        log = self.stack.folder / "queries"
        conf.write_text(f"""
setLocal("127.0.0.1:{port}")
setACL({{"127.0.0.0/8"}})
setProxyProtocolACL({{"127.0.0.1/32"}})
addAction(AllRule(), LogAction("{log}", false, false, false, true, false))
addAction(AllRule(), SpoofAction({{"192.0.2.53"}}))
""")
        process = subprocess.Popen([dnsdist, "-C", conf, "--supervised", "--disable-syslog"],
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.udp_tunnel([port], mode="each", edge={"bindAddress": ""})

        def asked(source):
            answer = subprocess.run([dig, "-b", source, "@127.0.0.1", "-p", str(self.ports[0]), "+short", "+tries=1",
                                     "+time=1", "www.example.test", "A"], capture_output=True, text=True)
            return answer.stdout.strip() == "192.0.2.53"

        e2e.wait_for("dnsdist", lambda: process.poll() is not None or asked("127.0.0.1"))
        for source in ("127.0.0.7", "127.1.2.3"):
            e2e.wait_for(f"an answer for {source}", lambda: asked(source))
            e2e.wait_for("the log", lambda: f"from {source}:" in log.read_text())

    def test_iperf3(self):
        """Its control connection is TCP, its data UDP, on one number."""
        iperf3 = self.program("iperf3")
        target, port = penstock.free_port(), penstock.free_port()
        server = subprocess.Popen([iperf3, "-s", "-p", str(target)], stdout=subprocess.DEVNULL)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        hub = self.stack.hub({port: {"port": target, "proxyProtocol": "off"}},
                             target={"portsUdp": {str(port): target}, "proxyProtocolUdp": "off"})
        edge = self.stack.edge(self.stack.register(hub, "e1", [port], listenPortsUdp=[port]))
        self.wait_ports(edge, [port])
        self.wait_udp_ports(edge, [port])
        for direction in ([], ["-R"]):
            ran = subprocess.run([iperf3, "-c", "127.0.0.1", "-p", str(port), "-u", "-b", "50M", "-l", "1200", "-t", "5", "-w", "2M",
                                  "-J", *direction], capture_output=True, text=True, timeout=60)
            report = json.loads(ran.stdout)
            self.assertNotIn("error", report)
            end = report["end"]["sum"]
            drops = {s.name: {line.split('"')[1]: line.split()[-1] for line in s.api("GET", "/metrics").body.decode().split("\n")
                              if "udp_dropped_total{" in line and not line.endswith(" 0")} for s in (edge, hub)}
            print(f"iperf3 {direction}: {end['packets']} packets, {end['lost_packets']} lost, dropped: {drops}")
            self.assertGreater(end["packets"], 10_000)
            self.assertLess(end["lost_percent"], 1)


if __name__ == "__main__":
    unittest.main()
