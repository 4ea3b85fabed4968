"""The documents are true: the tables are what they are made of, every file that they name is there, and
every command that a reader may paste for `make run` works (doc_blocks.py)."""
import contextlib
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import unittest

import doc_blocks
import e2e

BIN = pathlib.Path(os.environ["PENSTOCK_BUILD"]) / "bin"
DOCUMENTS = doc_blocks.documents()

# Each line that it prints behind "says:" is what an edge says of itself in one kind of trouble.
EDGE_TROUBLES = """
call() { curl -s -o /dev/null -H "Authorization: Bearer $HUB_TOKEN" -H 'Content-Type: application/json' "$@"; }
token() { curl -s -H "Authorization: Bearer $HUB_TOKEN" -H 'Content-Type: application/json' \\
    -d "{\\"hubHost\\": \\"$1\\", \\"hubPort\\": $2}" $HUB/v1/edges/demo/token | jq '{token}'; }
dial() { curl -s -o /dev/null -X PUT -H "Authorization: Bearer $EDGE_TOKEN" -H 'Content-Type: application/json' \\
    -d @- $EDGE/v1/tunnel; }
expect() { until curl -s -H "Authorization: Bearer $EDGE_TOKEN" $EDGE/v1/status | jq -r '.phase, .lastError' |
    grep -o "^$1" | sed 's/^/says: /'; do sleep 0.2; done; }
call -X PATCH -d '{"enabled": false}' $HUB/v1/edges/demo
expect 'the hub refused: edge_disabled'
call -X PATCH -d '{"enabled": true}' $HUB/v1/edges/demo
curl -s --retry 30 --retry-delay 1 $EDGE/readyz > /dev/null
token 127.0.0.1 $TUNNEL_PORT > good
call -d '{"graceSecs": 0}' $HUB/v1/edges/demo/secret
dial < good
expect 'the hub refused: unauthorized'
token 127.0.0.1 $TUNNEL_PORT | jq -r .token | penstock-hub token decode --show-secret |
    jq '.pin = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"' | penstock-hub token encode | jq -R '{token: .}' | dial
expect "the server's certificate is not the pinned one"
token nowhere.invalid $TUNNEL_PORT | dial
expect 'the name does not resolve'
token 127.0.0.1 1 | dial
expect 'no connection could be made'
curl -s -X DELETE -H "Authorization: Bearer $EDGE_TOKEN" $EDGE/v1/tunnel
expect 'noCredentials'
"""


def headings(path):
    """What a link into a document may name, as GitHub makes it of its headings."""
    texts = re.findall(r"^#+ +(.+)$", path.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts}


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

    def test_reasons(self):
        self.check_made("reason_docs.py")

    def test_apis(self):
        self.check_made("api_docs.py")

    def test_what_a_reload_changes(self):
        """docs/operations.md names the keys that the programs take by SIGHUP, and no other."""
        text = (e2e.SOURCE / "docs" / "operations.md").read_text()
        section = re.search(r"^## What a reload changes\n(.+?)^## ", text, re.M | re.S)[1]
        rows = dict(re.findall(r"^\| (each|hub|edge|traffic) \| (.+) \|$", section, re.M))

        def keys(row):
            return set(re.findall(r"`([\w.]+)`", rows[row])) - {"routesFile", "routesFileSecs"}

        for service in ("hub", "edge", "traffic"):
            page = subprocess.run([BIN / f"penstock-{service}", "--print-man", "5"], check=True, capture_output=True,
                                  text=True).stdout
            hot = {entry.split()[1] for entry in page.split("\n.TP\n")[1:] if "A reload (SIGHUP) may change it." in entry}
            self.assertGreater(len(hot), 5)
            self.assertEqual(keys("each") | keys(service), hot, service)

    def test_every_command_has_its_place(self):
        for document in DOCUMENTS:
            for words, text in doc_blocks.blocks(document):
                if words[:1] == ["sh"] or words[:1] == ["bash"]:
                    self.assertIn(words[1:], [[p] for p in doc_blocks.PLACES], f"{document}: who runs this?\n{text}")

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
            for link in re.findall(r"\]\(([^)\s]+)", path.read_text()):
                if "://" not in link:
                    links += 1
                    name, _, heading = link.partition("#")
                    to = path.parent / name if name else path
                    self.assertTrue(to.exists(), f"{document} links to {link}")
                    if heading:
                        self.assertIn(heading, headings(to), f"{document} links to {link}")
        self.assertGreater(links, 5)

    def test_metrics_that_are_named(self):
        """Each is told in docs/metrics.md."""
        told = (e2e.SOURCE / "docs" / "metrics.md").read_text()
        named = 0
        for document in DOCUMENTS:
            for name in re.findall(r"\bpenstock_(?:hub|edge|traffic|admin)_\w+", (e2e.SOURCE / document).read_text()):
                named += 1
                self.assertIn(f"`{re.sub('_(bucket|sum|count)$', '', name)}`", told, f"{document} names {name}")
        self.assertGreater(named, 50)

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
            if len(cells) not in (3, 7) or cells[1] in ("Penstock", "---"):
                continue  # with the others beside it, or where there are none
            self.assertRegex(cells[1], "^(yes|no)", cells[0])
            tests = re.findall(r"`(\S+) (\S+)`", cells[2])
            self.assertEqual(bool(tests), cells[1].startswith("yes"), cells[0])
            claims += 1
            for file, name in tests:
                self.assertTrue(self.has_test(file, name), f"{cells[0]}: {file} {name}")
        self.assertGreater(claims, 75)

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

    def test_fixed_limits_are_where_they_are_said_to_be(self):
        """Each row names its files, and in front of each what is defined there: "`A`, `B` in `wire/frame.h`; ..."."""
        rows = [line.strip("| ").split(" | ")
                for line in (e2e.SOURCE / "docs" / "limits-fixed.md").read_text().splitlines() if line.startswith("| ")]
        for what, _, where, _ in rows[2:]:
            for part in where.split("; "):
                said = re.fullmatch(r"(?:(`\w+`(?:, `\w+`)*) in )?`((\w+)/[\w/]+\.\w+)`", part)
                self.assertTrue(said, f"{what}: {part}")
                names, file, module = said.groups()
                folder = "services" if module in ("edge", "hub", "traffic") else "lib"
                text = (e2e.SOURCE / folder / file).read_text()
                for name in re.findall(r"\w+", names or ""):
                    self.assertRegex(text, rf"(?m)^(#define|const) {name}\b", f"{what}: {part}")
        self.assertGreater(len(rows), 100)

