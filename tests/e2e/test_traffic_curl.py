"""curl's options on traffic, as people use them: HTTP/1.0, 1.1 and 2, uploads, ranges, many at once.  The certificate is
verified throughout, by the root of a chain whose middle traffic sends."""
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import threading
import unittest

from traffic_stand import HOST, SECS, Stand, ok

STRANGER = "stranger.example.test"  # its certificate is its own
PARALLEL = 50
BODY = bytes(range(256)) * 800  # 204,800 bytes


class Chain:
    """A root of our own, a middle, and the certificate of a name."""

    def __init__(self, folder, name):
        self.folder = folder
        self.issue("root", "basicConstraints=critical,CA:TRUE")
        self.issue("middle", "basicConstraints=critical,CA:TRUE", "root")
        self.issue("leaf", f"subjectAltName=DNS:{name}", "middle")
        self.root = folder / "root.crt"
        self.chain = (folder / "leaf.crt").read_text() + (folder / "middle.crt").read_text()
        self.key = (folder / "leaf.key").read_text()

    def issue(self, name, extension, by=None):
        file = self.folder / name
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{file}.key", "-subj", f"/CN={name}"]
        if by is None:
            self.openssl("req", "-x509", "-days", "30", *key, "-addext", extension, "-out", f"{file}.crt")
            return
        (self.folder / "extensions").write_text(extension)
        self.openssl("req", "-new", *key, "-out", f"{file}.csr")
        self.openssl("x509", "-req", "-days", "30", "-in", f"{file}.csr", "-CA", self.folder / f"{by}.crt", "-CAkey",
                     self.folder / f"{by}.key", "-CAcreateserial", "-extfile", self.folder / "extensions", "-out", f"{file}.crt")

    @staticmethod
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class Said:
    """Of one run: `head` of the last answer in small letters, `wrote` what -w asked for."""

    def __init__(self, done, head_file):
        self.code, self.body, self.error = done.returncode, done.stdout, done.stderr.decode()
        heads = head_file.read_text() if head_file.exists() else ""
        self.statuses = [int(s) for s in re.findall(r"(?m)^HTTP/\S+ (\d+)", heads)]
        self.version = re.findall(r"(?m)^HTTP/(\S+) ", heads)[-1] if self.statuses else None
        self.fields = dict(re.findall(r"(?m)^(\S+): (.*?)\r?$", heads.lower()))

    @property
    def status(self):
        return self.statuses[-1]


class Case(unittest.TestCase):
    OPTION = None  # for every run

    @classmethod
    def setUpClass(cls):
        cls.stand = cls.enterClassContext(Stand())
        cls.origin = cls.stand.origin
        cls.folder = cls.stand.stack.folder
        cls.chain = Chain(cls.folder, HOST)
        cls.stand.routes([{**cls.stand.route(HOST), "publicKey": cls.chain.chain, "privateKey": cls.chain.key},
                          cls.stand.route(STRANGER)])
        cls.origin.answers["/body"] = ok(BODY, ("Content-Type", "application/octet-stream"))

    def run_curl(self, *options, body=None, cacert=True):
        head_file = self.folder / "heads"
        head_file.unlink(missing_ok=True)
        command = [shutil.which("curl") or self.fail("curl is not installed: scripts/deps.sh run test"), "-sS", "--noproxy", "*",
                   "--max-time", str(SECS), "-D", str(head_file)]
        for name in HOST, STRANGER:
            for address in self.stand.https, self.stand.http:
                command += ["--resolve", f"{name}:{address[1]}:{address[0]}"]
        command += ["--cacert", str(self.chain.root)] if cacert else []
        command += [self.OPTION] if self.OPTION else []
        return Said(subprocess.run([*command, *options], input=body, capture_output=True, timeout=SECS + 30), head_file)

    def curl(self, path, *options, **more):
        said = self.run_curl(*options, self.url(path), **more)
        self.assertEqual(said.code, 0, said.error)
        return said

    def url(self, path, host=HOST):
        return f"https://{host}:{self.stand.https[1]}{path}"


