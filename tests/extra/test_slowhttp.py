"""slowhttptest (Debian's package) on traffic: 1,000 connections that send their heads slowly, their bodies
slowly, or read their answers slowly.  Others are served all the while, hardly slower than before, and the
1,000 are ended, each kind with its reason.

slowhttptest sends no name with its handshake; haproxy stands between and adds it, byte for byte otherwise.
"""
import shutil
import socket
import subprocess
import time
import unittest

import extra
from traffic_stand import HOST, SECS, Raw, Stand, ok, stack

COUNT = 1000
OPEN = 800      # so many at once are an attack: some come late on a busy machine
GOOD = 100      # requests of the others, a connection each
# Attackers and their relay need the same two cores as traffic, which is built with sanitizers here: how
# much slower the others are is printed, and what is asserted is that nobody waits until an attacker is ended.
ATTACKER_SECS = 20
NAME = "localhost"  # slowhttptest's Host
ANSWER = ok(b"x" * (4 << 20))  # more than the sockets on the way swallow

KINDS = {  # options, reasons of which each connection is ended for one
    "head": (["-H", "-i", "3"], ("header_timeout",)),
    "body": (["-B", "-i", "3", "-s", "100000"], ("body_timeout",)),
    "read": (["-X", "-n", "1", "-z", "32", "-w", "512", "-y", "1024"], ("slow_read", "write_timeout")),
}

HAPROXY = """global
    maxconn 5000
    nbthread 1
defaults
    mode tcp
    timeout connect 30s
    timeout client 300s
    timeout server 300s
listen names
    bind 127.0.0.1:{listen}
    server traffic 127.0.0.1:{port} ssl verify none sni str({name}) alpn http/1.1
"""


def p99(stand):
    """Of requests on connections of their own; each must be served."""
    took = []
    for _ in range(GOOD):
        begun = time.monotonic()
        with Raw(stand.https) as c:
            if c.get("/good").status != 200:
                raise stack.Failure("somebody else was not served")
        took.append(time.monotonic() - begun)
    return sorted(took)[int(GOOD * 0.99) - 1]


class SlowHttp(unittest.TestCase):
    def attack(self, stand, options):
        listen = stack.free_port()
        conf = stand.stack.folder / "haproxy.cfg"
        conf.write_text(HAPROXY.format(listen=listen, port=stand.https[1], name=NAME))
        for command in (["haproxy", "-db", "-q", "-f", conf],
                        ["slowhttptest", *options, "-c", str(COUNT), "-r", "400", "-l", "120", "-p", "3",
                         "-u", f"http://{NAME}:{listen}/"]):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.addCleanup(process.wait)
            self.addCleanup(process.kill)
            if command[0] == "haproxy":
                stack.wait_for("haproxy listens", lambda: self.listens(listen), SECS)

    @staticmethod
    def listens(port):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return False
        return True

    def run_kind(self, kind):
        options, reasons = KINDS[kind]
        with Stand(timeouts={"headerSecs": ATTACKER_SECS, "bodyIdleSecs": ATTACKER_SECS, "handshakeSecs": 60}, limits={"readRate": 1000},
                   log={"access": False}) as stand:
            stand.routes([stand.route(HOST), stand.route(NAME)])
            stand.origin.answers["/good"] = ok(b"x" * 1000)
            stand.origin.answers["/"] = ANSWER
            before = min(p99(stand) for _ in range(3))
            self.attack(stand, options)
            stack.wait_for(f"{OPEN} connections", lambda: stand.traffic.metric("penstock_traffic_clients_open") >= OPEN, 60)
            during = min(p99(stand) for _ in range(3))
            print(f"{kind}: p99 {before * 1000:.1f} ms before, {during * 1000:.1f} ms during, "
                  f"{during / before:.1f}x", flush=True)
            self.assertLess(during, ATTACKER_SECS / 2)
            stack.wait_for("they are ended", lambda: sum(stand.reason(r) for r in reasons) >= OPEN, 120)
            p99(stand)  # and the others are still served

    def test_slow_heads(self):
        self.run_kind("head")

    def test_slow_bodies(self):
        self.run_kind("body")

    def test_slow_readers(self):
        self.run_kind("read")


if __name__ == "__main__":
    for program in ("slowhttptest", "haproxy"):
        if not shutil.which(program):
            extra.not_run(f"there is no {program} here (Debian's package of that name)")
    unittest.main(verbosity=2)
