"""What a route may say of itself, on the real program: header fields, limits, keys of two kinds,
balancing, retries, health checks, HTTPS to the destination.
"""
import contextlib
import socket
import ssl
import threading
import time
import unittest

import h2_client
from traffic_stand import HOST, SECS, Origin, Stand, ok, stack

H = f"Host: {HOST}\r\n"


def name_of(origin):
    """An origin that says which one it is."""
    return ok(str(origin.port).encode())


class Case(unittest.TestCase):
    def setUp(self):
        self.stand = self.enterContext(Stand())
        self.origin = self.stand.origin

    def serve(self, *origins, **options):
        self.stand.routes([self.stand.route(HOST, list(origins) or None, **options)])

    def origins(self, count):
        made = [self.stand.new_origin() for _ in range(count)]
        for origin in made:
            origin.answers["/who"] = name_of(origin)
        return made

    def who(self, client, path="/who"):
        return int(client.get(path).body)


class Fields(Case):
    def test_headers(self):
        self.origin.answers["/h"] = ok(b"x", ("Server", "origin"), ("X-Kept", "1"), ("X-Set", "origin"))
        self.serve(headers={"request": {"set": {"X-Set": "route", "Cookie": "a=b"}, "remove": ["X-Gone"]},
                            "response": {"set": {"X-Set": "route \u00e9"}, "remove": ["server"]}},
                   hsts={"maxAgeSecs": 60, "includeSubDomains": True}, explain=True)
        with self.stand.client() as c:
            a = c.get("/h", HOST, ("X-Set", "client"), ("X-Gone", "1"), ("X-Stays", "1"))
            self.assertEqual((a.status, a.all("server"), a.one("x-kept")), (200, [], "1"))
            self.assertEqual(a.one("x-set"), "route \u00e9".encode().decode("latin-1"))
            self.assertEqual(a.one("strict-transport-security"), "max-age=60; includeSubDomains")
            self.assertEqual(a.all("penstock-reason"), [])
            seen = self.origin.seen("/h")[0]
            self.assertEqual((seen.one("x-set"), seen.one("cookie"), seen.all("x-gone"), seen.one("x-stays")),
                             ("route", "a=b", [], "1"))
            a = c.get("/h", "other.test")  # refused: our own answer
            self.assertEqual((a.status, a.one("penstock-reason")), (421, "misdirected"))
            self.assertEqual(a.one("strict-transport-security"), "max-age=60; includeSubDomains")

    def test_body_limit(self):
        self.serve(maxBodyBytes=1000)
        with self.stand.client() as c:
            c.send(f"POST /fits HTTP/1.1\r\n{H}Content-Length: 1000\r\n\r\n" + "x" * 1000)
            self.assertEqual(c.answer().status, 200)
            c.send(f"POST /length HTTP/1.1\r\n{H}Content-Length: 1001\r\n\r\n")
            a = c.answer()
            self.assertEqual((a.status, a.body), (413, b"413 length_too_large\n"))
        with self.stand.client() as c:
            c.send(f"POST /chunked HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n"
                   + "200\r\n" + "x" * 512 + "\r\n" + "200\r\n" + "x" * 512 + "\r\n0\r\n\r\n")
            self.assertEqual(c.answer().status, 413)
        self.assertEqual(self.origin.seen("/length") + self.origin.seen("/chunked"), [])

    def test_silence_of_the_route(self):
        def silent(s, request):
            s.recv(1)  # until traffic closes
        self.origin.answers["/silent"] = silent
        self.serve(timeouts={"bodyIdleSecs": 1})
        with self.stand.client() as c:
            self.assertEqual(c.get("/silent").status, 504)

    def test_two_keys(self):
        """ECDSA and RSA for one host: each client gets what it can check."""
        folder = self.stand.stack.folder / "rsa"
        folder.mkdir()
        rsa = stack.Certificate(folder, HOST, kind="rsa")
        self.serve(moreKeys=[{"publicKey": rsa.chain, "privateKey": rsa.key}])
        for ciphers, expected in ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDSA"), ("ECDHE-RSA-AES128-GCM-SHA256", "RSA"):
            context = stack.tls_context()
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers(ciphers)
            with self.stand.client(context=context) as c:
                self.assertIn(expected, c.s.cipher()[0])
                self.assertEqual(c.get("/").status, 200)
        shown = self.stand.traffic.api("GET", "/v1/certificates", expect=200).json["certificates"]
        self.assertEqual([c["key"] for c in shown], ["ECDSA", "RSA"])
        route = self.stand.traffic.api("GET", f"/v1/routes/{HOST}", expect=200)
        self.assertNotIn("PRIVATE", route.body.decode())
        put = self.stand.traffic.api("PUT", f"/v1/routes/{HOST}", route.json, expect=200).json
        self.assertEqual(put["changed"], [])


