"""A tunnel's life: hubs and edges that die, are replaced, restarted, reconfigured, while clients talk."""
import contextlib
import socket
import time
import unittest

import e2e
import tunnel_stand as t
from e2e import penstock


class Life(e2e.Case):
    def echo_target(self):
        target = e2e.Target(e2e.echo)
        self.addCleanup(target.close)
        return target

    def assert_echo(self, port, data=b"hello", secs=e2e.SECS):
        with e2e.connect(port, secs=secs) as s:
            s.sendall(data)
            self.assertEqual(e2e.receive(s, len(data)), data)

    def wait_connected(self, edge, secs=e2e.SECS):
        e2e.wait_for("the tunnel", lambda: edge.status()["connected"], secs)

    def assert_refused(self, port):
        """At once: the workers close their sockets a moment after the control thread says so."""
        def is_refused():
            try:
                e2e.connect(port, secs=2).close()
            except ConnectionRefusedError:
                return True
            except ConnectionResetError:
                pass  # it was closed with this one in its queue: ask again
            return False

        e2e.wait_for(f"port {port} to be closed", is_refused)

    def fixed_hub(self, ports, target, **conf):
        """A hub whose edge stands in its configuration and whose ports stay over a restart."""
        tunnel, self.secret = penstock.free_port(), "s" * 43
        conf = {"edges": [{"id": "e1", "listenPorts": ports, "secret": self.secret}], **conf}
        hub = self.stack.hub({p: target for p in ports}, tunnel_port=tunnel, **conf)
        hub.address("tunnel")
        return hub, {"hubHost": "127.0.0.1", "hubPort": tunnel, "edgeId": "e1", "secret": self.secret}


class Restart(Life):
    def test_hub_killed_under_load_and_restarted(self):
        """The edge serves again in under 5 s (by QUIC, which nobody tells that its peer is gone: 10 s), and a busy
        machine's share; old streams see RST; nobody leaks a descriptor."""
        is_told = penstock.TRANSPORT == "tcpTls"
        port = penstock.free_port()
        hub, credentials = self.fixed_hub([port], self.echo_target().port)
        edge = self.stack.edge(**credentials)
        self.wait_ports(edge, [port])
        self.assert_echo(port)
        e2e.wait_for("the first stream's end", lambda: edge.metric("penstock_edge_connections_open") == 0)
        self.wait_lanes(edge)
        baseline = edge.open_files()
        clients = t.echo_clients(port, 40)
        hub.kill()
        killed = time.monotonic()
        for client in clients:
            client.join(e2e.SECS)
        self.assertEqual([c.outcome for c in clients], ["reset"] * 40)
        hub.start()
        self.assertLess(time.monotonic() - killed, 5 if is_told else 18)
        self.assert_echo(port, secs=15)  # held until the tunnel is back
        self.assertLess(time.monotonic() - killed, 15 if is_told else 25)
        self.assertEqual(edge.status()["connects"], 2)
        e2e.wait_for("the edge's descriptors", lambda: edge.open_files() <= baseline)
        e2e.wait_for("the hub's streams", lambda: hub.metric("penstock_hub_streams_open") == 0)

    def test_edge_restarted(self):
        port = penstock.free_port()
        hub, credentials = self.fixed_hub([port], self.echo_target().port)
        edge = self.stack.edge(**credentials)
        self.wait_ports(edge, [port])
        self.wait_lanes(edge)
        files = hub.open_files()
        clients = t.echo_clients(port, 10)
        edge.kill()
        for client in clients:
            client.join(e2e.SECS)
        for client in clients:  # the kernel says FIN where it held nothing unread
            self.assertIn(client.outcome, ("reset", "ended"))
        edge.start()
        self.wait_ports(edge, [port])
        self.assert_echo(port)
        e2e.wait_for("the old streams' end at the hub", lambda: hub.metric("penstock_hub_forwards_open") == 0)
        e2e.wait_for("the hub's descriptors", lambda: hub.open_files() <= files)
        self.assertEqual(len(hub.status()["connectedEdges"]), 1)

    def test_each_ends_with_0_while_clients_talk(self):
        """SIGTERM; the sanitizers of the test build would say otherwise."""
        for name in ("edge", "hub"):
            with self.subTest(name):
                self.tunnel([self.echo_target().port], edge_id=f"of-{name}")
                clients = t.echo_clients(self.ports[0], 10)
                started = time.monotonic()
                {"edge": self.edge, "hub": self.hub}[name].stop(0)
                self.assertLess(time.monotonic() - started, 20)
                for client in clients:
                    self.assertIn(client.finish(), ("reset", "ended"))
                self.edge.stop(0)
                self.hub.stop(0)

    def test_hub_says_goodbye_when_it_stops(self):
        self.tunnel([self.echo_target().port])
        self.hub.stop(0)
        self.assertIn("draining", self.edge.wait_event("lane_closed")["why"])


