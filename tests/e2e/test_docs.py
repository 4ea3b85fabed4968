"""The documents are true: the table of keys is what the programs print, and every file that they name
is there."""
import os
import pathlib
import re
import subprocess
import sys
import unittest

import e2e

BIN = pathlib.Path(os.environ["PENSTOCK_BUILD"]) / "bin"
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "helm/penstock/README.md", *(str(p.relative_to(e2e.SOURCE)) for p in (e2e.SOURCE / "docs").glob("*.md")),
             *(str(p.relative_to(e2e.SOURCE)) for p in (e2e.SOURCE / "services").glob("*/README.md"))]


class Documents(unittest.TestCase):
    def test_limits_are_what_the_programs_print(self):
        made = subprocess.run([sys.executable, e2e.SOURCE / "scripts" / "limits.py", BIN], check=True,
                              capture_output=True, text=True).stdout
        self.assertEqual(made, (e2e.SOURCE / "docs" / "limits.md").read_text(),
                         "docs/limits.md is out of date: run `make docs`")

    def check_made(self, script):
        done = subprocess.run([sys.executable, e2e.SOURCE / "scripts" / script, "--check"],
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_values_of_the_chart(self):
        self.check_made("chart_docs.py")

    def test_metrics(self):
        self.check_made("metrics_docs.py")

    def test_alerts_are_told(self):
        """docs/operations.md has a heading for each alert, in the rules' order, and what to do under it."""
        rules = (e2e.SOURCE / "helm" / "penstock" / "files" / "alerts.yaml").read_text()
        told = re.findall(r"^#### (Penstock\w+)\n\n(.+)\n", (e2e.SOURCE / "docs" / "operations.md").read_text(), re.M)
        self.assertEqual(re.findall(r"- alert: (\w+)", rules), [name for name, _ in told])
        for name, text in told:
            self.assertIn("**Do:**", text, name)

    def test_links_lead_somewhere(self):
        links = 0
        for document in DOCUMENTS:
            path = e2e.SOURCE / document
            for link in re.findall(r"\]\(([^)#]+)", path.read_text()):
                if "://" not in link:
                    links += 1
                    self.assertTrue((path.parent / link).exists(), f"{document} links to {link}")
        self.assertGreater(links, 5)

    def test_files_of_the_pictures_are_in_the_tree(self):
        """What stands in backquotes and looks like a path of the tree is one."""
        seen = 0
        for document in DOCUMENTS:
            for name in re.findall(r"`((?:lib|services|api|docs|tests|scripts|helm)/[\w./*-]*)`", (e2e.SOURCE / document).read_text()):
                if name.startswith("services/*") or "<" in name:
                    continue
                seen += 1
                found = list(e2e.SOURCE.glob(name.rstrip("/")))
                self.assertTrue(found, f"{document} names {name}")
        self.assertGreater(seen, 20)

    def test_features_have_their_tests(self):
        """Each "yes" of ours names tests, and each test that is named is there."""
        claims = 0
        for line in (e2e.SOURCE / "docs" / "features.md").read_text().splitlines():
            cells = [c.strip() for c in line.strip("|").split("|")]
            if len(cells) != 7 or cells[1] in ("Penstock", "---"):
                continue
            tests = re.findall(r"`(\S+) (\S+)`", cells[2])
            self.assertEqual(bool(tests), cells[1].startswith("yes"), cells[0])
            claims += 1
            for file, name in tests:
                self.assertTrue(self.has_test(file, name), f"{cells[0]}: {file} {name}")
        self.assertGreater(claims, 25)

    @staticmethod
    def has_test(file, name):
        if file.endswith(".c"):
            text = (e2e.SOURCE / "tests" / "unit" / f"test_{file}").read_text()
            return f"START_TEST({name})" in text and re.search(rf"tcase_add_\w*test\w*\(\w+, {name}\b", text)
        path = e2e.SOURCE / "tests" / "e2e" / file
        if not path.exists():
            path = path.with_name(f"test_traffic_{file}")
        case, _, test = name.partition(".")
        found = re.search(rf"^class {case}\(.*?(?=^class |\Z)", path.read_text(), re.M | re.S)
        return found and re.search(rf"^    def {test}\(", found[0], re.M)

    def test_modules_of_the_limits_are_there(self):
        for name in re.findall(r"\| `(\w+/\w+\.[ch])` \|", (e2e.SOURCE / "docs" / "limits-fixed.md").read_text()):
            folder = "services" if name.split("/")[0] in ("edge", "hub", "traffic") else "lib"
            self.assertTrue((e2e.SOURCE / folder / name).exists(), name)


if __name__ == "__main__":
    unittest.main(verbosity=2)
