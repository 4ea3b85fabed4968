"""The PROXY header in front of TLS and of plain HTTP: every row of haproxy's proxy-protocol.txt that a
receiver on TCP has to get right, on the real program.
"""
import socket
import ssl
import struct
import time
import unittest

import traffic_stand
from stopwatch import Stopwatch
from traffic_stand import HOST, SECS, Raw, Stand, stack

H = f"Host: {HOST}\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V4 = socket.inet_aton("192.0.2.7") + socket.inet_aton("198.51.100.1") + struct.pack("!HH", 40000, 443)
V6 = (socket.inet_pton(socket.AF_INET6, "2001:db8::7") + socket.inet_pton(socket.AF_INET6, "2001:db8::1")
      + struct.pack("!HH", 40000, 443))
V1_LONGEST = b"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"


def crc32c(data):
    table = []
    for i in range(256):
        for _ in range(8):
            i = i >> 1 ^ (0x82F63B78 if i & 1 else 0)
        table.append(i)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


def v2(command=0x21, family=0x11, addresses=V4, tlvs=b"", length=None):
    rest = addresses + tlvs
    return SIGNATURE + struct.pack("!BBH", command, family, len(rest) if length is None else length) + rest


def v2_crc(is_good):
    blank = v2(tlvs=b"\x03\x00\x04" + b"\0" * 4)
    crc = crc32c(blank) ^ (0 if is_good else 1)
    return blank[:-4] + struct.pack("!I", crc)


def v1(text):
    return text.encode() + b"\r\n"


assert len(V1_LONGEST) == 107

# name, bytes, the address that the origin must be told
GOOD = [
    ("v1 TCP4", v1("PROXY TCP4 192.0.2.7 198.51.100.1 40000 443"), "192.0.2.7"),
    ("v1 TCP6", v1("PROXY TCP6 2001:db8::7 2001:db8::1 40000 443"), "2001:db8::7"),
    ("v1 TCP6, mapped", v1("PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 40000 443"), "192.0.2.7"),
    ("v1 UNKNOWN", v1("PROXY UNKNOWN"), "127.0.0.1"),
    ("v1 of 107 bytes", V1_LONGEST, "127.0.0.1"),
    ("v1 highest ports", v1("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535"), "255.255.255.255"),
    ("v2 TCP4", v2(), "192.0.2.7"),
    ("v2 TCP6", v2(family=0x21, addresses=V6), "2001:db8::7"),
    ("v2 LOCAL", v2(command=0x20, family=0, addresses=b""), "127.0.0.1"),
    ("v2 LOCAL with addresses", v2(command=0x20), "127.0.0.1"),
    ("v2 UNSPEC", v2(family=0, addresses=b""), "127.0.0.1"),
    ("v2 AF_UNIX", v2(family=0x31, addresses=b"\0" * 216), "127.0.0.1"),
    ("v2 with an unknown TLV", v2(tlvs=b"\xe5\x00\x03abc"), "192.0.2.7"),
    ("v2 with CRC32c", v2_crc(True), "192.0.2.7"),
    ("v2 of 65535 bytes", v2(tlvs=b"\xe5" + struct.pack("!H", 65535 - 12 - 3) + b"x" * (65535 - 12 - 3)), "192.0.2.7"),
]

