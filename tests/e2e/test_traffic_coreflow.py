"""The Coreflow link: routes that are pushed are served, whatever else comes harms nothing.

Handshake, tag and updates; what is wrong is answered or closed with its code; the link comes back by
itself and tags itself again, and the routes stay meanwhile.
"""
import contextlib
import json
import socket
import struct
import subprocess
import unittest

from coreflow_stand import BINARY, CLOSE, PING, PONG, TEXT, CoreflowStand, Ended, frame
from traffic_stand import HOST, SECS, stack

OK = {"status": "ok", "errorText": ""}


def served(stand, name=HOST):
    with stand.client(sni=name) as c:
        return c.get("/", name).status


def is_served(stand, name=HOST):
    try:
        return served(stand, name) == 200
    except OSError:
        return False


class Updates(unittest.TestCase):
    def setUp(self):
        self.stand = self.enterContext(CoreflowStand())
        self.link = self.stand.coreflow.tagged()
        self.stand.wait_link("connected")

    def test_the_handshake_and_the_tag(self):
        with CoreflowStand(scheme="http", path="/api?token=x") as stand:
            c = stand.coreflow.accept()
            head = c.request()
            self.assertEqual(head[""], "GET /api?token=x HTTP/1.1")
            self.assertEqual(head["host"], f"127.0.0.1:{stand.coreflow.port}")
            self.assertEqual((head["upgrade"], head["connection"], head["sec-websocket-version"]),
                             ("websocket", "upgrade", "13"))
            self.assertNotIn("sec-websocket-extensions", head)
            self.assertNotIn("origin", head)
            c.answer()
            self.assertEqual(c.take_tag(), {"name": "coretraffic", "payload": {}})
            link = stand.wait_link("connected")
            self.assertTrue(link["tagged"])
            self.assertEqual(link["url"], f"ws://127.0.0.1:{stand.coreflow.port}/api")
            self.assertEqual(stand.traffic.metric("penstock_traffic_coreflow_connected"), 1)

    def test_a_push_is_served_and_the_next_one_replaces_it(self):
        self.assertEqual(self.link.update({"reverseConfigs": [self.stand.route(HOST)]}), OK)
        self.assertEqual(served(self.stand), 200)
        self.assertEqual(self.link.update([self.stand.route("b.example.test")], id="two"), OK)
        self.assertEqual(served(self.stand, "b.example.test"), 200)
        self.assertFalse(is_served(self.stand))
        status = self.stand.traffic.status()
        self.assertEqual((status["revision"], status["routes"], status["coreflow"]["updates"]), (2, 1, 2))

    def test_the_older_single_destination(self):
        route = self.stand.route(HOST)
        route["destinationIp"] = route.pop("destinationIps")[0]
        route["destinationPort"] = route.pop("destinationPorts")[0]
        self.assertEqual(self.link.update({"reverseConfigs": [route]}), OK)
        self.assertEqual(served(self.stand), 200)

    def test_keys_that_we_do_not_know_are_no_fault(self):
        route = self.stand.route(HOST, rewriteHostHeader=True)
        self.assertEqual(self.link.update({"reverseConfigs": [route], "more": 1}), OK)
        self.assertEqual(served(self.stand), 200)

    def test_a_bad_set_leaves_the_old_one(self):
        self.assertEqual(self.link.update({"reverseConfigs": [self.stand.route(HOST)]}), OK)
        bad = self.stand.route("b.example.test", privateKey=self.stand.certificate("c.example.test").key)
        answer = self.link.update({"reverseConfigs": [self.stand.route(HOST), {**bad, "destinationPorts": [0]}]})
        self.assertEqual(answer["status"], "error")
        self.assertIn("2 faults", answer["errorText"])
        self.assertIn("/reverseConfigs/1/destinationPorts/0", answer["errorText"])
        self.assertNotIn("PRIVATE KEY", json.dumps(answer))
        self.assertEqual(served(self.stand), 200)
        self.assertEqual(self.stand.traffic.status()["revision"], 1)

    def test_shapes_that_are_no_set(self):
        for request, expect in ((None, "/request"), ("x", "must be an array"), ({}, "reverseConfigs"),
                                ({"reverseConfigs": 3}, "reverseConfigs"), ([7], "/reverseConfigs/0")):
            answer = self.link.update(request)
            self.assertEqual(answer["status"], "error", request)
            self.assertIn(expect, answer["errorText"])
        self.assertEqual(self.stand.link()["state"], "connected")
        self.assertEqual(self.stand.traffic.status()["revision"], 0)

    def test_rest_and_coreflow_follow_each_other(self):
        self.assertEqual(self.link.update({"reverseConfigs": [self.stand.route(HOST)]}), OK)
        self.stand.routes([self.stand.route("rest.example.test")])
        self.assertEqual(served(self.stand, "rest.example.test"), 200)
        self.assertEqual(self.link.update({"reverseConfigs": [self.stand.route(HOST)]}), OK)
        self.assertEqual(served(self.stand), 200)
        self.assertEqual(self.stand.traffic.status()["revision"], 3)

    def test_the_newest_wins_and_who_is_superseded_is_told(self):
        """Many at once: each is answered, the last is in force."""
        count = 40
        texts = [json.dumps({"method": "updateRouting", "correlation": {"id": str(i), "phase": "request"},
                             "request": {"reverseConfigs": [self.stand.route(HOST if i == count - 1 else f"n{i}.example.test")
                                                            if i in (0, count - 1) else
                                                            {**self.stand.route(HOST), "hostName": f"n{i}.example.test"}]}})
                 for i in range(count)]
        self.link.s.sendall(b"".join(frame(TEXT, t.encode()) for t in texts))
        answers = {}
        while len(answers) < count:
            answer = self.link.receive_json()
            answers[int(answer["correlation"]["id"])] = answer["response"]
        self.assertEqual(answers[count - 1], OK)
        others = [a for i, a in answers.items() if a != OK]
        self.assertTrue(all(a["status"] == "error" and a["errorText"].startswith("superseded") for a in others))
        self.assertGreater(len(others), 0)
        self.assertEqual(served(self.stand), 200)
        self.assertEqual(self.stand.traffic.status()["updates"]["superseded"], len(others))

    def test_a_large_set_in_fragments(self):
        routes = [{**self.stand.route(HOST), "hostName": f"n{i}.example.test"} for i in range(1500)]
        text = json.dumps({"correlation": {"phase": "request", "id": "big"}, "method": "updateRouting",
                           "request": {"reverseConfigs": routes}}).encode()
        self.assertGreater(len(text), 1 << 20)
        size = 70001
        for at in range(0, len(text), size):
            self.link.send(TEXT if at == 0 else 0, text[at:at + size], fin=at + size >= len(text))
            self.link.send(PING, b"between")
        answer = None
        while answer is None:
            opcode, payload = self.link.receive()
            if opcode == TEXT:
                answer = json.loads(payload)
            else:
                self.assertEqual((opcode, payload), (PONG, b"between"))
        self.assertEqual(answer["response"], OK)
        self.assertEqual(self.stand.traffic.status()["routes"], 1500)

    def test_an_unknown_method_is_told_so(self):
        self.link.ask({}, method="restart", id="u")
        answer = self.link.receive_json()
        self.assertEqual(answer["correlation"], {"id": "u", "phase": "response"})
        self.assertIn("method", answer["error"]["text"])
        self.assertEqual(self.link.update([self.stand.route(HOST)]), OK)
        self.assertEqual(self.stand.messages("unknown_method"), 1)

    def test_what_is_no_typed_request_is_passed_over(self):
        for message in ({}, {"event": "update"}, {"method": "updateRouting", "request": []},
                        {"method": "updateRouting", "correlation": {"id": 7, "phase": "request"}},
                        {"method": "updateRouting", "correlation": {"id": "x", "phase": "else"}},
                        {"correlation": {"id": "x", "phase": "request"}},
                        {"method": "never asked", "correlation": {"id": "x", "phase": "response"}}):
            self.link.send_json(message)
        self.assertEqual(self.link.update([self.stand.route(HOST)]), OK)
        self.assertEqual((self.stand.messages("ignored"), self.stand.messages("answer")), (6, 2))

    def test_secrets_reach_no_log(self):
        route = self.stand.route(HOST, authentication={"type": "Basic", "user": "u", "pass": "correct-horse"})
        self.assertEqual(self.link.update([route]), OK)
        self.link.update([{**route, "privateKey": "correct-horse"}])
        log = json.dumps(self.stand.traffic.lines)
        self.assertNotIn("correct-horse", log)
        self.assertNotIn("PRIVATE KEY", log)