class Sessions(Life):
    def second_edge(self, instance, **conf):
        """In a state directory of its own, with the same token."""
        service = penstock.Service("edge", {
            "bindAddress": "127.0.0.1", "management": {"listen": "127.0.0.1:0"}, "token": self.token,
            "instance": instance, **conf}, self.stack.folder, state_dir=self.stack.folder / f"second-{instance}")
        service.folder = self.stack.folder / f"conf-{instance}"
        service.folder.mkdir()
        self.stack.services.append(service)
        return service.start()

    def test_same_instance_replaces_at_once(self):
        self.tunnel([self.echo_target().port], edge={"instance": "one"})
        started = time.monotonic()
        second = self.second_edge("one")
        self.wait_connected(second)
        closed = self.edge.wait_event("lane_closed")
        self.assertIn("replaced", closed["why"])
        e2e.wait_for("the first to wait", lambda: self.edge.status()["phase"] == "replaced")
        self.assertIn("replaced", self.edge.status()["lastError"])
        self.assertFalse(self.edge.status()["connected"])
        self.assertEqual(self.edge.api("GET", "/readyz").status, 503)
        edges = self.hub.status()["connectedEdges"]
        self.assertEqual([(e["edgeId"], e["instance"]) for e in edges], [("e1", "one")])
        self.assertGreaterEqual(self.hub.metric("penstock_hub_goodbyes_total", code="replaced"), 1)
        self.assertEqual(self.edge.status()["connects"], 1)
        # The first holds the ports still; as it lets them go, the second binds them.
        self.wait_ports(second, self.ports)
        self.assert_echo(self.ports[0])
        self.assertLess(time.monotonic() - started, 30)

    def test_one_instance_more_replaces_the_oldest(self):
        self.tunnel([self.echo_target().port], edge={"instance": "one"})
        second = self.second_edge("two")
        self.wait_connected(second)
        e2e.wait_for("the first to wait", lambda: self.edge.status()["phase"] == "replaced")
        self.assertEqual([e["instance"] for e in self.hub.status()["connectedEdges"]], ["two"])

    def test_two_instances_live_side_by_side(self):
        """On two addresses, as two machines would be."""
        self.tunnel([self.echo_target().port], edge={"instance": "one"}, fields={"maxInstances": 2})
        second = self.second_edge("two", bindAddress="127.0.0.2")
        self.wait_ports(second, self.ports)
        self.assertEqual(sorted(e["instance"] for e in self.hub.status()["connectedEdges"]), ["one", "two"])
        for address in ("127.0.0.1", "127.0.0.2"):
            with socket.create_connection((address, self.ports[0]), e2e.SECS) as s:
                s.sendall(b"hello")
                self.assertEqual(e2e.receive(s, 5), b"hello")
        self.assertEqual(self.edge.status()["connects"], 1)
        self.assertEqual(self.hub.metric("penstock_hub_edges_connected"), 1)
        self.assertEqual(self.hub.metric("penstock_hub_sessions"), 2)

    def test_kick(self):
        self.tunnel([self.echo_target().port])
        client = t.echo_clients(self.ports[0], 1)[0]
        self.hub.api("DELETE", "/v1/edges/e1/connection", expect=204)
        self.assertIn("kicked", self.edge.wait_event("lane_closed")["why"])
        client.join(e2e.SECS)
        self.assertEqual(client.outcome, "reset")
        e2e.wait_for("the edge to come back", lambda: self.edge.status()["connects"] == 2)
        self.assert_echo(self.ports[0])

    def test_edge_that_is_removed_or_disabled(self):
        self.tunnel([self.echo_target().port], edge={"holdSecs": 0})
        self.hub.api("PATCH", "/v1/edges/e1", {"enabled": False}, expect=200)
        e2e.wait_for("the tunnel's end", lambda: not self.edge.status()["connected"])
        self.assertIn("edge_disabled", self.edge.wait_event("lane_closed")["why"])
        e2e.wait_for("a refusal", lambda: "edge_disabled" in (self.edge.status()["lastError"] or ""))
        self.assertEqual(self.hub.status()["connectedEdges"], [])
        self.assert_refused(self.ports[0])
        self.hub.api("PATCH", "/v1/edges/e1", {"enabled": True}, expect=200)
        self.wait_connected(self.edge)
        self.assert_echo(self.ports[0])
        self.hub.api("DELETE", "/v1/edges/e1", expect=204)
        e2e.wait_for("the tunnel's end", lambda: not self.edge.status()["connected"])
        e2e.wait_for("a refusal", lambda: "unauthorized" in (self.edge.status()["lastError"] or ""))
        self.assertEqual(self.hub.api("GET", "/v1/edges/e1").status, 404)

    def test_secret_rotated_at_once(self):
        self.tunnel([self.echo_target().port])
        answer = self.hub.api("POST", "/v1/edges/e1/secret", {"graceSecs": 0}, expect=200).json
        self.assertIn("secret_changed", self.edge.wait_event("lane_closed")["why"])
        e2e.wait_for("the old secret to be refused", lambda: "unauthorized" in (self.edge.status()["lastError"] or ""))
        self.assertFalse(self.edge.status()["connected"])
        token = self.new_token()
        self.assertNotEqual(t.secret_of(token), t.secret_of(self.token))
        self.assertNotIn(t.secret_of(self.token), str(answer))
        self.edge.stop(0)
        self.edge.conf["token"] = token
        self.edge.start()
        self.wait_connected(self.edge)
        self.assert_echo(self.ports[0])

    def test_secret_rotated_with_grace(self):
        """The old one is good meanwhile, for the tunnel there is and for a new one; so is the new."""
        self.tunnel([self.echo_target().port], fields={"maxInstances": 2}, edge={"instance": "one"})
        client = t.echo_clients(self.ports[0], 1)[0]
        self.hub.api("POST", "/v1/edges/e1/secret", {"graceSecs": 86400}, expect=200)
        self.assertIsNotNone(self.hub.api("GET", "/v1/edges/e1").json["oldSecretGoodUntil"])
        self.hub.api("DELETE", "/v1/edges/e1/connection", expect=204)
        client.join(e2e.SECS)
        e2e.wait_for("the edge to come back", lambda: self.edge.status()["connects"] == 2)
        self.assert_echo(self.ports[0])
        self.token = self.new_token()
        second = self.second_edge("two", bindAddress="127.0.0.2")
        self.wait_ports(second, self.ports)
        self.assertEqual(len(self.hub.status()["connectedEdges"]), 2)

    def test_secret_is_old_for_so_long(self):
        """The tunnel that was proved with it ends with it."""
        self.tunnel([self.echo_target().port])
        client = e2e.connect(self.ports[0])
        self.addCleanup(client.close)
        client.sendall(b"x")
        self.assertEqual(e2e.receive(client, 1), b"x")
        self.hub.api("POST", "/v1/edges/e1/secret", {"graceSecs": 1}, expect=200)
        self.assertIn("secret_changed", self.edge.wait_event("lane_closed")["why"])
        self.assertTrue(e2e.is_reset(client))
        e2e.wait_for("the old secret to be refused", lambda: "unauthorized" in (self.edge.status()["lastError"] or ""))

    def test_secret_rotated_twice_with_grace(self):
        """Only the newest two are good."""
        self.tunnel([self.echo_target().port], fields={"maxInstances": 2}, edge={"instance": "one"})
        self.hub.api("POST", "/v1/edges/e1/secret", {"graceSecs": 86400}, expect=200)
        self.token = self.new_token()
        second = self.second_edge("two", bindAddress="127.0.0.2")
        self.wait_ports(second, self.ports)
        self.hub.api("POST", "/v1/edges/e1/secret", {"graceSecs": 86400}, expect=200)
        self.assertIn("secret_changed", self.edge.wait_event("lane_closed")["why"])
        e2e.wait_for("one tunnel", lambda: [e["instance"] for e in self.hub.status()["connectedEdges"]] == ["two"])
        self.assertTrue(second.status()["connected"])

    def new_token(self):
        host, port = self.hub.address("tunnel")
        return self.hub.api("POST", "/v1/edges/e1/token", {"hubHost": host, "hubPort": port}, expect=200).json["token"]


