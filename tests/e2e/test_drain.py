"""The end in order: what is open finishes, what is new is taken as long as it can be, nobody is cut off
before the time is over.  SIGTERM and POST /v1/drain, of each of the three programs.
"""
import contextlib
import http.client
import json
import pathlib
import shutil
import signal
import socket
import ssl
import threading
import time

import e2e
import udp_stand as u
from e2e import penstock, wait_for

LONG = {"drainSecs": 60}
SHORT = 5  # seconds that a test waits for its end, and in which a busy machine answers


def is_refused(port):
    try:
        e2e.connect(port).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        pass  # it was closed with this one in its queue: ask again
    return False


def echoes(s, data=b"0123456789"):
    s.sendall(data)
    return e2e.receive(s, len(data)) == data


class Drain(e2e.Case):
    def echo_tunnel(self, **confs):
        self.target = e2e.Target(e2e.echo)
        self.addCleanup(self.target.close)
        self.tunnel([self.target.port], **confs)
        self.wait_lanes(self.edge)
        self.port = self.ports[0]

    def connect(self, port=None):
        s = e2e.connect(port or self.port)
        self.addCleanup(s.close)
        self.assertTrue(echoes(s))
        return s

    def term(self, service):
        service.process.send_signal(signal.SIGTERM)

    def ended(self, service, secs=e2e.SECS):
        """Its exit status."""
        return service.process.wait(secs)

    def reason(self, service):
        answer = service.api("GET", "/readyz")
        return answer.status, answer.json.get("reason")

    # --- each phase, on the edge

    def test_edge(self):
        self.echo_tunnel(edge={**LONG, "drainDelaySecs": SHORT})
        first = self.connect()
        self.term(self.edge)
        self.edge.wait_event("drain", state="announced")
        self.assertEqual(self.reason(self.edge), (503, "the service is draining"))
        self.assertFalse(self.edge.status()["running"])
        second = self.connect()  # the balancer did not know yet
        closing = self.edge.wait_event("drain", state="closing")
        self.assertGreaterEqual(closing["after_ms"], 1000 * SHORT)
        wait_for("the port's end", lambda: is_refused(self.port))
        self.assertTrue(echoes(first) and echoes(second))
        self.assertEqual(self.hub.status()["connectedEdges"][0]["listenPorts"], [])
        first.close()
        self.assertTrue(echoes(second, b"x" * 300000))
        second.shutdown(socket.SHUT_WR)
        self.assertEqual(e2e.receive_all(second), b"")
        self.assertEqual(self.ended(self.edge), 0)
        self.hub.wait_event("lane_closed", reason="draining")

    def test_edge_with_udp(self):
        """What a client has asked before is answered, and it may go on; a new one is not taken; the edge waits
        for the flow until that is idle."""
        may_answer = threading.Event()

        def answer(data, _):
            may_answer.wait()
            return [data]

        target, port = u.UdpTarget(answer=answer), penstock.free_port()
        self.addCleanup(target.close)
        self.addCleanup(may_answer.set)
        self.tunnel([], hub={"target": {"portsUdp": {str(port): target.port}, "proxyProtocolUdp": "off"}},
                    fields={"listenPortsUdp": [port]},
                    edge={**LONG, "workers": 1, "limits": {"udpIdleSecs": SHORT}})
        wait_for("the UDP port", lambda: self.edge.status()["listenPortsUdp"] == [port])
        client = u.client(port)
        self.addCleanup(client.close)
        client.send(b"asked before")
        target.wait(1)
        self.term(self.edge)
        wait_for("the port's end", lambda: self.edge.status()["listenPortsUdp"] == [])

        def is_new_one_refused():
            with u.client(port) as late:  # the port is closed on another thread: one may just have been in time
                late.send(b"too late")
            return self.edge.metric("penstock_edge_udp_dropped_total", reason="closed") > 0

        wait_for("the refusal", is_new_one_refused)
        may_answer.set()
        self.assertEqual(client.recv(100), b"asked before")
        client.send(b"and again")
        self.assertEqual(client.recv(100), b"and again")
        self.assertEqual(self.ended(self.edge), 0)
        self.assertEqual(len(self.edge.events("drain", state="leaving")), 1)

    def test_edge_whose_clients_do_not_go(self):
        self.echo_tunnel(edge={"drainSecs": SHORT})
        s = self.connect()
        self.term(self.edge)
        self.assertTrue(echoes(s))
        self.assertTrue(e2e.is_reset(s))
        self.assertEqual(self.ended(self.edge), 0)

    def test_clients_in_the_queue_are_served(self):
        """Those whose connection the kernel has made are taken before the port is closed."""
        self.echo_tunnel(edge={**LONG, "workers": 1})
        for _ in range(20):
            self.connect()
        self.edge.process.send_signal(signal.SIGSTOP)
        queued = [e2e.connect(self.port) for _ in range(100)]
        self.term(self.edge)
        self.edge.process.send_signal(signal.SIGCONT)
        wait_for("the port's end", lambda: is_refused(self.port))
        for s in queued:
            self.addCleanup(s.close)
            self.assertTrue(echoes(s))

    # --- the hub

    def test_hub_alone(self):
        """No other hub: its edge goes on opening streams until the end."""
        self.echo_tunnel(hub=LONG)
        first = self.connect()
        self.term(self.hub)
        self.hub.wait_event("drain", state="closing")
        self.assertEqual(self.reason(self.hub), (503, "the service is draining"))
        wait_for("the tunnel port's end", lambda: is_refused(self.hub.address("tunnel")[1]))
        second = self.connect()
        self.assertTrue(echoes(first))
        first.close()
        second.close()
        self.assertEqual(self.ended(self.hub), 0)
        self.edge.wait_event("tunnel_disconnected")

    def test_hub_whose_streams_do_not_end(self):
        self.echo_tunnel(hub={"drainSecs": SHORT})
        s = self.connect()
        self.term(self.hub)
        self.assertTrue(echoes(s))
        self.assertTrue(e2e.is_reset(s))
        self.assertEqual(self.ended(self.hub), 0)

    def left_for_a_slow_target(self, **hub):
        """A client that has ended in order, its edge gone, and the hub has most of what it said: the target reads
        nothing before .go is set.  .size: how much it was."""
        self.go, self.size, self.heard = threading.Event(), 2_500_000, None

        def slow(s):
            s.shutdown(socket.SHUT_WR)  # as a log sink
            self.go.wait(e2e.SECS)
            try:
                self.heard = len(e2e.receive_all(s))
            except ConnectionResetError:
                self.heard = "reset"

        self.addCleanup(self.go.set)
        target = e2e.Target(slow)
        self.addCleanup(target.close)
        target.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)  # the kernels take little of it
        self.tunnel([target.port], hub=hub, edge=LONG)
        with e2e.connect(self.ports[0]) as s:
            s.sendall(bytes(self.size))
            s.shutdown(socket.SHUT_WR)
            self.assertEqual(e2e.receive_all(s), b"")
        self.edge.stop(0)
        wait_for("its lanes' end", lambda: self.hub.metric("penstock_hub_lanes") == 0)
        self.assertEqual(self.hub.metric("penstock_hub_forwards_open"), 1)

    def test_hub_keeps_what_an_edge_that_has_gone_left(self):
        self.left_for_a_slow_target(**LONG)
        self.term(self.hub)
        with self.assertRaises(penstock.Failure):
            self.hub.wait_event("drain", secs=1, state="leaving")
        self.go.set()
        wait_for("the target's end", lambda: self.heard is not None)
        self.assertEqual(self.heard, self.size)
        self.assertEqual(self.ended(self.hub), 0)

    def test_hub_keeps_it_for_so_long(self):
        self.left_for_a_slow_target(drainSecs=1)
        self.term(self.hub)
        self.assertEqual(self.ended(self.hub), 0)
        self.go.set()
        wait_for("the target's end", lambda: self.heard is not None)
        self.assertEqual(self.heard, "reset")

    def successor(self, **conf):
        """A hub with the same certificate, edge and port, in a folder of its own."""
        folder = pathlib.Path(self.stack.folder) / "successor"
        (folder / "hub-state").mkdir(parents=True)
        for name in ("hub.crt", "hub.key"):
            shutil.copy(self.hub.state_dir / name, folder / "hub-state" / name)
        conf = {**self.hub.conf, "stateDir": str(folder / "hub-state"), "edges": [
            {"id": "e1", "listenPorts": self.ports, "secret": penstock.decode_token(self.token)["secret"]}], **conf}
        hub = penstock.Service("hub", conf, folder, build=self.stack.build)
        self.stack.services.append(hub)
        return hub.start()

    def test_a_hub_is_replaced_and_nobody_notices(self):
        """Connections come all the time: none fails; an open one ends when it wants to."""
        self.echo_tunnel(hub={**LONG, "tunnel_port": penstock.free_port()})
        kept = self.connect()
        stop, failures, count = threading.Event(), [], [0]

        def load():
            while not stop.is_set():
                try:
                    with e2e.connect(self.port) as s:
                        if not echoes(s):
                            raise penstock.Failure("no echo")
                    count[0] += 1
                except Exception as failure:
                    failures.append(failure)

        threads = [threading.Thread(target=load) for _ in range(4)]
        for t in threads:
            t.start()
        self.term(self.hub)
        wait_for("the tunnel port's end", lambda: is_refused(self.hub.address("tunnel")[1]))
        second = self.successor()
        wait_for("its edge", lambda: second.status()["connectedEdges"])
        before = count[0]
        wait_for("connections over it", lambda: count[0] > before + 100)
        self.assertTrue(echoes(kept))
        kept.close()
        self.assertEqual(self.ended(self.hub), 0)
        stop.set()
        for t in threads:
            t.join(e2e.SECS)
        self.assertEqual(failures, [])

    # --- traffic

    def https(self):
        context = ssl.create_default_context(cadata=self.certificate.chain)
        raw = e2e.connect(self.traffic.address("https")[1])
        raw.sendall(b"PROXY TCP4 127.0.0.9 127.0.0.1 50000 443\r\n")
        s = context.wrap_socket(raw, server_hostname="app.example.test")
        self.addCleanup(s.close)
        return s

    def start_traffic(self, handle, **conf):
        self.certificate = penstock.Certificate(self.stack.folder, "app.example.test")
        self.origin = e2e.Target(handle, proxy=None)
        self.addCleanup(self.origin.close)
        self.traffic = self.stack.traffic(**conf)
        self.traffic.api("PUT", "/v1/routes", {"routes": [{
            "hostName": "app.example.test", "destinationIps": ["127.0.0.1"],
            "destinationPorts": [self.origin.port], "publicKey": self.certificate.chain,
            "privateKey": self.certificate.key}]}, expect=200)

    def read_answer(self, s):
        response = http.client.HTTPResponse(s)
        response.begin()
        return response, response.read()

    def test_traffic(self):
        go = threading.Event()

        def origin(s):
            while True:
                head = b""
                while b"\r\n\r\n" not in head:
                    piece = s.recv(4096)
                    if not piece:
                        return
                    head += piece
                if b"GET /slow" in head:
                    go.wait(e2e.SECS)
                s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")

        request = b"GET %s HTTP/1.1\r\nHost: app.example.test\r\n\r\n"
        self.start_traffic(origin, **LONG)
        slow, idle = self.https(), self.https()
        idle.sendall(request % b"/quick")
        response, body = self.read_answer(idle)
        self.assertEqual((body, response.will_close), (b"good", False))
        slow.sendall(request % b"/slow")
        wait_for("the request", lambda: self.traffic.metric("penstock_traffic_exchanges_open") == 1)
        self.term(self.traffic)
        self.traffic.wait_event("drain", state="closing")
        wait_for("the listeners' end", lambda: is_refused(self.traffic.address("https")[1]))
        self.assertTrue(is_refused(self.traffic.address("http")[1]))
        self.assertEqual(idle.recv(1), b"")  # in order
        go.set()
        response, body = self.read_answer(slow)
        self.assertEqual((response.status, body), (200, b"good"))
        self.assertEqual(response.headers["Connection"], "close")
        self.assertEqual(slow.recv(1), b"")
        slow.close()
        self.assertEqual(self.ended(self.traffic), 0)

    def test_traffic_whose_requests_do_not_end(self):
        self.start_traffic(lambda s: s.recv(1 << 20) and time.monotonic() and e2e.receive_all(s), drainSecs=1)
        s = self.https()
        s.sendall(b"GET / HTTP/1.1\r\nHost: app.example.test\r\n\r\n")
        wait_for("the request", lambda: self.traffic.metric("penstock_traffic_exchanges_open") == 1)
        self.term(self.traffic)
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            self.assertEqual(s.recv(1), b"")
        self.assertEqual(self.ended(self.traffic), 0)

    # --- all of them

    def each(self, **conf):
        for start in (lambda: self.stack.hub({}, **conf), lambda: self.stack.edge(**conf),
                      lambda: self.stack.traffic(**conf)):
            service = start()
            with self.subTest(service.name):
                service.status()
                yield service

    def test_by_the_api(self):
        draining = []
        for service in self.each(drainSecs=7, drainDelaySecs=SHORT):
            draining.append(service)
            self.assertEqual(service.api("POST", "/v1/drain", token=service.token(read=True)).status, 403)
            expected = {"status": "draining", "drainDelaySecs": SHORT, "drainSecs": 7, "dryRun": False}
            dry = service.api("POST", "/v1/drain?dryRun=true", expect=202).json
            self.assertEqual(dry, {**expected, "dryRun": True})
            self.assertTrue(service.status()["running"])
            self.assertEqual(service.api("POST", "/v1/drain", expect=202).json, expected)
            self.assertEqual(self.reason(service), (503, "the service is draining"))
            self.assertEqual(service.api("POST", "/v1/drain", expect=202).json, expected)  # once more: the same
        for service in draining:
            self.assertEqual(self.ended(service), 0)
            self.assertEqual(len(service.events("stopping", by="api")), 1)

    def test_a_second_signal_ends_at_once(self):
        """But not the twin that a process group's signal and a supervisor make of one."""
        for service in self.each(drainDelaySecs=3600):
            self.term(service)
            self.term(service)
            service.wait_event("drain", state="announced")
            self.assertEqual(service.api("GET", "/healthz").status, 200)

            def ends():
                self.term(service)
                return service.process.poll() is not None

            wait_for("its end", ends)
            self.assertEqual(service.process.returncode, 0)
            self.assertEqual(len(service.events("stopping_at_once")), 1)

    def test_under_a_supervisor(self):
        for service in self.each(supervise=True, drainSecs=5):
            self.term(service)
            self.assertEqual(self.ended(service), 0)
            self.assertEqual(len(service.events("drain", state="over")), 1)
            self.assertEqual(service.events("stopping_at_once"), [])

    def test_times_are_read_again(self):
        edge = self.stack.edge(drainSecs=60)
        edge.status()
        edge.conf["drainSecs"], edge.conf["drainDelaySecs"] = 7, 3
        (edge.folder / "edge.json").write_text(json.dumps(edge.conf))
        edge.process.send_signal(signal.SIGHUP)
        edge.wait_event("reloaded")
        answer = edge.api("POST", "/v1/drain?dryRun=true", expect=202).json
        self.assertEqual((answer["drainSecs"], answer["drainDelaySecs"]), (7, 3))


if __name__ == "__main__":
    e2e.main()
