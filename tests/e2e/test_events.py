"""GET /v1/events of the three programs: what is raised, who hears it, who missed something and is told."""
import http.client
import json
import os
import signal
import socket
import threading

import e2e
from e2e import penstock, wait_for
from traffic_stand import Origin, ok


class Listener:
    """A client of GET /v1/events; .events: (id, name, data), in order."""

    def __init__(self, service, query="", last_id=None, receive_buffer=None):
        host, port = service.address("management")
        headers = {"Authorization": f"Bearer {service.token(read=True)}"}
        if last_id is not None:
            headers["Last-Event-ID"] = last_id
        self.connection = http.client.HTTPConnection(host, port, timeout=e2e.SECS)
        self.connection.connect()
        if receive_buffer:
            self.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.connection.request("GET", "/v1/events" + query, headers=headers)
        self.response = self.connection.getresponse()
        self.events, self.comments, self.ended = [], 0, False
        self.changed = threading.Condition()
        self.thread = None

    def listen(self):
        assert self.response.status == 200, self.response.read()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        return self

    def _read(self):
        event = {}
        try:
            while line := self.response.readline():
                line = line.decode().rstrip("\n")
                key, _, value = line.partition(": ")
                with self.changed:
                    if line.startswith(":"):
                        self.comments += 1
                    elif line:
                        event[key] = value
                    elif "event" in event:
                        self.events.append((event.get("id"), event["event"], json.loads(event["data"])))
                        event = {}
                    self.changed.notify_all()
        except (OSError, ValueError, http.client.HTTPException, AttributeError):
            pass
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def names(self):
        return [name for _, name, _ in self.events]

    def wait(self, name, count=1, secs=e2e.SECS):
        """The count-th event of this name."""
        with self.changed:
            if not self.changed.wait_for(lambda: self.names().count(name) >= count or self.ended, secs) \
                    or self.names().count(name) < count:
                raise penstock.Failure(f"no {name} among {self.names()}")
            return [e for e in self.events if e[1] == name][count - 1]

    def close(self):
        if self.connection.sock:
            self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.connection.close()