class Connections(Case):
    """Who it talks to, and how."""

    def test_verified(self):
        """Nobody is believed but by the root: without it, or by another, there is no answer."""
        for option, version in ("--http1.1", "1.1"), ("--http2", "2"):
            said = self.curl("/verified", option)
            self.assertEqual((said.body, said.status, said.version), (b"GET /verified", 200, version))
        for said in self.run_curl(self.url("/unverified"), cacert=False), self.run_curl(self.url("/unverified", STRANGER)):
            self.assertEqual((said.code, said.body), (60, b""), said.error)
        self.assertEqual(self.origin.seen("/unverified"), [])

    def test_versions_of_tls(self):
        for options, version in ((["--tlsv1.2", "--tls-max", "1.2"], "TLSv1.2"), (["--tlsv1.3"], "TLSv1.3")):
            for option in "--http1.1", "--http2":
                said = self.curl("/tls", option, "-v", *options)
                self.assertIn(f"SSL connection using {version}", said.error)
        before = self.stand.reason("handshake_failed")
        said = self.run_curl("--tlsv1.0", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0", self.url("/old"))
        self.assertEqual(said.code, 35, said.error)
        self.assertEqual(self.stand.reason("handshake_failed"), before + 1, "traffic refused it, not curl")
        self.assertEqual(self.origin.seen("/old"), [])

    def test_http10(self):
        said = self.curl("/10", "--http1.0")
        self.assertEqual((said.body, said.status, said.fields["connection"]), (b"GET /10", 200, "close"))
        self.assertEqual(self.stand.traffic.wait_event("request", path="/10")["protocol"], "HTTP/1.0")

    def test_http2_without_alpn(self):
        """HTTP/2 on the plain port: there is none; on the other curl asks by ALPN all the same."""
        plain = f"http://{HOST}:{self.stand.http[1]}/plain"
        before = self.stand.reason("http2_preface")
        self.assertNotEqual(self.run_curl("--http2-prior-knowledge", plain).code, 0)
        self.assertEqual(self.stand.reason("http2_preface"), before + 1)
        said = self.run_curl("--http2", plain)  # by an upgrade, which is not taken
        self.assertEqual((said.status, said.version, said.fields["location"]), (301, "1.1", f"https://{HOST}/plain"))
        self.assertEqual(self.curl("/knows", "--http2-prior-knowledge").version, "2")


class Options:
    """Of either version."""

    # --- requests without a body

    def test_head(self):
        said = self.curl("/head", "-I")
        self.assertEqual((said.status, said.version), (200, self.VERSION))
        self.assertEqual(self.origin.seen("/head")[0].method, "HEAD")
        said = self.curl("/body", "-I", "-o", "/dev/null")
        self.assertEqual(said.fields["content-length"], str(len(BODY)))

    def test_options(self):
        self.origin.answers["*"] = ok(b"", ("Allow", "GET, OPTIONS"))
        said = self.curl("/options", "-X", "OPTIONS")
        self.assertEqual(said.body, "OPTIONS /options".encode())
        said = self.curl("/", "-X", "OPTIONS", "--request-target", "*")
        self.assertEqual((said.status, said.fields.get("allow")), (200, "get, options"))

    def test_range(self):
        def part(s, request):
            first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", request.one("range")).groups())
            data = BODY[first:last + 1]
            return (b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %d-%d/%d\r\nContent-Length: %d\r\n\r\n"
                    % (first, last, len(BODY), len(data))) + data
        self.origin.answers["/part"] = part
        said = self.curl("/part", "-r", "1000-1999")
        self.assertEqual((said.status, said.body), (206, BODY[1000:2000]))
        self.assertEqual(said.fields["content-range"], f"bytes 1000-1999/{len(BODY)}")

    def test_path_as_is(self):
        """What is asked for is what the origin sees: nobody here takes a path apart."""
        path = "/a/../b/./%2e%2E//c"
        self.assertEqual(self.curl(path, "--path-as-is").body, f"GET {path}".encode())

    def test_parallel(self):
        """So many at once, over HTTP/2 on one connection."""
        met = threading.Barrier(PARALLEL, timeout=SECS)
        before = self.stand.traffic.metric("penstock_traffic_handshakes_total")
        self.origin.answers["/parallel"] = lambda s, r: (met.wait(), ok(r.target.encode()))[1]
        urls = [x for i in range(PARALLEL) for x in ("-o", str(self.folder / f"p{i}"), self.url(f"/parallel?{i}"))]
        said = self.run_curl("-Z", "--parallel-max", str(PARALLEL), *urls)
        self.assertEqual((said.code, said.statuses), (0, [200] * PARALLEL), said.error)
        for i in range(PARALLEL):
            self.assertEqual((self.folder / f"p{i}").read_bytes(), f"/parallel?{i}".encode())
        self.assertEqual(self.stand.traffic.metric("penstock_traffic_handshakes_total") - before, self.CONNECTIONS)

    # --- answers

    def test_limit_rate(self):
        """Who reads slowly gets all of it, in time of its own."""
        data = BODY * 20
        self.origin.answers["/large"] = ok(data)
        said = self.curl("/large", "--limit-rate", "2M", "-w", "%{stderr}%{time_total}")
        self.assertEqual(said.body, data)
        self.assertGreater(float(said.error), 1)

    def test_compressed(self):
        packed = gzip.compress(BODY)
        self.origin.answers["/gzip"] = ok(packed, ("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding"))
        said = self.curl("/gzip", "--compressed")
        self.assertEqual((said.body, said.fields["vary"]), (BODY, "accept-encoding"))
        self.assertIn("gzip", self.origin.seen("/gzip")[-1].one("accept-encoding"))
        self.assertEqual(self.curl("/gzip").body, packed)

    def test_trailers(self):
        self.origin.answers["/trailers"] = (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                                            b"5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n")
        said = self.curl("/trailers", "-H", "TE: trailers")
        self.assertEqual((said.body, said.fields.get("x-sum")), (b"hello", "5"))

    # --- uploads

    @staticmethod
    def digest(s, request):
        return ok(hashlib.sha256(request.body).hexdigest().encode())

    def test_upload(self):
        """A file, of which curl waits to be told to go on."""
        self.origin.answers["/up"] = self.digest
        data = os.urandom(3 << 20)
        file = self.folder / "upload"
        file.write_bytes(data)
        said = self.curl("/up", "-T", str(file), "-H", "Expect: 100-continue")
        self.assertEqual(said.body.decode(), hashlib.sha256(data).hexdigest())
        self.assertEqual(said.statuses, [100, 200])
        r = self.origin.seen("/up")[-1]
        self.assertEqual((r.method, r.one("expect"), r.one("content-length")), ("PUT", "100-continue", str(len(data))))

    def test_upload_of_unknown_length(self):
        self.origin.answers["/stdin"] = self.digest
        data = os.urandom(300000)
        said = self.curl("/stdin", "-T", "-", body=data)
        self.assertEqual(said.body.decode(), hashlib.sha256(data).hexdigest())
        r = self.origin.seen("/stdin")[-1]
        self.assertEqual((r.one("transfer-encoding"), r.all("content-length")), ("chunked", []))

    def test_form(self):
        file = self.folder / "picture"
        file.write_bytes(BODY)
        said = self.curl("/form", "-F", "name=Ann", "-F", f"picture=@{file};type=image/png")
        self.assertEqual(said.status, 200)
        r = self.origin.seen("/form")[0]
        boundary = re.fullmatch(r"multipart/form-data; boundary=(\S+)", r.one("content-type"))[1].encode()
        parts = r.body.split(b"--" + boundary)
        self.assertEqual((len(parts), parts[3]), (4, b"--\r\n"))
        self.assertTrue(parts[1].endswith(b'name="name"\r\n\r\nAnn\r\n'), parts[1])
        self.assertTrue(parts[2].endswith(b"Content-Type: image/png\r\n\r\n" + BODY + b"\r\n"))


class Http1(Options, Case):
    OPTION, VERSION, CONNECTIONS = "--http1.1", "1.1", PARALLEL


class Http2(Options, Case):
    OPTION, VERSION, CONNECTIONS = "--http2", "2", 1


if __name__ == "__main__":
    unittest.main(verbosity=2)
