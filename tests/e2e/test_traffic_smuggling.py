"""Requests that two parsers could read differently: refused and the connection closed, or passed on in
one normal form; never does the origin see a second request in them.

Each row is sent on a connection of its own with a second request behind it in the same write
(/smuggled).  Checked: the status, that nothing is served behind a refusal, how many requests the origin
saw, and that the next honest client gets the answer to its own request.
"""
import sys
import unittest

import traffic_stand
from traffic_stand import HOST, Stand, early, ok

H = f"Host: {HOST}\r\n"
POST = f"POST /x HTTP/1.1\r\n{H}"
CHUNKED = POST + "Transfer-Encoding: chunked\r\n"
GET = f"GET /x HTTP/1.1\r\n{H}"
SMUGGLED = f"GET /smuggled HTTP/1.1\r\n{H}\r\n"

# (name, bytes, status, reason word in the body or None)
REFUSED = [
    # Content-Length
    ("CL and TE", CHUNKED + "Content-Length: 5\r\n\r\n0\r\n\r\n", 400, "length_and_coding"),
    ("TE and CL, the other order", POST + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "length_and_coding"),
    ("CL and an empty TE", POST + "Content-Length: 5\r\nTransfer-Encoding:\r\n\r\nhello", 400, "length_and_coding"),
    ("CL twice, different", POST + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400, "length_duplicate"),
    ("CL twice, the same", POST + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400, "length_duplicate"),
    ("CL as a list", POST + "Content-Length: 5, 5\r\n\r\nhello", 400, "length_invalid"),
    ("CL with a plus", POST + "Content-Length: +5\r\n\r\nhello", 400, "length_invalid"),
    ("CL with a minus", POST + "Content-Length: -5\r\n\r\nhello", 400, "length_invalid"),
    ("CL in hex", POST + "Content-Length: 0x5\r\n\r\nhello", 400, "length_invalid"),
    ("CL with a space inside", POST + "Content-Length: 5 0\r\n\r\nhello", 400, "length_invalid"),
    ("CL with a fraction", POST + "Content-Length: 5.0\r\n\r\nhello", 400, "length_invalid"),
    ("CL empty", POST + "Content-Length:\r\n\r\nhello", 400, "length_invalid"),
    ("CL beyond 63 bits", POST + "Content-Length: 99999999999999999999\r\n\r\nhello", 413, "length_too_large"),
    # Transfer-Encoding
    ("TE twice", CHUNKED + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "coding_invalid"),
    ("TE chunked, chunked", POST + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400, "coding_invalid"),
    ("TE chunked not last", POST + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400, "coding_invalid"),
    ("TE gzip, chunked", POST + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, "coding_unknown"),
    ("TE identity", POST + "Transfer-Encoding: identity\r\n\r\n", 501, "coding_unknown"),
    ("TE xchunked", POST + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501, "coding_unknown"),
    ("TE with a parameter", POST + "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", 400, "coding_invalid"),
    ("TE quoted", POST + 'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n', 400, "coding_invalid"),
    ("TE empty", POST + "Transfer-Encoding:\r\n\r\n0\r\n\r\n", 400, "coding_invalid"),
    ("TE behind a vertical tab", POST + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400, "bad_byte"),
    ("TE on HTTP/1.0", f"POST /x HTTP/1.0\r\n{H}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "coding_on_http10"),
    ("TE with a space before the colon", POST + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400, "bad_field_name"),
    # lines and bytes of the head
    ("bare LF ends the request line", f"GET /x HTTP/1.1\n{H}\r\n", 400, "bare_lf"),
    ("bare LF ends a field", GET + "A: b\nC: d\r\n\r\n", 400, "bare_lf"),
    ("bare LF ends the head", GET + "A: b\r\n\n", 400, "bare_lf"),
    ("bare CR in a value", GET + "A: b\rC: d\r\n\r\n", 400, "bare_cr"),
    ("bare CR in a name", GET + "A\rB: b\r\n\r\n", 400, "bare_cr"),
    ("CR CR LF", GET + "A: b\r\r\n\r\n", 400, "bare_cr"),
    ("bare CR in the request line", f"GET /x\rHTTP/1.1 HTTP/1.1\r\n{H}\r\n", 400, "bare_cr"),
    ("obs-fold", GET + "A: b\r\n c\r\n\r\n", 400, "obs_fold"),
    ("obs-fold of a CL", POST + "Content-Length:\r\n 5\r\n\r\nhello", 400, "obs_fold"),
    ("blank line start", f"GET /x HTTP/1.1\r\n {H}\r\n", 400, "obs_fold"),
    ("NUL in a value", GET + "A: b\x00c\r\n\r\n", 400, "bad_byte"),
    ("NUL in a name", GET + "A\x00B: c\r\n\r\n", 400, "bad_byte"),
    ("NUL in the target", f"GET /x\x00 HTTP/1.1\r\n{H}\r\n", 400, "bad_byte"),
    ("a control character", GET + "A: b\x01\r\n\r\n", 400, "bad_byte"),
    ("DEL", GET + "A: b\x7f\r\n\r\n", 400, "bad_byte"),
    ("space before a colon", GET + "A : b\r\n\r\n", 400, "bad_field_name"),
    ("tab before a colon", GET + "Content-Length\t: 5\r\n\r\n", 400, "bad_field_name"),
    ("no name", GET + ": b\r\n\r\n", 400, "bad_field_name"),
    ("no colon", GET + "Ab\r\n\r\n", 400, "bad_field_name"),
    ("a name with a slash", GET + "A/b: c\r\n\r\n", 400, "bad_field_name"),
    ("a name in brackets", GET + "[A]: c\r\n\r\n", 400, "bad_field_name"),
    ("a name above ASCII", GET + "A\xe9: c\r\n\r\n", 400, "bad_field_name"),
    # the request line
    ("HTTP/0.9", "GET /x\r\n\r\n", 400, "bad_request_line"),
    ("HTTP/0.9, cut", "GET /x\r\n", 400, "bad_request_line"),
    ("two blanks", f"GET  /x HTTP/1.1\r\n{H}\r\n", 400, "bad_request_line"),
    ("a blank in the target", f"GET /x y HTTP/1.1\r\n{H}\r\n", 400, "bad_request_line"),
    ("a blank behind the version", f"GET /x HTTP/1.1 \r\n{H}\r\n", 400, "bad_request_line"),
    ("a tab for a blank", f"GET\t/x\tHTTP/1.1\r\n{H}\r\n", 400, "bad_request_line"),
    ("a blank in front", f" GET /x HTTP/1.1\r\n{H}\r\n", 400, "bad_request_line"),
    ("two empty lines in front", f"\r\n\r\nGET /x HTTP/1.1\r\n{H}\r\n", 400, "bad_request_line"),
    ("the version in lower case", f"GET /x http/1.1\r\n{H}\r\n", 400, "bad_request_line"),
    ("HTTP/1.10", f"GET /x HTTP/1.10\r\n{H}\r\n", 400, "bad_request_line"),
    ("HTTP/1.2", f"GET /x HTTP/1.2\r\n{H}\r\n", 505, "bad_version"),
    ("HTTP/2.0", f"GET /x HTTP/2.0\r\n{H}\r\n", 505, "bad_version"),
    ("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "http2_preface"),
    ("a method with a brace", f"G{{T /x HTTP/1.1\r\n{H}\r\n", 400, "bad_method"),
    ("a method in lower case", f"get /x HTTP/1.1\r\n{H}\r\n", 501, "method_unknown"),
    ("an unknown method", f"FOO /x HTTP/1.1\r\n{H}\r\n", 501, "method_unknown"),
    ("TRACE", f"TRACE /x HTTP/1.1\r\n{H}\r\n", 405, "method_refused"),
    ("CONNECT", f"CONNECT {HOST}:443 HTTP/1.1\r\n{H}\r\n", 405, "method_refused"),
    ("a fragment", f"GET /x#y HTTP/1.1\r\n{H}\r\n", 400, "bad_target"),
    ("a target above ASCII", f"GET /\xe9 HTTP/1.1\r\n{H}\r\n", 400, "bad_target"),
    ("asterisk of GET", f"GET * HTTP/1.1\r\n{H}\r\n", 400, "bad_target"),
    ("a target without a slash", f"GET x HTTP/1.1\r\n{H}\r\n", 400, "bad_target"),
    # Host
    ("no Host", "GET /x HTTP/1.1\r\n\r\n", 400, "host_missing"),
    ("no Host on HTTP/1.0", "GET /x HTTP/1.0\r\n\r\n", 400, "host_missing"),
    ("Host twice", GET + H + "\r\n", 400, "host_duplicate"),
    ("Host twice, different", GET + "Host: other.example.test\r\n\r\n", 400, "host_duplicate"),
    ("Host empty", "GET /x HTTP/1.1\r\nHost:\r\n\r\n", 400, "host_invalid"),
    ("Host with a path", f"GET /x HTTP/1.1\r\nHost: {HOST}/y\r\n\r\n", 400, "host_invalid"),
    ("Host with a user", f"GET /x HTTP/1.1\r\nHost: a@{HOST}\r\n\r\n", 400, "host_invalid"),
    ("Host with a blank", f"GET /x HTTP/1.1\r\nHost: {HOST} b\r\n\r\n", 400, "host_invalid"),
    ("Host as a list", f"GET /x HTTP/1.1\r\nHost: {HOST}, b\r\n\r\n", 400, "host_invalid"),
    ("Host with a bad port", f"GET /x HTTP/1.1\r\nHost: {HOST}:99999\r\n\r\n", 400, "host_invalid"),
    ("Host of another name", "GET /x HTTP/1.1\r\nHost: other.example.test\r\n\r\n", 421, "misdirected"),
    ("absolute-form of another host", f"GET https://other.example.test/x HTTP/1.1\r\n{H}\r\n", 400, "host_mismatch"),
    ("absolute-form of another scheme", f"GET http://{HOST}/x HTTP/1.1\r\n{H}\r\n", 400, "bad_target"),
    ("absolute-form with a user", f"GET https://a@{HOST}/x HTTP/1.1\r\n{H}\r\n", 400, "bad_target"),
    # Connection, Expect
    ("Connection names Host", GET + "Connection: Host\r\n\r\n", 400, "connection_invalid"),
    ("Connection names Content-Length", POST + "Content-Length: 5\r\nConnection: content-length\r\n\r\nhello", 400, "connection_invalid"),
    ("Connection names X-Forwarded-For", GET + "Connection: close, X-Forwarded-For\r\n\r\n", 400, "connection_invalid"),
    ("another expectation", POST + "Expect: 200-ok\r\nContent-Length: 5\r\n\r\nhello", 417, "expect_unknown"),
]

# Bodies: the head is fine and has gone to the origin; what follows is not.
BODIES = [
    ("a chunk size that is no number", "g\r\nhello\r\n0\r\n\r\n", "chunk_invalid"),
    ("an empty chunk size", "\r\nhello\r\n0\r\n\r\n", "chunk_invalid"),
    ("a chunk size with a sign", "+5\r\nhello\r\n0\r\n\r\n", "chunk_invalid"),
    ("a chunk size with 0x", "0x5\r\nhello\r\n0\r\n\r\n", "chunk_invalid"),
    ("a blank in front of a chunk size", " 5\r\nhello\r\n0\r\n\r\n", "chunk_invalid"),
    ("a blank behind a chunk size", "5 \r\nhello\r\n0\r\n\r\n", "chunk_invalid"),
    ("bare LF behind a chunk size", "5\nhello\r\n0\r\n\r\n", "chunk_invalid"),
    ("bare CR behind a chunk size", "5\rhello\r\n0\r\n\r\n", "chunk_invalid"),
    ("bare LF behind a chunk", "5\r\nhello\n0\r\n\r\n", "chunk_invalid"),
    ("a chunk longer than its size", "5\r\nhello!\r\n0\r\n\r\n", "chunk_invalid"),
    ("17 digits of a chunk size", "00000000000000005\r\nhello\r\n0\r\n\r\n", "chunk_invalid"),
    ("a chunk size beyond 63 bits", "ffffffffffffffff\r\nhello\r\n0\r\n\r\n", "chunk_invalid"),
    ("257 bytes of extensions", "5;" + "a" * 256 + "\r\nhello\r\n0\r\n\r\n", "chunk_extension"),
    ("extensions in many chunks", ("1;" + "a" * 99 + "\r\nx\r\n") * 3 + "0\r\n\r\n", "chunk_extension"),
    ("an extension without a name", "5;\r\nhello\r\n0\r\n\r\n", "chunk_extension"),
    ("bare LF in an extension", "5;a=b\nhello\r\n0\r\n\r\n", "chunk_extension"),
    ("NUL in an extension", "5;a=\x00\r\nhello\r\n0\r\n\r\n", "chunk_extension"),
    ("a trailer without a colon", "0\r\nabc\r\n\r\n", "trailer_invalid"),
    ("a trailer with a bare LF", "0\r\nA: b\n\r\n", "trailer_invalid"),
    ("a trailer folded", "0\r\nA: b\r\n c\r\n\r\n", "trailer_invalid"),
    ("a trailer with a space before its colon", "0\r\nA : b\r\n\r\n", "trailer_invalid"),
    ("bare LF ends the body", "0\r\n\n", "trailer_invalid"),
]

# What an origin may answer to be believed no more.
ANSWER = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 2\r\n\r\nok"
INVALID_ANSWERS = [
    # Content-Length
    ("CL twice", ANSWER + b"Content-Length: 2\r\n" + LENGTH),
    ("CL twice, different", ANSWER + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok"),
    ("CL and TE", ANSWER + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("TE and CL, the other order", ANSWER + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
    ("CL and an empty TE", ANSWER + b"Transfer-Encoding:\r\n" + LENGTH),
    ("CL as a list", ANSWER + b"Content-Length: 2, 2\r\n\r\nok"),
    ("CL with a plus", ANSWER + b"Content-Length: +2\r\n\r\nok"),
    ("CL with a minus", ANSWER + b"Content-Length: -2\r\n\r\nok"),
    ("CL in hex", ANSWER + b"Content-Length: 0x2\r\n\r\nok"),
    ("CL with a space inside", ANSWER + b"Content-Length: 2 0\r\n\r\nok"),
    ("CL with a fraction", ANSWER + b"Content-Length: 2.0\r\n\r\nok"),
    ("CL empty", ANSWER + b"Content-Length:\r\n\r\nok"),
    ("CL beyond 63 bits", ANSWER + b"Content-Length: 99999999999999999999\r\n\r\nok"),
    ("CL with a space before the colon", ANSWER + b"Content-Length : 2\r\n\r\nok"),
    # Transfer-Encoding
    ("TE twice", ANSWER + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    ("TE chunked, chunked", ANSWER + b"Transfer-Encoding: chunked, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    ("TE chunked not last", ANSWER + b"Transfer-Encoding: chunked, gzip\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    ("TE gzip", ANSWER + b"Transfer-Encoding: gzip\r\n\r\nok"),
    ("TE gzip, chunked", ANSWER + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    ("TE identity", ANSWER + b"Transfer-Encoding: identity\r\n" + LENGTH),
    ("TE xchunked", ANSWER + b"Transfer-Encoding: xchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    ("TE with a parameter", ANSWER + b"Transfer-Encoding: chunked;q=1\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    ("TE quoted", ANSWER + b'Transfer-Encoding: "chunked"\r\n\r\n2\r\nok\r\n0\r\n\r\n'),
    ("TE empty", ANSWER + b"Transfer-Encoding:\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    ("TE behind a vertical tab", ANSWER + b"Transfer-Encoding: \x0bchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    ("TE with a space before the colon", ANSWER + b"Transfer-Encoding : chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    ("TE on HTTP/1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("TE of 204", b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    # lines and bytes of the head
    ("bare LF ends the status line", b"HTTP/1.1 200 OK\n" + LENGTH),
    ("bare LF ends a field", ANSWER + b"A: b\nC: d\r\n" + LENGTH),
    ("bare LF ends the head", ANSWER + b"Content-Length: 2\r\n\nok"),
    ("bare CR in a value", ANSWER + b"A: b\rC: d\r\n" + LENGTH),
    ("bare CR in a name", ANSWER + b"A\rB: c\r\n" + LENGTH),
    ("CR CR LF", ANSWER + b"A: b\r\r\n" + LENGTH),
    ("obs-fold", ANSWER + b"A: b\r\n c\r\n" + LENGTH),
    ("obs-fold of a CL", ANSWER + b"Content-Length:\r\n 2\r\n\r\nok"),
    ("blank line start", ANSWER + b" A: b\r\n" + LENGTH),
    ("NUL in a value", ANSWER + b"A: \0\r\n" + LENGTH),
    ("NUL in a name", ANSWER + b"A\0B: c\r\n" + LENGTH),
    ("NUL in the reason", b"HTTP/1.1 200 O\0K\r\n" + LENGTH),
    ("a control character", ANSWER + b"A: \x01\r\n" + LENGTH),
    ("DEL", ANSWER + b"A: \x7f\r\n" + LENGTH),
    ("space before a colon", ANSWER + b"A : b\r\n" + LENGTH),
    ("tab before a colon", ANSWER + b"A\t: b\r\n" + LENGTH),
    ("no name", ANSWER + b": b\r\n" + LENGTH),
    ("no colon", ANSWER + b"Ab\r\n" + LENGTH),
    ("a name with a slash", ANSWER + b"A/b: c\r\n" + LENGTH),
    ("a name in brackets", ANSWER + b"[A]: c\r\n" + LENGTH),
    ("a name above ASCII", ANSWER + b"A\xe9: c\r\n" + LENGTH),
    ("Connection names Content-Length", ANSWER + b"Connection: content-length\r\n" + LENGTH),
    # the status line
    ("no status", b"HTTP/1.1 OK\r\n" + LENGTH),
    ("status 20", b"HTTP/1.1 20 OK\r\n" + LENGTH),
    ("status 099", b"HTTP/1.1 099 OK\r\n" + LENGTH),
    ("status 600", b"HTTP/1.1 600 OK\r\n" + LENGTH),
    ("status 1000", b"HTTP/1.1 1000 OK\r\n" + LENGTH),
    ("two blanks", b"HTTP/1.1  200 OK\r\n" + LENGTH),
    ("a tab for a blank", b"HTTP/1.1\t200\tOK\r\n" + LENGTH),
    ("a blank in front", b" HTTP/1.1 200 OK\r\n" + LENGTH),
    ("an empty line in front", b"\r\nHTTP/1.1 200 OK\r\n" + LENGTH),
    ("the version in lower case", b"http/1.1 200 OK\r\n" + LENGTH),
    ("HTTP/1.10", b"HTTP/1.10 200 OK\r\n" + LENGTH),
    ("HTTP/1.2", b"HTTP/1.2 200 OK\r\n" + LENGTH),
    ("HTTP/2", b"HTTP/2 200 OK\r\n" + LENGTH),
    ("no HTTP at all", b"220 mail ESMTP\r\n\r\n"),
    ("204 with a body", b"HTTP/1.1 204 No\r\n" + LENGTH),
    ("103 with a body", b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n" + ok()),
]
ANSWERS = [(name, data, "upstream_invalid") for name, data in INVALID_ANSWERS] + [
    ("101 unasked", b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "upstream_upgrade"),
    ("end of file", b"", "upstream_closed"),
    ("half a head", b"HTTP/1.1 200 OK\r\nContent-", "upstream_closed"),
]


class Smuggling(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stand = cls.enterClassContext(Stand(timeouts={"headerSecs": 5}))
        cls.origin = cls.stand.origin

    def check_honest(self, path):
        """The next client gets its own answer: no connection to the origin is out of step.  It asks for what is
        never sent twice: a GET that a spoiled connection swallowed would be repeated on a new one."""
        with self.stand.client() as c:
            c.send(f"POST {path} HTTP/1.1\r\n{H}Content-Length: 6\r\n\r\nhonest")
            a = c.answer()
            self.assertEqual((a.status, a.body), (200, f"POST {path}".encode()))
        self.assertEqual([r.body for r in self.origin.seen(path)], [b"honest"])

    def check_nothing_smuggled(self):
        self.assertEqual(self.origin.seen("/smuggled"), [])
        self.assertEqual(self.origin.garbage, [])

    def test_refused(self):
        for i, (name, data, status, word) in enumerate(REFUSED):
            with self.subTest(name):
                before = len(self.origin.seen())
                counted = self.stand.reason(word)
                with self.stand.client() as c:
                    c.send(data + ("" if data.endswith("GET /x\r\n") else SMUGGLED))
                    a = c.answer()
                    self.assertEqual((a.status, a.body.decode().strip()), (status, f"{status} {word}"))
                    self.assertEqual(a.one("connection"), "close")
                    self.assertIsNotNone(a.one("servezone_coretraffic_version"))
                    self.assertTrue(c.is_closed(), "something was served behind the refusal")
                self.assertEqual(len(self.origin.seen()), before, "the origin saw it")
                self.assertEqual(self.stand.reason(word), counted + 1)
                self.check_honest(f"/after-{i}")
        self.check_nothing_smuggled()

    def test_bodies(self):
        """With its head, and behind a good chunk, when the origin has that head and its connection is spoiled."""
        for i, (name, data, word) in enumerate(BODIES):
            for has_begun in False, True:
                with self.subTest(name, has_begun=has_begun):
                    path = f"/begun-{i}" if has_begun else f"/body-{i}"
                    with self.stand.client() as c:
                        c.send(CHUNKED.replace("/x", path) + "\r\n")
                        if has_begun:
                            c.send("3\r\nabc\r\n")
                            self.origin.wait_begun(path)
                        c.send(data + SMUGGLED)
                        a = c.answer()
                        self.assertEqual((a.status, a.body.decode().strip()), (400, f"400 {word}"))
                        self.assertTrue(c.is_closed())
                    self.check_honest(f"/after{path}")
                    self.assertEqual(self.origin.seen(path), [], "a request without its end counts for none")
        self.check_nothing_smuggled()

    def test_large_trailers(self):
        with self.stand.client() as c:
            c.send(CHUNKED + "\r\n0\r\n" + "".join(f"A{i}: {'b' * 90}\r\n" for i in range(60)) + "\r\n")
            self.assertEqual(c.answer().status, 431)
            self.assertTrue(c.is_closed())

    def test_trailers_up_to_the_limit(self):
        with self.stand.client() as c:
            trailers = "".join(f"A{i:02}:{'b' * 121}\r\n" for i in range(32))
            self.assertTrue(4000 < len(trailers) + 2 < 4096)
            c.send(f"POST /trailers HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n0\r\n{trailers}\r\n")
            self.assertEqual(c.answer().status, 200)
        self.assertEqual(len(self.origin.seen("/trailers")[0].trailers), 32)

    def test_short_bodies(self):
        """A client that ends in the middle of a body: the origin must not take it for whole."""
        for data in (POST + "Content-Length: 50\r\n\r\nhello", CHUNKED + "\r\n5\r\nhello\r\n"):
            with self.subTest(data):
                c = self.stand.client()
                c.send(data)
                c.close()
        self.origin.wait_closed()
        self.assertEqual(self.origin.seen("/x"), [])
        self.check_honest("/after-short")

    def test_byte_at_a_time(self):
        """However it is cut, it is read the same."""
        for data, status in ((GET + "A: b\r\n\r\n", 200), (CHUNKED + "\r\n3;a=b\r\nabc\r\n0\r\nT: u\r\n\r\n", 200),
                             (GET + "A : b\r\n\r\n", 400), (POST + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400)):
            with self.subTest(data), self.stand.client() as c:
                for byte in data:
                    c.send(byte)
                self.assertEqual(c.answer().status, status)
        self.origin.requests = [r for r in self.origin.requests if r.target != "/x"]

    def test_too_much(self):
        for name, data, status in (
                ("a long target", f"GET /{'a' * 9000} HTTP/1.1\r\n{H}\r\n", 414),
                ("an endless target", f"GET /{'a' * 20000}", 414),
                ("a large head", GET + "".join(f"A{i}: {'b' * 500}\r\n" for i in range(40)) + "\r\n", 431),
                ("an endless field", GET + f"A: {'b' * 20000}", 431),
                ("101 fields", GET + "A: b\r\n" * 100 + "\r\n", 431)):
            with self.subTest(name), self.stand.client() as c:
                c.send(data)
                self.assertEqual(c.answer().status, status)
                self.assertTrue(c.is_closed())
        with self.stand.client() as c:
            self.assertEqual(c.get("/hundred", HOST, *[("A", "b")] * 99).status, 200)

    def test_normalised(self):
        """Accepted, and the origin sees the one normal form."""
        rows = [
            ("absolute-form", f"GET https://{HOST}/abs?q=1 HTTP/1.1\r\n{H}\r\n", "/abs", "GET /abs?q=1 HTTP/1.1"),
            ("absolute-form without a path", f"GET https://{HOST} HTTP/1.1\r\n{H}\r\n", "/", "GET / HTTP/1.1"),
            ("OPTIONS *", f"OPTIONS * HTTP/1.1\r\n{H}\r\n", "*", "OPTIONS * HTTP/1.1"),
            ("one empty line in front", f"\r\nGET /line HTTP/1.1\r\n{H}\r\n", "/line", "GET /line HTTP/1.1"),
            ("TE in capitals", f"POST /te HTTP/1.1\r\n{H}Transfer-Encoding: CHUNKED\r\n\r\n3;x=\"y\"\r\nabc\r\n0\r\n\r\n", "/te", "POST /te HTTP/1.1"),
            ("leading zeroes", f"POST /zero HTTP/1.1\r\n{H}Content-Length: 0003\r\n\r\nabc", "/zero", "POST /zero HTTP/1.1"),
            ("Host in capitals, with a port and a dot", f"GET /caps HTTP/1.1\r\nHost: {HOST.upper()}.:8443\r\n\r\n", "/caps", "GET /caps HTTP/1.1"),
            ("h2c upgrade", f"GET /h2c HTTP/1.1\r\n{H}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", "/h2c", "GET /h2c HTTP/1.1"),
            ("TE that is not for us", f"GET /te2 HTTP/1.1\r\n{H}Connection: TE\r\nTE: gzip\r\n\r\n", "/te2", "GET /te2 HTTP/1.1"),
        ]
        for name, data, path, line in rows:
            with self.subTest(name), self.stand.client() as c:
                c.send(data)
                self.assertEqual(c.answer().status, 200)
                seen = self.origin.seen(path)
                self.assertEqual([r.line for r in seen], [line])
                r = seen[0]
                for gone in ("connection", "upgrade", "http2-settings", "te"):
                    self.assertEqual(r.all(gone), [], gone)
                self.assertEqual(len(r.all("host")), 1)
                self.assertLessEqual(len(r.all("content-length")) + len(r.all("transfer-encoding")), 1)
                self.assertEqual(c.get("/next").status, 200, "the connection goes on")
        self.assertEqual(self.origin.seen("/te")[0].body, b"abc")
        self.assertEqual(self.origin.seen("/zero")[0].one("content-length"), "3")

    def test_pipelined(self):
        """In order, one answer each, and a refusal ends it."""
        with self.stand.client() as c:
            c.send("".join(f"GET /p{i} HTTP/1.1\r\n{H}\r\n" for i in range(20))
                   + POST.replace("/x", "/p20") + "Content-Length: 5\r\n\r\nhello"
                   + f"GET /p21 HTTP/1.1\r\n{H}A : b\r\n\r\n" + SMUGGLED)
            for i in range(20):
                self.assertEqual(c.answer().body, f"GET /p{i}".encode())
            self.assertEqual(c.answer().body, b"POST /p20")
            self.assertEqual(c.answer().status, 400)
            self.assertTrue(c.is_closed())
        self.assertEqual([r.target for r in self.origin.seen() if r.target.startswith("/p")],
                         [f"/p{i}" for i in range(21)])
        self.check_nothing_smuggled()

    def test_optimistic_upgrade(self):
        """RFC 9931: what a client sends behind a request for an upgrade that is refused is no request."""
        with self.stand.client() as c:
            c.send(f"GET /noup HTTP/1.1\r\n{H}Connection: upgrade\r\nUpgrade: websocket\r\n\r\n" + SMUGGLED)
            a = c.answer()
            self.assertEqual((a.status, a.one("connection")), (200, "close"))
            self.assertTrue(c.is_closed())
        self.assertEqual(len(self.origin.seen("/noup")), 1)
        self.check_nothing_smuggled()

    def answer_with(self, path, data):
        def answer(s, request):
            s.sendall(data)
            return None
        self.origin.answers[path] = answer

    def test_answers(self):
        for i, (name, data, word) in enumerate(ANSWERS):
            with self.subTest(name):
                path = f"/answer-{i}"
                self.answer_with(path, data)
                counted = self.stand.reason(word)
                with self.stand.client() as c:
                    a = c.get(path)
                    self.assertEqual((a.status, a.body.decode()), (502, f"502 {word}\n"))
                    self.assertIsNotNone(a.one("servezone_coretraffic_version"))
                    self.assertEqual(self.stand.reason(word), counted + 1)
                    self.assertEqual(c.get("/go-on").status, 200, "the client's connection is not to blame")
                # A kept connection that ends without a byte may have ended before: GET is sent again.
                self.assertLessEqual(len(self.origin.seen(path)), 1 if data else 2)
                self.check_honest(f"/after-answer-{i}")

    def test_broken_answers(self):
        """The head has gone out already: the client must see that the body is cut."""
        for i, (name, data, _) in enumerate([*BODIES, ("half a chunk", "5\r\nhel", None)]):
            with self.subTest(name):
                path = f"/broken-{i}"
                self.answer_with(path, ANSWER + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n" + data.encode())
                with self.stand.client() as c:
                    with self.assertRaises((EOFError, OSError)):
                        c.get(path)
                word = "upstream_closed" if name == "half a chunk" else "upstream_invalid"
                self.assertEqual(self.stand.traffic.wait_event("request", path=path)["reason"], word)
                self.check_honest(f"/after-broken-{i}")

    def test_chunks_of_an_answer(self):
        """What the ones above only differ from."""
        self.answer_with("/chunks", ANSWER + b"Transfer-Encoding: Chunked\r\n\r\n2\r\nab\r\n"
                         b"0003;a=\"b c\"\r\ncde\r\n0\r\nA: b\r\n\r\n")
        with self.stand.client() as c:
            a = c.get("/chunks")
            self.assertEqual((a.status, a.body, a.trailers), (200, b"abcde", [("A", "b")]))

    def test_extra_bytes(self):
        """Bytes behind an answer are nobody's: that connection is not used again."""
        poison = ok(b"poisoned")
        for i, extra in enumerate((poison, b"x", b"\r\n")):
            with self.subTest(extra):
                path = f"/extra-{i}"
                used = []

                def answer(s, request, extra=extra):
                    used.append(request.connection)
                    s.sendall(ok(b"first") + extra)
                    return b""
                self.origin.answers[path] = answer
                with self.stand.client() as c:
                    self.assertEqual(c.get(path).body, b"first")
                    self.assertEqual(c.get(f"/then-{i}").body, f"GET /then-{i}".encode())
                self.assertNotIn(self.origin.seen(f"/then-{i}")[0].connection, used)

    def test_late_extra_bytes(self):
        """They come while the connection is idle: it is closed, whoever asks next gets its own answer."""
        held = []

        def answer(s, request):
            held.append(s)
            return ok(b"first")
        self.origin.answers["/late"] = answer
        with self.stand.client() as c:
            self.assertEqual(c.get("/late").body, b"first")
            held[0].sendall(ok(b"poisoned"))
            self.assertEqual(c.get("/after-late").body, b"GET /after-late")

    def test_early_answer(self):
        """An answer before the body's end: the rest of the body is not the next request."""
        @early
        def answer(s, request, reader):
            s.sendall(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
            return None
        self.origin.answers["/early"] = answer
        with self.stand.client() as c:
            c.send(f"POST /early HTTP/1.1\r\n{H}Content-Length: 100\r\n\r\n")
            a = c.answer()
            self.assertEqual((a.status, a.one("connection")), (413, "close"))
            c.send(SMUGGLED)
            self.assertTrue(c.is_closed())
        self.check_nothing_smuggled()


if not hasattr(unittest.TestCase, "enterClassContext"):  # Python 3.11 has it; 3.9 does not
    sys.exit("Python 3.11 is needed")

if __name__ == "__main__":
    unittest.main(verbosity=1, warnings="ignore")
