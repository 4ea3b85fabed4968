"""slowhttptest (Debian's package) on traffic: 1,000 connections that send their heads slowly, their bodies
slowly, or read their answers slowly.  Others are served all the while, their p99 at most twice what it is at
an idle one, and the 1,000 are gone, each kind with its reason: slow heads, with the default of headerSecs (10 s),
15 s after there were OPEN of them at the latest, slow bodies 5 s after their time is up.

Attackers, their relay and the programs with their sanitizers share two cores, so a baseline from before the
attack says little.  It is taken at the same moments: a second traffic that nobody attacks is asked in turn
with the first one, request by request, on connections that stay.  Windows count that begin and end with OPEN
attackers, once those have been given what their sockets swallow, for as long as two rounds of what those send; the
p99 of all that was asked in them is compared, and FLOOR_SECS of difference is nobody's wait.  Between the windows
somebody new comes, and is served.

slowhttptest sends no name with its handshake; haproxy stands between and adds it, byte for byte otherwise.
"""
import shutil
import socket
import subprocess
import time
import unittest

import extra
from traffic_stand import HOST, SECS, Raw, Stand, ok, p99, stack

COUNT = 1000
OPEN = 800      # so many at once are an attack: some come late on a busy machine
GOOD = 100      # requests of the others in a window
ASKED_SECS = 6
WORST = 2.0     # times the idle one's
FLOOR_SECS = 0.01
NAME = "localhost"  # slowhttptest's Host
ANSWER = ok(b"x" * (4 << 20))  # more than the sockets on the way swallow

KINDS = {  # options, reasons of which each connection is ended for one, their time (None: the default) and when all are gone
    "head": (["-H", "-i", "3"], ("header_timeout",), None, 15),
    "body": (["-B", "-i", "3", "-s", "100000"], ("body_timeout",), 25, 30),
    # gigabytes go to the sockets of those that read slowly, before they are slow; the time of each begins when its
    # own are full, and what it reads then buys it more, by limits.readRate
    "read": (["-X", "-n", "1", "-z", "32", "-w", "512", "-y", "1024"], ("slow_read", "write_timeout"), 20, 50),
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


def ask(c):
    begun = time.monotonic()
    if c.get("/good").status != 200:
        raise stack.Failure("somebody else was not served")
    return time.monotonic() - begun


def window(*clients):
    """What each took, asked in turn; each request must be served."""
    return [[ask(c) for c in clients] for _ in range(GOOD)]


def serve_new(stand):
    with Raw(stand.https) as c:
        ask(c)


def open_now(stand):
    return stand.traffic.metric("penstock_traffic_clients_open")


def is_quiet(stand):
    """Next to nothing moves any more."""
    before = stand.traffic.metric("penstock_traffic_bytes_out_total")
    serve_new(stand)
    return stand.traffic.metric("penstock_traffic_bytes_out_total") - before < 1 << 20


def under_attack(stand, *clients):
    begun, asked = time.monotonic(), []
    while time.monotonic() - begun < ASKED_SECS and open_now(stand) >= OPEN:
        serve_new(stand)
        took = window(*clients)
        if open_now(stand) >= OPEN:
            asked += took
    return asked


class SlowHttp(unittest.TestCase):
    def setUp(self):
        self.attackers = []
        self.addCleanup(self.end_attack)

    def end_attack(self):
        for process in self.attackers:
            process.kill()
            process.wait()
        self.attackers.clear()

    def attack(self, stand, options):
        listen = stack.free_port()
        conf = stand.stack.folder / "haproxy.cfg"
        conf.write_text(HAPROXY.format(listen=listen, port=stand.https[1], name=NAME))
        for command in (["haproxy", "-db", "-q", "-f", conf],
                        ["slowhttptest", *options, "-c", str(COUNT), "-r", "400", "-l", "120", "-p", "3",
                         "-u", f"http://{NAME}:{listen}/"]):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.attackers.append(process)
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
        options, reasons, secs, gone_secs = KINDS[kind]
        timeouts = {"handshakeSecs": 60}  # a thousand of them, with sanitizers
        if secs:
            timeouts.update({"headerSecs": secs, "bodyIdleSecs": secs})
        conf = {"timeouts": timeouts, "limits": {"readRate": 1000, "requestsPerConnection": 1000000}, "log": {"access": False}}
        with Stand(**conf) as stand, Stand(**conf) as idle:
            stand.routes([stand.route(HOST), stand.route(NAME)])
            for each in (stand, idle):
                each.origin.answers["/good"] = ok(b"x" * 1000)
            stand.origin.answers["/"] = ANSWER
            with stand.client() as good, idle.client() as twin:
                window(good, twin)
                self.attack(stand, options)
                stack.wait_for(f"{OPEN} connections", lambda: open_now(stand) >= OPEN, 60)
                begun = time.monotonic()
                stack.wait_for("they are slow", lambda: is_quiet(stand), secs or SECS)
                asked = under_attack(stand, good, twin)
            self.assertTrue(asked, "no window while they were there")
            stack.wait_for("they are gone", lambda: sum(stand.reason(r) for r in reasons) >= OPEN, 120)
            gone = time.monotonic() - begun
            attacked, usual = (p99(of_one) for of_one in zip(*asked))
            print(f"{kind}: p99 {attacked * 1000:.1f} ms, {usual * 1000:.1f} ms at the idle one, "
                  f"{attacked / usual:.1f}x of {len(asked)} each; gone within {gone:.1f} s", flush=True)
            self.assertLessEqual(attacked, max(WORST * usual, usual + FLOOR_SECS))
            self.assertLessEqual(gone, gone_secs)
            serve_new(stand)

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
