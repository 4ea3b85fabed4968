"""`check` of the three programs, beside real services: what is well, and for each thing that can be wrong
that it is found, named, and how to mend it is said."""
import json
import pathlib
import socket
import subprocess
import unittest

import e2e
from e2e import penstock


class Checks(e2e.Case):
    def check(self, service, conf, status=0, *options):
        """{name: [finding, ...]} of `check --json`."""
        path = self.stack.folder / f"check-{service}.json"
        path.write_text(json.dumps(conf))
        done = subprocess.run([penstock.BUILD / "bin" / f"penstock-{service}", "check", "--json", "--config", path,
                               *options], capture_output=True, text=True, timeout=e2e.SECS)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        said = json.loads(done.stdout)
        self.assertEqual(said["service"], service)
        worst = "fail" if status else said["result"]
        self.assertEqual(said["result"], worst)
        found = {}
        for finding in said["findings"]:
            self.assertEqual(finding["mend"] is None, finding["verdict"] == "ok", finding)
            found.setdefault(finding["name"], []).append(finding)
        return found

    def expect(self, found, name, verdict, words=""):
        self.assertIn(name, found)
        hits = [f for f in found[name] if f["verdict"] == verdict and words in f["seen"]]
        self.assertTrue(hits, f"{name} is not {verdict} with {words!r}: {found[name]}")
        return hits[0]

    def only_ok(self, found, *but):
        """The clock and the kernel's limits are this machine's own affair."""
        own = ("clock", "descriptors", "buffers.receive", "buffers.send", "ports.low", *but)
        bad = [f for name, all in found.items() for f in all if f["verdict"] != "ok" and name not in own]
        self.assertEqual(bad, [])