class Faults(unittest.TestCase):
    """Bytes of the server that break a rule end the link with the code for it; it comes back."""

    TRIES = 5  # of one program: then it waits longer before it comes again

    def setUp(self):
        self.stand, self.tries = None, 0
        self.renew()

    def renew(self):
        if self.stand:
            self.stand.__exit__(None, None, None)
        self.stand = CoreflowStand(limits={"routesBytes": 1 << 20, "routeBytes": 65536}).__enter__()
        self.tries = 0

    def tearDown(self):
        self.stand.__exit__(None, None, None)

    def try_again(self):
        if self.tries == self.TRIES:
            self.renew()
        self.tries += 1

    def expect(self, code, reason, *frames):
        self.try_again()
        before = self.stand.ended(reason)
        link = self.stand.coreflow.tagged()
        link.s.sendall(b"".join(frames))
        self.assertEqual(link.close_code(), code)
        link.close()
        self.stand.wait_ended(reason, before + 1)

    def test_frames_against_the_rules(self):
        for what, bad in (("masked", frame(TEXT, b"{}", mask=True)), ("reserved bit", frame(TEXT, b"{}", rsv=4)),
                          ("unknown opcode", frame(3, b"")), ("unknown control", frame(11, b"")),
                          ("continuation of nothing", frame(0, b"x")), ("fragmented ping", frame(PING, b"", fin=False)),
                          ("long ping", frame(PING, b"x" * 126)),
                          ("text in a text", frame(TEXT, b"{", fin=False) + frame(TEXT, b"}")),
                          ("length of 64 bits", frame(TEXT, b"", claim=1 << 63)), ("close 1005", frame(CLOSE, struct.pack("!H", 1005)))):
            with self.subTest(what):
                self.expect(1002, "protocol", bad)

    def test_text_that_is_no_utf8(self):
        for bad in (b"\xff", b"\xed\xa0\x80", b"\xc3", b"\xf5\x80\x80\x80"):
            with self.subTest(bad):
                self.expect(1007, "bad_data", frame(TEXT, b'{"a":"' + bad + b'"}'))

    def test_text_that_is_no_json_object(self):
        for bad in (b"", b"hello", b"[]", b'{"a":1', b'{"a":1}}', b"{,}", b'"x"'):
            with self.subTest(bad):
                self.expect(1007, "bad_data", frame(TEXT, bad))
                self.assertEqual(self.stand.messages("broken"), self.tries)

    def test_a_binary_message(self):
        self.expect(1003, "unsupported", frame(BINARY, b"{}"))

    def test_a_message_larger_than_its_limit(self):
        self.expect(1009, "too_big", frame(TEXT, b"x", claim=(1 << 20) + 1))
        half = frame(TEXT, b" " * (600 << 10), fin=False)
        self.expect(1009, "too_big", half, frame(0, b" " * (600 << 10), fin=False))

    def test_many_tiny_fragments_cost_no_memory(self):
        link = self.stand.coreflow.tagged()
        before = self.stand.traffic.resident_bytes()
        link.s.sendall(frame(TEXT, b" ", fin=False) + frame(0, b" ", fin=False) * 500_000)
        link.send(PING, b"all read")
        self.assertEqual(link.receive(), (PONG, b"all read"))
        self.assertLess(self.stand.traffic.resident_bytes() - before, 24 << 20)

    def test_answers_that_are_no_upgrade(self):
        for what, change in (("wrong key", {"Sec_WebSocket_Accept": "dGhlIHNhbXBsZSBub25jZQ=="}),
                             ("no key", {"Sec_WebSocket_Accept": None}), ("no upgrade", {"Upgrade": None}),
                             ("other upgrade", {"Upgrade": "h2c"}), ("no connection", {"Connection": "keep-alive"}),
                             ("extension", {"Sec_WebSocket_Extensions": "permessage-deflate"}),
                             ("subprotocol", {"Sec_WebSocket_Protocol": "chat"}),
                             ("status", {"status": "200 OK"}), ("not there", {"status": "404 Not Found"}),
                             ("redirect", {"status": "302 Found", "Location": "ws://127.0.0.1:1/"})):
            with self.subTest(what):
                self.try_again()
                before = self.stand.ended("upgrade")
                link = self.stand.coreflow.accept()
                link.request()
                link.answer(**change)
                self.assertTrue(link.is_ended())
                self.stand.wait_ended("upgrade", before + 1)

    def test_answers_that_are_no_http(self):
        for text in (b"SSH-2.0-x\r\n\r\n", b"HTTP/1.0 101 x\r\n\r\n", b"HTTP/1.1 1x1\r\n\r\n",
                     b"HTTP/1.1 101 x\r\nno field\r\n\r\n", b"HTTP/1.1 101 x\r\nA: " + b"x" * 8192, b""):
            with self.subTest(text[:20]):
                self.try_again()
                before = self.stand.ended("upgrade")
                link = self.stand.coreflow.accept()
                link.request()
                link.s.sendall(text)
                if not text:
                    link.close()
                else:
                    self.assertTrue(link.is_ended())
                self.stand.wait_ended("upgrade", before + 1)

    def test_frames_right_behind_the_answer(self):
        link = self.stand.coreflow.accept()
        link.request()
        link.answer(behind=frame(PING, b"early"))
        seen = {link.receive()[0], link.receive()[0]}
        self.assertEqual(seen, {TEXT, PONG})

    def test_a_refused_tag_is_told_and_the_link_serves(self):
        for answer in ({"error": {"text": "no such method", "data": {}}}, {"response": {"success": False}}):
            link = self.stand.coreflow.accept().open()
            link.take_tag(**answer)
            self.assertFalse(self.stand.wait_link("connected")["tagged"])
            self.assertEqual(self.stand.traffic.metric("penstock_traffic_coreflow_connected"), 0)
            self.assertEqual(link.update([self.stand.route(HOST)])["status"], "ok")
            link.close()
        self.assertIn("no such method", self.stand.traffic.wait_event("tag_refused")["why"])

    def test_lines_in_the_log_are_limited(self):
        link = self.stand.coreflow.tagged()
        link.s.sendall(frame(TEXT, b"{}") * 2000)
        self.assertEqual(link.update([self.stand.route(HOST)])["status"], "ok")
        self.assertEqual(self.stand.messages("ignored"), 2000)
        self.assertLess(len(self.stand.traffic.events("message_ignored")), 50)