class Ports(Life):
    def test_ports_change_while_streams_run(self):
        """Added, removed, untouched; a stream on a removed port goes on, one on an untouched port does
        not notice; the removed port is refused at once."""
        target = self.echo_target().port
        kept, removed, added = (penstock.free_port() for _ in range(3))
        hub = self.stack.hub({kept: target, removed: target, added: target})
        edge = self.stack.edge(self.stack.register(hub, "e1", [kept, removed]))
        self.wait_ports(edge, [kept, removed])
        on_kept, on_removed = t.echo_clients(kept, 3), t.echo_clients(removed, 3)
        hub.api("PATCH", "/v1/edges/e1", {"listenPorts": [kept, added]}, expect=200)
        self.wait_ports(edge, [kept, added])
        self.assert_refused(removed)
        self.assert_echo(added)
        self.assert_echo(kept)
        rounds = [c.rounds for c in on_kept + on_removed]
        e2e.wait_for("the streams to go on",
                     lambda: all(c.rounds >= n + 20 for c, n in zip(on_kept + on_removed, rounds)))
        self.assertEqual([c.finish() for c in on_kept + on_removed], ["stopped"] * 6)
        self.assertEqual(edge.status()["connects"], 1)
        e2e.wait_for("the hub to know", lambda: hub.status()["connectedEdges"][0]["listenPorts"] == sorted([kept, added]))
        status = hub.status()["connectedEdges"][0]
        self.assertEqual(status["revision"], status["acknowledgedRevision"])
        self.assertEqual(len(edge.events("port_open", port=kept)), 1)

    def test_removed_port_opens_again(self):
        self.tunnel([self.echo_target().port])
        for ports in ([], self.ports, [], self.ports):
            self.hub.api("PATCH", "/v1/edges/e1", {"listenPorts": ports}, expect=200)
            self.wait_ports(self.edge, ports)
        self.assert_echo(self.ports[0])

    def assert_ports(self, edge, **counts):
        self.assertEqual({name: edge.metric(f"penstock_edge_ports_{name}") for name in counts}, counts)

    def test_ports_that_are_taken(self):
        """The reason has the first of them and how many more."""
        with contextlib.ExitStack() as held:
            others = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
            taken = sorted(o.getsockname()[1] for o in others)
            target = self.echo_target().port
            hub = self.stack.hub({port: target for port in taken})
            edge = self.stack.edge(self.stack.register(hub, "e1", taken))
            e2e.wait_for("the errors", lambda: len(edge.status()["portErrors"]) == 2)
            reason = edge.api("GET", "/readyz", expect=503).json["reason"]
            self.assertEqual(reason, f"port {taken[0]}/tcp: Address already in use (and 1 more)")
            self.assert_ports(edge, assigned=2, open=0, failed=2)

    def test_port_that_is_taken(self):
        """Reported on both sides, and the edge is not ready; the others open; it opens by itself once it is
        free."""
        target = self.echo_target().port
        with socket.create_server(("127.0.0.1", 0)) as other:
            taken, free = other.getsockname()[1], penstock.free_port()
            hub = self.stack.hub({taken: target, free: target})
            edge = self.stack.edge(self.stack.register(hub, "e1", [taken, free]))
            self.wait_ports(edge, [free])
            self.assert_echo(free)
            errors = edge.status()["portErrors"]
            self.assertEqual([(e["port"], e["protocol"]) for e in errors], [(taken, "tcp")])
            self.assertIn("in use", errors[0]["error"])
            e2e.wait_for("the hub to know", lambda: hub.status()["connectedEdges"][0]["portErrors"] == errors)
            self.assertEqual(hub.status()["connectedEdges"][0]["listenPorts"], [free])
            not_ready = edge.api("GET", "/readyz", expect=503).json
            self.assertEqual(not_ready["reason"], f"port {taken}/tcp: {errors[0]['error']}")
            self.assert_ports(edge, assigned=2, open=1, failed=1)
        self.wait_ports(edge, [taken, free])
        edge.api("GET", "/readyz", expect=200)
        self.assert_ports(edge, assigned=2, open=2, failed=0)
        self.assert_echo(taken)
        e2e.wait_for("the hub to know", lambda: not hub.status()["connectedEdges"][0]["portErrors"])
        self.assertEqual(hub.status()["connectedEdges"][0]["listenPorts"], sorted([taken, free]))


