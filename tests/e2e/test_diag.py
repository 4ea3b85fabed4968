"""`diag`: a tar file of each service, alive or not, in which no secret of the stand is found."""
import io
import json
import os
import subprocess
import tarfile
import unittest

import e2e

FILES = {"README.txt", "version.txt", "config.json", "environment.txt", "check.txt", "state-dir.txt", "system.txt",
         "sysctl.txt", "network.txt", *(f"live/{n}" for n in (
             "healthz.json", "readyz.json", "status.json", "config.json", "metrics.txt", "log-level.json",
             "events.txt"))}
PASSWORD = "the-password-of-a-route"


class Diag(e2e.Case):
    def setUp(self):
        super().setUp()
        self.whole_path(authentication={"type": "Basic", "user": "u", "pass": PASSWORD})

    def bundle(self, service, *options, env=None):
        """{name: text}, and the raw bytes."""
        path = service.folder / f"{service.name}.json"
        done = subprocess.run([service.program, "diag", "--config", path, "--output", "-", *options],
                              capture_output=True, timeout=e2e.SECS, env={**os.environ, **(env or {})})
        self.assertEqual(done.returncode, 0, done.stderr)
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
            members = tar.getmembers()
            self.assertTrue(all(m.mode == 0o600 and m.isfile() for m in members))
            self.assertEqual(len({m.name.split("/")[0] for m in members}), 1)
            files = {m.name.split("/", 1)[1]: tar.extractfile(m).read().decode() for m in members}
        return files, done.stdout

    def own(self, service):
        """What a bundle of this service can know to be secret."""
        found = [(service.state_dir / name).read_bytes().strip()
                 for name in ("management-token", "management-read-token", "store.key", "quic.key")
                 if (service.state_dir / name).exists()]
        if service is self.edge:
            found += [secret for secret in self.secrets() if secret in self.token.encode() or secret == self.shared]
        if service is self.hub:
            found += [line for line in (service.state_dir / "hub.key").read_bytes().splitlines()
                      if not line.startswith(b"---")][:1]
        return found

    def secrets(self):
        fields = json.loads(subprocess.run([self.hub.program, "token", "decode", "--show-secret"], input=self.token,
                                           capture_output=True, text=True, check=True).stdout)
        self.shared = fields["secret"].encode()
        found = [self.token, fields["secret"], PASSWORD]
        for service in (self.hub, self.edge, self.traffic):
            for name in ("management-token", "management-read-token", "store.key", "quic.key"):
                if (service.state_dir / name).exists():
                    found.append((service.state_dir / name).read_text().strip())
        for pem in (self.certificate.key, (self.hub.state_dir / "hub.key").read_text()):
            found += [line for line in pem.splitlines() if not line.startswith("---")]
        return [s.encode() for s in found if s]

    def assert_none(self, secrets, raw):
        self.assertEqual([secret for secret in secrets if secret in raw], [])

    def point_at(self, service):
        """Ports that the kernel chose are not in the file that a check reads: name them."""
        service.conf["management"]["listen"] = "127.0.0.1:%d" % service.address("management")[1]
        (service.folder / f"{service.name}.json").write_text(json.dumps(service.conf))

    def test_everything_but_secrets(self):
        secrets = self.secrets()
        self.assertGreater(len(secrets), 12)
        log = self.stack.folder / "some.log"
        for service in (self.hub, self.edge, self.traffic):
            with self.subTest(service.name):
                self.point_at(service)
                log.write_bytes(b"\n".join([*self.own(service), self.token.encode(), b"Authorization: Bearer unknown-token",
                                            self.certificate.key.encode(), b"the last line\n"]))
                files, raw = self.bundle(service, "--log", str(log), env={"PENSTOCK_STRAY": "stray-value"})
                self.assertEqual(set(files), FILES | {"log.txt"})
                self.assert_none([*secrets, b"unknown-token", b"stray-value"], raw)
                self.assertTrue(files["log.txt"].endswith("the last line\n"))
                self.assertIn("PENSTOCK_STRAY\n", files["environment.txt"])
                self.assertEqual(json.loads(files["live/status.json"])["running"], True)
                self.assertIn("penstock_build_info", files["live/metrics.txt"])
                self.assertEqual(json.loads(files["config.json"])["stateDir"], str(service.state_dir))
                self.assertIn("management-token", files["state-dir.txt"])
                self.assertIn("net/core/rmem_max\n", files["sysctl.txt"])
                self.assertRegex(files["check.txt"], r"(?m)^ok    stateDir ")
                self.assertIn("live/metrics.txt", files["README.txt"])
        self.assertIn("event: edgeConnected", self.bundle(self.hub)[0]["live/events.txt"])

    def test_a_service_that_is_down(self):
        self.edge.stop()
        files, raw = self.bundle(self.edge)
        self.assertEqual(set(files), FILES)
        self.assertEqual(files["live/status.json"], "no connection")
        self.assert_none(self.secrets(), raw)

    def test_the_file_is_its_users(self):
        path = self.stack.folder / "out.tar"
        conf = self.stack.folder / "edge.json"
        run = [self.edge.program, "diag", "--config", conf, f"--output={path}"]
        done = subprocess.run(run, capture_output=True, text=True, timeout=e2e.SECS)
        self.assertEqual((done.returncode, done.stdout), (0, f"{path}\n"))
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        # never into what is there: its owner and its mode stay, and a link leads elsewhere
        path.write_text("of somebody else")
        path.chmod(0o644)
        done = subprocess.run(run, capture_output=True, text=True, timeout=e2e.SECS)
        self.assertEqual((done.returncode, path.read_text()), (1, "of somebody else"))
        self.assertIn("it is there already", done.stderr)
        done = subprocess.run([*run[:-1], "--output=/nowhere/x.tar"], capture_output=True, text=True, timeout=e2e.SECS)
        self.assertEqual(done.returncode, 1)
        self.assertIn("/nowhere/x.tar", done.stderr)
        done = subprocess.run([*run[:-1], "stray"], capture_output=True, text=True, timeout=e2e.SECS)
        self.assertEqual(done.returncode, 2)


if __name__ == "__main__":
    unittest.main()