class Balance(Case):
    def hold(self, origin):
        """A request that stays in flight at this origin; returns what ends it."""
        release = threading.Event()

        def wait(s, request):
            release.wait(SECS)
            return ok()
        origin.answers["/hold"] = wait
        return release

    def test_round_robin(self):
        three = self.origins(3)
        self.serve(*three)
        with self.stand.client() as c:
            seen = [self.who(c) for _ in range(9)]
        self.assertEqual(sorted(seen), sorted([o.port for o in three] * 3))
        self.assertEqual(seen[:3], seen[3:6])

    def check_avoids_the_busy(self, balance):
        two = self.origins(2)
        releases = [self.hold(o) for o in two]
        self.serve(*two, balance=balance)
        with contextlib.ExitStack() as clients:
            held = clients.enter_context(self.stand.client())
            held.send(f"GET /hold HTTP/1.1\r\n{H}\r\n")
            stack.wait_for("a request in flight", lambda: two[0].seen("/hold") or two[1].seen("/hold"))
            busy = two[0] if two[0].seen("/hold") else two[1]
            with self.stand.client() as c:
                seen = {self.who(c) for _ in range(10)}
            for release in releases:
                release.set()
            self.assertEqual(held.answer().status, 200)
        self.assertEqual(seen, {o.port for o in two if o is not busy})

    def test_least_connections(self):
        self.check_avoids_the_busy("leastConnections")

    def test_p2c(self):
        self.check_avoids_the_busy("p2c")

    def test_p2c_uses_all(self):
        four = self.origins(4)
        self.serve(*four, balance="p2c")
        with self.stand.client() as c:
            seen = [self.who(c) for _ in range(100)]
        self.assertEqual(set(seen), {o.port for o in four})