class Held(Life):
    """The tunnel is away: clients wait for holdSecs, then the ports are closed until it is back."""

    def set_up(self, **edge):
        self.port = penstock.free_port()
        self.hub, credentials = self.fixed_hub([self.port], self.echo_target().port)
        self.edge = self.stack.edge(**credentials, **edge)
        self.wait_ports(self.edge, [self.port])
        self.hub.kill()
        e2e.wait_for("the tunnel's end", lambda: not self.edge.status()["connected"])

    def test_held_client_is_served(self):
        self.set_up()
        with e2e.connect(self.port) as s, e2e.connect(self.port) as silent:
            s.sendall(b"hello")
            e2e.wait_for("both to be held", lambda: self.edge.status()["heldClients"] == 2)
            self.hub.start()
            self.assertEqual(e2e.receive(s, 5), b"hello")
            silent.sendall(b"late")
            self.assertEqual(e2e.receive(silent, 4), b"late")
        self.assertEqual(self.edge.status()["heldClients"], 0)

    def test_hold_is_over(self):
        self.set_up(holdSecs=6)
        with e2e.connect(self.port) as s:
            self.assertTrue(e2e.is_reset(s))
        e2e.wait_for("the port to be closed", lambda: self.edge.status()["listenPorts"] == [])
        self.assert_refused(self.port)
        self.assertEqual(self.edge.metric("penstock_edge_refused_total", reason="hold_expired"), 1)
        self.assertEqual(self.edge.api("GET", "/readyz").status, 503)
        self.assertEqual([self.edge.metric(f"penstock_edge_ports_{name}") for name in ("assigned", "open", "failed")],
                         [1, 0, 0])
        self.hub.start()
        self.wait_ports(self.edge, [self.port])
        self.assert_echo(self.port)

    def test_no_more_than_the_limit(self):
        self.set_up(holdSecs=60, limits={"heldClients": 5})
        with contextlib.ExitStack() as held:
            clients = [held.enter_context(e2e.connect(self.port)) for _ in range(5)]
            e2e.wait_for("five to be held", lambda: self.edge.status()["heldClients"] == 5)
            for _ in range(3):
                with contextlib.suppress(ConnectionResetError), e2e.connect(self.port) as s:
                    self.assertTrue(e2e.is_reset(s))
            self.assertEqual(self.edge.metric("penstock_edge_refused_total", reason="limit_held"), 3)
            e2e.reset(clients.pop())  # a client that gives up makes room when it is looked at
            self.hub.start()
            for s in clients:
                s.sendall(b"x")
                self.assertEqual(e2e.receive(s, 1), b"x")

    def test_nothing_is_held_with_0_secs(self):
        self.set_up(holdSecs=0)
        e2e.wait_for("the port to be closed", lambda: self.edge.status()["listenPorts"] == [])
        self.assert_refused(self.port)


