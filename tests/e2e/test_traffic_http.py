"""HTTP through traffic: what a client and an origin see of each other, on the real program.

Framing both ways, interim answers, upgrades, forwarded fields, authentication, names, round robin and
failing destinations, timeouts, limits, redirects, and a change of routes under connections that stay.
"""
import base64
import contextlib
import hashlib
import os
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
import unittest

import traffic_stand
from h2_client import H2
from traffic_stand import HOST, SECS, Raw, Reader, Request, Stand, early, ok, stack

H = f"Host: {HOST}\r\n"
VERSION = "servezone_coretraffic_version"


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


class Http(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stand = cls.enterClassContext(Stand())
        cls.origin = cls.stand.origin

    # --- fields

    def test_forwarded_fields(self):
        with self.stand.client(source="127.0.0.9") as c:
            a = c.get("/fields?a=b", f"{HOST}:8443", ("X-Forwarded-For", "1.2.3.4"), ("X-FORWARDED-PROTO", "ftp"),
                      ("X-Forwarded-Host", "evil"), ("X-Forwarded-Anything", "1"), ("Forwarded", "for=1.2.3.4"),
                      ("X-Real-IP", "1.2.3.4"), ("X_Forwarded_For", "1.2.3.4"), ("x_forwarded-for", "1.2.3.4"),
                      ("X.Forwarded.For", "1.2.3.4"), ("X_Real_IP", "1.2.3.4"), ("Content_Length", "7"),
                      ("Proxy", "evil"), ("Keep-Alive", "timeout=5"), ("Proxy-Connection", "close"),
                      ("Connection", "keep-alive, X-Named"), ("X-Named", "gone"), ("X_Own", "stays"), ("X-Stays", "a\tb \xe9"))
            self.assertEqual(a.status, 200)
            c.s.close()
        r = self.origin.seen("/fields")[0]
        self.assertEqual(r.line, "GET /fields?a=b HTTP/1.1")
        self.assertEqual(r.one("x-forwarded-for"), "127.0.0.9")
        self.assertEqual(r.one("x-forwarded-proto"), "https")
        self.assertEqual(r.one("x-forwarded-host"), f"{HOST}:8443")
        self.assertEqual(r.one("forwarded"), f'for=127.0.0.9;host="{HOST}:8443";proto=https')
        self.assertEqual(sorted(k.lower() for k, _ in r.fields),
                         ["forwarded", "host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto",
                          "x-request-id", "x-stays", "x_own"])
        self.assertEqual(r.one("host"), f"{HOST}:8443")
        self.assertEqual(r.one("x-stays"), "a\tb \xe9")

    def test_answer_fields(self):
        self.origin.answers["/answer-fields"] = (
            b"HTTP/1.1 200 Fine \xe9\r\nContent-Length: 2\r\nConnection: keep-alive, X-Named\r\nX-Named: gone\r\n"
            b"Keep-Alive: timeout=5\r\nUpgrade: h2c\r\nSERVEZONE_coretraffic_version: forged\r\nServer: origin\r\n"
            b"Set-Cookie: a=b\r\nSet-Cookie: c=d\r\n\r\nok")
        with self.stand.client() as c:
            a = c.get("/answer-fields")
            self.assertEqual(a.line, "HTTP/1.1 200 Fine \xe9")
            self.assertEqual(a.all("set-cookie"), ["a=b", "c=d"])
            self.assertEqual(a.one("server"), "origin")
            self.assertNotEqual(a.one(VERSION), "forged")
            self.assertIsNotNone(a.one(VERSION))
            self.assertIsNotNone(a.one("date"))
            for gone in ("x-named", "keep-alive", "upgrade", "connection"):
                self.assertEqual(a.all(gone), [], gone)

    # --- framing

    def test_head_and_bodiless(self):
        self.origin.answers["/none"] = b"HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n"
        self.origin.answers["/same"] = b"HTTP/1.1 304 Same\r\nContent-Length: 77\r\nETag: \"x\"\r\n\r\n"
        self.origin.answers["/sized"] = lambda s, r: (
            b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n" if r.method == "HEAD" else ok())
        self.origin.answers["/chunked-head"] = lambda s, r: (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with self.stand.client() as c:
            a = c.get("/none")
            self.assertEqual((a.status, a.all("content-length"), a.all("transfer-encoding")), (204, [], []))
            a = c.get("/same")
            self.assertEqual((a.status, a.one("content-length")), (304, "77"))
            for path in ("/sized", "/chunked-head"):
                c.send(f"HEAD {path} HTTP/1.1\r\n{H}\r\n")
                a = c.answer("HEAD")
                self.assertEqual(a.status, 200)
            self.assertEqual(c.get("/sized").body, b"ok", "all of them left the connection in step")
        self.assertEqual(len({r.connection for r in self.origin.seen("/sized")}), 1)

    def test_chunked_both_ways(self):
        self.origin.answers["/trailers"] = (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n" + chunk(b"hello ") + b"5;ext=\"a b\"\r\nworld\r\n"
            b"0\r\nX-Sum: 11\r\nContent-Length: 5\r\nHost: evil\r\nSet-Cookie: a=b\r\n\r\n")
        with self.stand.client() as c:
            c.send(f"POST /trailers HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\nTE: trailers\r\nConnection: TE\r\nTrailer: X-In\r\n\r\n")
            c.send(chunk(b"a" * 5000) + chunk(b"b" * 70000) + b"0\r\nX-In: yes\r\nContent-Length: 9\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n")
            a = c.answer()
            self.assertEqual((a.body, a.trailers), (b"hello world", [("X-Sum", "11")]))
        r = self.origin.seen("/trailers")[0]
        self.assertEqual(r.body, b"a" * 5000 + b"b" * 70000)
        self.assertEqual(r.trailers, [("X-In", "yes")])
        self.assertEqual((r.one("te"), r.one("connection"), r.one("transfer-encoding")), ("trailers", "TE", "chunked"))

    def test_until_close(self):
        def answer(s, request):
            s.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100000)
            return None
        self.origin.answers["/until-close"] = answer
        with self.stand.client() as c:
            a = c.get("/until-close")
            self.assertEqual((a.body, a.one("transfer-encoding")), (b"x" * 100000, "chunked"))
            self.assertEqual(c.get("/go-on").status, 200)
            c.send(f"GET /until-close HTTP/1.0\r\n{H}Connection: keep-alive\r\n\r\n")
            a = c.answer()
            self.assertEqual((a.all("transfer-encoding"), a.one("connection"), len(a.body)), ([], "close", 100000))

    def test_http10(self):
        self.origin.answers["/chunks10"] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"hello") + b"0\r\n\r\n"
        with self.stand.client() as c:
            c.send(f"GET /10 HTTP/1.0\r\n{H}Connection: keep-alive\r\n\r\n")
            a = c.answer()
            self.assertEqual((a.line, a.one("connection"), a.body), ("HTTP/1.1 200 OK", "keep-alive", b"GET /10"))
            c.send(f"GET /chunks10 HTTP/1.0\r\n{H}\r\n")
            a = c.answer()
            self.assertEqual((a.body, a.one("connection"), a.all("transfer-encoding")), (b"hello", "close", []))
        with self.stand.client() as c:
            c.send(f"GET /10 HTTP/1.0\r\n{H}\r\n")
            self.assertEqual(c.answer().one("connection"), "close")
            self.assertTrue(c.is_closed())

    def test_origin_of_http10(self):
        def answer(s, request):
            s.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold")
            return b""
        self.origin.answers["/old"] = answer
        with self.stand.client() as c:
            self.assertEqual(c.get("/old").body, b"old")
            self.assertEqual(c.get("/old").body, b"old")
        self.assertEqual(len({r.connection for r in self.origin.seen("/old")}), 2, "1.0 keeps nothing by itself")

    def test_large_bodies(self):
        """20 MB up and down, chunked and counted, both ends with a checksum."""
        data = hashlib.sha256(b"seed").digest() * 65536 * 10
        self.origin.answers["/up"] = lambda s, r: ok(hashlib.sha256(r.body).hexdigest().encode())
        self.origin.answers["/down"] = ok(data)
        self.origin.answers["/down-chunked"] = (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                                                + b"".join(chunk(data[i:i + 9999]) for i in range(0, len(data), 9999)) + b"0\r\n\r\n")
        want = hashlib.sha256(data).hexdigest()
        with self.stand.client() as c:
            c.send(f"POST /up HTTP/1.1\r\n{H}Content-Length: {len(data)}\r\n\r\n".encode() + data)
            self.assertEqual(c.answer().body.decode(), want)
            c.send(f"POST /up HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n".encode()
                   + b"".join(chunk(data[i:i + 30011]) for i in range(0, len(data), 30011)) + b"0\r\n\r\n")
            self.assertEqual(c.answer().body.decode(), want)
            for path in ("/down", "/down-chunked"):
                self.assertEqual(hashlib.sha256(c.get(path).body).hexdigest(), want, path)
        self.origin.requests = [r for r in self.origin.requests if r.target != "/up"]

    def test_back_pressure(self):
        """Nobody reads: what is held stays bounded, and all of it arrives in the end."""
        size = 64 << 20
        sent = [0]

        def answer(s, request):
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            while sent[0] < size:
                sent[0] += s.send(b"z" * 65536)
            return None
        self.origin.answers["/slow-reader"] = answer
        with self.stand.client() as c:
            before = self.stand.traffic.resident_bytes()
            c.send(f"GET /slow-reader HTTP/1.1\r\n{H}\r\n")
            c.reader.until(b"\r\n\r\n")
            stalled = [-1]

            def is_stalled():
                was, stalled[0] = stalled[0], sent[0]
                return was == sent[0] and not threading.Event().wait(0.1) and was == sent[0]
            stack.wait_for("the origin is held up", is_stalled)
            self.assertLess(sent[0], 40 << 20)
            self.assertLess(self.stand.traffic.resident_bytes() - before, 8 << 20)
            self.assertEqual(len(c.reader.exactly(size)), size)

    def test_streaming(self):
        """Each piece arrives when it is sent, before there is an end, in both directions."""
        @early
        def answer(s, request, reader):
            s.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(3):
                piece = reader.exactly(int(reader.until(b"\r\n")[:-2], 16) + 2)[:-2]
                s.sendall(chunk(piece.upper()))
            reader.until(b"0\r\n\r\n")
            return b"0\r\n\r\n"
        self.origin.answers["/stream"] = answer
        with self.stand.client() as c:
            c.send(f"POST /stream HTTP/1.1\r\n{H}Transfer-Encoding: chunked\r\n\r\n")
            c.reader.until(b"\r\n\r\n")
            for word in (b"one", b"two", b"three"):
                c.send(chunk(word))
                size = int(c.reader.until(b"\r\n"), 16)
                self.assertEqual(c.reader.exactly(size + 2)[:-2], word.upper())
            c.send(b"0\r\n\r\n")
            self.assertEqual(c.reader.until(b"0\r\n\r\n"), b"0\r\n\r\n")

    # --- interim answers

    def test_expect_continue(self):
        with self.stand.client() as c:
            c.send(f"POST /expect HTTP/1.1\r\n{H}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            self.assertEqual(c.answer().status, 100)
            c.send("hello")
            self.assertEqual(c.answer().status, 200)
            self.assertEqual(c.get("/after-expect").status, 200)
        r = self.origin.seen("/expect")[0]
        self.assertEqual((r.one("expect"), r.body), ("100-continue", b"hello"))

    def test_expect_refused(self):
        @early
        def answer(s, request, reader):
            return b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"
        self.origin.answers["/expect-no"] = answer
        with self.stand.client() as c:
            c.send(f"POST /expect-no HTTP/1.1\r\n{H}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            a = c.answer()
            self.assertEqual((a.status, a.one("connection")), (403, "close"))

    def test_early_hints(self):
        self.origin.answers["/hints"] = (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
                                         b"HTTP/1.1 102 Processing\r\n\r\n" + ok(b"done"))
        with self.stand.client() as c:
            c.send(f"GET /hints HTTP/1.1\r\n{H}\r\n")
            a = c.answer()
            self.assertEqual((a.status, a.one("link")), (103, "</a>"))
            self.assertEqual(c.answer().status, 102)
            self.assertEqual(c.answer().body, b"done")
            c.send(f"GET /hints HTTP/1.0\r\n{H}\r\n")
            self.assertEqual(c.answer().status, 200, "HTTP/1.0 knows no interim answer")

    def test_endless_interims(self):
        self.origin.answers["/endless"] = b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20 + ok()
        with self.stand.client() as c:
            c.send(f"GET /endless HTTP/1.1\r\n{H}\r\n")
            while (a := c.answer()).status == 103:
                pass
            self.assertEqual(a.status, 502)

    # --- upgrades

    def test_websocket(self):
        def answer(s, request):
            key = request.one("sec-websocket-key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
            s.sendall(f"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode() + b"first")
            reader = Reader(s)
            while True:
                data = s.recv(65536)
                if not data:
                    return None
                s.sendall(data.upper())
        self.origin.answers["/ws"] = answer
        key = base64.b64encode(os.urandom(16)).decode()
        with self.stand.client() as c:
            # Bytes behind the request are sent before the origin agrees: held until it does.
            c.send(f"GET /ws HTTP/1.1\r\n{H}Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
                   f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\nearly")
            a = Request(c.reader.until(b"\r\n\r\n").replace(b"HTTP/1.1 101 Switching Protocols", b"GET / HTTP/1.1"), b"", [], 0)
            self.assertEqual((a.one("upgrade"), a.one("connection")), ("websocket", "Upgrade"))
            self.assertIsNotNone(a.one("sec-websocket-accept"))
            self.assertIsNotNone(a.one(VERSION))
            self.assertEqual(c.reader.exactly(10), b"firstEARLY")
            c.send("later")
            self.assertEqual(c.reader.exactly(5), b"LATER")
            big = os.urandom(1 << 20).hex().encode()
            self.assertEqual(c.exchange(big, len(big)), big.upper())
            self.assertEqual(self.stand.traffic.metric("penstock_traffic_upgrades_open"), 1)
            c.s = c.s.unwrap()  # close_notify: the origin sees the end
        r = self.origin.seen("/ws")[0]
        self.assertEqual((r.one("connection"), r.one("upgrade")), ("Upgrade", "websocket"))
        stack.wait_for("it is over", lambda: self.stand.traffic.metric("penstock_traffic_upgrades_open") == 0)

    def test_upgrade_ended_by_origin(self):
        def answer(s, request):
            s.sendall(b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nbye")
            return None
        self.origin.answers["/bye"] = answer
        with self.stand.client() as c:
            c.send(f"GET /bye HTTP/1.1\r\n{H}Connection: upgrade\r\nUpgrade: x\r\n\r\n")
            c.reader.until(b"\r\n\r\n")
            self.assertEqual(c.reader.rest(), b"bye")

    def test_upgrade_to_something_else(self):
        for protocol in "h2c", "websocket, h2c", "WebSocket2":
            with self.subTest(protocol):
                self.origin.answers["/other"] = (f"HTTP/1.1 101 Go\r\nConnection: upgrade\r\n"
                                                 f"Upgrade: {protocol}\r\n\r\nnot asked for").encode()
                with self.stand.client() as c:
                    c.send(f"GET /other HTTP/1.1\r\n{H}Connection: upgrade\r\nUpgrade: websocket\r\n\r\n")
                    a = c.answer()
                    self.assertEqual((a.status, a.body), (502, b"502 upstream_upgrade\n"))
                    self.assertTrue(c.is_closed())

    # --- names

    def test_names(self):
        with self.assertRaisesRegex(ssl.SSLError, "(?i)unrecognized"):
            self.stand.client(sni="unknown.example.test")
        with self.assertRaisesRegex(ssl.SSLError, "(?i)unrecognized"):
            self.stand.client(sni=None)
        with self.assertRaises((ssl.SSLError, OSError)):
            self.stand.client(sni=f"x.{HOST}")
        with self.stand.client(sni=HOST.upper()) as c:
            self.assertEqual(c.get("/caps").status, 200)
        self.assertGreaterEqual(self.stand.reason("unknown_name"), 2)

    def test_versions_of_tls(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = stack.tls_context()
            context.minimum_version = context.maximum_version = version
            with self.stand.client(context=context) as c:
                self.assertEqual(c.s.selected_alpn_protocol(), "http/1.1")
                self.assertEqual(c.get("/tls").status, 200)
        context = stack.tls_context()
        context.set_ciphers("ALL:@SECLEVEL=0")  # else OpenSSL would not even ask
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        with self.assertRaisesRegex(ssl.SSLError, "(?i)protocol[ _]version"), self.stand.client(context=context):
            pass

    def test_plain_text_on_the_tls_port(self):
        with self.stand.client(tls=False) as c:
            c.send(f"GET / HTTP/1.1\r\n{H}\r\n")
            self.assertNotIn(b"HTTP/1.1 2", c.reader.rest())

    # --- keeping

    def test_keeps_connections(self):
        with self.stand.client() as c:
            for _ in range(10):
                c.get("/kept")
        with self.stand.client() as c:
            c.get("/kept")
        self.assertEqual(len({r.connection for r in self.origin.seen("/kept")}), 1)

    def test_origin_closed_while_idle(self):
        with self.stand.client() as c:
            for i in range(20):
                c.send(f"POST /idle HTTP/1.1\r\n{H}Content-Length: 2\r\n\r\nhi")
                self.assertEqual(c.answer().status, 200)
                self.origin.drop_connections()
                self.origin.wait_closed()
        self.assertEqual(len(self.origin.seen("/idle")), 20)

    def test_connection_close(self):
        with self.stand.client() as c:
            a = c.get("/close", HOST, ("Connection", "close"))
            self.assertEqual(a.one("connection"), "close")
            self.assertTrue(c.is_closed())

    def test_half_closed_client(self):
        """A client that says close_notify behind its request still gets the answer."""
        context = stack.tls_context()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname=HOST)
        with socket.create_connection(self.stand.https, SECS) as s:
            def pump(step):
                while True:
                    try:
                        return step()
                    except ssl.SSLWantReadError:
                        s.sendall(outgoing.read())
                        data = s.recv(65536)
                        incoming.write(data) if data else incoming.write_eof()
            pump(tls.do_handshake)
            tls.write(f"GET /half HTTP/1.1\r\n{H}\r\n".encode())
            with self.assertRaises(ssl.SSLWantReadError):
                tls.unwrap()
            s.sendall(outgoing.read())
            got = b""
            while not got.endswith(b"\r\n\r\nGET /half"):
                data = s.recv(65536)
                self.assertTrue(data, got)
                incoming.write(data)
                with contextlib.suppress(ssl.SSLWantReadError):
                    got += tls.read(65536)
            self.assertTrue(got.startswith(b"HTTP/1.1 200 "), got)

    def test_client_gone(self):
        """The origin's connection is closed when nobody waits for its answer any more."""
        gone = threading.Event()

        def answer(s, request):
            if s.recv(1) == b"":
                gone.set()
            return None
        self.origin.answers["/gone"] = answer
        c = self.stand.client()
        c.send(f"GET /gone HTTP/1.1\r\n{H}\r\n")
        self.origin.wait_seen("/gone")
        c.close()
        self.assertTrue(gone.wait(SECS))

    def test_resets_in_every_state(self):
        """Client, origin or both reset in the middle of a head, a body, an upgrade: nothing stays behind."""
        def reset(s):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        def ends(answer):
            def serve(s, request):
                s.sendall(answer)
                reset(s)
                return None
            return serve

        @early
        def mid_request(s, request, reader):
            reset(s)
            return None
        answers = {"/r0": ends(b""), "/r1": ends(b"HTTP/1.1 200 OK\r\nConte"),
                   "/r2": ends(b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n" + b"x" * 300000),
                   "/r3": ends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"),
                   "/r4": ends(b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n" + b"x" * 300000),
                   "/r5": mid_request}
        self.origin.answers.update(answers)
        for path in answers:
            for how in "reset", "read a little and reset", "read all":
                with self.subTest(path=path, how=how), self.stand.client() as c:
                    upgrade = "Connection: upgrade\r\nUpgrade: x\r\n" if path == "/r4" else "Connection: close\r\n"
                    method = "POST" if path == "/r5" else "GET"
                    body = "Content-Length: 100000\r\n\r\nhello" if path == "/r5" else "\r\n"
                    c.send(f"{method} {path} HTTP/1.1\r\n{H}{upgrade}{body}")
                    with contextlib.suppress(OSError):
                        if how == "read all":
                            c.reader.rest()
                        elif how != "reset":
                            c.s.recv(10)
                    reset(c.s)
        stack.wait_for("all is given back", lambda: not any(
            self.stand.traffic.metric(f"penstock_traffic_{gauge}")
            for gauge in ("clients_open", "exchanges_open", "upgrades_open", "chunks_out")))
        with self.stand.client() as c:
            self.assertEqual(c.get("/after").body, b"GET /after")

    def test_post_is_not_repeated(self):
        def answer(s, request):
            return None if len(self.origin.seen("/once")) > 1 else ok()
        self.origin.answers["/once"] = answer
        with self.stand.client() as c:
            c.send(f"POST /once HTTP/1.1\r\n{H}Content-Length: 2\r\n\r\nhi")
            self.assertEqual(c.answer().status, 200)
            c.send(f"POST /once HTTP/1.1\r\n{H}Content-Length: 2\r\n\r\nhi")
            a = c.answer()
            self.assertEqual((a.status, a.body), (502, b"502 upstream_closed\n"))
        self.assertEqual(len(self.origin.seen("/once")), 2)

    def test_get_is_repeated_once(self):
        def answer(s, request):
            return None if len(self.origin.seen("/again")) == 2 else ok(b"done")
        self.origin.answers["/again"] = answer
        before = self.stand.traffic.metric("penstock_traffic_upstream_retries_total")
        with self.stand.client() as c:
            self.assertEqual(c.get("/again").status, 200)
            self.assertEqual(c.get("/again").body, b"done")
        self.assertEqual(len(self.origin.seen("/again")), 3)
        self.assertEqual(self.stand.traffic.metric("penstock_traffic_upstream_retries_total"), before + 1)


class Tickets(unittest.TestCase):
    """Session tickets: all workers open what one sealed, for the same name only."""

    def visit(self, stand, name, session=None):
        with contextlib.closing(socket.create_connection(stand.https, SECS)) as plain:
            context = self.contexts.setdefault(self.version, stack.tls_context())
            context.minimum_version = context.maximum_version = self.version
            with context.wrap_socket(plain, server_hostname=name, session=session) as s:
                s.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
                self.assertIn(b" 200 ", Reader(s).rest())
                return s.session_reused, s.session

    def test_tickets(self):
        self.contexts = {}
        with Stand(workers=2) as stand:
            stand.routes([stand.route(HOST), stand.route("other.example.test")])
            for self.version in ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2:
                reused, session = self.visit(stand, HOST)
                self.assertFalse(reused)
                self.assertFalse(self.visit(stand, "other.example.test", session)[0])
                for _ in range(8):  # both workers
                    reused, session = self.visit(stand, HOST, session)
                    self.assertTrue(reused)
            self.assertEqual(stand.traffic.metric("penstock_traffic_handshakes_resumed_total"), 16)
            del stand.certificates[HOST]  # renewed: who comes back sees the new one
            stand.routes([stand.route(HOST), stand.route("other.example.test")])
            self.assertFalse(self.visit(stand, HOST, session)[0])

    def test_no_early_data(self):
        """A request of 0-RTT could be sent again by anyone who saw it: no ticket allows a byte of it."""
        with Stand() as stand:
            done = subprocess.run(["openssl", "s_client", "-connect", f"{stand.https[0]}:{stand.https[1]}", "-servername", HOST,
                                   "-tls1_3", "-alpn", "http/1.1", "-ign_eof"], timeout=SECS, capture_output=True,
                                  input=f"GET / HTTP/1.1\r\n{H}Connection: close\r\n\r\n".encode())
            said = done.stdout.decode()
            self.assertIn("HTTP/1.1 200 ", said, done.stderr)
            self.assertGreaterEqual(said.count("TLS session ticket:"), 1, said)
            self.assertEqual(said.count("Max Early Data: 0\n"), said.count("Max Early Data: "), said)

    def test_none(self):
        self.contexts, self.version = {}, ssl.TLSVersion.TLSv1_3
        with Stand(tickets={"keys": 0}) as stand:
            session = self.visit(stand, HOST)[1]
            self.assertFalse(session.has_ticket)


class Auth(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stand = cls.enterClassContext(Stand())
        cls.origin = cls.stand.origin
        auth = {"type": "Basic", "user": "ann", "pass": "s3cret:ü"}
        cls.stand.routes([cls.stand.route(HOST, authentication=auth),
                          cls.stand.route("open.example.test"),
                          cls.stand.route("pass.example.test", authentication=auth, forwardAuthorization=True)])

    def test_refused_before_the_origin(self):
        with self.stand.client() as c:
            for value in (None, "Basic", "Basic !!!", "Bearer abc", basic("ann", "wrong"), basic("bob", "s3cret:ü"),
                          basic("ann", ""), "Basic " + base64.b64encode(b"ann").decode()):
                a = c.get("/auth", HOST, *([("Authorization", value)] if value is not None else []))
                self.assertEqual(a.status, 401, value)
                self.assertEqual(a.one("www-authenticate"), f'Basic realm="{HOST}", charset="UTF-8"')
                self.assertIsNotNone(a.one(VERSION))
            c.send(f"HEAD /auth HTTP/1.1\r\n{H}\r\n")
            self.assertEqual(c.answer("HEAD").status, 401)
            self.assertEqual(c.get("/auth-ok", HOST, ("Authorization", basic("ann", "s3cret:ü"))).status, 200)
        self.assertEqual(self.origin.seen("/auth"), [])
        self.assertEqual(self.origin.seen("/auth-ok")[0].all("authorization"), [])

    def test_twice(self):
        with self.stand.client() as c:
            good = ("Authorization", basic("ann", "s3cret:ü"))
            self.assertEqual(c.get("/twice", HOST, good, good).status, 400)
        self.assertEqual(self.origin.seen("/twice"), [])

    def test_forwarded_where_it_belongs(self):
        with self.stand.client(sni="open.example.test") as c:
            self.assertEqual(c.get("/open", "open.example.test", ("Authorization", "Bearer abc")).status, 200)
        self.assertEqual(self.origin.seen("/open")[0].one("authorization"), "Bearer abc")
        good = basic("ann", "s3cret:ü")
        with self.stand.client(sni="pass.example.test") as c:
            self.assertEqual(c.get("/pass", "pass.example.test", ("Authorization", good)).status, 200)
        self.assertEqual(self.origin.seen("/pass")[0].one("authorization"), good)

    def test_hash(self):
        """passHash: checked off the loop, remembered for a while, kept over a restart."""
        program = self.stand.traffic.program
        for method in "yescrypt", "bcrypt", "sha512":
            with self.subTest(method=method), Stand(auth={"failures": 3}, workers=1) as stand:
                done = subprocess.run([program, "hash-password", method], input="s3cret:ü\n".encode(),
                                      capture_output=True, check=True)
                auth = {"type": "Basic", "user": "ann", "passHash": done.stdout.decode().strip()}
                stand.routes([stand.route(HOST, authentication=auth)])
                good, wrong = (("Authorization", basic(u, p)) for u, p in (("ann", "s3cret:ü"), ("ann", "wrong")))
                with stand.client() as c:
                    self.assertEqual(c.get("/", HOST).status, 401)
                    self.assertEqual(c.get("/", HOST, wrong).status, 401)
                    self.assertEqual(c.get("/", HOST, ("Authorization", basic("bob", "s3cret:ü"))).status, 401)
                    c.send(f"POST /hash HTTP/1.1\r\n{H}{good[0]}: {good[1]}\r\nContent-Length: 100000\r\n\r\n"
                           + "x" * 100000)
                    self.assertEqual(c.answer().status, 200)
                    self.assertEqual(len(stand.origin.seen("/hash")[0].body), 100000)
                    for _ in range(200):  # 200 hashes would take a minute
                        self.assertEqual(c.get("/", HOST, good).status, 200)
                shown = stand.traffic.api("GET", f"/v1/routes/{HOST}", expect=200)
                self.assertNotIn(auth["passHash"], shown.body.decode())
                self.assertEqual(stand.traffic.api("PUT", f"/v1/routes/{HOST}", shown.json, expect=200).json["changed"], [])
                with stand.client() as c:  # who asks and goes away
                    c.send(f"GET / HTTP/1.1\r\n{H}{wrong[0]}: {wrong[1]}\r\n\r\n")
                stand.traffic.stop()
                stand.traffic.start()
                stand.https = stand.traffic.address("https")
                with stand.client() as c:
                    self.assertEqual(c.get("/", HOST, good).status, 200)
                    self.assertEqual(c.get("/", HOST, wrong).status, 401)

    def test_a_slow_hash_holds_nobody_up(self):
        """The costliest that a route may have takes seconds: whoever asks meanwhile, of the one loop that there is,
        is answered before it is told."""
        costly = "$2b$15$" + "." * 53  # nobody's password
        with Stand(workers=1) as stand:
            stand.routes([stand.route(HOST), stand.route("costly.example.test", authentication={
                "type": "Basic", "user": "ann", "passHash": costly})])
            with stand.client(sni="costly.example.test") as waits, stand.client() as c, H2(stand.https) as c2:
                waits.send("GET /costly HTTP/1.1\r\nHost: costly.example.test\r\n"
                           f"Authorization: {basic('ann', 's3cret')}\r\n\r\n")
                for _ in range(10):
                    self.assertEqual((c.get("/meanwhile").status, c2.get("/meanwhile").status), (200, 200))
                self.assertEqual(waits.answer().status, 401)
            told = stand.traffic.wait_event("request", path="/costly")
            self.assertEqual(told["reason"], "auth_failed")
            lines = stand.traffic.events("request")
            self.assertEqual(lines.index(told), 20, [line["path"] for line in lines])

    def test_back_off(self):
        """Wrong ones in a row from an address are not looked at any more; others are not harmed."""
        good, wrong = (("Authorization", basic("ann", p)) for p in ("s3cret:ü", "wrong"))
        with Stand(auth={"failures": 3}, workers=1) as stand:
            stand.routes([stand.route(HOST, authentication={"type": "Basic", "user": "ann", "pass": "s3cret:ü"})])
            with stand.client() as c, stand.client(source="127.0.0.9") as other:
                for _ in range(2):
                    self.assertEqual([c.get("/", HOST, f).status for f in (wrong, wrong, good)], [401, 401, 200])
                self.assertEqual([c.get("/", HOST, wrong).status for _ in range(3)], [401] * 3)
                a = c.get("/", HOST, good)
                self.assertEqual((a.status, a.body), (429, b"429 auth_backoff\n"))
                self.assertEqual(c.get("/", HOST).status, 401)
                self.assertEqual(other.get("/", HOST, good).status, 200)
                stack.wait_for("the second to be over", lambda: c.get("/", HOST, good).status == 200)
            self.assertGreater(stand.reason("auth_backoff"), 0)

    def test_with_a_body(self):
        with self.stand.client() as c:
            c.send(f"POST /auth HTTP/1.1\r\n{H}Content-Length: 500000\r\n\r\n" + "x" * 200000)
            a = c.answer()
            self.assertEqual((a.status, a.one("connection")), (401, "close"))


class Destinations(unittest.TestCase):
    def setUp(self):
        self.stand = self.enterContext(Stand())

    def test_round_robin(self):
        origins = [self.stand.origin, self.stand.new_origin(), self.stand.new_origin()]
        self.stand.routes([self.stand.route(HOST, origins)])
        with self.stand.client() as c:
            for _ in range(30):
                self.assertEqual(c.get("/rr").status, 200)
        self.assertEqual([len(o.seen("/rr")) for o in origins], [10, 10, 10])

    def test_one_is_dead(self):
        dead = stack.free_port()
        self.stand.routes([self.stand.route(HOST, [dead, self.stand.origin])])
        with self.stand.client() as c:
            for _ in range(20):
                c.send(f"POST /one HTTP/1.1\r\n{H}Content-Length: 2\r\n\r\nhi")
                self.assertEqual(c.answer().status, 200)
        self.assertEqual(len(self.stand.origin.seen("/one")), 20)
        self.assertEqual(self.stand.traffic.metric("penstock_traffic_upstream_connect_failures_total"), 1,
                         "a dead one is skipped")
        self.stand.traffic.wait_event("target_down", target=f"127.0.0.1:{dead}")

    def test_all_are_dead_and_one_comes_back(self):
        port = stack.free_port()
        self.stand.routes([self.stand.route(HOST, [port])])
        with self.stand.client() as c:
            a = c.get("/dead")
            self.assertEqual((a.status, a.body), (502, b"502 upstream_connect\n"))
            self.assertIsNotNone(a.one(VERSION))
            listener = socket.create_server(("127.0.0.1", port))
            self.addCleanup(listener.close)

            def serve():
                s, _ = listener.accept()
                with s:
                    Reader(s).until(b"\r\n\r\n")
                    s.sendall(ok(b"back"))
                    s.recv(1)
            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            self.assertEqual(c.get("/back").body, b"back", "all are down: tried anyway")
        self.stand.traffic.wait_event("target_up", target=f"127.0.0.1:{port}")

    def test_change_of_routes(self):
        """Connections that are open see the new set at their next request; a running answer is not cut."""
        other = self.stand.new_origin()
        going = threading.Event()

        def answer(s, request):
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
            going.wait(SECS)
            return b"world"
        self.stand.origin.answers["/running"] = answer
        with self.stand.client() as running, self.stand.client() as idle, self.stand.client() as third:
            running.send(f"GET /running HTTP/1.1\r\n{H}\r\n")
            running.reader.until(b"hello")
            self.assertEqual(idle.get("/before").status, 200)
            self.assertEqual(third.get("/before").status, 200)
            self.stand.routes([self.stand.route(HOST, [other])])
            self.assertEqual(idle.get("/after").status, 200)
            self.assertEqual(len(other.seen("/after")), 1)
            self.stand.routes([self.stand.route("other.example.test", [other])])
            a = third.get("/removed")
            self.assertEqual((a.status, a.all(VERSION)), (421, []), "no route of this name any more")
            going.set()
            self.assertEqual(running.reader.exactly(5), b"world")
        with self.assertRaises(ssl.SSLError):
            self.stand.client()

    def test_wildcard(self):
        exact = self.stand.new_origin()
        self.stand.routes([self.stand.route("*.example.test"), self.stand.route(HOST, [exact])])
        with self.stand.client(sni="any.example.test") as c:
            self.assertEqual(c.get("/wild", "any.example.test").status, 200)
            self.assertEqual(c.get("/wild", "other.example.test").status, 421, "another name than the handshake's")
        with self.stand.client() as c:
            self.assertEqual(c.get("/exact").status, 200)
        self.assertEqual((len(self.stand.origin.seen("/wild")), len(exact.seen("/exact"))), (1, 1))
        with self.assertRaises(ssl.SSLError):
            self.stand.client(sni="a.b.example.test")


class Limits(unittest.TestCase):
    def test_timeouts(self):
        """All at once: the deadlines are long enough for a test that is held up."""
        secs = 5
        with Stand(timeouts={"headerSecs": secs, "bodyIdleSecs": secs, "idleSecs": secs, "handshakeSecs": secs,
                             "upgradeIdleSecs": secs}) as stand, contextlib.ExitStack() as clients:
            stand.origin.answers["/silent"] = lambda s, r: (s.recv(1), None)[1]

            def half(s, request):
                s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
                s.recv(1)
            stand.origin.answers["/half"] = half

            def relay(s, request):
                s.sendall(b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
                s.recv(1)
            stand.origin.answers["/relay"] = relay

            def says(text, **options):
                c = clients.enter_context(stand.client(**options))
                c.send(text)
                return c
            head = says("GET / HT")
            body = says(f"POST /body HTTP/1.1\r\n{H}Content-Length: 10\r\n\r\nhello")
            silent = says(f"GET /silent HTTP/1.1\r\n{H}\r\n")
            cut = says(f"GET /half HTTP/1.1\r\n{H}\r\n")
            upgrade = says(f"GET /relay HTTP/1.1\r\n{H}Connection: upgrade\r\nUpgrade: x\r\n\r\n")
            no_handshake = says("", tls=False)

            for c, word in (head, "header_timeout"), (body, "body_timeout"):
                a = c.answer()
                self.assertEqual((a.status, a.body), (408, f"408 {word}\n".encode()))
                self.assertTrue(c.is_closed())
            a = silent.answer()
            self.assertEqual((a.status, a.body), (504, b"504 upstream_timeout\n"))
            self.assertIsNotNone(a.one(VERSION))
            self.assertEqual(silent.get("/go-on").status, 200)
            self.assertTrue(silent.is_closed(), "idle")
            with self.assertRaises((EOFError, OSError)):
                cut.answer()
            upgrade.reader.until(b"\r\n\r\n")
            self.assertTrue(upgrade.is_closed())
            self.assertTrue(no_handshake.is_closed(), "no handshake")
            self.assertEqual(stand.origin.seen("/body"), [])
            for word in ("header_timeout", "body_timeout", "upstream_timeout", "handshake_timeout", "upgrade_idle"):
                self.assertGreaterEqual(stand.reason(word), 1, word)

    def test_slow_body(self):
        """A body that drips is as good as none, however regularly it drips."""
        with Stand(timeouts={"bodyIdleSecs": 2}) as stand, stand.client() as c:
            begin, drips = time.monotonic(), 0
            c.send(f"POST /drip HTTP/1.1\r\n{H}Content-Length: 100000\r\n\r\n")
            c.s.settimeout(0.05)  # of a read: readable is a socket as soon as TLS 1.3 has sent its tickets
            while not c.reader.held:
                try:
                    self.assertTrue(c.reader.more())
                except TimeoutError:
                    c.send("x")
                    drips += 1
                self.assertLess(time.monotonic() - begin, SECS)
            c.s.settimeout(SECS)
            self.assertEqual(c.answer().body, b"408 body_timeout\n")
            self.assertGreater(time.monotonic() - begin, 1.5)
            self.assertGreater(drips, 10)
            self.assertEqual(stand.origin.seen("/drip"), [])

    def test_connect_timeout(self):
        """A destination that does not answer at all: the next one is asked."""
        with Stand(timeouts={"connectSecs": 4}) as stand:
            full = socket.socket()
            self.addCleanup(full.close)
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            port = full.getsockname()[1]
            waiting = []
            for _ in range(4):  # its queue is full: further SYNs are dropped
                s = socket.socket()
                s.setblocking(False)
                s.connect_ex(("127.0.0.1", port))
                waiting.append(s)
                self.addCleanup(s.close)
            stand.routes([stand.route(HOST, [port, stand.origin])])
            with stand.client() as c:
                self.assertEqual(c.get("/next").status, 200)
                self.assertEqual(c.get("/next").status, 200)
            stand.routes([stand.route(HOST, [port])])
            with stand.client() as c:
                self.assertEqual(c.get("/none").status, 504)

    def test_connections(self):
        with Stand(limits={"connections": 3}) as stand:
            clients = [stand.client() for _ in range(3)]
            with self.assertRaises((OSError, ssl.SSLError)):
                stand.client()
            self.assertEqual(clients[0].get("/full").status, 200, "the newest is refused, not the others")
            for c in clients:
                c.close()
            stack.wait_for("all are gone", lambda: stand.traffic.metric("penstock_traffic_clients_open") == 0)
            with stand.client() as c:
                self.assertEqual(c.get("/again").status, 200)
            self.assertEqual(stand.reason("limit_connections"), 1)

    def test_connections_per_address(self):
        with Stand(limits={"connectionsPerAddress": 2}) as stand:
            clients = [stand.client() for _ in range(2)]
            with self.assertRaises((OSError, ssl.SSLError)):
                stand.client()
            with stand.client(source="127.0.0.7") as c:
                self.assertEqual(c.get("/other").status, 200)
            self.assertEqual(stand.reason("limit_address"), 1)
            for c in clients:
                c.close()

    def test_requests_per_connection(self):
        with Stand(limits={"requestsPerConnection": 3}) as stand, stand.client() as c:
            self.assertEqual([c.get("/n").one("connection") for _ in range(3)], [None, None, "close"])
            self.assertTrue(c.is_closed())

    def test_upstream_connections(self):
        with Stand(limits={"upstreamConnections": 1}) as stand:
            go = threading.Event()
            stand.origin.answers["/held"] = lambda s, r: (go.wait(SECS), ok())[1]
            with stand.client() as a, stand.client() as b:
                a.send(f"GET /held HTTP/1.1\r\n{H}\r\n")
                stand.origin.wait_seen("/held")
                answer = b.get("/more")
                self.assertEqual((answer.status, answer.body), (503, b"503 upstream_full\n"))
                go.set()
                self.assertEqual(a.answer().status, 200)
                self.assertEqual(b.get("/more").status, 200)

    def test_many_clients(self):
        """100 clients at once, all answered; nothing is left open behind them."""
        with Stand(log={"access": False}) as stand:
            with stand.client() as c:
                c.get("/warm")
            clients = [stand.client() for _ in range(100)]
            for i, c in enumerate(clients):
                c.send(f"GET /many-{i} HTTP/1.1\r\n{H}\r\n")
            for i, c in enumerate(clients):
                self.assertEqual(c.answer().body, f"GET /many-{i}".encode())
            for c in clients:
                c.close()
            stack.wait_for("all are gone", lambda: stand.traffic.metric("penstock_traffic_clients_open") == 0)
            self.assertEqual(stand.traffic.metric("penstock_traffic_exchanges_open"), 0)

    def test_access_log(self):
        with Stand() as stand:
            with stand.client(source="127.0.0.9") as c:
                c.get("/logged?q=1", HOST, ("Authorization", "Bearer hush-hush"))
                c.send(f"GET /bad HTTP/1.1\r\n{H}A : b\r\n\r\n")
                c.answer()
            line = stand.traffic.wait_event("request", path="/logged?q=1")
            self.assertEqual((line["client"], line["host"], line["method"], line["status"], line["reason"], line["upstream"]),
                             ("127.0.0.9", HOST, "GET", 200, "none", f"127.0.0.1:{stand.origin.port}"))
            self.assertEqual(stand.traffic.wait_event("request", status=400)["reason"], "bad_field_name")
            self.assertEqual({word for word, count in stand.reasons().items() if count}, {"bad_field_name"})
            self.assertNotIn("hush-hush", str(stand.traffic.lines))
        with Stand(log={"access": False}) as stand, stand.client() as c:
            c.get("/quiet")
            self.assertEqual(stand.traffic.events("request"), [])


class HeldUp(unittest.TestCase):
    """The program stands still for longer than a deadline: what came in time is not too late.  The deadlines are
    long enough for a test that is held up itself, so all share one stop."""

    DEADLINE = 7

    @contextlib.contextmanager
    def stopped(self, stand):
        os.kill(stand.traffic.pid, signal.SIGSTOP)
        try:
            yield
            threading.Event().wait(self.DEADLINE + 0.7)  # that this time passes is the point
        finally:
            os.kill(stand.traffic.pid, signal.SIGCONT)

    def test_what_came_in_time(self):
        went, answer = threading.Event(), threading.Event()

        def late(s, request):
            answer.wait(SECS)
            s.sendall(ok(b"in time"))
            went.set()
            return b""
        with Stand(timeouts={"headerSecs": self.DEADLINE, "bodyIdleSecs": self.DEADLINE, "idleSecs": self.DEADLINE}) as stand:
            stand.origin.answers["/late"] = late
            # The origin has as long as it needs for what traffic asks it after the stop.
            stand.routes([stand.route(HOST, timeouts={"bodyIdleSecs": 60}),
                          stand.route("silent.example.test")])
            with (stand.client() as idle, stand.client() as body, stand.client(sni="silent.example.test") as asked,
                  stand.client() as silent, H2(stand.https) as idle2, H2(stand.https) as silent2):
                for c in idle, silent, idle2, silent2:
                    self.assertEqual(c.get("/1").status, 200)
                body.send(f"POST /body HTTP/1.1\r\n{H}Expect: 100-continue\r\nContent-Length: 4\r\n\r\n")
                self.assertEqual(body.answer().status, 100)
                body.send("ab")
                asked.send("GET /late HTTP/1.1\r\nHost: silent.example.test\r\n\r\n")
                stand.origin.wait_seen("/late")
                with self.stopped(stand):
                    idle.send(f"GET /2 HTTP/1.1\r\n{H}\r\n")
                    body.send("cd")
                    stream = idle2.request("/2")
                    answer.set()
                    self.assertTrue(went.wait(SECS))
                self.assertEqual(idle.answer().body, b"GET /2")
                self.assertEqual(body.answer().status, 200)
                self.assertEqual(asked.answer().body, b"in time", "an origin's answer")
                self.assertEqual(idle2.wait(stream).body, b"GET /2")
                self.assertTrue(silent.is_closed())
                while silent2.read():
                    pass
                self.assertEqual(silent2.goaway, 0)
            self.assertEqual(stand.origin.seen("/body")[0].body, b"abcd")


class Endurance(unittest.TestCase):
    def test_answers_that_are_not_read(self):
        """Requests without end from someone who reads nothing: what is held stays bounded."""
        # Small answers: the kernel may hold as many of them as a connection has by default.
        with Stand(log={"access": False}, limits={"requestsPerConnection": 1000000000}) as stand:
            stand.origin.answers["/1k"] = ok(b"x" * 1000)
            for path in ("/1k", "/401"):
                c = stand.client(receive_buffer=4096)
                data = (f"GET {path} HTTP/1.1\r\n{H}\r\n" * 200).encode()
                if path == "/401":
                    data = (f"GET {path} HTTP/1.1\r\n{H}Authorization: x\r\n\r\n" * 200).encode()
                    stand.routes([stand.route(HOST, authentication={"type": "Basic", "user": "a", "pass": "b"})])
                c.s.settimeout(1)

                def press():
                    """Sends until it is stuck: by a full buffer at last, by a busy machine at first."""
                    sent = 0
                    with self.assertRaises(OSError):
                        while sent < 256 << 20:
                            sent += c.s.send(data)
                    # The gauge is at most half a second old: it has seen the stall when it shows a buffer.
                    return stand.traffic.metric("penstock_traffic_chunks_out")
                held = stack.wait_for("buffers are held", press, 60)
                self.assertLess(held * 16384, 2 << 20, path)
                c.close()
            stack.wait_for("they are gone", lambda: stand.traffic.metric("penstock_traffic_clients_open") == 0)

    def test_changes_of_routes_under_load(self):
        """Sets are swapped while clients ask all the time: no request fails, no connection is lost."""
        with Stand(log={"access": False}, workers=2) as stand:
            one, two = stand.route(HOST), stand.route("other.example.test")
            stop, failures, served = threading.Event(), [], [0] * 4

            def ask(i):
                with stand.client() as c:
                    while not stop.is_set():
                        a = c.get(f"/load-{i}")
                        if a.status != 200 or a.body != f"GET /load-{i}".encode():
                            failures.append(a.line)
                        served[i] += 1

            def guarded(i):
                try:
                    ask(i)
                except Exception as error:  # noqa: BLE001: shown by the assertion
                    failures.append(repr(error))
            threads = [threading.Thread(target=guarded, args=(i,)) for i in range(4)]
            for t in threads:
                t.start()
            for n in range(40):
                stand.routes([one, two] if n % 2 else [one])
            stack.wait_for("all were served", lambda: failures or min(served) > 20)
            stop.set()
            for t in threads:
                t.join(SECS)
            self.assertEqual(failures, [])

    def test_nothing_is_left_behind(self):
        """Clients that come and go in every way leave no descriptor."""
        with Stand(log={"access": False}, timeouts={"idleSecs": 1}) as stand:
            with stand.client() as c:
                c.get("/warm")
            stack.wait_for("it is gone", lambda: stand.traffic.metric("penstock_traffic_clients_open") == 0)
            before = stand.traffic.open_files()
            for i in range(40):
                c = stand.client(tls=i % 5 != 0)
                if i % 5 == 1:
                    c.get("/whole")
                elif i % 5 == 2:
                    c.send(f"GET /half HTTP/1.1\r\n")
                elif i % 5 == 3:
                    c.send(f"POST /body HTTP/1.1\r\n{H}Content-Length: 10\r\n\r\nhello")
                elif i % 5 == 4:
                    c.send(f"GET /bad HTTP/1.1\n\n")
                if i % 2:
                    c.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                c.close()
            stack.wait_for("all are gone", lambda: stand.traffic.metric("penstock_traffic_clients_open") == 0)
            self.assertEqual(stand.traffic.metric("penstock_traffic_exchanges_open"), 0)
            stack.wait_for("buffers are given back", lambda: stand.traffic.metric("penstock_traffic_chunks_out") == 0)
            self.assertLessEqual(stand.traffic.open_files(), before + 1)


class Redirect(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stand = cls.enterClassContext(Stand(timeouts={"headerSecs": 2}))

    def client(self, stand=None):
        return Raw((stand or self.stand).http, tls=False)

    def test_rows(self):
        rows = [
            (f"GET /a/b?c=d&e=%20 HTTP/1.1\r\n{H}\r\n", f"https://{HOST}/a/b?c=d&e=%20"),
            ("GET / HTTP/1.1\r\nHost: Example.TEST:80\r\n\r\n", "https://example.test/"),
            ("GET / HTTP/1.1\r\nHost: example.test.:8080\r\n\r\n", "https://example.test/"),
            ("GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", "https://[2001:db8::1]/"),
            ("GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n", "https://192.0.2.1/"),
            (f"GET http://{HOST}/abs HTTP/1.1\r\n{H}\r\n", f"https://{HOST}/abs"),
            (f"POST /form HTTP/1.1\r\n{H}Content-Length: 3\r\n\r\nabc", f"https://{HOST}/form"),
            (f"OPTIONS * HTTP/1.1\r\n{H}\r\n", f"https://{HOST}/"),
        ]
        for data, location in rows:
            with self.subTest(data), self.client() as c:
                c.send(data)
                a = c.answer()
                self.assertEqual((a.status, a.one("location")), (301, location))
                self.assertEqual(a.all(VERSION), [])
                self.assertEqual(a.all("server"), [])

    def test_refused(self):
        for data, status in (
                ("GET / HTTP/1.1\r\n\r\n", 400), ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
                ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400), ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
                ("GET / HTTP/1.1\r\nHost: -a.test\r\n\r\n", 400), ("GET / HTTP/1.1\r\nHost: a..test\r\n\r\n", 400),
                ("GET / HTTP/1.1\r\nHost: evil.test/@x\r\n\r\n", 400), ("GET / HTTP/1.1\r\nHost: [::x]\r\n\r\n", 400),
                ("GET //evil.test\rx HTTP/1.1\r\nHost: a.test\r\n\r\n", 400), ("GET / HTTP/1.1\nHost: a.test\n\n", 400),
                (f"CONNECT {HOST}:443 HTTP/1.1\r\n{H}\r\n", 405), ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n", 400),
                (f"GET /{'a' * 9000} HTTP/1.1\r\n{H}\r\n", 414), (f"GET / HTTP/1.1\r\n{H}" + "A: b\r\n" * 101 + "\r\n", 431)):
            with self.subTest(data), self.client() as c:
                c.send(data)
                self.assertEqual(c.answer().status, status)
                self.assertTrue(c.is_closed())

    def test_keeps_the_connection(self):
        with self.client() as c:
            c.send("".join(f"GET /{i} HTTP/1.1\r\n{H}\r\n" for i in range(50)))
            for i in range(50):
                self.assertEqual(c.answer().one("location"), f"https://{HOST}/{i}")
            c.send(f"HEAD /h HTTP/1.1\r\n{H}\r\n")
            self.assertEqual(c.answer("HEAD").one("location"), f"https://{HOST}/h")
            for byte in f"GET /slow HTTP/1.1\r\n{H}\r\n":
                c.send(byte)
            self.assertEqual(c.answer().one("location"), f"https://{HOST}/slow")

    def test_body_ends_the_connection(self):
        with self.client() as c:
            c.send(f"POST / HTTP/1.1\r\n{H}Content-Length: 5\r\n\r\nhello" + f"GET /smuggled HTTP/1.1\r\n{H}\r\n")
            a = c.answer()
            self.assertEqual((a.status, a.one("connection")), (301, "close"))
            self.assertTrue(c.is_closed())

    def test_slow_head(self):
        with self.client() as c:
            c.send("GET / HTTP/1.1\r\nHo")
            self.assertEqual(c.answer().status, 408)
            self.assertTrue(c.is_closed())

    def test_another_port(self):
        with Stand(http={"redirectPort": 8443}) as stand, self.client(stand) as c:
            c.send(f"GET /x HTTP/1.1\r\nHost: {HOST}:80\r\n\r\n")
            self.assertEqual(c.answer().one("location"), f"https://{HOST}:8443/x")


if __name__ == "__main__":
    unittest.main(verbosity=1, warnings="ignore")
