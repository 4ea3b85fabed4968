"""UDP to a target whose name has several addresses, of which one listens; to one that nobody knows.  In
namespaces of its own, where /etc/hosts and the name server are the test's."""
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

import e2e
import udp_stand as u
from e2e import penstock

LOOKUPS = 8
DNS = ("127.0.0.53", 53)
# No address in two lines: c-ares 1.34 then knows it by the first line's names only.
HOSTS = "::1 three.test\n127.0.0.1 three.test localhost\n127.0.0.9 three.test\n"


class Names(u.Case):
    def assert_answered(self, at, tries):
        s = self.client(self.ports[0])
        u.ask(s, b"x", tries=tries)
        self.assertEqual(at.seen[-1][0], b"x")
        return s

    def test_the_one_that_listens_is_found_and_remembered(self):
        port = penstock.free_port()
        target = self.target("127.0.0.1", port=port)
        self.udp_tunnel([{"host": "three.test", "port": port}], hub={"workers": 1}, edge={"workers": 1})
        first = self.assert_answered(target, tries=5)  # what went to the wrong addresses is lost
        self.assert_answered(target, tries=1)
        self.assert_answered(target, tries=1)
        target.close()
        moved = self.target("127.0.0.9", port=port)
        self.assert_answered(moved, tries=5)
        self.assert_answered(moved, tries=1)
        self.assertEqual(self.hub.metric("penstock_hub_udp_flows"), 5)
        first.close()

    def test_where_a_header_goes_first(self):
        """Two datagrams at a time: the second call tells of the first one's refusal, not the socket's event."""
        port = penstock.free_port()
        target = self.target("127.0.0.1", port=port)
        self.udp_tunnel([{"host": "three.test", "port": port}], mode="first", hub={"workers": 1}, edge={"workers": 1})
        s = self.client(self.ports[0])
        u.ask(s, b"x", tries=5)
        header, rest = u.split_header(target.seen[0][0])
        self.assertEqual((header[0][0], rest), ("127.0.0.1", b""))

    def test_none_listens(self):
        """Attempts are bounded, and the flow finds who comes later."""
        port = penstock.free_port()
        self.udp_tunnel([{"host": "three.test", "port": port}], hub={"workers": 1}, edge={"workers": 1})
        s = self.client(self.ports[0])
        e2e.wait_for("refusals", lambda: s.send(b"lost") and
                     self.hub.metric("penstock_hub_udp_target_errors_total") >= 2)
        target = self.target("127.0.0.9", port=port)
        u.ask(s, b"here", tries=10)
        self.assertEqual(target.seen[-1][0], b"here")
        peer = target.seen[-1][1]
        for n in range(3):  # who has answered is not left any more
            threading.Event().wait(0.6)  # past the time between two attempts: that is the point
            u.ask(s, b"%d" % n)
        self.assertEqual(target.seen[-1][1], peer)

    def test_who_never_answers_is_waited_for(self):
        """One way only, as syslog is: where datagrams were taken for a while they go on."""
        port = penstock.free_port()
        silent = self.target("::1", port=port, answer=lambda data, peer: [])
        self.udp_tunnel([{"host": "three.test", "port": port}], hub={"workers": 1}, edge={"workers": 1})
        s = self.client(self.ports[0])
        for n in range(5):  # more than an address is new; the hub was awake all the time, that is the point
            s.send(b"first")
            silent.wait(n + 1)
            threading.Event().wait(0.5)
        silent.close()
        e2e.wait_for("a refusal", lambda: s.send(b"lost") and
                     self.hub.metric("penstock_hub_udp_target_errors_total"))
        again = self.target("::1", port=port, answer=lambda data, peer: [])
        e2e.wait_for("it there", lambda: s.send(b"again") and again.seen)

    def test_lookups_for_strangers_leave_room(self):
        """Each new client of a UDP port is a lookup of its target's name.  When nobody answers those, streams to names
        that are well are connected all the same."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(DNS)
            public, target = penstock.free_port(), e2e.Target(e2e.echo, proxy=None)
            self.addCleanup(target.close)
            ports = {str(public): {"host": "localhost", "port": target.port}}
            self.udp_tunnel([{"host": "slow.test", "port": 9}], edge={"workers": 1}, hub={
                "workers": 1, "limits": {"udpLookups": LOOKUPS}, "target": {"ports": ports, "proxyProtocol": "off"}})
            self.hub.api("PATCH", "/v1/edges/e1", {"listenPorts": [public]})
            e2e.wait_for("the TCP port", lambda: self.edge.status()["listenPorts"] == [public])
            e2e.wait_for("one too many", lambda: self.client(self.ports[0]).send(b"x") and self.hub.metric(
                "penstock_hub_streams_refused_total", reason="limit_lookups"))
            with socket.create_connection(("127.0.0.1", public), e2e.SECS) as s:
                s.sendall(b"hello")
                self.assertEqual(s.recv(5), b"hello")
            e2e.wait_for("what waited to be counted", lambda: self.hub.metric(
                "penstock_hub_udp_dropped_total", reason="closed") >= LOOKUPS)


def alone():
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("hosts", HOSTS), ("resolv.conf", f"nameserver {DNS[0]}\n")):
            pathlib.Path(folder, name).write_text(text)
        os.chmod(folder, 0o755)
        inside = ["unshare", "-rnm", "sh", "-c", 'ip link set lo up && for f in hosts resolv.conf; do '
                  'mount --bind "$0/$f" "/etc/$f" || exit; done && exec "$@"', folder]
        tried = subprocess.run([*inside, sys.executable, "-c", "import socket; socket.socket(socket.AF_INET6).bind(('::1', 0))"],
                               capture_output=True, text=True)
        if tried.returncode:
            e2e.not_run(f"no namespaces, or no IPv6, here: {tried.stderr.strip()[-200:]}")
        return subprocess.run([*inside, sys.executable, "-B", *sys.argv], env={**os.environ, e2e.INSIDE: "1"}).returncode


if __name__ == "__main__":
    if os.environ.get(e2e.INSIDE) == "1":
        unittest.main(verbosity=2)
    sys.exit(alone())
