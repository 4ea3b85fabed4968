"""The three management APIs do what api/*.yaml says, and nothing else.

Every documented operation is called, every answer is held against the document (api_stand.Contract), and
at the end each documented status must have been seen, but those of ELSEWHERE, which other tests see.
"""
import contextlib
import copy
import http.client
import json
import socket
import subprocess
import unittest

import api_stand
import e2e
from e2e import penstock

BODY_MAX = 20_000
# Statuses that need a stress of their own: tests/unit/test_admin_*.c and test_traffic_route_*.c see them.
ELSEWHERE = {"429", "503", "507"}
SUPERSEDED = {("PUT", "/v1/routes", "409"), ("PUT", "/v1/routes/{hostName}", "409"),
              ("DELETE", "/v1/routes/{hostName}", "409")}
NEVER = {("GET", "/common.yaml", "404")}  # for a service without one; all three have it


class ServiceContract:
    """What every service has; a class each fills in its flows."""

    SERVICE = None

    def start(self):
        raise NotImplementedError

    def setUp(self):
        super().setUp()
        self.service = self.start()
        self.contract = api_stand.Contract(self.service)
        self.document = self.contract.document

    def path(self, template):
        """The template with names of something that exists."""
        return template.replace("{id}", "e1").replace("{hostName}", "a.example.test").replace("{file}", "app.js")

    # --- what is refused, operation by operation

    def check_tokens(self):
        for method, template, operation in self.document.operations():
            path = self.path(template)
            body = {} if "requestBody" in operation else None
            if self.document.is_public(operation):
                self.contract.call(method, path, expect=200 if template == "/healthz" else None,
                                   headers={"Authorization": None})
                continue
            for value in (None, "Bearer wrong-token-0123456789", "Basic YTpi", "Bearer", self.service.token()):
                self.contract.call(method, path, body, expect=401, headers={"Authorization": value})
            if method != "GET":
                answer = self.contract.call(method, path, body, expect=403, token=self.service.token(read=True))
                self.assertEqual(answer.json["type"], "urn:penstock:problem:readOnly")
            else:
                self.contract.call(method, path, token=self.service.token(read=True))

    def check_methods(self):
        """Whatever is not documented is 405 with the documented ones in Allow; HEAD is GET without a body."""
        for template in self.document.paths:
            documented = self.document.methods(template)
            for method in (*api_stand.ALL_METHODS, "OPTIONS", "TRACE", "PROPFIND"):
                if method in documented:
                    continue
                answer = self.contract.request(method, self.path(template))
                self.contract.check_problem(answer, 405, "methodNotAllowed", is_head=method == "HEAD")
                self.assertEqual(set(answer.headers["Allow"].split(", ")), documented, template)
            if "HEAD" in documented:
                get, head = (self.contract.request(m, self.path(template)) for m in ("GET", "HEAD"))
                self.assertEqual((head.status, head.body), (get.status, b""))
                self.assertEqual(head.headers.get("Content-Type"), get.headers.get("Content-Type"))
                self.assertEqual(head.etag, get.etag)
                if template not in ("/metrics", "/v1/status", "/v1/events"):
                    self.assertEqual(head.headers["Content-Length"], get.headers["Content-Length"])

    def check_paths(self):
        for path in (*([] if "/" in self.document.paths else ["/"]), "/v1", "/v1/", "/v2/status", "/v1/nope", "/V1/status", "//v1/status", "/v1/status/",
                     "/v1/status/x", "/healthz/", "/metrics/x", "/v1/edges/e1/nope", "/v1/routes/a/b", "/favicon.ico"):
            for method in ("GET", "PUT"):
                self.contract.check_problem(self.contract.request(method, path), 404, "notFound")

    def check_bodies(self):
        for method, template, operation in self.document.operations():
            path = self.path(template)
            request = operation.get("requestBody")
            if not request:
                if method in ("DELETE",):
                    self.contract.call(method, path, {"x": 1}, expect=400)
                continue
            if request["required"]:
                self.contract.call(method, path, expect=400)
            for headers, came in (({"Content-Type": "text/plain"}, "Content-Type is text/plain"),
                                  ({"Content-Type": None}, "Content-Type is missing"),
                                  ({"Content-Encoding": "gzip"}, "Content-Encoding is gzip")):
                answer = self.contract.call(method, path, b"{}", expect=415, headers=headers)
                self.assertTrue(answer.json["detail"].endswith(came), answer.json["detail"])
            for bad in (b"{", b"nonsense", b'{"a":1,"a":2}', b'{"a":1}x', b"\xff"):
                answer = self.contract.call(method, path, bad, expect=400)
                self.assertEqual([e["pointer"] for e in answer.json["errors"]], [""])
            answer = self.contract.call(method, path, {"noSuchKey": 1}, expect=422)
            [said] = [e["detail"] for e in answer.json["errors"] if e["pointer"] == "/noSuchKey"]
            self.assertTrue(said.startswith("is not known here; allowed: "), said)
            self.contract.call(method, path, expect=413, headers={  # refused by its head
                "Content-Type": "application/json", "Content-Length": str(self.body_max(template) + 1)})
            self.contract.call(method, path + "?dryRun=maybe", {}, expect=400)

    def check_queries(self):
        """Each operation knows the parameters that are documented for it, and no other: a typo of dryRun
        would carry the change out.  None of these is."""
        before = self.contract.call("GET", "/v1/config").body
        for method, template, operation in self.document.operations():
            path, body = self.path(template), {} if "requestBody" in operation else None
            item = self.document.paths[template]
            known = sorted(p["name"] for p in [*item.get("parameters", []), *operation.get("parameters", [])]
                           if p["in"] == "query")
            for name in ("noSuchThing", "dry_run", "dryrun", "dry-run", "DryRun", "type", *([] if "dryRun" in known else ["dryRun"])):
                answer = self.contract.call(method, f"{path}?{name}=true", body, expect=400)
                self.assertEqual(answer.json["type"], "urn:penstock:problem:badQuery")
                self.assertEqual(answer.json["detail"], f"{name} is not known here; allowed: {', '.join(known) or 'none'}")
            for name in known:
                self.contract.call(method, f"{path}?{name}=true&{name}=true", body, expect=400)
        self.assertEqual(self.contract.call("GET", "/v1/config").body, before)
        self.assertTrue(self.contract.call("GET", "/v1/status").json["running"])

    def body_max(self, template):
        return BODY_MAX

    # --- what every service has

    def check_common(self):
        call = self.contract.call
        self.assertEqual(call("GET", "/healthz", expect=200).json, {"status": "ok"})
        call("GET", "/v1/status", expect=200)
        for path, name in (("/openapi.yaml", f"{self.SERVICE}.yaml"), ("/common.yaml", "common.yaml")):
            self.assertEqual(call("GET", path, expect=200).body, (e2e.SOURCE / "api" / name).read_bytes())
        config = call("GET", "/v1/config", expect=200).json
        self.assertEqual(config["management"]["bodyBytes"], BODY_MAX)
        for dry in ("?dryRun=true", "?dryRun"):
            self.assertEqual(call("POST", "/v1/drain" + dry, expect=202).json,
                             {"status": "draining", "drainDelaySecs": 0, "drainSecs": 0, "dryRun": True})
        call("GET", "/v1/events", expect=200)
        said = call("GET", "/v1/events?types=crashRecovered,nonsense", expect=400).json["detail"]
        self.assertTrue(said.startswith('types: there is no event "nonsense"; there are '), said)
        self.assertIn("crashRecovered", said)
        before = call("GET", "/v1/log-level", expect=200).json
        call("PUT", "/v1/log-level?dryRun=true", {"level": "debug"}, expect=200)
        self.assertEqual(call("GET", "/v1/log-level", expect=200).json, before)
        self.assertEqual(call("PUT", "/v1/log-level", {"level": "debug"}, expect=200).json, {"level": "debug"})
        self.assertEqual(call("GET", "/v1/log-level", expect=200).json, {"level": "debug"})
        self.assertEqual(call("GET", "/v1/config", expect=200).json["log"]["level"], "debug")
        answer = call("PUT", "/v1/log-level", {"level": "loud"}, expect=422)
        self.assertEqual([e["pointer"] for e in answer.json["errors"]], ["/level"])
        call("PUT", "/v1/log-level", {"level": "info"}, expect=200)
        self.check_audit()
        answer = call("GET", "/v1/status", expect=200, headers={"X-Request-Id": "my.own-1"})
        self.assertEqual(answer.headers["X-Request-Id"], "my.own-1")
        self.assertNotEqual(call("GET", "/v1/status", headers={"X-Request-Id": "no good"}).headers["X-Request-Id"], "no good")

    def check_audit(self):
        """A change is told, and a try, with who it was; never by which token."""
        send, read = self.service.token(), self.service.token(read=True)
        for token, scope, status in ((send, "write", 200), (read, "read", 403), ("wrong-token-0123456789", "none", 401)):
            for dry in ("", "?dryRun=true"):
                name = f"audit-{scope}{'-dry' if dry else ''}"
                self.contract.call("PUT", "/v1/log-level" + dry, {"level": "info"}, expect=status, token=token,
                                   headers={"X-Request-Id": name})
                if scope == "none":
                    continue  # auth_failed, at most so many a second
                line = self.service.wait_event("audit", request_id=name)
                told = {key: line[key] for key in ("method", "path", "status", "peer", "scope")}
                self.assertEqual(told, {"method": "PUT", "path": "/v1/log-level", "status": status, "peer": "127.0.0.1",
                                        "scope": scope})
                if scope == "write":
                    self.assertIs(line["dry_run"], bool(dry))
        for line in self.service.lines:
            self.assertFalse(any(t in json.dumps(line) for t in (send, read, "wrong-token")), line)

    def check_metrics(self):
        answer = self.contract.call("GET", "/metrics", expect=200)
        self.assertEqual(answer.headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")
        families = api_stand.parse_metrics(answer.body.decode())
        allowed = (f"penstock_{self.SERVICE}_", "penstock_admin_", "penstock_crash_", "penstock_build_info", "penstock_log_",
                   "process_")
        for name in families:
            self.assertTrue(name.startswith(allowed), name)
        self.assertIn("penstock_build_info", families)
        self.assertGreater(len(families), 20)
        opened = self.contract.call("GET", "/metrics", expect=200, headers={
            "Accept": "application/openmetrics-text; version=1.0.0"})
        self.assertEqual(opened.headers["Content-Type"], "application/openmetrics-text; version=1.0.0; charset=utf-8")
        api_stand.parse_metrics(opened.body.decode(), is_open=True)
        self.check_counters_of_limits(families)

    def check_counters_of_limits(self, families):
        """What the table of keys names as a counter is in the metrics."""
        keys = subprocess.run([penstock.BUILD / "bin" / f"penstock-{self.SERVICE}", "--print-keys"],
                              capture_output=True, text=True, check=True).stdout
        named = 0
        for line in keys.splitlines()[2:]:
            counter = line.split(" | ")[3].strip("`| ")
            if not counter:
                continue
            name, _, label = counter.partition("{")
            self.assertIn(name, families, line)
            if label:
                self.assertTrue(any(label.rstrip("}") in key[1] for key in families[name][1]), line)
            named += 1
        self.assertGreater(named, 3)

    def check_hosts_and_heads(self):
        """A Host that is none of ours, two Hosts, other origins, heads that can be read in two ways."""
        call = self.contract.request
        self.contract.check_problem(call("GET", "/v1/status", headers={"Host": "evil.example.test"}), 403, "hostNotAllowed")
        self.contract.check_problem(call("GET", "/v1/status", headers={"Origin": "http://evil.example.test"}), 403, "originNotAllowed")
        for host in ("localhost", "127.0.0.1", "[::1]:9001", "known.example.test"):
            self.assertEqual(call("GET", "/v1/status", headers={"Host": host}).status, 200, host)
        for head in ("Host: a\r\nHost: b\r\n", "", "Host: 127.0.0.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n",
                     "Host: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                     "Host: 127.0.0.1\r\nTransfer-Encoding: identity\r\n",
                     "Host: 127.0.0.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"):
            with socket.create_connection(self.service.address("management"), e2e.SECS) as s:
                s.sendall(f"PUT /v1/log-level HTTP/1.1\r\n{head}Authorization: Bearer {self.service.token()}\r\n"
                          "Content-Type: application/json\r\n\r\n".encode())
                response = http.client.HTTPResponse(s)
                response.begin()
                response.read()
                self.assertEqual(response.status, 400, head)
                self.assertEqual(s.recv(1), b"", head)  # closed

    maxDiff = None

    def test_contract(self):
        steps = [self.check_common, self.check_metrics, self.flow, self.check_tokens, self.check_methods,
                 self.check_paths, self.check_bodies, self.check_queries, self.check_hosts_and_heads]
        for step in steps:
            with self.subTest(step.__name__):
                step()
        untried = {key for key in self.contract.expected() - self.contract.seen - NEVER - SUPERSEDED if key[2] not in ELSEWHERE}
        self.assertEqual(sorted(untried), [])

    def unchanged(self, path, action):
        """What `action` answers; the resource at `path` must be the same before and after."""
        before = self.service.api("GET", path, expect=200)
        answer = action()
        after = self.service.api("GET", path, expect=200)
        self.assertEqual((before.body, before.etag), (after.body, after.etag))
        return answer


class Hub(ServiceContract, e2e.Case):
    SERVICE = "hub"

    def start(self):
        return self.stack.hub({}, edges=[{"id": "e1", "listenPorts": [80], "secret": "s" * 43}],
                              tunnel={"publicHost": "hub.example.test", "publicPort": 8443}, limits={"edges": 50},
                              management={"bodyBytes": BODY_MAX, "hosts": ["known.example.test"]})

    def errors(self, method, path, body, pointers):
        answer = self.contract.call(method, path, body, expect=422)
        self.assertEqual(sorted(e["pointer"] for e in answer.json["errors"]), sorted(pointers))

    def flow(self):
        call = self.contract.call
        self.assertEqual(call("GET", "/readyz", expect=200).json, {"status": "ready"})
        self.flow_add(call)
        self.flow_change(call)
        self.flow_set(call)
        self.flow_credentials(call)
        for path in ("/v1/edges/nobody", "/v1/edges/nobody/streams"):
            call("GET", path, expect=404)
        for path in ("/v1/edges/nobody", "/v1/edges/nobody/connection"):
            call("DELETE", path, expect=404)
        call("PATCH", "/v1/edges/nobody", {}, expect=404)
        for path in ("/v1/edges/nobody/token", "/v1/edges/nobody/secret"):
            call("POST", path, {}, expect=404)
        for path in ("/v1/edges/e1", "/v1/edges/e1/connection"):
            call("DELETE", path + "?dryRun=maybe", expect=400)
        self.flow_dashboard(call)

    def flow_dashboard(self, call):
        for path in ("/", "/dashboard/app.js", "/dashboard/style.css", "/dashboard/icon.svg"):
            page = call("GET", path, expect=200, headers={"Authorization": None})
            call("GET", path, expect=304, headers={"If-None-Match": page.etag})
        call("GET", "/dashboard/nope.js", expect=404)

    def flow_add(self, call):
        new = {"id": "e2", "listenPorts": [443, 80], "listenPortsUdp": [443, 53], "stunIntervalSecs": 0, "maxInstances": 2,
               "enabled": True}
        self.unchanged("/v1/edges", lambda: call("POST", "/v1/edges?dryRun=true", new, expect=200))
        answer = call("POST", "/v1/edges", new, expect=201)
        self.assertEqual(answer.headers["Location"], "/v1/edges/e2")
        self.assertEqual(answer.json["listenPorts"], [80, 443])
        token = penstock.decode_token(answer.json["token"])
        self.assertEqual((token["hubHost"], token["hubPort"], token["edgeId"]), ("hub.example.test", 8443, "e2"))
        self.assertNotIn(token["secret"], call("GET", "/v1/edges", expect=200).body.decode())
        self.assertEqual(call("GET", "/v1/edges/e2", expect=200).etag, answer.etag)
        self.assertEqual(call("POST", "/v1/edges", new, expect=409).json["detail"], 'the edge "e2" exists')
        call("POST", "/v1/edges", {**new, "id": "e3"}, expect=412, headers={"If-Match": '"old"'})
        etag = call("GET", "/v1/edges", expect=200).etag
        call("POST", "/v1/edges", {**new, "id": "e3", "secret": "x" * 43}, expect=201, headers={"If-Match": etag})
        self.errors("POST", "/v1/edges", {}, ["/id"])
        self.errors("POST", "/v1/edges", {"id": "e4", "listenPortsUdp": [53, 0]}, ["/listenPortsUdp/1"])
        self.errors("POST", "/v1/edges", {"id": "a b", "listenPorts": [0, 80, 80], "maxInstances": 0, "enabled": "yes",
                                          "stunIntervalSecs": -1, "secret": "short", "no": 1},
                    ["/id", "/listenPorts/0", "/listenPorts/2", "/maxInstances", "/enabled", "/stunIntervalSecs",
                     "/secret", "/no"])

    def flow_change(self, call):
        first = call("GET", "/v1/edges/e2", expect=200)
        call("GET", "/v1/edges/e2", expect=304, headers={"If-None-Match": first.etag})
        call("GET", "/v1/edges", expect=304, headers={"If-None-Match": call("GET", "/v1/edges").etag})
        self.unchanged("/v1/edges/e2", lambda: call("PATCH", "/v1/edges/e2?dryRun=true", {"listenPorts": [1]}, expect=200))
        changed = call("PATCH", "/v1/edges/e2", {"listenPorts": [1]}, expect=200, headers={"If-Match": first.etag})
        self.assertEqual((changed.json["listenPorts"], changed.json["maxInstances"]), ([1], 2))
        self.assertNotEqual(changed.etag, first.etag)
        call("PATCH", "/v1/edges/e2", {"listenPorts": [2]}, expect=412, headers={"If-Match": first.etag})
        self.assertEqual(call("PATCH", "/v1/edges/e2", {}, expect=200).etag, changed.etag)
        self.errors("PATCH", "/v1/edges/e2", {"id": "e9"}, ["/id"])
        call("DELETE", "/v1/edges/e2", expect=412, headers={"If-Match": first.etag})
        self.unchanged("/v1/edges", lambda: call("DELETE", "/v1/edges/e2?dryRun=true", expect=204))
        call("DELETE", "/v1/edges/e2", expect=204, headers={"If-Match": changed.etag})
        call("GET", "/v1/edges/e2", expect=404)

    def flow_set(self, call):
        etag = call("GET", "/v1/edges", expect=200).etag
        new = {"edges": [{"id": "e1", "listenPorts": [81]}, {"id": "n1"}]}
        outcome = self.unchanged("/v1/edges", lambda: call("PUT", "/v1/edges?dryRun=true", new, expect=200)).json
        self.assertEqual(outcome, {"added": ["n1"], "changed": ["e1"], "removed": ["e3"], "dryRun": True})
        call("PUT", "/v1/edges", new, expect=412, headers={"If-Match": '"x"'})
        outcome = call("PUT", "/v1/edges", new, expect=200, headers={"If-Match": etag}).json
        self.assertEqual(outcome, {"added": ["n1"], "changed": ["e1"], "removed": ["e3"], "dryRun": False})
        outcome = call("PUT", "/v1/edges", new["edges"], expect=200).json
        self.assertEqual((outcome["added"], outcome["changed"], outcome["removed"]), ([], [], []))
        token = penstock.decode_token(call("POST", "/v1/edges/e1/token", expect=200).json["token"])
        self.assertEqual(token["secret"], "s" * 43)  # kept
        self.unchanged("/v1/edges", lambda: self.errors(
            "PUT", "/v1/edges", {"edges": [{"id": "e1"}, {"id": "e1"}, {"listenPorts": [80]}, {"id": "x", "listenPorts": ["y"]}, 7]},
            ["/edges/1/id", "/edges/2/id", "/edges/3/listenPorts/0", "/edges/4"]))
        self.unchanged("/v1/edges", lambda: self.errors("PUT", "/v1/edges", [{"id": f"m{n}"} for n in range(51)], [""]))
        self.unchanged("/v1/edges", lambda: self.errors(  # a list by itself has no member to name
            "PUT", "/v1/edges", [{"id": "e1"}, {"id": "e1"}, {"listenPorts": [80]}], ["/1/id", "/2/id"]))

    def flow_credentials(self, call):
        def token(**body):
            return penstock.decode_token(call("POST", "/v1/edges/e1/token", body, expect=200).json["token"])

        self.assertEqual(token(hubHost="10.0.0.1", hubPort=1)["hubHost"], "10.0.0.1")
        self.errors("POST", "/v1/edges/e1/token", {"hubHost": "no host!", "hubPort": 0}, ["/hubHost", "/hubPort"])
        before = token()["secret"]
        self.unchanged("/v1/edges/e1", lambda: call("POST", "/v1/edges/e1/secret?dryRun=true", {"graceSecs": 0}, expect=200))
        self.assertEqual(token()["secret"], before)
        etag = call("GET", "/v1/edges/e1").etag
        call("POST", "/v1/edges/e1/secret", {"graceSecs": 60}, expect=200, headers={"If-Match": etag})
        self.assertNotEqual(token()["secret"], before)
        self.assertIsNotNone(call("GET", "/v1/edges/e1").json["oldSecretGoodUntil"])
        call("POST", "/v1/edges/e1/secret", {}, expect=412, headers={"If-Match": etag})
        call("POST", "/v1/edges/e1/secret", {"graceSecs": 0}, expect=200)
        self.assertIsNone(call("GET", "/v1/edges/e1").json["oldSecretGoodUntil"])
        self.errors("POST", "/v1/edges/e1/secret", {"graceSecs": -1}, ["/graceSecs"])
        call("DELETE", "/v1/edges/e1/connection?dryRun=true", expect=204)
        call("DELETE", "/v1/edges/e1/connection", expect=204)
        self.assertEqual(call("GET", "/v1/edges/e1/streams", expect=200).json, {"streams": [], "total": 0})

    def test_status_with_an_edge(self):
        """The shape of a connected edge, and of a stream."""
        target = e2e.Target(e2e.echo)
        self.addCleanup(target.close)
        self.tunnel([target.port])
        contract = api_stand.Contract(self.hub)
        edge_contract = api_stand.Contract(self.edge)
        with e2e.connect(self.ports[0]) as s:
            s.sendall(b"x")
            e2e.receive(s, 1)
            status = contract.call("GET", "/v1/status", expect=200).json
            self.assertEqual(len(status["connectedEdges"]), 1)
            self.assertEqual(len(contract.call("GET", "/v1/edges/e1/streams", expect=200).json["streams"]), 1)
            self.assertTrue(edge_contract.call("GET", "/v1/status", expect=200).json["connected"])
            self.assertEqual(edge_contract.call("GET", "/readyz", expect=200).json, {"status": "ready"})
        for service in (self.hub, self.edge):
            api_stand.parse_metrics(service.api("GET", "/metrics").body.decode())


class Edge(ServiceContract, e2e.Case):
    SERVICE = "edge"

    def start(self):
        return self.stack.edge(management={"bodyBytes": BODY_MAX, "hosts": ["known.example.test"]})

    def flow(self):
        call = self.contract.call
        self.assertEqual(call("GET", "/readyz", expect=503).json["status"], "notReady")
        fields = {"hubHost": "127.0.0.1", "hubPort": penstock.free_port(), "edgeId": "e1", "secret": "s" * 43}
        call("DELETE", "/v1/tunnel", expect=404)
        call("DELETE", "/v1/tunnel?dryRun=maybe", expect=400)
        self.unchanged("/v1/tunnel", lambda: call("PUT", "/v1/tunnel?dryRun=true", fields, expect=200))
        before = call("GET", "/v1/tunnel", expect=200)
        call("GET", "/v1/tunnel", expect=304, headers={"If-None-Match": before.etag})
        self.unchanged("/v1/tunnel", lambda: call("PUT", "/v1/tunnel", fields, expect=412, headers={"If-Match": '"x"'}))
        changed = call("PUT", "/v1/tunnel", fields, expect=200, headers={"If-Match": before.etag})
        self.assertNotEqual(changed.etag, before.etag)
        after = call("GET", "/v1/tunnel", expect=200)
        self.assertEqual((after.json["hub"]["edgeId"], after.etag), ("e1", changed.etag))
        self.unchanged("/v1/tunnel", lambda: call("DELETE", "/v1/tunnel", expect=412, headers={"If-Match": before.etag}))
        e2e.wait_for("an error", lambda: call("GET", "/v1/status").json["lastError"])
        answer = call("PUT", "/v1/tunnel", {**fields, "pin": "x", "secret": 1, "hubPort": "y"}, expect=422)
        self.assertEqual({e["pointer"] for e in answer.json["errors"]}, {"/pin", "/secret", "/hubPort"})
        self.unchanged("/v1/tunnel", lambda: call("DELETE", "/v1/tunnel?dryRun=true", expect=204))
        self.flow_not_removed()
        call("DELETE", "/v1/tunnel", expect=204, headers={"If-Match": changed.etag})
        self.flow_fixed(fields)
        self.flow_ready()

    def flow_not_removed(self):
        """Credentials that stay in the state folder would be dialled after a restart: so they stay at all."""
        file = self.service.state_dir / "tunnel.json"
        kept = file.read_text()
        file.unlink()
        (file / "in the way").mkdir(parents=True)
        answer = self.unchanged("/v1/tunnel", lambda: self.contract.call("DELETE", "/v1/tunnel", expect=507))
        self.assertEqual(answer.json["type"], "urn:penstock:problem:stateNotWritten")
        (file / "in the way").rmdir()
        file.rmdir()
        file.write_text(kept)

    def flow_fixed(self, fields):
        """Credentials from the configuration are not the API's to change; each kind of 409."""
        fixed = self.stack.service("edge", {
            "management": {"listen": "127.0.0.1:0"}, **fields}, state_dir=self.stack.folder / "fixed")
        contract = api_stand.Contract(fixed)
        contract.call("PUT", "/v1/tunnel", fields, expect=409)
        contract.call("DELETE", "/v1/tunnel", expect=409)
        self.assertTrue(contract.call("GET", "/v1/tunnel", expect=200).json["isFixed"])
        self.contract.seen |= contract.seen

    def flow_ready(self):
        hub = self.stack.hub({}, edges=[{"id": "e1", "secret": "s" * 43}])
        host, port = hub.address("tunnel")
        self.contract.call("PUT", "/v1/tunnel", {"hubHost": host, "hubPort": port, "edgeId": "e1", "secret": "s" * 43}, expect=200)
        e2e.wait_for("readiness", lambda: self.contract.call("GET", "/readyz").status == 200)
        self.contract.call("GET", "/v1/status", expect=200)
        self.contract.call("DELETE", "/v1/tunnel", expect=204)


class Traffic(ServiceContract, e2e.Case):
    SERVICE = "traffic"

    def start(self):
        return self.stack.traffic(management={"bodyBytes": BODY_MAX, "hosts": ["known.example.test"]},
                                  limits={"routesBytes": 4_000_000})

    def body_max(self, template):
        return {"/v1/log-level": BODY_MAX}.get(template, 4_100_000)

    def route(self, name, **more):
        certificate = penstock.Certificate(self.stack.folder, name)
        return {"hostName": name, "destinationIps": ["127.0.0.1"], "destinationPorts": [9], "publicKey": certificate.chain,
                "privateKey": certificate.key, **more}

    def flow(self):
        call = self.contract.call
        self.assertEqual(call("GET", "/readyz", expect=200).json, {"status": "ready"})
        a, b = self.route("a.example.test"), self.route("b.example.test", authentication={
            "type": "Basic", "user": "ann", "pass": "secret"})
        self.flow_set(call, a, b)
        certificates = call("GET", "/v1/certificates", expect=200)
        call("GET", "/v1/certificates", expect=304, headers={"If-None-Match": certificates.etag})
        self.flow_one(call, b)
        self.assertNotEqual(call("GET", "/v1/certificates", expect=200).etag, certificates.etag)
        call("GET", "/v1/status", expect=200)

    def flow_set(self, call, a, b):
        first = call("GET", "/v1/routes", expect=200)
        self.assertEqual(first.json, {"routes": []})
        self.unchanged("/v1/routes", lambda: call("PUT", "/v1/routes?dryRun=true", {"routes": [a, b]}, expect=200))
        call("PUT", "/v1/routes", {"routes": [a]}, expect=412, headers={"If-Match": '"x"'})
        outcome = call("PUT", "/v1/routes", {"routes": [a, b]}, expect=200, headers={"If-Match": first.etag})
        self.assertEqual(outcome.json["added"], ["a.example.test", "b.example.test"])
        routes = call("GET", "/v1/routes", expect=200)
        self.assertEqual(routes.etag, outcome.etag)
        self.assertNotIn("PRIVATE KEY", routes.body.decode())
        self.assertNotIn('"secret"', routes.body.decode())
        call("GET", "/v1/routes", expect=304, headers={"If-None-Match": routes.etag})
        bad = copy.deepcopy([a, b, a])
        bad[1]["destinationPorts"] = [0]
        answer = self.unchanged("/v1/routes", lambda: call("PUT", "/v1/routes", bad, expect=422))
        self.assertLessEqual({"/1/destinationPorts/0", "/2/hostName"}, {e["pointer"] for e in answer.json["errors"]})
        answer = self.unchanged("/v1/routes", lambda: call("PUT", "/v1/routes", {"routes": bad}, expect=422))
        self.assertLessEqual({"/routes/1/destinationPorts/0", "/routes/2/hostName"},
                             {e["pointer"] for e in answer.json["errors"]})
        self.assertIsNotNone(call("GET", "/v1/status").json["lastError"])
        self.assertEqual(len(call("GET", "/v1/certificates").json["certificates"]), 2)

    def flow_one(self, call, b):
        route = call("GET", "/v1/routes/b.example.test", expect=200)
        call("GET", "/v1/routes/b.example.test", expect=304, headers={"If-None-Match": route.etag})
        call("GET", "/v1/routes/nobody.example.test", expect=404)
        call("DELETE", "/v1/routes/nobody.example.test", expect=404)
        call("PUT", "/v1/routes/no%20host", {}, expect=422)
        call("GET", "/v1/routes/no%20host", expect=404)
        edit = {"destinationIps": ["127.0.0.2"], "destinationPorts": [10]}
        path = "/v1/routes/b.example.test"
        self.unchanged("/v1/routes", lambda: call("PUT", path + "?dryRun=true", edit, expect=200))
        call("PUT", path, edit, expect=412, headers={"If-Match": '"x"'})
        self.assertEqual(call("PUT", path, edit, expect=200).json["changed"], ["b.example.test"])
        call("PUT", path, {"destinationIps": ["x"], "destinationPorts": [10]}, expect=422)
        call("DELETE", path, expect=412, headers={"If-Match": '"x"'})
        self.unchanged("/v1/routes", lambda: call("DELETE", path + "?dryRun=true", expect=200))
        self.assertEqual(call("DELETE", path, expect=200).json["removed"], ["b.example.test"])
        new = self.route("c.example.test")
        for tag in '"x"', "*":
            self.unchanged("/v1/routes", lambda tag=tag: call("PUT", "/v1/routes/c.example.test", new, expect=412,
                                                              headers={"If-Match": tag}))
        answer = call("PUT", "/v1/routes/c.example.test", new, expect=201, headers={"If-None-Match": "*"})
        self.assertEqual(answer.headers["Location"], "/v1/routes/c.example.test")


class MetricsPort(e2e.Case):
    """metrics.listen: open, and nothing but metrics and health."""

    def test_open_port(self):
        listen = {"metrics": {"listen": "127.0.0.1:0"}}
        self.tunnel([e2e.penstock.free_port()], hub=listen, edge=listen)
        self.wait_lanes(self.edge)  # /readyz of an edge
        for service in self.hub, self.edge, self.stack.traffic(**listen):
            with self.subTest(service.name):
                self.check_port(service)

    def check_port(self, service):
        address = service.address("metrics")
        for path, status in (("/metrics", 200), ("/healthz", 200), ("/readyz", 200), ("/v1/status", 404), ("/v1/edges", 404),
                             ("/v1/routes", 404), ("/openapi.yaml", 404)):
            answered, text = self.ask(address, "GET", path)
            self.assertEqual(answered, status, path)
            if path == "/metrics":
                for name in ("process_start_time_seconds", f"penstock_{service.name}_"):
                    self.assertRegex(text, rf"(?m)^{name}\S* \d")
        change = json.dumps({"level": "debug"})
        self.assertEqual(self.ask(address, "PUT", "/v1/log-level", change, {"Content-Type": "application/json"})[0], 404)

    def ask(self, address, *request):
        with contextlib.closing(http.client.HTTPConnection(*address, timeout=e2e.SECS)) as connection:
            connection.request(*request)
            response = connection.getresponse()
            return response.status, response.read().decode()


if __name__ == "__main__":
    unittest.main(verbosity=2)