class Limit(Life):
    def test_who_comes_at_the_limit_waits(self):
        """With limits.streams open nobody is accepted, so nobody is reset: who is next waits in the queue."""
        limit, more = 10, 15
        port = penstock.free_port()
        hub = self.stack.hub({port: self.echo_target().port})
        edge = self.stack.edge(self.stack.register(hub, "e1", [port]), workers=1, limits={"streams": limit})
        self.wait_ports(edge, [port])
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(e2e.connect(port)) for _ in range(limit + more)]
            for s in clients:
                s.sendall(b"hello")
            for s in clients:  # in the order of coming; each that is served makes room for one
                self.assertEqual(e2e.receive(s, 5), b"hello")
                self.assertLessEqual(edge.status()["activeStreams"], limit)
                s.close()
        self.assertEqual(edge.metric("penstock_edge_refused_total", reason="limit_streams"), 0)


class Status(Life):
    def test_bytes_move_while_they_do(self):
        """While a transfer runs, both statuses show its bytes."""
        self.tunnel([self.echo_target().port])

        def counts():
            edge, hub = self.edge.status(), self.hub.status()["connectedEdges"][0]
            return [edge["bytesIn"], edge["bytesOut"], hub["bytesIn"], hub["bytesOut"]]

        with e2e.connect(self.ports[0]) as s:
            before = counts()
            for step in range(1, 4):
                s.sendall(b"z" * 10_000)
                e2e.receive(s, 10_000)
                e2e.wait_for("the counts", lambda n=step: counts() == [b + n * 10_000 for b in before])
            self.assertEqual(self.edge.status()["activeStreams"], 1)
            self.assertEqual(self.hub.status()["connectedEdges"][0]["activeStreams"], 1)
            stream = self.hub.api("GET", "/v1/edges/e1/streams").json["streams"][0]
            self.assertEqual((stream["client"], stream["port"], stream["bytesIn"], stream["bytesOut"]),
                             ("%s:%d" % s.getsockname(), self.ports[0], 30_000, 30_000))
        e2e.wait_for("no stream", lambda: self.hub.status()["connectedEdges"][0]["activeStreams"] == 0)
        self.assertEqual(self.hub.metric("penstock_hub_bytes_total", edge="e1", direction="in"), 30_000)

    def test_tunnel_set_over_the_api(self):
        """PUT and DELETE /v1/tunnel; a restart remembers; what the configuration says is fixed."""
        port = penstock.free_port()
        hub = self.stack.hub({port: self.echo_target().port})
        token = self.stack.register(hub, "e1", [port])
        edge = self.stack.edge()
        self.assertEqual(edge.status()["phase"], "noCredentials")
        self.assertEqual(edge.api("GET", "/v1/tunnel", expect=200).json, {"hub": None, "isFixed": False})
        self.assertEqual(edge.api("DELETE", "/v1/tunnel").status, 404)
        for bad, pointer in ((t.token_with(token, secret=None), "/token"), ("!!!", "/token"),
                             (t.token_with(token, hubPort="x"), "/token")):
            answer = edge.api("PUT", "/v1/tunnel", {"token": bad}, expect=422)
            self.assertEqual(answer.json["errors"][0]["pointer"], pointer)
        self.assertIn("secret", edge.api("PUT", "/v1/tunnel", {"token": t.token_with(token, secret=None)}).json["errors"][0]["detail"])
        fields = penstock.decode_token(token)
        answer = edge.api("PUT", "/v1/tunnel", {"token": token, "hubPort": 1}, expect=422)
        self.assertEqual({e["pointer"] for e in answer.json["errors"]}, {"/hubPort"})
        answer = edge.api("PUT", "/v1/tunnel", {**fields, "hubPort": 0, "edgeId": "not an id"}, expect=422)
        self.assertEqual({e["pointer"] for e in answer.json["errors"]}, {"/hubPort", "/edgeId"})
        self.assertEqual(edge.status()["phase"], "noCredentials")
        edge.api("PUT", "/v1/tunnel?dryRun=true", {"token": token}, expect=200)
        self.assertEqual(edge.status()["phase"], "noCredentials")
        answer = edge.api("PUT", "/v1/tunnel", {"token": token}, expect=200)
        self.assertNotIn(t.secret_of(token), answer.body.decode())
        self.wait_ports(edge, [port])
        self.assert_echo(port)
        file = edge.state_dir / "tunnel.json"
        self.assertEqual(file.stat().st_mode & 0o777, 0o600)
        edge.stop(0)
        edge.start()
        self.wait_ports(edge, [port])
        edge.api("DELETE", "/v1/tunnel", expect=204)
        e2e.wait_for("the tunnel's end", lambda: not edge.status()["connected"])
        e2e.wait_for("the port to be closed", lambda: edge.status()["listenPorts"] == [])
        self.assert_refused(port)
        self.assertFalse(file.exists())
        edge.api("PUT", "/v1/tunnel", fields, expect=200)
        self.wait_ports(edge, [port])
        edge.stop(0)
        edge.conf["token"] = token
        edge.start()
        self.wait_ports(edge, [port])
        for method, body in (("PUT", {"token": token}), ("DELETE", None)):
            self.assertEqual(edge.api(method, "/v1/tunnel", body).status, 409)
        self.assertTrue(edge.api("GET", "/v1/tunnel").json["isFixed"])


