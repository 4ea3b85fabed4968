"""The hub's QUIC beside somebody else's: quicgo/ is an edge on quic-go, written from api/tunnel.md.  Real
hub, real targets; what quicgo saw is compared with what the target and the hub's metrics say.

Not run (exit status 77) where Go or its modules cannot be had.
"""
import hashlib
import json
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

import e2e  # noqa: E402
from e2e import not_run, penstock  # noqa: E402

PROGRAM = penstock.BUILD / "interop" / "quicgo"
EDGE = "quicgo"
RESET, UNREACHABLE, NOT_ALLOWED = 1, 2, 3


def build():
    """quicgo, built; a fault of our code is a failure, a module that cannot be had is not."""
    go = shutil.which("go", path=os.environ["PATH"] + ":/usr/local/go/bin")
    if not go:
        not_run("Go is not installed")
    environment = dict(os.environ, GOFLAGS="-mod=readonly -buildvcs=false", GOTOOLCHAIN="local")
    source = HERE / "quicgo"
    done = subprocess.run([go, "mod", "download"], cwd=source, env=environment, capture_output=True, text=True,
                          timeout=200)
    if done.returncode:
        not_run("a Go module cannot be had: " + (done.stderr.strip().splitlines() or ["?"])[0])
    for what in (["vet", "./..."], ["build", "-o", PROGRAM, "."]):
        subprocess.run([go, *what], cwd=source, env=environment, check=True, timeout=250)


class Quicgo(e2e.Case):
    def start_hub(self, targets, udp=(), **conf):
        self.ports = [penstock.free_port() for _ in targets]
        self.hub = self.stack.hub(dict(zip(self.ports, targets)), tunnel={"transports": ["tls", "quic"]}, **conf)
        self.token = self.stack.register(self.hub, EDGE, self.ports, **({"listenPortsUdp": list(udp)} if udp else {}))

    def target(self, handle, **options):
        target = e2e.Target(handle, **options)
        self.addCleanup(target.close)
        return target

    def start(self, scenario, port=None, token=None, secs=60, **flags):
        argv = [PROGRAM, scenario, f"-port={self.ports[0] if port is None else port}", f"-secs={secs}",
                *(f"-{k}={v}" for k, v in flags.items())]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   env=dict(os.environ, PENSTOCK_TOKEN=token or self.token))
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def finish(self, process, secs=60):
        """What it says at its end."""
        out, err = process.communicate(timeout=secs + 20)
        if process.returncode:
            raise e2e.Failure(f"{process.args[1:]}: {err.strip()}")
        return json.loads(out.splitlines()[-1])

    def run_quicgo(self, scenario, secs=60, **options):
        return self.finish(self.start(scenario, secs=secs, **options), secs)

    def streams(self, result):
        return self.hub.metric("penstock_hub_streams_total", result=result)


class Data(Quicgo):
    def test_10_mb_each_way_on_many_streams(self):
        target = self.target(e2e.echo)
        self.start_hub([target.port])
        for streams, size in ((16, 10_000_000), (200, 100_000), (1, 0), (50, 1)):
            with self.subTest(streams=streams, bytes=size):
                self.run_quicgo("echo", secs=120, streams=streams, bytes=size)
        self.assertEqual(target.failures, [])
        self.assertEqual(self.hub.metric("penstock_hub_streams_opened_total"), 267)

    def test_the_target_hears_of_the_client(self):
        target = self.target(e2e.echo)
        self.start_hub([target.port])
        self.run_quicgo("echo")
        self.assertEqual(target.headers, [f"PROXY TCP4 192.0.2.7 127.0.0.1 40001 {self.ports[0]}\r\n".encode()])

    def test_line_a_byte_a_packet(self):
        target = self.target(e2e.echo)
        self.start_hub([target.port])
        found = self.run_quicgo("split")
        self.assertEqual(found["got"], "behind the line")
        self.assertGreater(found["pieces"], 40)
        self.assertIn(f"PROXY TCP4 192.0.2.7 127.0.0.1 45678 {self.ports[0]}\r\n".encode(), target.headers)


