"""The Debian packages as `make deb` left them: what is in them, what lintian says, and what systemd says of
the units: no fault, and how much they leave open."""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import extra
from e2e import SECS

SERVICES = ("edge", "hub", "traffic")
DEBS = extra.SOURCE / "build" / "release" / "deb"
EXPOSURE_MOST = 2.0  # systemd's scale: 0 (none) to 10


def package(service):
    return next(DEBS.glob(f"penstock-{service}_*.deb"))


def run(*command, **more):
    done = subprocess.run(command, capture_output=True, text=True, timeout=4 * SECS, **more)
    return done.returncode, done.stdout + done.stderr


class Packages(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="penstock-deb-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        for service in SERVICES:
            subprocess.run(["dpkg-deb", "-x", package(service), self.folder / service], check=True)

    def test_content(self):
        for service in SERVICES:
            with self.subTest(service):
                root = self.folder / service
                files = {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}
                name = f"penstock-{service}"
                self.assertEqual(files, {
                    f"usr/bin/{name}", f"etc/penstock/{service}.json", f"usr/lib/systemd/system/{name}.service",
                    f"usr/share/man/man1/{name}.1.gz", f"usr/share/man/man5/{name}.5.gz",
                    f"usr/share/bash-completion/completions/{name}", f"usr/share/zsh/vendor-completions/_{name}",
                    f"usr/share/fish/vendor_completions.d/{name}.fish", f"usr/share/doc/{name}/copyright",
                    f"usr/share/doc/{name}/changelog.gz", f"usr/share/doc/{name}/NEWS.gz"})
                status, text = run(root / "usr/bin" / name, "--config", root / f"etc/penstock/{service}.json", "--check",
                                   env={k: v for k, v in os.environ.items() if not k.startswith("PENSTOCK_")})
                self.assertEqual((status, text), (0, ""))
                fields = run("dpkg-deb", "-f", package(service))[1]
                self.assertRegex(fields, r"(?m)^Depends: .*libgnutls30")
                self.assertRegex(fields, rf"(?m)^Package: {name}$")

    def test_lintian(self):
        status, text = run("lintian", "--fail-on", "error,warning", *DEBS.glob("*.deb"))
        tags = [line for line in text.splitlines() if re.match(r"[EWIP]: ", line)]
        self.assertEqual((status, tags), (0, []))

    def test_units_are_right(self):
        for service in SERVICES:
            unit = self.folder / service / f"usr/lib/systemd/system/penstock-{service}.service"
            text = unit.read_text().replace("/usr/bin/penstock", str(self.folder / service / "usr/bin/penstock"))
            here = self.folder / f"penstock-{service}.service"
            here.write_text(text)
            status, said = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", here)
            self.assertEqual((status, said), (0, ""))

    def test_units_leave_little_open(self):
        for service in SERVICES:
            unit = self.folder / service / f"usr/lib/systemd/system/penstock-{service}.service"
            status, said = run("systemd-analyze", "security", "--offline=yes",
                               f"--threshold={int(EXPOSURE_MOST * 10)}", "--no-pager", unit)
            self.assertEqual(status, 0, said)
            self.assertRegex(said, r"Overall exposure level for penstock-\w+\.service: [01]\.\d")


class SystemCalls(unittest.TestCase):
    """A run of all three under strace: whatever they call is in the units' filters."""

    def allowed(self):
        def members(name):
            text = run("systemd-analyze", "syscall-filter", "--no-pager", name)[1]
            found = set()
            for word in (line.strip() for line in text.splitlines()):
                if word.startswith("@") and word != name:
                    found |= members(word)
                elif re.fullmatch(r"[a-z_0-9]+", word):
                    found.add(word)
            return found
        return members("@system-service") - members("@privileged")

    def test_every_call_is_in_the_filter(self):
        with tempfile.TemporaryDirectory(prefix="penstock-strace-") as folder:
            log = pathlib.Path(folder) / "calls"
            status, said = run("strace", "-f", "-qq", "-o", log, "-e", "trace=all", "-e", "signal=none",
                               "python3", extra.SOURCE / "scripts" / "run.py", "--once",
                               env={**os.environ, "PENSTOCK_BUILD": str(DEBS.parent)})
            self.assertEqual(status, 0, said)
            called = {}
            program = {}
            for line in log.read_text(errors="replace").splitlines():
                pid, rest = line.split(None, 1)
                start = re.match(r'execve\("[^"]*/(penstock-\w+)"', rest)
                if start:
                    program[pid] = start.group(1)
                    continue
                child = re.match(r"(?:clone3?|v?fork)\b.*= (\d+)$|<\.\.\. (?:clone3?|v?fork) resumed.*= (\d+)$", rest)
                if child and pid in program:
                    program[child.group(1) or child.group(2)] = program[pid]
                call = re.match(r"(?:<\.\.\. )?([a-z_0-9]+)(?:\(| resumed)", rest)
                if call and pid in program:
                    called.setdefault(program[pid], set()).add(call.group(1))
        self.assertEqual(set(called), {f"penstock-{s}" for s in SERVICES})
        for name, calls in called.items():
            self.assertIn("epoll_ctl" if "epoll_ctl" in calls else "epoll_pwait", calls)
            of_root = {"fchown"} if os.geteuid() == 0 else set()  # SQLite: the log belongs to the file's owner
            self.assertEqual(calls - self.allowed() - of_root, set(), name)


if __name__ == "__main__":
    for tool in ("lintian", "systemd-analyze", "dpkg-deb", "strace"):
        if not shutil.which(tool):
            extra.not_run(f"{tool} is not installed")
    if len(list(DEBS.glob("*.deb"))) != 3:
        extra.not_run("there are no packages: make deb")
    unittest.main()