class Time(unittest.TestCase):
    def stand_with(self, **conf):
        return self.enterContext(CoreflowStand(**conf))

    def test_a_handshake_that_never_ends(self):
        stand = self.stand_with(timeouts={"coreflowHandshakeSecs": 1})
        link = stand.coreflow.accept()
        link.request()
        stand.wait_ended("handshake_timeout")
        self.assertTrue(link.is_ended())

    def test_pings_and_the_missing_pong(self):
        stand = self.stand_with(timeouts={"coreflowPingSecs": 1, "coreflowPongSecs": 5})
        link = stand.coreflow.tagged()
        for _ in range(2):
            opcode, payload = link.receive()
            self.assertEqual(opcode, PING)
            link.send(PONG, payload)
        self.assertEqual(stand.ended("pong_timeout"), 0)
        self.assertEqual(link.receive()[0], PING)
        self.assertTrue(link.is_ended())  # nothing was sent back
        stand.wait_ended("pong_timeout")
        stand.coreflow.tagged()
        stand.wait_link("connected")

    def test_a_tag_without_an_answer(self):
        stand = self.stand_with(timeouts={"coreflowPongSecs": 1})
        link = stand.coreflow.accept().open()
        self.assertEqual(link.close_code(), 1008)
        stand.wait_ended("policy")

    def test_a_message_that_takes_too_long(self):
        stand = self.stand_with(timeouts={"coreflowMessageSecs": 1, "coreflowPingSecs": 1})
        link = stand.coreflow.tagged()
        link.send(TEXT, b"{", fin=False)
        while True:  # its pings are the clock
            opcode, payload = link.receive()
            if opcode == CLOSE:
                break
            link.send(PONG, payload)
        self.assertEqual(struct.unpack("!H", payload[:2])[0], 1008)
        stand.wait_ended("message_timeout")

    def test_a_server_that_reads_no_answers_presses_on_itself(self):
        stand = self.stand_with(limits={"coreflowAnswers": 4}, timeouts={"coreflowPongSecs": 60})
        link = stand.coreflow.tagged()
        ask = frame(TEXT, json.dumps({"method": "x" * 100, "correlation": {"id": "i" * 200, "phase": "request"}}).encode())
        sent = 0
        link.s.settimeout(0)

        def press():
            """As much as goes; when nothing does, whether it has paused."""
            nonlocal sent, rest
            with contextlib.suppress(BlockingIOError):
                while True:
                    n = link.s.send(rest)
                    sent, rest = sent + n, rest[n:] or ask * 200
            return stand.traffic.metric("penstock_traffic_coreflow_pauses_total") == 1
        rest = ask * 200
        stack.wait_for("it pauses", press, SECS)
        press()
        link.s.settimeout(SECS)
        stand.wait_link("connected")
        asked = stand.messages("unknown_method")
        self.assertLess(asked * len(ask), sent)  # the rest waits in the kernel
        for _ in range(int(asked)):  # read on: every answer is there, and it goes on
            self.assertEqual(link.receive()[0], TEXT)
        stack.wait_for("more is read", lambda: stand.messages("unknown_method") > asked, SECS)


