"""management.clientCaFile: who has no certificate of that CA gets nothing but health, whatever his token."""
import http.client
import io
import json
import os
import ssl
import subprocess
import tarfile

import e2e
from e2e import penstock


class Authority:
    """A CA, and what it signs; openssl makes all of it."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.file, self.key_file = folder / f"{name}.crt", folder / f"{name}.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                "-keyout", self.key_file, "-out", self.file, "-subj", f"/CN={name}",
                "-addext", "keyUsage=critical,keyCertSign")

    def sign(self, subject, purpose="clientAuth"):
        """(certificate file, key file)."""
        base = self.folder / f"{self.name}-{subject}"
        crt, key, csr, ext = (base.with_suffix(s) for s in (".crt", ".key", ".csr", ".ext"))
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", csr,
                "-subj", f"/CN={subject}")
        ext.write_text(f"extendedKeyUsage={purpose}\nsubjectAltName=IP:127.0.0.1\n")
        openssl("x509", "-req", "-in", csr, "-CA", self.file, "-CAkey", self.key_file, "-CAcreateserial",
                "-days", "30", "-extfile", ext, "-out", crt)
        return crt, key


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class ClientCert(e2e.Case):
    def setUp(self):
        super().setUp()
        folder = self.stack.folder
        self.ours, self.other = Authority(folder, "ours"), Authority(folder, "other")
        crt, key = self.ours.sign("server", "serverAuth")
        self.hub = self.stack.hub({}, management={"certFile": str(crt), "keyFile": str(key),
                                                  "clientCaFile": str(self.ours.file)})

    def connect(self, pair=None, version=ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cafile=self.ours.file)
        context.minimum_version = context.maximum_version = version
        if pair:
            context.load_cert_chain(*pair)
        connection = http.client.HTTPSConnection(*self.hub.address("management"), timeout=e2e.SECS, context=context)
        self.addCleanup(connection.close)
        return connection

    def ask(self, connection, method, path, token=True):
        headers = {"Authorization": f"Bearer {self.hub.token()}"} if token else {}
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())

    def test_certificates(self):
        client = self.ours.sign("client")
        refused = (None, self.other.sign("client"), self.ours.sign("no-client", "serverAuth"))
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            good = self.connect(client, version)
            for _ in range(2):  # on one connection
                self.assertEqual(self.ask(good, "GET", "/v1/edges"), (200, {"edges": []}))
                self.assertEqual(self.ask(good, "GET", "/v1/edges", token=False)[0], 401)  # a certificate is no token
            for pair in refused:
                bad = self.connect(pair, version)
                for method, path in (("GET", "/v1/edges"), ("GET", "/v1/nope"), ("DELETE", "/v1/edges/e1"), ("GET", "/")):
                    status, problem = self.ask(bad, method, path)
                    self.assertEqual((status, problem.get("type")), (403, "urn:penstock:problem:clientCertificateRequired"),
                                     (pair, method, path))
                for path in ("/healthz", "/readyz"):
                    self.assertEqual(self.ask(bad, "GET", path, token=False)[0], 200)
        healthy = subprocess.run([penstock.BUILD / "bin" / "penstock-hub", "--config", self.stack.folder / "hub.json", "--set",
                                  f"management.listen={':'.join(map(str, self.hub.address('management')))}", "healthcheck"],
                                 capture_output=True, text=True, timeout=e2e.SECS)
        self.assertEqual(healthy.returncode, 0, healthy.stderr)
        self.assert_chart_test_sees_it()
        connection = self.connect(client)
        connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {self.hub.token()}"})
        text = connection.getresponse().read().decode()
        self.assertIn('penstock_admin_refused_total{reason="client_cert"} 25\n', text)

    def test_tls_13_alone(self):
        """A client of TLS 1.3 and nothing older has no cause to speak of renegotiation, and OpenSSL 3.5's does not."""
        host, port = self.hub.address("management")
        done = subprocess.run(["gnutls-cli", "--insecure", "--disable-sni", "--priority",
                               "NORMAL:-VERS-ALL:+VERS-TLS1.3:%DISABLE_SAFE_RENEGOTIATION", "--port", str(port), host],
                              input=b"", capture_output=True, timeout=e2e.SECS)
        self.assertIn(b"(TLS1.3-", done.stdout, done.stderr)
        self.assertIn(b"Handshake was completed", done.stdout, done.stderr)

    def diag(self, *options):
        """(status, {name: text} or None, what it said): at the address that the kernel chose."""
        at = ":".join(map(str, self.hub.address("management")))
        done = subprocess.run([self.hub.program, "diag", "--config", self.hub.folder / "hub.json", "--set",
                               f"management.listen={at}", "--output", "-", *options], capture_output=True, timeout=e2e.SECS)
        if not done.stdout:
            return done.returncode, None, done.stderr.decode()
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
            files = {m.name.split("/", 1)[1]: tar.extractfile(m).read().decode() for m in tar.getmembers()}
        return done.returncode, files, done.stderr.decode()

    def test_diag(self):
        """With a certificate it has the live files, without one the refusals; its key is in none of them."""
        asked = {"live/status.json", "live/config.json", "live/metrics.txt", "live/log-level.json", "live/events.txt"}
        cert, key = self.ours.sign("client")
        both, log = self.stack.folder / "both.pem", self.stack.folder / "some.log"
        both.write_text(cert.read_text() + key.read_text())
        secret = [line for line in key.read_text().splitlines() if not line.startswith("---")][0]
        log.write_text(f"a line\n{secret}\nthe last line\n")
        for pair in (("--cert", cert, "--key", key), (f"--key={key}", f"--cert={cert}"), ("--cert", both)):
            status, files, _ = self.diag(*pair, "--log", log)
            self.assertEqual(status, 0, pair)
            self.assertEqual(json.loads(files["live/status.json"])["running"], True)
            self.assertIn("penstock_build_info", files["live/metrics.txt"])
            self.assertEqual([n for n in asked if "clientCertificateRequired" in files[n]], [])
            self.assertIn("the last line", files["log.txt"])
            self.assertEqual([n for n, text in files.items() if secret in text], [])
        other = self.other.sign("client")
        for pair in ((), ("--cert", other[0], "--key", other[1])):
            status, files, _ = self.diag(*pair)
            self.assertEqual(status, 0)
            self.assertEqual({n for n in files if "clientCertificateRequired" in files[n]}, asked)
            self.assertEqual(json.loads(files["live/healthz.json"])["status"], "ok")

    def test_diag_with_files_that_are_no_pair(self):
        cert, key = self.ours.sign("client")
        for options, word in ((("--key", key), "--key needs --cert FILE"), (("--cert", cert), "--cert: "),
                              (("--cert", cert, "--key", self.other.sign("client")[1]), "--cert: "),
                              (("--cert", "/nonexistent", "--key", key), "/nonexistent"), (("--cert",), "--cert")):
            status, files, said = self.diag(*options)
            self.assertEqual((status, files), (2, None), options)
            self.assertIn(word, said)

    def assert_chart_test_sees_it(self):
        """What `helm test` runs says that health is answered and all else is not."""
        at = "https://" + ":".join(map(str, self.hub.address("management")))
        test = e2e.SOURCE / "helm" / "penstock" / "files" / "test.sh"
        done = subprocess.run(["sh", test], capture_output=True, text=True, timeout=e2e.SECS,
                              env={**os.environ, "PENSTOCK_READY": at, "PENSTOCK_CLIENT_CERTS": "asked", "PENSTOCK_SECS": "1"})
        self.assertEqual(done.stdout, f"ok   {at} is ready\nok   {at} asks for a certificate\n", done.stderr)
        self.assertEqual(done.returncode, 0)

    def test_files_that_are_none(self):
        crt, key = self.ours.sign("another", "serverAuth")
        nothing = self.stack.folder / "nothing.pem"
        nothing.write_text("nothing\n")
        for management, word in (({"clientCaFile": str(self.ours.file)}, "management.clientCaFile needs management.certFile"),
                                 ({"certFile": str(crt), "keyFile": str(key), "clientCaFile": str(nothing)}, "holds no certificates"),
                                 ({"certFile": str(crt), "keyFile": str(key), "clientCaFile": "/nonexistent"}, "cannot be read")):
            conf = self.stack.folder / "bad.json"
            state = self.stack.folder / "bad-state"
            conf.write_text(json.dumps({"management": {"listen": "127.0.0.1:0", **management}, "stateDir": str(state),
                                        "tunnel": {"listen": "127.0.0.1:0"}}))
            done = subprocess.run([penstock.BUILD / "bin" / "penstock-hub", "--config", conf, "--no-supervise"],
                                  capture_output=True, text=True, timeout=e2e.SECS)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(word, done.stdout + done.stderr)


if __name__ == "__main__":
    e2e.main()
