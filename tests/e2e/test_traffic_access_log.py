"""The access log of both listeners: the combined line by the letter, over HTTP/1.1 and HTTP/2, with hostile bytes
in everything that a client sends; what the plain listener answers, in both forms."""
import datetime
import re
import socket
import subprocess
import unittest

from h2_client import H2
from traffic_stand import HOST, Raw, Stand, ok, stack

H = f"Host: {HOST}\r\n"
TIME = r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\]"
# What goaccess (--log-format=COMBINED) and awstats (LogFormat=1) take a line to be.
COMBINED = re.compile(rf'^[0-9a-f.:]+ - \S+ {TIME} "(?:-|[A-Z-]+ [!-~]+ HTTP/\d\.\d)" [1-5]\d\d \d+ "([^"]*)" "([^"]*)"$')


class Case(unittest.TestCase):
    maxDiff = None

    def stand_of(self, **conf):
        stand = self.enterContext(Stand(**conf))
        stand.origin.answers["/ok"] = ok(b"four")
        return stand

    @staticmethod
    def raw(stand):
        """The log's lines that are no JSON; what is said before the configuration is read is text with a time."""
        return [line["raw"] for line in stand.traffic.events() if not re.match(r"\d{4}-\d\d-\d\dT", line.get("raw", "0000-00-00T"))]

    def lines(self, stand, count):
        """The access log, without its times."""
        def found():
            raw = self.raw(stand)
            return raw if len(raw) >= count else None
        lines = stack.wait_for(f"{count} lines", found)
        for line in lines:
            self.assertRegex(line, COMBINED)
        return [re.sub(TIME, "[]", line) for line in lines]