class Options(unittest.TestCase):
    """A pushed set takes the same way as one of REST: what a route says of itself is served, shown, kept on disk."""

    def check_served(self, stand, port):
        with stand.client() as c:
            self.assertEqual(c.get("/", HOST).status, 401)
            wrong, right = (("Authorization", f"Basic {t}") for t in ("YW5uOndyb25n", "YW5uOnMzY3JldA=="))
            self.assertEqual(c.get("/", HOST, wrong).status, 401)
            a = c.get("/served", HOST, right)
            self.assertEqual((a.status, a.one("x-answer"), a.one("strict-transport-security")), (200, "route", "max-age=60"))
            c.send(f"POST /large HTTP/1.1\r\nHost: {HOST}\r\n{right[0]}: {right[1]}\r\nContent-Length: 101\r\n\r\n")
            self.assertEqual(c.answer().status, 413)
        request = stand.origin.seen("/served")[-1]
        self.assertEqual((request.one("x-set"), request.all("authorization")), ("route", []))
        shown = stand.traffic.api("GET", f"/v1/routes/{HOST}", expect=200).json
        self.assertEqual((shown["balance"], shown["maxBodyBytes"], shown["destinationPorts"]), ("p2c", 100, [port]))
        self.assertEqual(shown["headers"]["request"]["set"], {"x-set": "route"})

    def test_pushed_kept_and_served_without_coreflow(self):
        with CoreflowStand() as stand:
            link = stand.coreflow.tagged()
            done = subprocess.run([stand.traffic.program, "hash-password", "sha512"], input=b"s3cret\n",
                                  capture_output=True, check=True)
            pass_hash = done.stdout.decode().strip()
            route = stand.route(HOST, balance="p2c", maxBodyBytes=100, hsts={"maxAgeSecs": 60},
                                headers={"request": {"set": {"X-Set": "route"}}, "response": {"set": {"X-Answer": "route"}}},
                                authentication={"type": "Basic", "user": "ann", "passHash": pass_hash},
                                rewriteHostHeader=True)
            self.assertEqual(link.update({"reverseConfigs": [route]}), OK)
            self.check_served(stand, stand.origin.port)
            said = stand.traffic.wait_event("warnings")
            self.assertEqual((said["count"], said["first"], said["code"]), (1, "/reverseConfigs/0/rewriteHostHeader", "unknown"))
            status = stand.traffic.status()
            self.assertEqual((status["revision"], status["stored"]), (1, 1))
            etag = stand.traffic.api("GET", "/v1/routes", expect=200).etag
            stored = json.loads((stand.traffic.state_dir / "routes.json").read_text())["routes"]
            self.assertEqual([(r["hostName"], r["balance"]) for r in stored], [(HOST, "p2c")])
            stand.coreflow.close()
            for how in "stop", "kill":
                getattr(stand.traffic, how)()
                stand.traffic.start()
                stand.https = stand.traffic.address("https")
                stand.wait_link("waiting")
                self.check_served(stand, stand.origin.port)
                self.assertEqual(stand.traffic.api("GET", "/v1/routes", expect=200).etag, etag)
            # it is back, and says the same: nothing changes
            stand.coreflow = stand.listen(stand.coreflow.port)
            self.assertEqual(stand.coreflow.tagged().update({"reverseConfigs": [route]}), OK)
            self.assertEqual(stand.traffic.status()["revision"], 1)

    def test_not_ready_before_the_first_set(self):
        """Whichever it is, and the empty one is one; what is stored or stands in a file is one, too."""
        with CoreflowStand() as stand:
            link = stand.coreflow.tagged()
            stand.wait_link("connected")
            answer = stand.traffic.api("GET", "/readyz", expect=503)
            self.assertIn("no routes have come from Coreflow yet", answer.json["reason"])
            self.assertEqual(link.update({"reverseConfigs": []}), OK)
            stand.traffic.api("GET", "/readyz", expect=200)
            stand.coreflow.close()
            stand.traffic.stop()
            stand.traffic.start()
            stand.traffic.api("GET", "/readyz", expect=200)
            stand.traffic.stop()
            (stand.traffic.state_dir / "routes.json").unlink()
            first = stand.stack.folder / "first.json"
            first.write_text(json.dumps([stand.route(HOST)]))
            stand.traffic.conf["routesFile"] = str(first)
            stand.traffic.start()
            stand.traffic.api("GET", "/readyz", expect=200)

    def test_a_set_that_is_not_stored(self):
        """In force, so "ok", and said; the same one again is stored when the disk is well."""
        with CoreflowStand() as stand:
            link = stand.coreflow.tagged()
            obstacle = stand.traffic.state_dir / "routes.json.new"
            (obstacle / "in the way").mkdir(parents=True)
            routes = {"reverseConfigs": [stand.route(HOST)]}
            for _ in range(2):
                answer = link.update(routes)
                self.assertEqual(answer["status"], "ok")
                self.assertIn("notStored: ", answer["errorText"])
            self.assertEqual(served(stand), 200)
            self.assertEqual(stand.traffic.metric("penstock_traffic_route_store_failures_total"), 2)
            (obstacle / "in the way").rmdir()
            obstacle.rmdir()
            self.assertEqual(link.update(routes), OK)
            self.assertEqual(stand.traffic.status()["stored"], 1)

    def test_a_key_that_is_unknown_inside_is_a_fault(self):
        """Only what a route may say beside what we know is no business of ours; a word that we do know is."""
        with CoreflowStand() as stand:
            link = stand.coreflow.tagged()
            for more, pointer in (({"healthCheck": {"path": "/", "often": 1}}, "/reverseConfigs/0/healthCheck/often"),
                                  ({"balance": "best"}, "/reverseConfigs/0/balance"),
                                  ({"timeouts": {"readSecs": 1}}, "/reverseConfigs/0/timeouts/readSecs")):
                answer = link.update({"reverseConfigs": [stand.route(HOST, **more)]})
                self.assertEqual(answer["status"], "error")
                self.assertIn(pointer, answer["errorText"])
            self.assertEqual(stand.traffic.status()["revision"], 0)