class Lanes(Life):
    def test_a_lane_a_worker(self):
        self.tunnel([self.echo_target().port], edge={"workers": 3}, hub={"workers": 2})
        e2e.wait_for("three lanes", lambda: self.edge.status()["lanes"] == 3)
        e2e.wait_for("three lanes", lambda: self.hub.status()["connectedEdges"][0]["lanes"] == 3)
        clients = t.echo_clients(self.ports[0], 60)
        streams = self.hub.api("GET", "/v1/edges/e1/streams", expect=200).json
        self.assertEqual(streams["total"], 60)
        # Ids are per lane: over three lanes an id stands for up to three streams.
        ids = [s["id"] for s in streams["streams"]]
        self.assertGreater(max(ids.count(i) for i in ids), 1)
        self.assertLess(max(ids), 60)
        self.assertEqual([c.finish() for c in clients], ["stopped"] * 60)

    def test_cut_lane_is_dialled_again_into_its_session(self):
        """A relay resets the connections of the tunnel; the edge dials again at once."""
        port = penstock.free_port()
        hub = self.stack.hub({port: self.echo_target().port})
        relay = t.Relay(hub.address("tunnel"))
        self.addCleanup(relay.close)
        edge = self.stack.edge(self.stack.register(hub, "e1", [port], at=relay.address), workers=1,
                               transportMode="tcpTls")
        self.wait_ports(edge, [port])
        generation = hub.wait_event("edge_connected")["generation"]
        self.wait_lanes(edge)
        files = edge.open_files(), hub.open_files()
        for count in range(2, 5):
            clients = t.echo_clients(port, 5)
            relay.cut()
            for client in clients:
                client.join(e2e.SECS)
            self.assertEqual([c.outcome for c in clients], ["reset"] * 5)
            e2e.wait_for("the tunnel", lambda n=count: edge.status()["connects"] == n)
            self.assert_echo(port)
        self.assertEqual([e["generation"] for e in hub.events("edge_connected")], [generation])
        e2e.wait_for("the descriptors", lambda: edge.open_files() <= files[0] and hub.open_files() <= files[1])

    def test_one_lane_of_three_is_cut(self):
        """Its streams are reset, the others' are not, and it comes back."""
        port = penstock.free_port()
        hub = self.stack.hub({port: self.echo_target().port}, workers=2)
        relay = t.Relay(hub.address("tunnel"))
        self.addCleanup(relay.close)
        edge = self.stack.edge(self.stack.register(hub, "e1", [port], at=relay.address), workers=3,
                               transportMode="tcpTls")
        self.wait_ports(edge, [port])
        e2e.wait_for("three lanes", lambda: edge.status()["lanes"] == 3)
        clients = t.echo_clients(port, 60)
        with relay.changed:
            victim = relay.pairs[-1:]
        relay.cut(victim)
        e2e.wait_for("some to be reset", lambda: any(c.outcome == "reset" for c in clients))
        e2e.wait_for("the lane to come back", lambda: edge.status()["lanes"] == 3)
        rounds = [c.rounds for c in clients]
        e2e.wait_for("the others to go on",
                     lambda: all(c.outcome or c.rounds > n for c, n in zip(clients, rounds)))
        outcomes = [c.finish() for c in clients]
        self.assertEqual(set(outcomes), {"reset", "stopped"})
        self.assertEqual(edge.status()["connects"], 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