BAD = [
    ("v1 of 108 bytes", V1_LONGEST[:-2] + b"5\r\n"),
    ("v1 without its end", b"PROXY UNKNOWN " + b"x" * 200),
    ("v1 ended by LF alone", b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\n"),
    ("v1 port with a leading zero", v1("PROXY TCP4 192.0.2.7 198.51.100.1 040000 443")),
    ("v1 address with a leading zero", v1("PROXY TCP4 192.0.02.7 198.51.100.1 40000 443")),
    ("v1 port 65536", v1("PROXY TCP4 192.0.2.7 198.51.100.1 65536 443")),
    ("v1 port empty", v1("PROXY TCP4 192.0.2.7 198.51.100.1  443")),
    ("v1 of lower case", v1("proxy TCP4 192.0.2.7 198.51.100.1 40000 443")),
    ("v1 UDP4", v1("PROXY UDP4 192.0.2.7 198.51.100.1 40000 443")),
    ("v1 two blanks", v1("PROXY  TCP4 192.0.2.7 198.51.100.1 40000 443")),
    ("v1 a blank at the end", v1("PROXY TCP4 192.0.2.7 198.51.100.1 40000 443 ")),
    ("v1 TCP4 with IPv6", v1("PROXY TCP4 2001:db8::7 2001:db8::1 40000 443")),
    ("v1 TCP6 with IPv4", v1("PROXY TCP6 192.0.2.7 198.51.100.1 40000 443")),
    ("v1 a field missing", v1("PROXY TCP4 192.0.2.7 198.51.100.1 40000")),
    ("v1 no protocol", v1("PROXY")),
    ("v2 version 3", v2(command=0x31)),
    ("v2 version 1", v2(command=0x11)),
    ("v2 unknown command", v2(command=0x22)),
    ("v2 unknown family", v2(family=0x41)),
    ("v2 unknown transport", v2(family=0x13)),
    ("v2 datagrams on a stream", v2(family=0x12)),
    ("v2 length below its family's", v2(addresses=V4[:8])),
    ("v2 IPv6 with the length of IPv4", v2(family=0x21, addresses=V4)),
    ("v2 a TLV beyond the end", v2(tlvs=b"\xe5\x00\x09abc")),
    ("v2 half a TLV's head", v2(tlvs=b"\xe5\x00")),
    ("v2 CRC32c wrong", v2_crc(False)),
    ("v2 signature broken", b"\r\n\r\n\0\r\nQUIT\r" + v2()[12:]),
    ("no header but TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40),
    ("no header but HTTP", f"GET / HTTP/1.1\r\n{H}\r\n".encode()),
]


class Trusted(unittest.TestCase):
    """127.0.0.0/8 must send a header."""

    @classmethod
    def setUpClass(cls):
        cls.stand = cls.enterClassContext(Stand(proxyProtocol={"trusted": ["127.0.0.0/8"]}))
        cls.origin = cls.stand.origin

    def check_told(self, path, address):
        r = self.origin.seen(path)[0]
        quoted = f'"[{address}]"' if ":" in address else address
        self.assertEqual(r.one("x-forwarded-for"), address)
        self.assertEqual(r.one("forwarded"), f'for={quoted};host="{HOST}";proto=https')

    def test_good(self):
        for i, (name, header, address) in enumerate(GOOD):
            with self.subTest(name):
                with self.stand.client(before=header) as c:
                    self.assertEqual(c.get(f"/good-{i}").status, 200)
                self.check_told(f"/good-{i}", address)
                with Raw(self.stand.http, tls=False, before=header) as c:
                    c.send(f"GET / HTTP/1.1\r\n{H}\r\n")
                    self.assertEqual(c.answer().status, 301)

    def test_byte_at_a_time(self):
        for i, header in enumerate((v1("PROXY TCP4 192.0.2.7 198.51.100.1 40000 443"),
                                    v2(tlvs=b"\xe5\x00\x03abc"), v2_crc(True))):
            with self.subTest(header):
                with self.stand.client(tls=False) as c:
                    for byte in header:
                        c.s.sendall(bytes([byte]))
                    c.s = stack.tls_context().wrap_socket(c.s, server_hostname=HOST)
                    c.reader.s = c.s
                    self.assertEqual(c.get(f"/byte-{i}").status, 200)
                self.check_told(f"/byte-{i}", "192.0.2.7")

    def test_in_one_write_with_what_follows(self):
        with Raw(self.stand.http, tls=False) as c:
            c.send(v2() + f"GET /x HTTP/1.1\r\n{H}\r\n".encode())
            self.assertEqual(c.answer().one("location"), f"https://{HOST}/x")

    def test_bad(self):
        """Closed for what they are, at once: not by the timeout."""
        before = self.stand.reason("proxy_missing")
        for name, header in BAD:
            for address in (self.stand.https, self.stand.http):
                with self.subTest(f"{name}, port {address[1]}"), Raw(address, tls=False) as c:
                    c.send(header)
                    self.assertTrue(c.is_closed())
        self.assertGreaterEqual(self.stand.reason("proxy_invalid"), 2 * len(BAD))
        self.assertEqual(self.stand.reason("proxy_missing"), before)

    def test_cut(self):
        for header in (v2()[:15], v2()[:27], b"PROXY TCP4 192.0.2.7"):
            for address in (self.stand.https, self.stand.http):
                with self.subTest(header), Raw(address, tls=False) as c:
                    c.send(header)
                    c.s.shutdown(socket.SHUT_WR)
                    self.assertTrue(c.is_closed())

    def test_missing(self):
        """None within 3 s: closed, by 5 s at the latest, and not before a slow sender had its time."""
        begin = time.monotonic()
        with Stopwatch() as took:
            clients = [Raw(a, tls=False) for a in (self.stand.https, self.stand.http)]
            clients[1].send(b"PROX")
            for c in clients:
                self.assertTrue(c.is_closed())
                self.assertGreater(time.monotonic() - begin, 2.5)
                c.close()
        self.assertLess(took.secs, 5)
        self.assertGreaterEqual(self.stand.reason("proxy_missing"), 2)

    def test_limit_counts_the_real_client(self):
        with Stand(proxyProtocol={"trusted": ["127.0.0.1"]}, limits={"connectionsPerAddress": 1}) as stand:
            one = stand.client(before=v1("PROXY TCP4 192.0.2.1 198.51.100.1 1000 443"))
            two = stand.client(before=v1("PROXY TCP4 192.0.2.2 198.51.100.1 1000 443"))
            with self.assertRaises((OSError, ssl.SSLError)):
                stand.client(before=v1("PROXY TCP4 192.0.2.1 198.51.100.1 1001 443"))
            self.assertEqual((one.get("/1").status, two.get("/2").status), (200, 200))
            one.close()
            two.close()


class Untrusted(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stand = cls.enterClassContext(Stand(proxyProtocol={"trusted": ["127.0.0.9/32"]}))

    def test_a_header_is_no_header(self):
        for header in (v1("PROXY TCP4 192.0.2.7 198.51.100.1 40000 443"), v2()):
            with self.subTest(header):
                with self.assertRaises((OSError, ssl.SSLError)):
                    self.stand.client(before=header)
                with Raw(self.stand.http, tls=False) as c:
                    c.send(header + f"GET / HTTP/1.1\r\n{H}\r\n".encode())
                    self.assertEqual(c.answer().status, 400)
                    self.assertTrue(c.is_closed())
        self.assertGreaterEqual(self.stand.reason("handshake_failed"), 2)

    def test_without(self):
        with self.stand.client() as c:
            self.assertEqual(c.get("/plain").status, 200)
        self.assertEqual(self.stand.origin.seen("/plain")[0].one("x-forwarded-for"), "127.0.0.1")
        with self.stand.client(source="127.0.0.9", before=v2()) as c:
            self.assertEqual(c.get("/trusted").status, 200)
        self.assertEqual(self.stand.origin.seen("/trusted")[0].one("x-forwarded-for"), "192.0.2.7")


if __name__ == "__main__":
    unittest.main(verbosity=1, warnings="ignore")