class Away(unittest.TestCase):
    def test_coreflow_goes_and_returns(self):
        with CoreflowStand() as stand:
            link = stand.coreflow.tagged()
            self.assertEqual(link.update([stand.route(HOST)])["status"], "ok")
            port = stand.coreflow.port
            for count in range(2, 5):
                stand.coreflow.close()
                stand.wait_link("waiting")
                self.assertEqual(served(stand), 200)  # the last set stays
                stand.coreflow = stand.listen(port)
                link = stand.coreflow.tagged()  # tags itself again
                self.assertEqual(stand.wait_link("connected")["connects"], count)
            self.assertEqual(link.update([stand.route("b.example.test")])["status"], "ok")
            self.assertEqual(served(stand, "b.example.test"), 200)
            self.assertGreaterEqual(stand.ended("lost"), 3)

    def test_a_server_that_says_goodbye(self):
        with CoreflowStand() as stand:
            link = stand.coreflow.tagged()
            link.send(CLOSE, struct.pack("!H", 1001))
            self.assertEqual(link.receive(), (CLOSE, struct.pack("!H", 1001)))
            link.close()
            stand.wait_ended("peer_closed")
            stand.coreflow.tagged()
            stand.wait_link("connected")

    def test_an_update_whose_link_breaks_is_applied(self):
        with CoreflowStand() as stand:
            link = stand.coreflow.tagged()
            link.ask([stand.route(HOST)])
            link.close()
            stack.wait_for("the route", lambda: is_served(stand), SECS)

    def test_nobody_there_and_no_such_name(self):
        with CoreflowStand() as stand:
            stand.coreflow.close()
            # the first try may have been in the backlog still, and was reset with it
            stack.wait_for("a try that is refused", lambda: "refused" in (stand.link().get("lastError") or ""), SECS)
            self.assertGreaterEqual(stand.ended("connect"), 1)
        with CoreflowStand(coreflow={"url": "ws://no-such-host.invalid:3000"}) as stand:
            stand.wait_ended("resolve")
            self.assertIn("no-such-host.invalid", stand.link()["lastError"])

    def test_the_end_of_the_service_says_goodbye(self):
        with CoreflowStand() as stand:
            link = stand.coreflow.tagged()
            stand.wait_link("connected")
            stand.traffic.stop()
            self.assertEqual(link.close_code(), 1001)

    def test_without_a_url_there_is_none(self):
        with CoreflowStand(coreflow={"url": ""}) as stand:
            self.assertEqual(stand.link(), {"state": "off"})
            self.assertEqual(stand.traffic.metric("penstock_traffic_coreflow_configured"), 0)