class Ends(Quicgo):
    """FIN is FIN in each direction by itself; a reset carries its code."""

    def test_client_ends_first(self):
        def answer_after_end(s):
            digest = hashlib.sha256(e2e.receive_all(s)).hexdigest().encode()
            s.sendall(digest + b"x" * 1_000_000)
            s.shutdown(socket.SHUT_WR)

        self.start_hub([self.target(answer_after_end).port])
        found = self.run_quicgo("client-first", bytes=3_000_000)
        self.assertEqual((found["got"], found["bytes"]), (found["sha256"], 1_000_064))

    def test_target_ends_first(self):
        received = []

        def end_then_read(s):
            s.sendall(b"bye")
            s.shutdown(socket.SHUT_WR)
            received.append(hashlib.sha256(e2e.receive_all(s)).hexdigest())

        self.start_hub([self.target(end_then_read).port])
        found = self.run_quicgo("target-first", bytes=2_000_000)
        self.assertEqual(found["got"], "bye")
        e2e.wait_for("the target's bytes", lambda: received)
        self.assertEqual(received, [found["sha256"]])

    def test_client_reset_reaches_the_target(self):
        self.check_client_ends("reset")

    def test_stop_sending_reaches_the_target(self):
        """The hub stops both directions: a client's socket that is gone takes and gives nothing."""
        self.assertEqual(self.check_client_ends("stop"), {"write": RESET})

    def check_client_ends(self, scenario):
        outcomes = []

        def serve(s):
            outcomes.append(self.echo_until_end(s))

        self.start_hub([self.target(serve).port])
        found = self.run_quicgo(scenario)
        e2e.wait_for("both ends at the target", lambda: len(outcomes) == 2)
        self.assertEqual(sorted(outcomes), ["ended", "reset"])
        return found

    @staticmethod
    def echo_until_end(s):
        try:
            while data := s.recv(65536):
                s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            return "ended"
        except ConnectionError:
            return "reset"

    def test_target_reset(self):
        self.start_hub([self.target(lambda s: (e2e.receive(s, 4), e2e.reset(s))).port])
        self.assertEqual(self.run_quicgo("refused", say="ping"), {"read": RESET, "write": RESET})

    def test_target_that_is_down(self):
        self.start_hub([penstock.free_port()])
        self.assertEqual(self.run_quicgo("refused"), {"read": UNREACHABLE, "write": UNREACHABLE})
        self.assertEqual(self.run_quicgo("refused", say="data"), {"read": UNREACHABLE, "write": UNREACHABLE})

    def test_port_of_nobody(self):
        self.start_hub([self.target(e2e.echo).port])
        self.assertEqual(self.run_quicgo("refused", port=penstock.free_port(), say="data"),
                         {"read": NOT_ALLOWED, "write": NOT_ALLOWED})
        self.run_quicgo("echo")


class Lane(Quicgo):
    def test_wrong_proof(self):
        self.start_hub([self.target(e2e.echo).port])
        self.assertEqual(self.run_quicgo("wrong-proof"), {"code": "unauthorized"})
        self.assertEqual(self.hub.metric("penstock_hub_handshake_failures_total", reason="unauthorized"), 1)
        self.assertEqual(self.hub.status()["connectedEdges"], [])
        self.run_quicgo("echo")

    def test_stream_without_a_line(self):
        self.start_hub([self.target(e2e.echo).port])
        self.assertEqual(self.run_quicgo("no-line"), {"code": "protocol_error"})
        self.run_quicgo("echo")

    def test_ping_and_config(self):
        """Two PINGs are answered, else the hub ends the lane; a new port is told and acknowledged; after
        GOODBYE the session is gone."""
        self.start_hub([self.target(e2e.echo).port])
        lane = self.start("hold", pings=2, revisions=1, secs=60)
        lane.stdout.readline()
        ports = sorted([*self.ports, penstock.free_port()])
        self.hub.api("PATCH", f"/v1/edges/{EDGE}", {"listenPorts": ports}, expect=200)
        e2e.wait_for("CONFIG_ACK of both ports", lambda: [
            edge["listenPorts"] for edge in self.hub.status()["connectedEdges"]] == [ports])
        found = self.finish(lane)
        self.assertEqual((found["pings"] >= 2, found["listenPorts"]), (True, ports))
        e2e.wait_for("the lane's end", lambda: self.hub.metric("penstock_hub_lanes") == 0)

    def test_retry(self):
        """More handshakes than the hub takes on trust: addresses must be proved, and the honest get in."""
        self.start_hub([self.target(e2e.echo).port])
        self.assertGreaterEqual(self.run_quicgo("retry")["retries"], 1)  # one a packet of a long ClientHello


class Udp(Quicgo):
    SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"

    def start_udp(self):
        """Datagrams echoed by the target of a public port, which is the port of the same number; the PROXY
        header may come in front of them or alone."""
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind(("127.0.0.1", 0))
        self.headers = []

        def serve():
            while True:
                data, peer = s.recvfrom(65536)
                if data.startswith(self.SIGNATURE):
                    end = 16 + int.from_bytes(data[14:16], "big")
                    self.headers.append(data[:end])
                    data = data[end:]
                    if not data:
                        continue
                elif data == b"stop":
                    return
                s.sendto(data, peer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        self.addCleanup(s.close)
        self.addCleanup(thread.join, e2e.SECS)
        self.addCleanup(s.sendto, b"stop", s.getsockname())
        port = s.getsockname()[1]
        self.start_hub([self.target(e2e.echo).port], udp=[port])
        return port

    def test_datagrams(self):
        port = self.start_udp()
        self.assertEqual(self.run_quicgo("udp-echo", port=port)["echoed"], 5)
        self.assertIn(self.SIGNATURE + b"\x21\x12\0\x0c" + socket.inet_aton("192.0.2.7") +
                      socket.inet_aton("127.0.0.1") + struct.pack("!HH", 40000, port), self.headers)

    def test_port_of_nobody(self):
        self.start_udp()
        self.assertEqual(self.run_quicgo("udp-refused", port=penstock.free_port()), {"code": "03"})


if __name__ == "__main__":
    build()
    e2e.main()