class Edge(Checks):
    def setUp(self):
        super().setUp()
        target = e2e.Target(e2e.echo)
        self.addCleanup(target.close)
        self.tunnel([target.port])

    def metric(self, reason):
        name = f'penstock_hub_handshake_failures_total{{reason="{reason}"}}'
        text = self.hub.api("GET", "/metrics").body.decode()
        return next((float(line.split()[-1]) for line in text.splitlines() if line.startswith(name)), 0)

    def test_all_is_well_and_nothing_is_displaced(self):
        before = self.hub.status()["connectedEdges"]
        found = self.check("edge", {**self.edge.conf, "transportMode": "quicWithFallback"})
        self.only_ok(found)
        for name in ("hub.tls", "hub.quic"):
            self.expect(found, name, "ok", "handshake done")
        self.expect(found, "hub.mtu", "ok", "UDP payloads get through up to")
        self.expect(found, "hub.certificate", "ok", "more days")
        self.expect(found, "hub.login", "ok", "knows edge e1")
        self.expect(found, "management.listen", "ok")
        self.assertEqual(self.metric("unknown_session"), 2)
        after = self.hub.status()["connectedEdges"]
        self.assertEqual([(e["edgeId"], e["connectedAt"]) for e in after],
                         [(e["edgeId"], e["connectedAt"]) for e in before])
        self.assertTrue(self.edge.status()["connected"])

    def test_lines_for_people(self):
        path = self.stack.folder / "edge.json"
        done = subprocess.run([self.edge.program, "check", "--config", path], capture_output=True, text=True,
                              timeout=e2e.SECS)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertRegex(done.stdout, r"(?m)^ok    hub\.login +the hub knows edge e1")
        self.assertNotIn(self.token, done.stdout)

    def test_credentials(self):
        wrong = self.stack.register(self.hub, "e2", [])
        self.hub.api("DELETE", "/v1/edges/e2", expect=(200, 204))
        found = self.check("edge", {**self.edge.conf, "token": wrong}, 1)
        self.assertIn("new token", self.expect(found, "hub.login", "fail", "does not know edge e2")["mend"])
        self.hub.api("PATCH", "/v1/edges/e1", {"enabled": False}, expect=200)
        self.expect(self.check("edge", self.edge.conf, 1), "hub.login", "fail", "is disabled")
        found = self.check("edge", {k: v for k, v in self.edge.conf.items() if k != "token"}, 1)
        self.expect(found, "token", "fail", "there is none")

    def test_another_hub_than_the_pin_says(self):
        fields = json.loads(subprocess.run([self.hub.program, "token", "decode", "--show-secret"], input=self.token,
                                           capture_output=True, text=True, check=True).stdout)
        conf = {k: v for k, v in self.edge.conf.items() if k != "token"}
        found = self.check("edge", {**conf, **fields, "pin": "A" * 43}, 1)
        for name in ("hub.tls", "hub.quic") if "transportMode" not in conf else ("hub.tls",):
            self.assertIn("new token", self.expect(found, name, "fail")["mend"])
        self.assertNotIn("hub.login", found)

    def test_a_hub_that_is_away(self):
        self.hub.stop()
        found = self.check("edge", self.edge.conf, 1)
        self.expect(found, "hub.tls", "fail", "Connection refused")
        conf = {k: v for k, v in self.edge.conf.items() if k != "token"}
        found = self.check("edge", {**conf, "hubHost": "nowhere.invalid", "edgeId": "e1", "secret": "s" * 43}, 1)
        self.expect(found, "hub.name", "fail", "nowhere.invalid")

    def test_a_network_without_udp(self):
        hub = self.stack.hub({}, tunnel={"transports": ["tls"]})
        token = self.stack.register(hub, "e9", [])
        found = self.check("edge", {**self.edge.conf, "token": token, "transportMode": "quicWithFallback"})
        self.assertIn("UDP", self.expect(found, "hub.quic", "warn")["mend"])
        self.expect(found, "hub.login", "ok", "knows edge e9")
        found = self.check("edge", {**self.edge.conf, "token": token, "transportMode": "quic"}, 1)
        self.expect(found, "hub.quic", "fail")

    def test_configuration_and_files(self):
        found = self.check("edge", {"wrokers": 1}, 2)
        self.expect(found, "configuration", "fail", "wrokers")
        conf = {**self.edge.conf, "stateDir": str(self.stack.folder / "new" / "state")}
        self.expect(self.check("edge", conf), "stateDir", "ok", "is made at the first start")
        self.assertFalse(pathlib.Path(conf["stateDir"]).exists())
        (self.stack.folder / "file").touch()
        found = self.check("edge", {**conf, "stateDir": str(self.stack.folder / "file")}, 1)
        self.expect(found, "stateDir", "fail", "file")

    def test_a_port_that_another_program_has(self):
        with socket.create_server(("127.0.0.1", 0)) as other:
            at = "127.0.0.1:%d" % other.getsockname()[1]
            found = self.check("edge", {**self.edge.conf, "management": {"listen": at}}, 1)
            self.expect(found, "management.listen", "fail", "taken by another program")
        at = "127.0.0.1:%d" % self.edge.address("management")[1]
        found = self.check("edge", {**self.edge.conf, "management": {"listen": at}})
        self.expect(found, "management.listen", "ok", "is held")