class Commands(unittest.TestCase):
    """What a document has for `make run`, on a stack of its own, in an empty folder, with an answer of 400 and
    above being a failure."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="penstock-docs-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        (self.folder / ".curlrc").write_text("fail-with-body\nshow-error\nmax-time = 60\n")
        (self.folder / "here").mkdir()
        self.env_file = self.folder / "run.env"
        self.log = open(self.folder / "log", "w+")
        self.addCleanup(self.log.close)
        self.stand = subprocess.Popen(
            [sys.executable, e2e.SOURCE / "scripts" / "run.py", "--any-ports", "--env", self.env_file],
            stdout=self.log, stderr=self.log)
        self.addCleanup(self.end_stand)
        e2e.wait_for("the stack of make run", lambda: self.env_file.exists() or self.stand.poll() is not None, 60)
        self.assertTrue(self.env_file.exists(), self.said())

    def said(self):
        self.log.seek(0)
        return self.log.read()

    def end_stand(self):
        self.stand.terminate()
        self.assertEqual(self.stand.wait(60), 0, self.said())
        self.assertFalse(self.env_file.exists(), "the variables of make run outlive it")

    def shell(self, text, **more):
        script = f"set -euo pipefail\n. {shlex.quote(str(self.env_file))}\n{text}"
        return subprocess.Popen(["bash", "-c", script], cwd=self.folder / "here", text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, env=dict(os.environ, CURL_HOME=str(self.folder)), **more)

    def run_script(self, text, name):
        with self.shell(text) as process:
            try:
                said, _ = process.communicate(timeout=120)
            except subprocess.TimeoutExpired:
                process.kill()
                said, _ = process.communicate()
                self.fail(f"{name}: it does not end\n{said}")
        self.assertEqual(process.returncode, 0, f"{name}:\n{said}\n--- make run said\n{self.said()}")
        return said

    def test_readme(self):
        said = self.run_script(doc_blocks.script("README.md", "run"), "README.md")
        self.assertIn('"connectedEdges":[{"edgeId":"demo"', said)

    def test_operations(self):
        said = self.run_script(doc_blocks.script("docs/operations.md", "run"), "docs/operations.md")
        self.assertIn("ok    store ", said)

    def test_security(self):
        self.run_script(doc_blocks.script("docs/security.md", "run"), "docs/security.md")

    def test_the_others(self):
        for document in doc_blocks.with_blocks("run"):
            if document not in ("README.md", "docs/operations.md", "docs/security.md"):
                with self.subTest(document):
                    self.run_script(doc_blocks.script(document, "run"), document)

    def test_what_an_edge_says(self):
        """docs/troubleshooting.md has the words that an edge without its hub really says."""
        told = (e2e.SOURCE / "docs" / "troubleshooting.md").read_text()
        said = re.findall(r"(?m)^says: (.+)$", self.run_script(EDGE_TROUBLES, "an edge's troubles"))
        self.assertEqual(len(said), 6, said)
        for words in said:
            self.assertIn(f"`{words}", told)

    def test_watched(self):
        watched = [(d, text) for d in DOCUMENTS for words, text in doc_blocks.blocks(d) if words == ["sh", "watch"]]
        self.assertTrue(watched)
        for document, text in watched:
            with self.subTest(document), self.shell("exec " + text) as process:
                os.set_blocking(process.stdout.fileno(), False)
                again = 'curl -sS -X DELETE -H "Authorization: Bearer $HUB_TOKEN" $HUB/v1/edges/demo/connection'

                def spoke():
                    self.run_script(again, "the edge comes anew")
                    with contextlib.suppress(BlockingIOError):
                        return os.read(process.stdout.fileno(), 4096) or process.poll() is not None
                e2e.wait_for("what is watched", spoke, 30)
                self.assertIsNone(process.poll(), f"{document}: it ended\n{text}")
                process.terminate()


if __name__ == "__main__":
    unittest.main(verbosity=2)