class Retries(Case):
    """A destination that takes a request and goes away without a byte of an answer."""

    def setUp(self):
        super().setUp()
        self.good, = self.origins(1)
        self.bad = self.stand.new_origin()
        self.bad.answers.update({p: lambda s, request: None for p in ("/who", "/post", "/half", "/get")})
        self.good.answers["/get"] = self.good.answers["/post"] = name_of(self.good)

    def test_idempotent_goes_to_the_next(self):
        self.serve(self.bad, self.good)
        with self.stand.client() as c:
            for _ in range(6):
                self.assertEqual(self.who(c, "/get"), self.good.port)
        self.assertGreater(len(self.bad.seen("/get")), 0)

    def test_a_post_never_does(self):
        self.serve(self.bad, self.good)
        statuses = []
        for _ in range(6):
            with self.stand.client() as c:
                c.send(f"POST /post HTTP/1.1\r\n{H}Content-Length: 2\r\n\r\nhi")
                statuses.append(c.answer().status)
        self.assertEqual(set(statuses), {200, 502})
        self.assertEqual(len(self.bad.seen("/post")) + len(self.good.seen("/post")), 6)

    def test_not_without_the_trailers(self):
        """An empty body whose trailers have left is not what was asked for any more when it is sent again."""
        self.bad.answers["/trailers"] = lambda s, request: None
        self.good.answers["/trailers"] = name_of(self.good)
        self.serve(self.bad, self.good)
        for version in "h1", "h2":
            statuses = [getattr(self, f"put_with_trailers_{version}")() for _ in range(6)]
            self.assertEqual(set(statuses), {200, 502}, version)
        seen = self.bad.seen("/trailers") + self.good.seen("/trailers")
        self.assertEqual([[(k.lower(), v) for k, v in r.trailers] for r in seen], [[("x-t", "1")]] * 12)

    def put_with_trailers_h1(self):
        with self.stand.client() as c:
            c.send(f"PUT /trailers HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n0\r\nX-T: 1\r\n\r\n")
            return c.answer().status

    def put_with_trailers_h2(self):
        with h2_client.H2(self.stand.https) as c:
            stream = c.request("/trailers", method="PUT", end=False)
            c.c.send_headers(stream, [("x-t", "1")], end_stream=True)
            c.flush()
            return c.wait(stream).status

    def test_not_once_the_answer_began(self):
        def half(s, request):
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        self.bad.answers["/half"] = half
        self.serve(self.bad)
        with self.stand.client() as c, self.assertRaises((EOFError, ConnectionError, ssl.SSLError)):
            c.get("/half")
        self.assertEqual(len(self.bad.seen("/half")), 1)

    def test_nobody_else(self):
        self.serve(self.bad)
        with self.stand.client() as c:
            a = c.get("/get")
            self.assertEqual((a.status, a.body), (502, b"502 upstream_closed\n"))
        self.assertEqual(len(self.bad.seen("/get")), 1)

    def test_one_of_two_is_dead(self):
        """No error is seen, neither before nor after it is known to be down; it is not asked twice in a row."""
        dead = socket.create_server(("127.0.0.1", 0))
        port = dead.getsockname()[1]
        dead.close()
        self.serve(port, self.good)
        begun = time.monotonic()
        with self.stand.client() as c:
            for _ in range(50):
                self.assertEqual(self.who(c), self.good.port)
        failures = self.stand.traffic.metric("penstock_traffic_upstream_connect_failures_total")
        self.assertIn(failures, range(1, 2 + int(time.monotonic() - begun) // 5))  # it is down for 5 s at least


class Health(Case):
    CHECK = {"path": "/health", "intervalSecs": 1, "timeoutSecs": 1, "healthyAfter": 1, "unhealthyAfter": 2}

    def down(self):
        return sorted(d["target"] for d in self.stand.traffic.status()["healthDown"])

    def wait_down(self, *origins):
        wanted = sorted(f"127.0.0.1:{o.port}" for o in origins)
        stack.wait_for(f"down: {wanted}", lambda: self.down() == wanted)

    def test_down_and_up(self):
        one, two = self.origins(2)
        for origin in one, two:
            origin.answers["/health"] = ok()
        self.serve(one, two, healthCheck=self.CHECK)
        one.wait_seen("/health")
        check = two.wait_seen("/health")[0]
        self.assertEqual((check.one("host"), check.one("user-agent")), (HOST, "penstock-health"))
        self.assertEqual(self.down(), [])
        two.answers["/health"] = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
        self.wait_down(two)
        self.assertEqual(self.stand.traffic.metric("penstock_traffic_health_targets", state="down"), 1)
        with self.stand.client() as c:
            self.assertEqual({self.who(c) for _ in range(6)}, {one.port})
            # A new set of routes knows it still.
            self.serve(one, two, healthCheck=self.CHECK, explain=True)
            self.assertEqual(self.down(), [f"127.0.0.1:{two.port}"])
            self.assertEqual({self.who(c) for _ in range(6)}, {one.port})
            # All of them down: an attempt is better than a refusal.
            one.answers["/health"] = lambda s, request: None
            self.wait_down(one, two)
            self.assertIn(self.who(c), (one.port, two.port))
            two.answers["/health"] = b"HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"
            self.wait_down(one)
            self.assertEqual({self.who(c) for _ in range(6)}, {two.port})
            self.serve(one, two)  # nobody asks any more
            self.assertEqual(self.down(), [])
            self.assertEqual({self.who(c) for _ in range(6)}, {one.port, two.port})
        self.assertEqual(self.stand.traffic.status()["healthTargets"], 0)
        self.stand.traffic.wait_event("target_down", by="healthCheck", target=f"127.0.0.1:{two.port}")
        self.stand.traffic.wait_event("target_up", by="healthCheck", target=f"127.0.0.1:{two.port}")

    def test_kinds_of_failure(self):
        """Refused, silent, and no HTTP at all."""
        silent, rubbish = self.origins(2)
        silent.answers["/health"] = lambda s, request: s.recv(1)
        rubbish.answers["/health"] = b"SSH-2.0-OpenSSH_9.2 and more\r\n"
        closed = socket.create_server(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        closed.close()
        self.serve(silent, rubbish, port, healthCheck=self.CHECK)
        stack.wait_for("three down", lambda: len(self.down()) == 3)

    def test_limit(self):
        with Stand(limits={"healthTargets": 1}) as stand:
            one, two = Origin(), Origin()
            one.answers["/health"] = two.answers["/health"] = ok()
            stand.routes([stand.route(HOST, [one, two], healthCheck=self.CHECK)])
            self.assertEqual(stand.traffic.status()["healthTargets"], 1)
            self.assertEqual(stand.traffic.metric("penstock_traffic_health_refused_total"), 1)
            one.close()
            two.close()


class TlsOrigin(Origin):
    """The same origin behind TLS."""

    def __init__(self, certificate):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate.chain_file, certificate.key_file)
        self.names = []
        self.context.sni_callback = lambda s, name, context: self.names.append(name)
        super().__init__()

    def _serve(self, plain, number):
        try:
            s = self.context.wrap_socket(plain, server_side=True)
        except (OSError, ssl.SSLError):
            plain.close()
            s = None
        with self.lock:
            self.open.discard(plain)
            self.open.update([s] if s else [])
        if s:
            super()._serve(s, number)


class UpstreamTls(Case):
    def setUp(self):
        super().setUp()
        self.certificate = self.stand.certificate("origin.example.test")
        self.tls_origin = TlsOrigin(self.certificate)
        self.addCleanup(self.tls_origin.close)
        self.tls = {"caFile": str(self.certificate.chain_file), "serverName": "origin.example.test"}

    def test_verified(self):
        big = bytes(range(256)) * 20000
        self.tls_origin.answers["/big"] = ok(big)
        self.serve(self.tls_origin, upstreamTls=self.tls)
        with self.stand.client() as c:
            self.assertEqual(c.get("/a").body, b"GET /a")
            for _ in range(3):
                self.assertEqual(c.get("/big").body, big)
            c.send(f"POST /post HTTP/1.1\r\n{H}Content-Length: {len(big)}\r\n\r\n".encode() + big)
            self.assertEqual(c.answer().status, 200)
            c.send(f"POST /chunked HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n")
            self.assertEqual(c.answer().status, 200)
        self.assertEqual(self.tls_origin.seen("/post")[0].body, big)
        self.assertEqual(self.tls_origin.seen("/chunked")[0].body, b"hello")
        self.assertEqual(self.tls_origin.names, ["origin.example.test"])  # one connection, kept
        self.assertEqual(self.stand.traffic.metric("penstock_traffic_upstream_reuses_total"), 5)

    def test_not_verified(self):
        for tls, status in (({}, 502),  # the system's CAs do not know it
                            ({**self.tls, "serverName": "other.example.test"}, 502),
                            ({"caFile": str(self.stand.certificate("ca.example.test").chain_file)}, 502),
                            ({"verify": False}, 200)):
            with self.subTest(tls=tls):
                self.serve(self.tls_origin, upstreamTls=tls)
                with self.stand.client() as c:
                    self.assertEqual(c.get("/v").status, status)
        self.assertEqual(len(self.tls_origin.seen("/v")), 1)
        self.stand.traffic.wait_event("upstream_tls_failed")

    def test_plain_and_tls_do_not_mix(self):
        """The same address, spoken to in two ways by two routes."""
        self.stand.routes([self.stand.route(HOST, [self.tls_origin], upstreamTls=self.tls),
                           self.stand.route("plain.example.test", [self.tls_origin])])
        with self.stand.client() as c, self.stand.client(sni="plain.example.test") as plain:
            for _ in range(3):
                self.assertEqual(c.get("/m").status, 200)
                self.assertEqual(plain.get("/m", "plain.example.test").status, 502)

    def test_upgrade(self):
        def upgrade(s, request):
            s.sendall(b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
            while data := s.recv(65536):
                s.sendall(data)
        self.tls_origin.answers["/up"] = upgrade
        self.serve(self.tls_origin, upstreamTls=self.tls)
        with self.stand.client() as c:
            c.send(f"GET /up HTTP/1.1\r\n{H}Connection: upgrade\r\nUpgrade: echo\r\n\r\n")
            self.assertEqual(c.answer().status, 101)
            for n in 1, 1000, 100000:
                c.send(b"e" * n)
                self.assertEqual(c.reader.exactly(n), b"e" * n)

    def test_goes_away(self):
        """A kept connection that the origin closed is replaced; one that breaks shows as such."""
        self.tls_origin.answers["/cut"] = lambda s, request: s.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        self.serve(self.tls_origin, upstreamTls=self.tls)
        with self.stand.client() as c:
            self.assertEqual(c.get("/1").status, 200)
            self.tls_origin.drop_connections()
            self.tls_origin.wait_closed()
            self.assertEqual(c.get("/2").status, 200)
        with self.stand.client() as c, self.assertRaises((EOFError, ConnectionError, ssl.SSLError)):
            c.get("/cut")

    def test_handshake_that_hangs(self):
        hole = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(hole.close)
        self.serve(hole.getsockname()[1], upstreamTls=self.tls, timeouts={"connectSecs": 1})
        with self.stand.client() as c:
            self.assertEqual(c.get("/").status, 504)

    def test_health_over_tls(self):
        self.tls_origin.answers["/health"] = ok()
        self.serve(self.tls_origin, upstreamTls=self.tls, healthCheck=Health.CHECK)
        self.tls_origin.wait_seen("/health", 2)
        self.assertEqual(self.stand.traffic.status()["healthDown"], [])
        self.serve(self.tls_origin, upstreamTls={**self.tls, "serverName": "x.test"}, healthCheck=Health.CHECK)
        stack.wait_for("down", lambda: self.stand.traffic.status()["healthDown"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
