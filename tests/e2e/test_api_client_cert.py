"""management.clientCaFile: who has no certificate of that CA gets nothing but health, whatever his token."""
import http.client
import json
import os
import ssl
import subprocess

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