class Hub(Checks):
    def test_before_and_beside_a_hub(self):
        conf = {"stateDir": str(self.stack.folder / "hub"), "target": {"ports": {}},
                "tunnel": {"listen": "127.0.0.1:0"}, "management": {"listen": "127.0.0.1:0"}}
        found = self.check("hub", conf)
        self.only_ok(found)
        for name in ("store", "tunnel.certificate"):
            self.expect(found, name, "ok", "is made at the first start")
        self.assertFalse((self.stack.folder / "hub").exists())
        hub = self.stack.hub({})
        at = {name: "127.0.0.1:%d" % hub.address(name)[1] for name in ("tunnel", "management")}
        conf = {**hub.conf, "target": {"ports": {}}, "tunnel": {"listen": at["tunnel"]},
                "management": {"listen": at["management"]}}
        found = self.check("hub", conf)
        self.only_ok(found)
        self.expect(found, "store", "ok", "can be read")
        self.expect(found, "tunnel.certificate", "ok", "good until")
        self.assertEqual(len([f for f in found["tunnel.listen"] if "is held" in f["seen"]]), 2)
        self.stack.register(hub, "e1", [])  # it still writes
        hub.stop()
        found = self.check("hub", conf)
        self.only_ok(found)
        self.assertEqual(len([f for f in found["tunnel.listen"] if "can be bound" in f["seen"]]), 2)

    def test_ports_that_another_program_has(self):
        """That a hub runs with this configuration does not make them its own."""
        port = penstock.free_port()
        with socket.socket(type=socket.SOCK_DGRAM) as udp, socket.create_server(("127.0.0.1", 0)) as tcp:
            udp.bind(("127.0.0.1", port))
            hub = self.stack.hub({}, tunnel_port=port, management_port=penstock.free_port())
            hub.wait_event("quic_waits")
            self.assertNotIn("tunnelQuic", hub.status()["listeners"])
            found = self.check("hub", {**hub.conf, "target": {"ports": {}}}, 1)
            self.expect(found, "tunnel.listen", "ok", "(tcp) is held by the running service")
            self.expect(found, "tunnel.listen", "fail", "(udp) is taken by another program")
            other = {"listen": "127.0.0.1:%d" % tcp.getsockname()[1]}
            found = self.check("hub", {**hub.conf, "target": {"ports": {}}, "metrics": other}, 1)
            self.expect(found, "metrics.listen", "fail", "taken by another program")
        hub.wait_event("listening", name="tunnel-quic")
        found = self.check("hub", {**hub.conf, "target": {"ports": {}}})
        self.expect(found, "tunnel.listen", "ok", "(udp) is held by the running service")

    def test_a_service_that_cannot_be_asked(self):
        """Another one's state folder has another token: what is taken may be its, or not."""
        hub = self.stack.hub({}, tunnel_port=penstock.free_port(), management_port=penstock.free_port())
        hub.wait_event("started")
        conf = {**hub.conf, "target": {"ports": {}}, "stateDir": str(self.stack.folder / "elsewhere")}
        found = self.check("hub", conf)
        self.expect(found, "service", "warn", "there is no read token")
        for name in ("tunnel.listen", "management.listen"):
            self.expect(found, name, "warn", "does not say by whom")
        found = self.check("hub", {**conf, "management": {**conf["management"], "readToken": "r" * 43}})
        self.expect(found, "service", "warn", "answers the token of this configuration with 401")

    def test_store(self):
        hub = self.stack.hub({})
        hub.address("tunnel")
        hub.stop()
        state, conf = hub.state_dir, {**hub.conf, "target": {"ports": {}}}
        before = {p.name: p.stat().st_mtime_ns for p in state.iterdir()}
        self.expect(self.check("hub", conf), "store", "ok", "hub.db")
        self.assertEqual({p.name: p.stat().st_mtime_ns for p in state.iterdir()}, before)
        key = (state / "store.key").read_text()
        (state / "store.key").write_text("A" * 43 + "\n")
        self.expect(self.check("hub", conf, 1), "store", "fail")
        (state / "store.key").unlink()
        self.expect(self.check("hub", conf, 1), "store", "fail", "store.key is missing; bring it back")
        self.assertFalse((state / "store.key").exists())
        (state / "store.key").write_text(key)
        (state / "hub.db").write_bytes(b"no database, but long enough to have a head" * 100)
        self.expect(self.check("hub", conf, 1), "store", "fail")

    def test_targets_and_certificate(self):
        target = e2e.Target(e2e.echo)
        self.addCleanup(target.close)
        nobody = penstock.free_port()
        certificate = penstock.Certificate(self.stack.folder, "hub.example.test")
        conf = {"stateDir": str(self.stack.folder / "hub"), "management": {"listen": "127.0.0.1:0"},
                "tunnel": {"listen": "127.0.0.1:0", "certFile": str(certificate.chain_file),
                           "keyFile": str(certificate.key_file), "publicHost": "other.example.test"},
                "target": {"ports": {"80": target.port, "443": {"host": "localhost", "port": target.port},
                                     "22": nobody}, "portsUdp": {"53": {"host": "nowhere.invalid", "port": 53}}}}
        found = self.check("hub", conf, 1)
        self.expect(found, "target", "ok", f"127.0.0.1:{target.port}")
        self.expect(found, "target", "ok", f"localhost:{target.port}")
        self.expect(found, "target", "warn", f"127.0.0.1:{nobody}")
        self.expect(found, "target.udp", "fail", "nowhere.invalid")
        self.expect(found, "tunnel.certificate", "warn", "does not cover other.example.test")
        conf["tunnel"]["keyFile"] = str(self.stack.folder / "nothing")
        self.expect(self.check("hub", conf, 1), "tunnel.certificate", "fail", "nothing")


