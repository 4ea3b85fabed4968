"""The metrics of the three services are those of golden/metrics-*.txt, names, kinds, labels and words, since
dashboards and alerts of users rest on them; and the chart's alerts and dashboard ask for no others.

`tests/e2e/test_metrics_golden.py --golden` makes the files anew; then scripts/metrics_docs.py, which makes
docs/metrics.md of them.
"""
import difflib
import json
import os
import pathlib
import re
import sys
import unittest

import yaml

import e2e

GOLDEN = pathlib.Path(__file__).resolve().parent / "golden"
FILES = e2e.SOURCE / "helm" / "penstock" / "files"
SERVICES = ("hub", "edge", "traffic")
# labels whose values are no fixed set
OPEN = re.compile(r'\b(version|edge|method|code|transport|reason)="[^"]*"')
OPEN_OF = {"penstock_build_info": {"version"}, "penstock_hub_bytes_total": {"edge"},
           "penstock_admin_requests_total": {"method", "code"},
           "penstock_edge_transport_info": {"transport", "reason"}}
SAMPLE = re.compile(r"^(\w+)(\{.*\})? \S+$")


def without_values(text):
    """The lines of a scrape, each once, without what differs from one to the next."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            name, labels = SAMPLE.match(line).groups()
            is_open = OPEN_OF.get(name, ())
            line = name + OPEN.sub(lambda m: f'{m[1]}="*"' if m[1] in is_open else m[0], labels or "")
        if line not in lines[-10:]:
            lines.append(line)
    return lines


def queried(expression):
    """Names of metrics in a PromQL expression, without those of its own functions and labels."""
    return set(re.findall(r"\b(?:penstock|process)_\w+", re.sub(r'"[^"]*"', "", expression)))


def golden_names():
    names = {}
    for service in SERVICES:
        for line in (GOLDEN / f"metrics-{service}.txt").read_text().splitlines():
            if not line.startswith("#"):
                names.setdefault(re.match(r"\w+", line)[0], []).append(line)
    return names


def expressions():
    """(where, PromQL) of the chart's alerts and of its dashboard."""
    for group in yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    for panel in json.loads((FILES / "dashboard.json").read_text())["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


class Metrics(e2e.Case):
    def test_golden(self):
        self.whole_path(edge={"transportMode": "tcpTls"})
        self.curl("/hello")
        for service in SERVICES:
            # twice: requests of the management API are counted once they were answered
            getattr(self, service).api("GET", "/metrics", expect=200)
            answer = getattr(self, service).api("GET", "/metrics", expect=200)
            seen = without_values(answer.body.decode())
            path = GOLDEN / f"metrics-{service}.txt"
            if os.environ.get("METRICS_GOLDEN"):
                path.write_text("\n".join(seen) + "\n")
                continue
            difference = list(difflib.unified_diff(path.read_text().splitlines(), seen, path.name, "live", lineterm=""))
            self.assertFalse(difference, f"{service} (if it is meant so: test_metrics_golden.py --golden):\n"
                             + "\n".join(difference))


class Queries(unittest.TestCase):
    def test_alerts_and_dashboard_ask_for_what_there_is(self):
        names = golden_names()
        count = 0
        for where, expression in expressions():
            for name in queried(expression):
                count += 1
                self.assertIn(name, names, f"{where} asks for {name}")
        self.assertGreater(count, 50)

    def test_values_of_labels_are_there(self):
        """A word in a query is one that the metric has."""
        names = golden_names()
        count = 0
        for where, expression in expressions():
            for name, matchers in re.findall(r"\b((?:penstock|process)_\w+)\{([^}]*)\}", expression):
                for label, how, wanted in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', matchers):
                    if label in ("job", "instance", "namespace") or "$" in wanted or label in OPEN_OF.get(name, ()):
                        continue
                    words = {w for line in names[name] for w in re.findall(rf'\b{label}="([^"]*)"', line)}
                    for word in wanted.split("|"):
                        count += 1
                        self.assertTrue(any(re.fullmatch(word, w) for w in words), f"{where}: {name} has no {label} {word}")
        self.assertGreater(count, 10)


if __name__ == "__main__":
    if "--golden" in sys.argv:
        sys.argv.remove("--golden")
        os.environ["METRICS_GOLDEN"] = "1"
        GOLDEN.mkdir(exist_ok=True)
    unittest.main(verbosity=2)
