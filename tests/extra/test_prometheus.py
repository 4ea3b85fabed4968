"""Prometheus' own opinion: each alert fires when it should and not when it should not, the dashboard's
queries are PromQL, and what the services answer at /metrics has neither faults nor bad names.

promtool comes from Debian's package promtool, or on Debian 12 from prometheus, which is unpacked and not
installed: to install that one would start a server.
"""
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import yaml

from extra import BUILD, SOURCE, not_run

import e2e

ALERTS = SOURCE / "helm" / "penstock" / "files" / "alerts.yaml"
ALERTS_TEST = SOURCE / "tests" / "chart" / "alerts_test.yaml"
DASHBOARD = SOURCE / "helm" / "penstock" / "files" / "dashboard.json"


def unpack_promtool(package, kept):
    """None, or why not."""
    with tempfile.TemporaryDirectory() as folder:
        for command in (["apt-get", "-qq", "download", package], ["sh", "-c", f"dpkg-deb -x {package}_*.deb ."]):
            try:
                done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
            except (OSError, subprocess.TimeoutExpired) as failure:
                return f"{command[0]}: {failure}"
            if done.returncode:
                return (done.stderr.strip().splitlines() or [f"{command[0]} failed"])[-1]
        shutil.copy(pathlib.Path(folder) / "usr" / "bin" / "promtool", kept)
    return None


def find_promtool():
    """Its path, or why there is none."""
    found, kept = shutil.which("promtool"), BUILD / "promtool"
    if found or kept.exists():
        return found or kept, None
    if (why := unpack_promtool("promtool", kept)) and (why := unpack_promtool("prometheus", kept)):
        return None, why
    return kept, None


PROMTOOL, WHY = find_promtool()


class Prometheus(e2e.Case):
    def promtool(self, *arguments, given=None):
        done = subprocess.run([PROMTOOL, *arguments], input=given, capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, f"promtool {arguments[:2]}:\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def test_alerts(self):
        self.assertIn("SUCCESS", self.promtool("check", "rules", str(ALERTS)))
        self.promtool("test", "rules", str(ALERTS_TEST))

    def test_each_alert_is_seen_to_fire_and_not_to(self):
        tests = yaml.safe_load(ALERTS_TEST.read_text())["tests"]
        rules = [r for g in yaml.safe_load(ALERTS.read_text())["groups"] for r in g["rules"]]
        for rule in rules:
            own = [t for t in tests if t["name"] == rule["alert"]]
            self.assertTrue(own, f"no test of {rule['alert']}")
            for test in own:
                last = test["alert_rule_test"][-1]
                self.assertEqual(len(last["exp_alerts"]), 1, f"{rule['alert']}: one fires")
                self.assertTrue(any("good" in s["series"] for s in test["input_series"]), f"{rule['alert']}: one does not")
                if "for" in rule:
                    self.assertEqual(test["alert_rule_test"][0]["exp_alerts"], [], f"{rule['alert']}: not before its time")
            # every way to fire has a test of its own
            self.assertGreaterEqual(len(own), len(re.findall(r"\bor\b", rule["expr"])) + 1, rule["alert"])

    def test_an_alert_that_never_fires_is_found(self):
        """The tests of the alerts can fail: of rules that say nothing, each is noticed."""
        with tempfile.TemporaryDirectory() as folder:
            rules = yaml.safe_load(ALERTS.read_text())
            for rule in (r for g in rules["groups"] for r in g["rules"]):
                rule["expr"] = f"({rule['expr']}) and on () (vector(1) == 2)"
            (pathlib.Path(folder) / "alerts.yaml").write_text(yaml.safe_dump(rules))
            tests = yaml.safe_load(ALERTS_TEST.read_text())
            tests["rule_files"] = ["alerts.yaml"]
            (pathlib.Path(folder) / "test.yaml").write_text(yaml.safe_dump(tests))
            done = subprocess.run([PROMTOOL, "test", "rules", "test.yaml"], cwd=folder, capture_output=True, text=True)
        noticed = re.findall(r"alertname: (\w+), time", done.stdout + done.stderr)
        self.assertEqual(sorted(noticed), sorted(t["name"] for t in tests["tests"]))

    def test_dashboard_is_promql(self):
        panels = json.loads(DASHBOARD.read_text())["panels"]
        queries = [t["expr"] for p in panels for t in p.get("targets", [])]
        for name, value in (("$__rate_interval", "5m"), ("$namespace", ".*"), ("$instance", ".*")):
            queries = [q.replace(name, value) for q in queries]
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            rules = [{"record": f"query:{i}", "expr": q} for i, q in enumerate(queries)]
            yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)
            file.flush()
            self.assertIn(f"{len(queries)} rules found", self.promtool("check", "rules", file.name))

    def test_metrics(self):
        self.whole_path()
        self.curl("/hello")
        for service in (self.hub, self.edge, self.traffic):
            answer = service.api("GET", "/metrics", expect=200)
            self.promtool("check", "metrics", given=answer.body.decode())


if __name__ == "__main__":
    if PROMTOOL is None:
        not_run(f"no promtool: {WHY}")
    sys.exit(unittest.main(verbosity=2))
