"""Request ids and trace context: what a client says of X-Request-Id, traceparent and tracestate reaches the origin
over HTTP/1.1, HTTP/2 and with upgrades, and the answer's id the client; a request without an id gets one; ids in
the access log and in our own answers."""
import base64
import hashlib
import re
import unittest

from h2_client import H2
from traffic_stand import HOST, Stand, ok

H = f"Host: {HOST}\r\n"
OURS = r"^[0-9a-f]{32}$"
# Examples of the W3C's Trace Context, and an id as browsers and other proxies make them.
TRACE = (("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
         ("tracestate", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"), ("tracestate", "vendor@x=\"a\" b"))
GIVEN = "7f2c0f6e-5a8b-4c52-9f6b-2f0a3c1d4e5f"
REFUSED = ("", "a b", "a\tb", 'a"b', "a,b", "a;b", "\xe9", "a" * 65, "<script>")
KEPT = ("a", "a" * 64, "!#$%&'*+-.^_`|~09AZaz")


def accept_of(request):
    key = request.one("sec-websocket-key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    return base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()


class Case(unittest.TestCase):
    CONF = {}

    def setUp(self):
        self.stand = self.enterContext(Stand(**self.CONF))
        self.origin = self.stand.origin

    def both(self):
        """A get(path, *fields) for each version."""
        c, h2 = self.enterContext(self.stand.client()), self.enterContext(H2(self.stand.https))
        return (("h1", lambda path, *fields: c.get(path, HOST, *fields)),
                ("h2", lambda path, *fields: h2.get(path, *((k.lower(), v.encode("latin-1")) for k, v in fields))))

    def check_trace(self, seen):
        self.assertEqual([(k.lower(), v) for k, v in seen.fields if k.lower().startswith("trace")], list(TRACE))


class Through(Case):
    """Unchanged, whatever we make of ids."""

    def test_requests_and_answers(self):
        for version, get in self.both():
            with self.subTest(version):
                self.origin.answers[f"/{version}"] = ok(b"x", ("X-Request-Id", "the origin's, whatever it is"), *TRACE)
                a = get(f"/{version}", ("X-Request-Id", GIVEN), *TRACE)
                self.assertEqual(a.one("x-request-id"), "the origin's, whatever it is")
                self.assertEqual([(k.lower(), v) for k, v in a.fields if k.lower().startswith("trace")], list(TRACE))
                seen = self.origin.seen(f"/{version}")[0]
                self.assertEqual(seen.one("x-request-id"), GIVEN)
                self.check_trace(seen)
                self.assertEqual(get(f"/{version}-none").all("x-request-id"), [], "a client is not told an id")

    def upgrade(self, path):
        self.origin.answers[path] = lambda s, request: s.sendall(
            b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\nX-Request-Id: origin\r\n"
            + f"Sec-WebSocket-Accept: {accept_of(request)}\r\n\r\n".encode())

    def test_websocket_http1(self):
        self.upgrade("/ws")
        with self.stand.client() as c:
            fields = "".join(f"{k}: {v}\r\n" for k, v in (("X-Request-Id", GIVEN), *TRACE))
            c.send(f"GET /ws HTTP/1.1\r\n{H}Connection: Upgrade\r\nUpgrade: websocket\r\n"
                   f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{fields}\r\n")
            a = c.answer()
            self.assertEqual((a.status, a.one("x-request-id")), (101, "origin"))
        seen = self.origin.seen("/ws")[0]
        self.assertEqual(seen.one("x-request-id"), GIVEN)
        self.check_trace(seen)
        self.assertEqual(self.stand.traffic.wait_event("request", path="/ws")["request_id"], GIVEN)

    def test_websocket_http2(self):
        self.upgrade("/ws")
        with H2(self.stand.https) as c:
            c.until(lambda: c.settings)
            stream = c.request("/ws", ("x-request-id", GIVEN), *TRACE, method="CONNECT", end=False,
                               pseudo=((":protocol", "websocket"),))
            a = c.answers[stream]
            c.until(lambda: a.fields)
            self.assertEqual((a.status, a.one("x-request-id")), (200, "origin"))
            bare = c.request("/ws", method="CONNECT", end=False, pseudo=((":protocol", "websocket"),))
            c.until(lambda: c.answers[bare].fields)
        seen, without = self.origin.seen("/ws")
        self.assertEqual(seen.one("x-request-id"), GIVEN)
        self.check_trace(seen)
        self.assertRegex(without.one("x-request-id"), OURS)


class Made(Case):
    def test_one_each(self):
        """More than one call of the random number generator is good for, and none twice; the log has the same."""
        made = set()
        for version, get in self.both():
            for i in range(100):
                get(f"/{version}/{i}")
                seen = self.origin.seen(f"/{version}/{i}")[0].one("x-request-id")
                self.assertRegex(seen, OURS)
                made.add(seen)
                self.assertEqual(self.stand.traffic.wait_event("request", path=f"/{version}/{i}")["request_id"], seen)
        self.assertEqual(len(made), 200)

    def test_the_clients_own(self):
        for version, get in self.both():
            for i, given in enumerate(KEPT + REFUSED):
                with self.subTest(version=version, given=given):
                    path = f"/{version}/{i}"
                    self.assertEqual(get(path, ("X-Request-Id", given)).status, 200)
                    seen = self.origin.seen(path)[0].one("x-request-id")
                    if given in KEPT:
                        self.assertEqual(seen, given)
                    else:
                        self.assertRegex(seen, OURS)
                    self.assertEqual(self.stand.traffic.wait_event("request", path=path)["request_id"], seen)

    def test_neither_twice_nor_in_disguise(self):
        for version, get in self.both():
            for i, fields in enumerate(((("X-Request-Id", "one"), ("x-request-id", "two")),
                                        (("X_Request_Id", "evil"), ("x.request-id", "evil")))):
                get(f"/{version}/{i}", *fields)
                seen = self.origin.seen(f"/{version}/{i}")[0]
                self.assertRegex(seen.one("x-request-id"), OURS)
                self.assertNotIn("evil", str(seen.fields))
        with self.stand.client() as c:  # for the hop to us alone
            c.get("/named", HOST, ("X-Request-Id", "named"), ("Connection", "X-Request-Id"))
        self.assertRegex(self.origin.seen("/named")[0].one("x-request-id"), OURS)

    def test_sent_again(self):
        """A request that goes to another destination keeps its id."""
        self.origin.answers["/again"] = lambda s, request: None
        other = self.stand.new_origin()
        self.stand.routes([self.stand.route(HOST, [self.origin, other])])
        with self.stand.client() as c:
            for _ in range(2):
                self.assertEqual(c.get("/again").status, 200)
        first = {r.one("x-request-id") for r in self.origin.seen("/again")}
        self.assertEqual(len(first), 1)
        self.assertLess(first, {r.one("x-request-id") for r in other.seen("/again")})

    def test_as_many_fields_as_may_be(self):
        """Ours is no reason to refuse a request."""
        with Stand(limits={"headerFields": 256, "headerBytes": 65535}) as stand:
            fields = [(f"x-{i}", "v") for i in range(255)]
            with stand.client() as c, H2(stand.https) as h2:
                self.assertEqual(c.get("/h1", HOST, *fields).status, 200)
                self.assertEqual(h2.get("/h2", *fields, ("x-255", "v")).status, 200)
            for path in ("/h1", "/h2"):
                self.assertRegex(stand.origin.seen(path)[0].one("x-request-id"), OURS)

    def test_rules_of_the_route(self):
        """They are stronger."""
        for rules, expected in (({"set": {"X-Request-Id": "the-route's"}}, ["the-route's"]), ({"remove": ["x-request-id"]}, [])):
            self.stand.routes([self.stand.route(HOST, headers={"request": rules})])
            for version, get in self.both():
                for path, fields in ((f"/{version}/{len(expected)}/0", ()), (f"/{version}/{len(expected)}/1", (("X-Request-Id", GIVEN),))):
                    get(path, *fields)
                    self.assertEqual(self.origin.seen(path)[0].all("x-request-id"), expected)

    def test_our_own_answers(self):
        """With `explain`, and without it never; the log has it in any case."""
        for explains in (False, True):
            self.stand.routes([self.stand.route(HOST, explain=explains,
                                                authentication={"type": "Basic", "user": "a", "pass": "s3cret"})])
            for version, get in self.both():
                for path, fields in ((f"/{version}/{explains}/own", ()), (f"/{version}/{explains}/given", (("X-Request-Id", GIVEN),))):
                    with self.subTest(path):
                        a = get(path, *fields)
                        line = self.stand.traffic.wait_event("request", path=path)
                        self.assertEqual(a.status, 401)
                        self.assertRegex(line["request_id"], re.escape(GIVEN) if fields else OURS)
                        self.assertEqual(a.all("x-request-id"), [line["request_id"]] if explains else [])

    def test_heads_that_are_refused(self):
        """Fields of the request before are not taken for its own."""
        with self.stand.client() as c:
            c.get("/before", HOST, ("X-Request-Id", GIVEN))
            c.send(f"GET /bad\x01 HTTP/1.1\r\n{H}\r\n")
            self.assertEqual(c.answer().status, 400)
        self.assertRegex(self.stand.traffic.wait_event("request", status=400)["request_id"], OURS)
        with self.stand.client() as c:
            c.send(f"GET /late HTTP/1.1\r\n{H}X-Request-Id: {GIVEN}\r\nA : b\r\n\r\n")
            self.assertEqual(c.answer().status, 400)
        self.assertEqual(self.stand.traffic.wait_event("request", path="/late")["request_id"], GIVEN)


class Off(Case):
    CONF = {"generateRequestId": False}

    def test_as_it_came(self):
        for version, get in self.both():
            for i, (fields, logged) in enumerate((((), "-"), ((("X-Request-Id", GIVEN),), GIVEN), ((("X-Request-Id", "a b"),), "-"),
                                                  ((("X-Request-Id", "one"), ("X-Request-Id", "two")), "-"))):
                path = f"/{version}/{i}"
                get(path, *fields)
                self.assertEqual(self.origin.seen(path)[0].all("x-request-id"), [v for _, v in fields])
                self.assertEqual(self.stand.traffic.wait_event("request", path=path)["request_id"], logged)


if __name__ == "__main__":
    unittest.main(verbosity=1, warnings="ignore")
