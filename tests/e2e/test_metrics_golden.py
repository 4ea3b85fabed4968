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
# the transport and the reason of the moment are of the sets that these have
ELSEWHERE = {("penstock_edge_transport_info", "transport"): "penstock_hub_lanes",
             ("penstock_edge_transport_info", "reason"): "penstock_edge_transport_switches_total"}
SCRAPED = {"job", "instance", "namespace"}  # labels that Prometheus gives
# what a client did wrong by mistake, which harms nobody: of no alert's concern
MISTAKES = {"framing", "target", "path", "method", "query", "media_type", "body", "too_large", "syntax"}
MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
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


def annotations():
    """(alert, label) of each label that an alert's words name."""
    for group in yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            for label in re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())):
                yield rule["alert"], rule["expr"], label


def legends():
    """(panel, PromQL, label) of each label that the dashboard writes beside a line."""
    for panel in json.loads((FILES / "dashboard.json").read_text())["panels"]:
        for target in panel.get("targets", []):
            for label in re.findall(r"{{(\w+)}}", target.get("legendFormat", "")):
                yield panel["title"], target["expr"], label


def words_of(names, name, label):
    """The values that a label of a metric may have; of one whose values are no fixed set (OPEN_OF) here
    those of the metric that has them all, or None."""
    if label in OPEN_OF.get(name, ()):
        name = ELSEWHERE.get((name, label))
    return name and {w for line in names[name] for w in re.findall(rf'\b{label}="([^"]*)"', line)}


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
                self.assertTrue(name in names, f"{where} asks for {name}")
        self.assertGreater(count, 50)

    def test_values_of_labels_are_there(self):
        """A word in a query is one that the metric has."""
        names = golden_names()
        count = 0
        for where, expression in expressions():
            for name, matchers in re.findall(r"\b((?:penstock|process)_\w+)\{([^}]*)\}", expression):
                for label, _, wanted in MATCHER.findall(matchers):
                    if label in SCRAPED or "$" in wanted or (words := words_of(names, name, label)) is None:
                        continue
                    for word in wanted.split("|"):
                        count += 1
                        self.assertTrue(any(re.fullmatch(word, w) for w in words), f"{where}: {name} has no {label} {word}")
        self.assertGreater(count, 10)

    def labels_of(self, names, expression):
        return {label for name in queried(expression) for line in names.get(name, ()) for label in re.findall(r'(\w+)="', line)}

    def test_labels_are_there(self):
        """So is each label by which a query sums or matches, or which an alert or a legend writes."""
        names = golden_names()
        asked = [(where, expression, label.strip()) for where, expression in expressions()
                 for some in re.findall(r"\b(?:by|without|on|ignoring|group_left|group_right) ?\(([^)]*)\)", expression)
                 for label in some.split(",")]
        asked += [*annotations(), *legends()]
        for where, expression, label in asked:
            self.assertIn(label, self.labels_of(names, expression) | SCRAPED, f"{where} asks for {label}")
        self.assertGreater(len(asked), 60)

    def test_variables_of_the_dashboard(self):
        names = golden_names()
        asked = json.loads((FILES / "dashboard.json").read_text())["templating"]["list"]
        for variable in asked:
            if variable["type"] == "query":
                self.assertEqual(variable["query"]["query"], variable["definition"])
                [(name, label)] = re.findall(r"^label_values\((\w+)(?:\{.*\})?, (\w+)\)$", variable["definition"])
                self.assertTrue(name in names, f"the dashboard asks for {name}")
                self.assertIn(label, SCRAPED)
        self.assertEqual(len(asked), 3)

    def test_series_that_alerts_are_tested_with(self):
        """An alert that is seen to fire (extra/test_prometheus.py) fires by what a service really says."""
        names = golden_names()
        count = 0
        for test in yaml.safe_load((e2e.SOURCE / "tests" / "chart" / "alerts_test.yaml").read_text())["tests"]:
            for series in test["input_series"]:
                name, matchers = re.fullmatch(r"(\w+)\{(.*)\}", series["series"]).groups()
                if name == "up":  # Prometheus' own
                    continue
                self.assertTrue(name in names, f"{test['name']}: there is no {name}")
                given = {label: value for label, _, value in MATCHER.findall(matchers) if label not in SCRAPED}
                for label, value in given.items():
                    words = words_of(names, name, label)
                    self.assertIn(value, words, f"{test['name']}: {name} has no {label} {value}")
                    count += 1
                self.assertEqual(set(given), self.labels_of(names, name), f"{test['name']}: labels of {name}")
        self.assertGreater(count, 50)

    def test_every_refusal_of_the_management_api_has_its_alert(self):
        """Each reason is in the expression of one alert, or no alert's concern."""
        reasons = words_of(golden_names(), "penstock_admin_refused_total", "reason")
        alerted = [word for _, expression in expressions()
                   for some in re.findall(r'penstock_admin_refused_total\{reason=~"([^"]*)"', expression)
                   for word in some.split("|")]
        self.assertEqual(sorted([*alerted, *MISTAKES]), sorted(reasons))


if __name__ == "__main__":
    if "--golden" in sys.argv:
        sys.argv.remove("--golden")
        os.environ["METRICS_GOLDEN"] = "1"
        GOLDEN.mkdir(exist_ok=True)
    unittest.main(verbosity=2)
