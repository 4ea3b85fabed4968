"""What a route may say of itself, over HTTP/2 and with a client of others (curl): passHash and its back-off,
limits of a body, retries, header fields in our own answers, the route's own timeouts.

test_traffic_routes.py has the same over HTTP/1.1, and what is alike in both.
"""
import socket
import subprocess
import unittest

from h2_client import H2
from test_traffic_h2 import curl, url
from traffic_stand import HOST, Stand, ok, stack

FORMAT = "\n%{http_version} %{http_code}"


class Answer:
    """What curl saw: over HTTP/2, or it is a failure."""

    def __init__(self, done):
        assert done.returncode == 0, f"curl ended with {done.returncode}: {done.stderr.decode()}"
        head, _, rest = done.stdout.partition(b"\r\n\r\n")
        while rest.startswith(b"HTTP/"):  # behind an interim answer
            head, _, rest = rest.partition(b"\r\n\r\n")
        self.body, _, tail = rest.rpartition(b"\n")
        version, status = tail.split()
        assert version == b"2", f"HTTP/{version.decode()}"
        self.status = int(status)
        self.fields = [tuple(l.split(": ", 1)) for l in head.decode("latin-1").split("\r\n")[1:]]

    def all(self, name):
        return [v for k, v in self.fields if k == name]

    def one(self, name):
        values = self.all(name)
        return values[0] if len(values) == 1 else None


class Case(unittest.TestCase):
    CONF = {}

    def setUp(self):
        self.stand = self.enterContext(Stand(**self.CONF))
        self.origin = self.stand.origin

    def serve(self, *origins, **options):
        self.stand.routes([self.stand.route(HOST, list(origins) or None, **options)])

    def curl(self, path, *options):
        return Answer(curl(self.stand, "-i", "-w", FORMAT, *options, url(self.stand, path)))


class PassHash(Case):
    CONF = {"auth": {"failures": 3}}

    def test_right_wrong_and_back_off(self):
        done = subprocess.run([self.stand.traffic.program, "hash-password", "sha512"], input=b"s3cret\n",
                              capture_output=True, check=True)
        self.serve(authentication={"type": "Basic", "user": "ann", "passHash": done.stdout.decode().strip()},
                   hsts={"maxAgeSecs": 60})
        right, wrong = ("-u", "ann:s3cret"), ("-u", "ann:wrong")
        a = self.curl("/none")
        self.assertEqual((a.status, a.one("www-authenticate")), (401, f'Basic realm="{HOST}", charset="UTF-8"'))
        self.assertEqual(a.one("strict-transport-security"), "max-age=60")
        for _ in range(2):  # what was right in between begins the count anew
            self.assertEqual([self.curl("/wrong", *u).status for u in (wrong, ("-u", "bob:s3cret"))], [401, 401])
            self.assertEqual(self.curl("/right", *right).status, 200)
        self.assertEqual([self.curl("/wrong", *wrong).status for _ in range(3)], [401] * 3)
        a = self.curl("/wrong", *right)
        self.assertEqual((a.status, a.body), (429, b"429 auth_backoff\n"))
        stack.wait_for("the second to be over", lambda: self.curl("/right", *right).status == 200)
        self.assertEqual(self.origin.seen("/none") + self.origin.seen("/wrong"), [])
        self.assertEqual(self.origin.seen("/right")[0].all("authorization"), [])

    def test_many_streams_wait_for_one_verdict_each(self):
        """Streams whose passwords are being checked hold each other up in nothing, and each has its own answer."""
        done = subprocess.run([self.stand.traffic.program, "hash-password", "sha512"], input=b"s3cret\n",
                              capture_output=True, check=True)
        self.serve(authentication={"type": "Basic", "user": "ann", "passHash": done.stdout.decode().strip()})
        with H2(self.stand.https) as c:
            right, wrong = (("authorization", f"Basic {t}") for t in ("YW5uOnMzY3JldA==", "YW5uOndyb25n"))
            asked = [c.request(f"/{i}", right if i % 2 else wrong, method="POST", end=False) for i in range(4)]
            for stream in asked:
                c.send(stream, b"x" * 1000, end=True)
            self.assertEqual([c.wait(s).status for s in asked], [401, 200, 401, 200])
        self.assertEqual([len(self.origin.seen(f"/{i}")) for i in range(4)], [0, 1, 0, 1])
        self.assertEqual(self.origin.seen("/1")[0].body, b"x" * 1000)


