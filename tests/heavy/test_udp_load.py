"""UDP in numbers, and with other people's programs: a million datagrams, dnsdist, iperf3.  Run by
`make heavy`."""
import json
import shutil
import socket
import struct
import subprocess
import time

from heavy import Case, e2e, penstock


class Load(Case):
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

class Programs(Case):
    def program(self, name):
        path = shutil.which(name)
        if not path:
            raise e2e.Failure(f"{name} is not installed: scripts/deps.sh heavy")
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
        server = subprocess.Popen([iperf3, "-s", "-p", str(target), "--forceflush"], stdout=subprocess.PIPE, text=True)
        self.addCleanup(server.stdout.close)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        while "listening" not in (line := server.stdout.readline()):
            self.assertTrue(line, "iperf3's server ended")
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
    e2e.main()