class Traffic(Checks):
    def test_routes_and_their_destinations(self):
        origin = self.origin()
        nobody = penstock.free_port()
        certificate = penstock.Certificate(self.stack.folder, "app.example.test")
        route = {"hostName": "app.example.test", "destinationIps": ["127.0.0.1"],
                 "destinationPorts": [origin], "publicKey": certificate.chain, "privateKey": certificate.key}
        routes = self.stack.folder / "routes.json"
        conf = {"stateDir": str(self.stack.folder / "traffic"), "management": {"listen": "127.0.0.1:0"},
                "http": {"listen": "127.0.0.1:0"}, "https": {"listen": "127.0.0.1:0"}, "routesFile": str(routes)}
        routes.write_text(json.dumps({"routes": [route]}))
        found = self.check("traffic", conf)
        self.expect(found, "destination", "ok", f"127.0.0.1:{origin}")
        self.assertIn(found["certificate app.example.test"][0]["verdict"], ("ok", "warn"))
        routes.write_text(json.dumps({"routes": [{**route, "destinationPorts": [origin, nobody]}]}))
        found = self.check("traffic", conf)
        self.expect(found, "destination", "warn", f"127.0.0.1:{nobody}")
        routes.write_text(json.dumps({"routes": [{**route, "destinationPorts": [0]}]}))
        found = self.check("traffic", conf, 1)
        self.expect(found, "routes", "fail", "/routes/0/destinationPorts")
        self.assertNotIn("PRIVATE", json.dumps(found))

    def test_a_certificate_that_is_about_to_end(self):
        certificate = penstock.Certificate(self.stack.folder, "old.example.test", days="1")
        routes = self.stack.folder / "routes.json"
        routes.write_text(json.dumps({"routes": [
            {"hostName": "old.example.test", "destinationIps": ["127.0.0.1"], "destinationPorts": [9],
             "publicKey": certificate.chain, "privateKey": certificate.key}]}))
        conf = {"stateDir": str(self.stack.folder / "traffic"), "management": {"listen": "127.0.0.1:0"},
                "http": {"listen": "127.0.0.1:0"}, "https": {"listen": "127.0.0.1:0"}, "routesFile": str(routes)}
        self.expect(self.check("traffic", conf), "certificate old.example.test", "warn", "it ends on")

    def test_coreflow_and_ports(self):
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            conf = {"stateDir": str(self.stack.folder / "traffic"), "management": {"listen": "127.0.0.1:0"},
                    "http": {"listen": "127.0.0.1:0"}, "https": {"listen": f"127.0.0.1:{port}"},
                    "coreflow": {"url": f"ws://127.0.0.1:{port}/x"}}
            found = self.check("traffic", conf, 1)
            self.expect(found, "coreflow.url", "ok", "answers")
            self.expect(found, "https.listen", "fail", "taken by another program")
            self.expect(found, "http.listen", "ok")
        found = self.check("traffic", {**conf, "coreflow": {"url": f"ws://127.0.0.1:{penstock.free_port()}/"}}, 1)
        self.expect(found, "coreflow.url", "fail", "refused")


if __name__ == "__main__":
    unittest.main()