class BodyLimit(Case):
    def test_by_its_length(self):
        self.serve(maxBodyBytes=1000)
        self.assertEqual(self.curl("/fits", "--data-binary", "x" * 1000).status, 200)
        a = self.curl("/length", "--data-binary", "x" * 1001)
        self.assertEqual((a.status, a.body), (413, b"413 length_too_large\n"))
        self.assertEqual(self.origin.seen("/length"), [])

    def test_in_the_middle(self):
        """A body that says no length: cut where it grows too long, the connection lives on."""
        self.serve(maxBodyBytes=100000)
        with H2(self.stand.https) as c:
            fits = c.request("/fits", method="POST", end=False)
            c.send(fits, b"x" * 100000, end=True)
            self.assertEqual(c.wait(fits).status, 200)
            stream = c.request("/middle", method="POST", end=False)
            c.send(stream, b"x" * 60000)
            c.send(stream, b"x" * 60000)
            a = c.answers[stream]
            c.until(lambda: a.has_ended or a.error is not None)
            self.assertEqual((a.status, a.body), (413, b"413 length_too_large\n"))
            self.assertEqual(c.get("/after").status, 200)
        self.assertEqual(self.origin.seen("/middle"), [])
        self.assertEqual(self.stand.reason("length_too_large"), 1)

    def test_curl_uploads_too_much(self):
        """It still writes when the answer comes: it reads that, and is not reset before."""
        self.serve(maxBodyBytes=1000)
        a = Answer(curl(self.stand, "-i", "-w", FORMAT, "-X", "POST", "-T", "-", "-H", "Expect:", url(self.stand, "/up"),
                        body=b"x" * 3000000))
        self.assertEqual((a.status, a.body), (413, b"413 length_too_large\n"))

    def test_who_does_not_stop_is_reset(self):
        """Behind the answer a body is dropped, gets no more window, and ends by a reset without an error."""
        self.serve(maxBodyBytes=1000)
        with H2(self.stand.https) as c:
            stream = c.request("/up", method="POST", end=False)
            c.send(stream, b"x" * 10000)
            a = c.answers[stream]
            c.until(lambda: a.has_ended)
            self.assertIsNone(a.error)
            c.send(stream, b"x" * c.c.local_flow_control_window(stream))
            self.assertEqual(c.get("/other").status, 200)
            c.until(lambda: a.error is not None)
            self.assertEqual((a.status, a.error), (413, 0))
            self.assertEqual(c.get("/after").status, 200)
        self.assertEqual(self.origin.seen("/up"), [])


class Retries(Case):
    def test_idempotent_goes_to_the_next(self):
        bad, good = self.stand.new_origin(), self.stand.new_origin()
        bad.answers.update({p: lambda s, request: None for p in ("/get", "/post")})
        good.answers["/get"] = good.answers["/post"] = ok(b"good")
        self.serve(bad, good)
        self.assertEqual([self.curl("/get").body for _ in range(4)], [b"good"] * 4)
        self.assertGreater(len(bad.seen("/get")), 0)
        self.assertEqual(len(good.seen("/get")), 4)
        statuses = [self.curl("/post", "--data", "x").status for _ in range(4)]
        self.assertEqual(sorted(statuses), [200, 200, 502, 502])
        self.assertEqual(len(bad.seen("/post")) + len(good.seen("/post")), 4)

    def test_many_at_once(self):
        """All streams of one connection find the destination that is there."""
        bad, good = self.stand.new_origin(), self.stand.new_origin()
        bad.answers["/get"] = lambda s, request: None
        good.answers["/get"] = ok(b"good")
        self.serve(bad, good)
        with H2(self.stand.https) as c:
            asked = [c.request("/get") for _ in range(50)]
            self.assertEqual({(c.wait(s).status, c.wait(s).body) for s in asked}, {(200, b"good")})


class Fields(Case):
    def test_headers(self):
        self.origin.answers["/h"] = ok(b"x", ("Server", "origin"), ("X-Kept", "1"))
        self.serve(headers={"request": {"set": {"X-Set": "route"}, "remove": ["X-Gone"]},
                            "response": {"set": {"X-Answer": "route"}, "remove": ["server"]}},
                   hsts={"maxAgeSecs": 60, "preload": True}, explain=True, maxBodyBytes=1)
        a = self.curl("/h", "-H", "X-Gone: 1", "-H", "X-Set: client")
        self.assertEqual((a.status, a.all("server"), a.one("x-kept"), a.one("x-answer")), (200, [], "1", "route"))
        self.assertEqual((a.one("strict-transport-security"), a.all("penstock-reason")), ("max-age=60; preload", []))
        seen = self.origin.seen("/h")[0]
        self.assertEqual((seen.all("x-gone"), seen.one("x-set")), ([], "route"))

    def test_own_answers(self):
        """What we say ourselves has the route's hsts and, with `explain`, its reason; the origin's rules are not
        for it."""
        self.serve(headers={"response": {"set": {"X-Answer": "route"}}}, hsts={"maxAgeSecs": 60}, explain=True,
                   maxBodyBytes=1)
        for path, status, reason, options in (("/large", 413, "length_too_large", ("--data", "xx")),
                                              ("/gone", 421, "misdirected", ("-H", "Host: other.test")),
                                              ("/x", 501, "method_unknown", ("-X", "BREW"))):
            with self.subTest(reason):
                counted = self.stand.reason(reason)
                a = self.curl(path, *options)
                self.assertEqual((a.status, a.one("penstock-reason")), (status, reason))
                self.assertEqual(self.stand.reason(reason), counted + 1)
                self.assertEqual((a.one("strict-transport-security"), a.all("x-answer")), ("max-age=60", []))
                self.assertEqual(a.body, f"{status} {reason}\n".encode())


class Times(Case):
    def test_silence_of_the_route(self):
        self.origin.answers["/silent"] = lambda s, request: s.recv(1) and None  # until traffic closes
        self.origin.answers["/half"] = lambda s, request: (
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"), s.recv(1), None)[2]
        self.serve(timeouts={"bodyIdleSecs": 4})  # the others have an answer within that
        a = self.curl("/silent")
        self.assertEqual((a.status, a.body), (504, b"504 upstream_timeout\n"))
        with H2(self.stand.https) as c:  # in the middle: the stream is cut, not the connection
            half, other = c.request("/half"), c.request("/other")
            self.assertEqual(c.wait(other).status, 200)
            a = c.wait(half)
            self.assertEqual((a.status, a.body, a.has_ended, a.error), (200, b"half", False, 2))
            self.assertEqual(c.get("/after").status, 200)

    def test_a_destination_that_does_not_answer_its_handshake(self):
        hole = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(hole.close)
        self.serve(hole.getsockname()[1], upstreamTls={"verify": False}, timeouts={"connectSecs": 1})
        a = self.curl("/")
        self.assertEqual((a.status, a.body), (504, b"504 upstream_timeout\n"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