class Combined(Case):
    CONF = {"log": {"accessFormat": "combined"}}

    def setUp(self):
        self.stand = self.stand_of(**self.CONF)

    def test_http1(self):
        with self.stand.client(source="127.0.0.9") as c:
            self.assertEqual(c.get("/ok?a=\"b\\c'[", HOST, ("Referer", "https://a.test/\"x\\\te\xe9\x9b"), ("User-Agent", 'Mozilla/5.0 (X; "Y") \xff'),
                                   ("Authorization", "Bearer hush-hush")).status, 200)
            self.assertEqual(c.get("/ok", HOST, ("User-Agent", "a" * 300)).status, 200)
            self.assertEqual(c.get("/" + "p" * 300, HOST, ("Referer", ""), ("Referer", "second")).status, 200)
            c.send(f"GET /caf\xe9 HTTP/1.1\r\n{H}\r\n")
            self.assertEqual(c.answer().status, 400)
        with self.stand.client(source="127.0.0.9") as c:
            c.send(f"GET /ok HTTP/1.1\r\n{H}User-Agent: a\n9.9.9.9 - - [x] forged\r\n\r\n")
            self.assertEqual(c.answer().status, 400)
        with self.stand.client(source="127.0.0.9") as c:
            c.send(f"GET /ok HTTP/1.1\r\n{H}User-Agent: a\x1b[31mb\r\n\r\n")
            self.assertEqual(c.answer().status, 400)
        with self.stand.client(source="127.0.0.9") as c:
            c.send(f"GET /ok\x07 HTTP/1.1\r\n{H}\r\n")
            self.assertEqual(c.answer().status, 400)
        self.assertEqual(self.lines(self.stand, 7), [
            '127.0.0.9 - - [] "GET /ok?a=\\x22b\\x5Cc\'[ HTTP/1.1" 200 4'
            ' "https://a.test/\\x22x\\x5C\\x09e\\xE9\\x9B" "Mozilla/5.0 (X; \\x22Y\\x22) \\xFF"',
            f'127.0.0.9 - - [] "GET /ok HTTP/1.1" 200 4 "-" "{"a" * 255}"',
            f'127.0.0.9 - - [] "GET /{"p" * 254} HTTP/1.1" 200 305 "-" "-"',
            '127.0.0.9 - - [] "GET /caf\\xE9 HTTP/1.1" 400 15 "-" "-"',
            '127.0.0.9 - - [] "-" 400 12 "-" "-"',
            '127.0.0.9 - - [] "GET /ok HTTP/1.1" 400 13 "-" "-"',
            '127.0.0.9 - - [] "-" 400 13 "-" "-"'])
        self.assertNotIn("hush-hush", str(self.stand.traffic.lines))

    def test_http2(self):
        with H2(self.stand.https) as c:
            fields = (b"referer", b'https://a.test/"x\\\te\xe9'), (b"user-agent", b'Mozilla/5.0 "Y" \xff')
            self.assertEqual(c.get('/ok?a="b\\c', *fields).status, 200)
            self.assertEqual(c.get(b'/a\x80"\xff', *fields).status, 400)
            self.assertEqual(c.get("/ok", method="HEAD", authority="other.test").status, 421)
            for path, agent in (("/ok", "a\r\n9.9.9.9 - - [x] forged"), ('/ok HTTP/2.0" 200 1 "forged', "a")):
                stream = c.request(path, ("user-agent", agent))
                a = c.answers[stream]
                c.until(lambda: a.has_ended or a.error is not None)
            self.assertEqual(c.get("/ok").status, 200)
        lines = self.lines(self.stand, 6)
        self.assertEqual(lines, [
            '127.0.0.1 - - [] "GET /ok?a=\\x22b\\x5Cc HTTP/2.0" 200 4 "https://a.test/\\x22x\\x5C\\x09e\\xE9"'
            ' "Mozilla/5.0 \\x22Y\\x22 \\xFF"',
            '127.0.0.1 - - [] "GET /a\\x80\\x22\\xFF HTTP/2.0" 400 15 "https://a.test/\\x22x\\x5C\\x09e\\xE9"'
            ' "Mozilla/5.0 \\x22Y\\x22 \\xFF"',
            '127.0.0.1 - - [] "HEAD /ok HTTP/2.0" 421 0 "-" "-"',
            '127.0.0.1 - - [] "GET /ok HTTP/2.0" 400 20 "-" "-"',  # its fields are given up
            '127.0.0.1 - - [] "-" 499 0 "-" "-"',  # reset by the library
            '127.0.0.1 - - [] "GET /ok HTTP/2.0" 200 4 "-" "-"'])

    def test_time(self):
        with self.stand.client() as c:
            c.get("/ok")
        self.lines(self.stand, 1)
        told = datetime.datetime.strptime(re.search(TIME, self.raw(self.stand)[0])[0], "[%d/%b/%Y:%H:%M:%S %z]")
        self.assertLess(abs((datetime.datetime.now(datetime.timezone.utc) - told).total_seconds()), 60)

    def test_user(self):
        """Who was let in, and nobody else's name."""
        self.stand.routes([self.stand.route(HOST, authentication={"type": "Basic", "user": 'a "b', "pass": "s3cret"})])
        right, wrong = ("authorization", "Basic YSAiYjpzM2NyZXQ="), ("authorization", "Basic YSAiYjp3cm9uZw==")
        with self.stand.client() as c, H2(self.stand.https) as h2:
            self.assertEqual([client.get("/ok", *more).status for client, more in
                              ((c, (HOST, right)), (c, (HOST, wrong)), (h2, (right,)), (h2, (wrong,)))], [200, 401, 200, 401])
        self.assertEqual([line.split(" [")[0] for line in self.lines(self.stand, 4)],
                         ["127.0.0.1 - a\\x20\\x22b", "127.0.0.1 - -"] * 2)

    def test_user_of_a_hash(self):
        """Checked off the loop: known later."""
        done = subprocess.run([self.stand.traffic.program, "hash-password", "sha512"], input=b"s3cret\n",
                              capture_output=True, check=True)
        self.stand.routes([self.stand.route(HOST, authentication={"type": "Basic", "user": "ann",
                                                                  "passHash": done.stdout.decode().strip()})])
        with H2(self.stand.https) as c:
            self.assertEqual(c.get("/ok", ("authorization", "Basic YW5uOnMzY3JldA==")).status, 200)
        self.assertEqual(self.lines(self.stand, 1), ['127.0.0.1 - ann [] "GET /ok HTTP/2.0" 200 4 "-" "-"'])

    def test_no_answer(self):
        """A client that goes before its answer: no status at all would be refused by who reads the line."""
        self.stand.origin.answers["/wait"] = lambda s, request: s.recv(1) and None
        with self.stand.client() as c:
            c.send(f"GET /wait HTTP/1.1\r\n{H}\r\n")
            self.stand.origin.wait_seen("/wait")
            c.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.assertEqual(self.lines(self.stand, 1), ['127.0.0.1 - - [] "GET /wait HTTP/1.1" 499 0 "-" "-"'])

    def test_level(self):
        """As with the other form: nothing is written below log.level."""
        self.stand.traffic.api("PUT", "/v1/log-level", {"level": "warn"}, expect=200)
        with self.stand.client() as c:
            c.get("/ok")
            self.stand.traffic.api("PUT", "/v1/log-level", {"level": "info"}, expect=200)
            c.get("/ok?second")
        self.assertIn("/ok?second ", self.lines(self.stand, 1)[0])