class Tls(unittest.TestCase):
    def test_wss(self):
        for scheme in ("wss", "https"):
            with CoreflowStand(secure=True, scheme=scheme) as stand:
                link = stand.coreflow.tagged()
                routes = [{**stand.route(HOST), "hostName": f"n{i}.example.test"} for i in range(300)]
                self.assertEqual(link.update([stand.route(HOST), *routes])["status"], "ok")
                self.assertEqual(served(stand), 200)
                stand.traffic.stop()
                self.assertEqual(link.close_code(), 1001)

    def test_a_certificate_that_nobody_trusts(self):
        with CoreflowStand(secure=True, coreflow={"caFile": ""}) as stand:
            with self.assertRaises(OSError):
                stand.coreflow.accept()
            stand.wait_ended("tls")

    def test_a_certificate_of_another_name(self):
        with CoreflowStand(secure=True) as stand:
            other = stand.certificate("other.example.test")
            stand.coreflow.context.load_cert_chain(other.chain_file, other.key_file)
            stand.coreflow.close()
            coreflow = stand.listen(stand.coreflow.port)
            coreflow.context.load_cert_chain(other.chain_file, other.key_file)
            with self.assertRaises(OSError):
                while True:
                    coreflow.accept()
            stand.wait_ended("tls")

    def test_plain_bytes_where_tls_is_due(self):
        with CoreflowStand(secure=True) as stand:
            stand.coreflow.context = None
            link = stand.coreflow.accept()
            link.s.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            stand.wait_ended("tls")

    def test_a_file_of_cas_that_is_missing(self):
        with CoreflowStand(secure=True, coreflow={"caFile": "/nowhere/ca.pem"}) as stand:
            stand.wait_ended("tls", 2)
            self.assertIn("/nowhere/ca.pem", stand.link()["lastError"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
