"""The Debian packages in a fresh Debian of this machine's release: installed with what they need, run as
their users, installed again, purged.  Without a systemd that runs: the units' own test is test_packages."""
import base64
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import extra

sys.path.insert(0, str(extra.SOURCE / "tests" / "e2e"))

import doc_blocks  # noqa: E402

SERVICES = ("edge", "hub", "traffic")
DEBS = extra.SOURCE / "build" / "release" / "deb"
MINUTE = 60


def run(*command, status=0, **more):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=12 * MINUTE,
                          **more)
    if status is not None and done.returncode != status:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


def mirror():
    """(site, codename) of Debian's main archive, as apt knows it."""
    codename = re.search(r"VERSION_CODENAME=(\w+)", pathlib.Path("/etc/os-release").read_text()).group(1)
    text = run("apt-get", "indextargets", "--format", "$(SITE) $(CODENAME) $(COMPONENT)", "Created-By: Packages")
    sites = [line.split()[0] for line in text.splitlines() if line.split()[1:] == [codename, "main"]]
    return (sites[0], codename) if sites else (None, codename)


class Install(unittest.TestCase):
    def setUp(self):
        site, self.codename = mirror()
        folder = tempfile.TemporaryDirectory(prefix="penstock-root-")
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name) / "root"  # "/" itself must be readable for all
        run("debootstrap", "--variant=minbase", self.codename, self.root, site)
        for part in ("sources.list.d", "apt.conf.d"):
            shutil.copytree(f"/etc/apt/{part}", self.root / "etc/apt" / part, dirs_exist_ok=True)
        for other in (self.root / "etc/apt/sources.list.d").iterdir():
            if not re.search(r"deb\.debian\.org|debian", other.read_text()):
                other.unlink()
        shutil.copy("/etc/resolv.conf", self.root / "etc/resolv.conf")
        (self.root / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
        (self.root / "usr/sbin/policy-rc.d").chmod(0o755)
        for deb in DEBS.glob("*.deb"):
            shutil.copy(deb, self.root / deb.name)
        self.inside("apt-get", "-qq", "update")

    def inside(self, *command, **more):
        return run("chroot", self.root, *command,
                   env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"}, **more)

    def install(self, *options):
        release = ["-t", f"{self.codename}-backports"] if self.codename == "bookworm" else []
        self.inside("apt-get", "-qq", "install", "-y", "--no-install-recommends", "-o", "APT::Sandbox::User=root",
                    *release, *options, *(f"/{deb.name}" for deb in DEBS.glob("*.deb")))

    def test_from_nothing_to_purged(self):
        self.install()
        for service in SERVICES:
            conf = self.root / f"etc/penstock/{service}.json"
            self.assertEqual(conf.stat().st_mode & 0o777, 0o640)
            user = f"penstock-{service}"
            self.assertIn("/nologin", self.inside("getent", "passwd", user))
            self.assertEqual(self.inside("stat", "-c", "%U:%G", f"/etc/penstock/{service}.json"), f"root:{user}\n")
            self.inside("install", "-d", "-m", "700", "-o", user, f"/var/lib/penstock/{service}")
            listen = {"hub": ["tunnel.listen"], "traffic": ["http.listen", "https.listen"]}.get(service, [])
            sets = [f"--set={key}=127.0.0.1:0" for key in [*listen, "management.listen"]]
            said = self.inside("runuser", "-u", user, "--", f"penstock-{service}", "check", "--config",
                               f"/etc/penstock/{service}.json", *sets, status=None)
            self.assertRegex(said, r"(?m)^ok    stateDir ")
            bad = [line for line in said.splitlines() if line.startswith("fail")]
            self.assertEqual([line for line in bad if not line.startswith("fail  token ")], [], said)
        self.check_quickstart()
        (self.root / "etc/penstock/hub.json").write_text('{"workers": 2}\n')
        (self.root / "etc/penstock/hub.json").chmod(0o600)
        self.install("--reinstall")
        self.assertEqual((self.root / "etc/penstock/hub.json").read_text(), '{"workers": 2}\n')
        self.assertEqual((self.root / "etc/penstock/hub.json").stat().st_mode & 0o777, 0o600)
        self.inside("apt-get", "-qq", "purge", "-y", *(f"penstock-{s}" for s in SERVICES))
        for path in ("etc/penstock", "var/lib/penstock", "usr/bin/penstock-hub"):
            self.assertFalse((self.root / path).exists(), path)

    def check_quickstart(self):
        """docs/quickstart.md, the machine at the border: a token pasted into its file."""
        fields = {"hubHost": "hub.example.com", "hubPort": 8443, "edgeId": "fra-1", "secret": "A" * 43}
        token = base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")
        text = doc_blocks.script("docs/quickstart.md", "package")
        self.assertIn("edge.token", text)
        self.inside("bash", "-euo", "pipefail", "-c", text, input=token + "\n")
        self.assertEqual(self.inside("stat", "-c", "%a %U:%G", "/etc/penstock/edge.token"), "640 root:penstock-edge\n")
        shown = self.inside("runuser", "-u", "penstock-edge", "--", "penstock-edge", "--print-config", "--config",
                            "/etc/penstock/edge.json")
        self.assertIn('"token":"***"', shown)
        self.assertNotIn(token, shown)
        (self.root / "etc/penstock/edge.token").unlink()  # the administrator's own, which a purge leaves


if __name__ == "__main__":
    if os.geteuid() != 0:
        extra.not_run("only root can make a fresh system")
    for tool in ("debootstrap", "chroot", "apt-get"):
        if not shutil.which(tool):
            extra.not_run(f"{tool} is not installed")
    if len(list(DEBS.glob("*.deb"))) != 3:
        extra.not_run("there are no packages: make deb")
    if not mirror()[0]:
        extra.not_run("apt knows no mirror of Debian's main archive")
    unittest.main()