class Events(e2e.Case):
    def listen(self, service, *args, **more):
        listener = Listener(service, *args, **more).listen()
        self.addCleanup(listener.close)
        return listener

    def start(self, **more):
        self.target = e2e.Target(e2e.echo)
        self.addCleanup(self.target.close)
        self.tunnel([self.target.port], **more)

    def renew(self, hub):
        """An edge comes and goes in the registry's eyes: kicked, it is there again at once."""
        hub.api("DELETE", "/v1/edges/e1/connection", expect=204)

    def test_hub_and_edge(self):
        self.start()
        hub, edge = self.listen(self.hub), self.listen(self.edge)
        self.renew(self.hub)
        number, _, data = hub.wait("edgeDisconnected")
        self.assertRegex(number, r"\A[0-9a-f]{8}-[0-9]+\Z")
        self.assertEqual((data["edgeId"], data["reason"]), ("e1", "kicked"))
        self.assertRegex(data["time"], r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
        _, _, data = hub.wait("edgeConnected")
        self.assertEqual((data["edgeId"], data["remoteAddress"]), ("e1", "127.0.0.1"))
        self.assertIn("reason", edge.wait("tunnelDisconnected")[2])
        self.assertEqual(edge.wait("tunnelConnected")[2]["hub"],
                         "127.0.0.1:%d" % self.hub.address("tunnel")[1])
        self.assertEqual(edge.wait("portsAssigned")[2]["listenPorts"], self.ports)
        self.hub.api("PATCH", "/v1/edges/e1", {"listenPorts": []}, expect=200)
        self.assertEqual(edge.wait("portsUpdated")[2]["listenPorts"], [])
        self.check_both_protocols(edge)
        ids = [int(i.split("-")[1]) for i, _, _ in edge.events]
        self.assertEqual(ids, list(range(ids[0], ids[0] + len(ids))))

    def check_both_protocols(self, edge):
        """A port of each protocol, and one of each that somebody else has."""
        tcp, udp = socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(tcp.close)
        self.addCleanup(udp.close)
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        udp.bind(("127.0.0.1", 0))
        taken, taken_udp = tcp.getsockname()[1], udp.getsockname()[1]
        free, free_udp = penstock.free_port(), penstock.free_port()
        self.hub.api("PATCH", "/v1/edges/e1", {"listenPorts": sorted([free, taken]),
                                               "listenPortsUdp": sorted([free_udp, taken_udp])}, expect=200)
        data = edge.wait("portsUpdated", 2)[2]
        self.assertEqual((data["listenPorts"], data["listenPortsUdp"]), ([free], [free_udp]))
        self.assertEqual({(e["port"], e["protocol"]) for e in data["portErrors"]},
                         {(taken, "tcp"), (taken_udp, "udp")})
        self.assertEqual(set(data), {"time", "revision", "listenPorts", "listenPortsUdp", "portErrors"})

    def test_streams_only_on_demand(self):
        self.start()
        everything, streams = self.listen(self.hub), self.listen(self.hub, "?types=streamOpened,streamClosed")
        with e2e.connect(self.ports[0]) as s:
            client = "127.0.0.1:%d" % s.getsockname()[1]
            s.sendall(b"hello")
            e2e.receive(s, 5)
            data = streams.wait("streamOpened")[2]
            self.assertEqual((data["edgeId"], data["client"], data["port"]), ("e1", client, self.ports[0]))
            self.assertEqual(data["targetPort"], self.target.port)
        data = streams.wait("streamClosed")[2]
        self.assertEqual((data["client"], data["result"], data["bytesIn"], data["bytesOut"]), (client, "ended", 5, 5))
        self.renew(self.hub)
        everything.wait("edgeConnected")
        self.assertNotIn("streamOpened", everything.names())
        self.assertNotIn("edgeConnected", streams.names())
        # nobody listens to them any more: they do not even come to be
        streams.close()
        wait_for("its end", lambda: self.hub.metric("penstock_admin_event_subscribers") == 1)
        before = self.hub.metric("penstock_admin_events_total")
        with e2e.connect(self.ports[0]) as s:
            s.sendall(b"hello")
            e2e.receive(s, 5)
        wait_for("the stream's end", lambda: self.hub.status()["totals"]["activeStreams"] == 0)
        self.assertEqual(self.hub.metric("penstock_admin_events_total"), before)

    def test_coming_back(self):
        self.start()
        first = self.listen(self.hub)
        self.renew(self.hub)
        seen = first.wait("edgeConnected")[0]
        first.close()
        self.renew(self.hub)
        wait_for("it", lambda: self.hub.status()["connectedEdges"] and
                 len(self.hub.events("edge_connected")) == 3)
        again = self.listen(self.hub, last_id=seen)
        again.wait("edgeConnected")
        self.assertEqual(again.names(), ["edgeDisconnected", "edgeConnected"])
        # an id of another life: all there is, and that there is a gap
        stranger = self.listen(self.hub, last_id="00000000-7")
        stranger.wait("edgeConnected", 3)
        self.assertEqual(stranger.names()[0], "gap")
        self.assertIsNone(stranger.events[0][0])

    def test_a_gap_is_told(self):
        """Through traffic, whose events come as fast as its routes are put."""
        traffic = self.stack.traffic(limits={"eventsKept": 16})
        first = self.listen(traffic)

        def put(n):
            for _ in range(n):
                traffic.api("PUT", "/v1/routes", {"routes": [{"hostName": "no"}]}, expect=422)

        put(1)
        seen = first.wait("routesRejected")
        self.assertEqual(seen[2]["faults"] > 0, True)
        put(16)
        exact = self.listen(traffic, last_id=seen[0])
        exact.wait("routesRejected", 16)
        self.assertNotIn("gap", exact.names())
        put(1)
        late = self.listen(traffic, last_id=seen[0])
        late.wait("routesRejected", 16)
        self.assertEqual(late.names()[0], "gap")
        self.assertGreaterEqual(traffic.metric("penstock_admin_event_gaps_total"), 1)

    def test_traffic(self):
        certificate = penstock.Certificate(self.stack.folder, "app.example.test")
        traffic = self.stack.traffic()
        listener = self.listen(traffic, "?types=routesUpdated,targetDown,targetUp")
        port = penstock.free_port()  # nobody is there
        traffic.api("PUT", "/v1/routes", {"routes": [{
            "hostName": "app.example.test", "destinationIps": ["127.0.0.1"], "destinationPorts": [port],
            "publicKey": certificate.chain, "privateKey": certificate.key}]}, expect=200)
        data = listener.wait("routesUpdated")[2]
        self.assertEqual(data["routes"], 1)
        raw = e2e.connect(traffic.address("https")[1])
        self.addCleanup(raw.close)
        raw.sendall(b"PROXY TCP4 127.0.0.9 127.0.0.1 50000 443\r\n")
        with penstock.tls_context(certificate).wrap_socket(raw, server_hostname="app.example.test") as s:
            s.sendall(b"GET / HTTP/1.1\r\nHost: app.example.test\r\n\r\n")
            self.assertIn(b" 502 ", s.recv(4096))
        down = listener.wait("targetDown")[2]
        self.assertEqual((down["target"], down["by"]), (f"127.0.0.1:{port}", "connection"))
        self.assertNotIn("host", down)

    def test_certificates(self):
        """Of each host whose certificate ends soon: when its route comes, and when the service starts."""
        good, soon = (penstock.Certificate(self.stack.folder, name, days=days)
                      for name, days in (("good.example.test", "30"), ("soon.example.test", "3")))
        traffic = self.stack.traffic(certificates={"expiringDays": 5})
        routes = [{"hostName": name, "destinationIps": ["127.0.0.1"], "destinationPorts": [1],
                   "publicKey": c.chain, "privateKey": c.key}
                  for name, c in (("good.example.test", good), ("soon.example.test", soon))]
        listener = self.listen(traffic, "?types=routesUpdated,certificateExpiring,certificateExpired")
        traffic.api("PUT", "/v1/routes", {"routes": routes}, expect=200)
        data = listener.wait("certificateExpiring")[2]
        self.assertEqual(data["host"], "soon.example.test")
        self.assertIn(data["daysLeft"], (2, 3))  # a second of them may be over
        shown = traffic.api("GET", "/v1/certificates", expect=200).json["certificates"]
        self.assertIn(data["notAfter"], [c["notAfter"] for c in shown])
        self.assertEqual([traffic.metric("penstock_traffic_certificates", state=s) for s in ("good", "expiring", "expired")],
                         [1, 1, 0])
        # another host comes: of the first one it is known already
        traffic.api("PUT", "/v1/routes", {"routes": [*routes, {**routes[1], "hostName": "also.example.test"}]}, expect=200)
        self.assertEqual(listener.wait("certificateExpiring", 2)[2]["host"], "also.example.test")
        listener.wait("routesUpdated", 2)
        self.assertEqual(listener.names().count("certificateExpiring"), 2)
        traffic.stop()
        traffic.start()
        again = self.listen(traffic, "?types=certificateExpiring", last_id="0")
        again.wait("certificateExpiring", 2)
        self.assertEqual(sorted(data["host"] for _, name, data in again.events if name == "certificateExpiring"),
                         ["also.example.test", "soon.example.test"])
        self.assertEqual(len(traffic.events("certificate_expiring")), 2)

    def test_health_checks(self):
        """What the active checks find is told once per change, however often they find it."""
        certificate = penstock.Certificate(self.stack.folder, "app.example.test")
        traffic = self.stack.traffic()
        listener = self.listen(traffic, "?types=targetDown,targetUp")
        with Origin() as origin:
            origin.answers["/health"] = ok()
            traffic.api("PUT", "/v1/routes", {"routes": [{
                "hostName": "app.example.test", "destinationIps": ["127.0.0.1"], "destinationPorts": [origin.port],
                "publicKey": certificate.chain, "privateKey": certificate.key,
                "healthCheck": {"path": "/health", "intervalSecs": 1, "timeoutSecs": 30, "healthyAfter": 1,
                                "unhealthyAfter": 1}}]}, expect=200)
            told = {"target": f"127.0.0.1:{origin.port}", "by": "healthCheck", "host": "app.example.test"}
            for change in 1, 2:
                origin.answers["/health"] = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
                self.assertEqual({k: v for k, v in listener.wait("targetDown", change)[2].items() if k != "time"}, told)
                origin.wait_seen("/health", len(origin.seen("/health")) + 2)
                self.assertEqual(listener.names(), ["targetDown", "targetUp"] * (change - 1) + ["targetDown"])
                origin.answers["/health"] = ok()
                self.assertEqual({k: v for k, v in listener.wait("targetUp", change)[2].items() if k != "time"}, told)
                origin.wait_seen("/health", len(origin.seen("/health")) + 2)
                self.assertEqual(listener.names(), ["targetDown", "targetUp"] * change)

    def test_a_crash_is_told(self):
        edge = self.stack.edge(supervise=True, management_port=penstock.free_port())
        edge.wait_event("listening", name="management")
        with open(f"/proc/{edge.pid}/task/{edge.pid}/children") as f:
            os.kill(int(f.read()), signal.SIGKILL)
        edge.wait_event("crash_recovered")
        data = self.listen(edge, last_id="0").wait("crashRecovered")[2]
        self.assertEqual((data["signal"], data["row"]), ("KILL", 1))

    def test_who_may_and_how_many(self):
        edge = self.stack.edge(limits={"eventSubscribers": 2})
        self.assertEqual(edge.api("GET", "/v1/events", token="no" * 20).status, 401)
        self.assertEqual(edge.api("GET", "/v1/events?types=nonsense", expect=400).json["type"],
                         "urn:penstock:problem:badQuery")
        head = edge.api("HEAD", "/v1/events", expect=200)
        self.assertEqual(head.headers["Content-Type"], "text/event-stream")
        first, _ = self.listen(edge), self.listen(edge)
        self.assertEqual(edge.api("GET", "/v1/events").status, 503)
        self.assertEqual(edge.metric("penstock_admin_event_subscribers_refused_total"), 1)
        first.close()
        wait_for("room", lambda: edge.metric("penstock_admin_event_subscribers") == 1)
        self.listen(edge)
        for listener in (first, _):
            self.assertEqual(listener.response.headers["Content-Type"], "text/event-stream")
            self.assertEqual(listener.response.headers["Cache-Control"], "no-store")

    def test_the_end_of_the_service_is_the_end_of_the_answer(self):
        edge = self.stack.edge()
        listener = self.listen(edge)
        edge.stop(0)
        with listener.changed:
            self.assertTrue(listener.changed.wait_for(lambda: listener.ended, e2e.SECS))

    def test_heartbeats(self):
        """One that only listens is neither cut off (limits.managementTimeoutSecs) nor left in doubt."""
        edge = self.stack.edge(limits={"managementTimeoutSecs": 1})
        listener = self.listen(edge)
        with listener.changed:
            self.assertTrue(listener.changed.wait_for(lambda: listener.comments >= 1, e2e.SECS))
        self.assertFalse(listener.ended)

    def test_a_listener_that_does_not_read(self):
        """It holds nobody up, and misses what no longer has room."""
        traffic = self.stack.traffic(limits={"eventsKept": 16})
        deaf = Listener(traffic, receive_buffer=2048)
        self.addCleanup(deaf.close)
        good = self.listen(traffic)
        for _ in range(400):
            traffic.api("PUT", "/v1/routes", {"routes": [{"hostName": "no"}]}, expect=422)
        good.wait("routesRejected", 400)
        self.assertNotIn("gap", good.names())


if __name__ == "__main__":
    e2e.main()
