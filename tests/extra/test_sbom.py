"""scripts/sbom.sh: what it lists of a program is what the program is linked with, as dpkg knows it."""
import hashlib
import json
import pathlib
import re
import shutil
import subprocess
import unittest

import extra
from e2e import SECS, penstock

SERVICES = ("edge", "hub", "traffic")
PURL = re.compile(r"pkg:deb/debian/[a-z0-9.%A-Z-]+@[^?+:]+\?arch=\w+&distro=debian-\d+")


def program(service):
    return penstock.BUILD / "bin" / f"penstock-{service}"


def libraries(path):
    """(soname, file) of all that is loaded."""
    text = subprocess.run(["ldd", path], check=True, capture_output=True, text=True).stdout
    return re.findall(r"(\S+) => (/\S+)", text)


def sbom(path, files, status=0):
    done = subprocess.run([extra.SOURCE / "scripts" / "sbom.sh", path, "1.2.3", *files], capture_output=True,
                          text=True, timeout=SECS)
    if done.returncode != status:
        raise AssertionError(f"sbom.sh ended with {done.returncode}: {done.stderr}")
    return done.stdout


class Sbom(unittest.TestCase):
    def test_all_that_is_linked(self):
        for service in SERVICES:
            with self.subTest(service):
                files = [file for _, file in libraries(program(service))]
                text = sbom(program(service), files)
                self.assertEqual(text, sbom(program(service), files))
                bom = json.loads(text)
                self.assertEqual((bom["bomFormat"], bom["specVersion"], bom["version"]), ("CycloneDX", "1.5", 1))
                top = bom["metadata"]["component"]
                self.assertEqual((top["name"], top["version"], top["type"]),
                                 (f"penstock-{service}", "1.2.3", "application"))
                self.assertEqual(top["hashes"][0]["content"],
                                 hashlib.sha256(program(service).read_bytes()).hexdigest())
                refs = [c["bom-ref"] for c in bom["components"]]
                self.assertEqual(len(refs), len(set(refs)))
                self.assertEqual(bom["dependencies"], [{"ref": top["bom-ref"], "dependsOn": refs}])
                names = {c["name"]: c for c in bom["components"]}
                for wanted in ("libc6", "libgnutls30"):
                    self.assertTrue(any(name.startswith(wanted) for name in names), names)
                for name, component in names.items():
                    self.assertTrue(PURL.fullmatch(component["purl"]), component["purl"])
                    known = subprocess.run(["dpkg-query", "-W", "-f", "${Version}\n", name], check=True,
                                           capture_output=True, text=True).stdout.split()
                    self.assertIn(component["version"], known)
                owned = set()
                for name in names:
                    owned |= {pathlib.Path(line).name for line in subprocess.run(
                        ["dpkg-query", "-L", name], check=True, capture_output=True, text=True).stdout.splitlines()}
                for soname, file in libraries(program(service)):
                    self.assertTrue({soname, pathlib.Path(file).resolve().name} & owned, soname)

    def test_a_file_of_no_package(self):
        sbom(program("hub"), [program("hub")], status=1)


if __name__ == "__main__":
    if not shutil.which("dpkg-query"):
        extra.not_run("this machine has no dpkg")
    unittest.main()