class Redirect(Case):
    def plain(self, stand, data):
        with Raw(stand.http, tls=False, source="127.0.0.9") as c:
            c.send(data)
            return c.answer("HEAD" if data.startswith("HEAD") else "GET").status

    def test_json(self):
        stand = self.stand_of(timeouts={"headerSecs": 1})
        rows = [
            (f"GET /moved?a=\" HTTP/1.1\r\n{H}X-Request-Id: theirs\r\n\r\n", (HOST, "HTTP/1.1", "GET", '/moved?a="', 301, 19, "none", "theirs")),
            ("HEAD /h HTTP/1.0\r\nHost: EXAMPLE.test:80\r\n\r\n", ("example.test", "HTTP/1.0", "HEAD", "/h", 301, 0, "none", "-")),
            ("GET /missing HTTP/1.1\r\nX-Request-Id: a b\r\n\r\n", ("-", "HTTP/1.1", "GET", "/missing", 400, 17, "host_missing", "-")),
            ("GET /invalid HTTP/1.1\r\nHost: -a.test\r\n\r\n", ("-", "HTTP/1.1", "GET", "/invalid", 400, 17, "host_invalid", "-")),
            (f"CONNECT {HOST}:443 HTTP/1.1\r\n{H}\r\n", ("-", "HTTP/1.1", "CONNECT", f"{HOST}:443", 405, 19, "method_refused", "-")),
            (f"GET / HTTP/1.1\n{H}\n", ("-", "HTTP/1.1", "", "", 400, 12, "bare_lf", "-")),
            ("GET /slow HTTP/1.1\r\nHo", ("-", "HTTP/1.1", "", "", 408, 19, "header_timeout", "-")),
        ]
        for i, (data, expected) in enumerate(rows):
            with self.subTest(data):
                self.assertEqual(self.plain(stand, data), expected[4])
                line = stand.traffic.wait_event("request", count=i + 1)
                self.assertEqual(tuple(line[k] for k in ("host", "protocol", "method", "path", "status", "bytesOut", "reason", "request_id")),
                                 expected)
                self.assertEqual([line[k] for k in ("client", "tls", "upstream", "bytesIn")], ["127.0.0.9", "-", "-", 0])
        self.assertEqual(stand.reason("host_missing"), 1)

    def test_combined(self):
        stand = self.stand_of(log={"accessFormat": "combined"})
        self.assertEqual(self.plain(stand, f"GET /a\"b HTTP/1.1\r\n{H}User-Agent: \"\\\xe9\r\nReferer: r\r\n\r\n"), 301)
        self.assertEqual(self.plain(stand, "GET /missing HTTP/1.1\r\nUser-Agent: u\r\n\r\n"), 400)
        self.assertEqual(self.plain(stand, "GET /\x01 HTTP/1.1\r\n\r\n"), 400)
        self.assertEqual(self.lines(stand, 3), ['127.0.0.9 - - [] "GET /a\\x22b HTTP/1.1" 301 19 "r" "\\x22\\x5C\\xE9"',
                                                '127.0.0.9 - - [] "GET /missing HTTP/1.1" 400 17 "-" "u"',
                                                '127.0.0.9 - - [] "-" 400 13 "-" "-"'])

    def test_off(self):
        stand = self.stand_of(log={"access": False, "accessFormat": "combined"})
        self.assertEqual(self.plain(stand, f"GET / HTTP/1.1\r\n{H}\r\n"), 301)
        with stand.client() as c:
            c.get("/ok")
        stand.traffic.api("GET", "/v1/status", expect=200)
        self.assertEqual(self.raw(stand) + stand.traffic.events("request"), [])


if __name__ == "__main__":
    unittest.main(verbosity=1, warnings="ignore")
