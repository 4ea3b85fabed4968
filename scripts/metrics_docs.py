#!/usr/bin/env python3
"""docs/metrics.md, from what the services answered at /metrics: tests/e2e/golden/metrics-*.txt.

usage: metrics_docs.py           writes the document anew
       metrics_docs.py --check   1 when it is not what it should be
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "metrics.md"
SERVICES = ("hub", "edge", "traffic")
INTRO = """# Metrics

Made by `scripts/metrics_docs.py` from what the services answer. `GET /metrics` of the management API wants
the read token; `metrics.listen` opens a port with it and without one (the chart: `metrics.enabled`). The
format is Prometheus' text 0.0.4, or OpenMetrics by Accept. Units are bytes and seconds; what ends in
`_total` only rises while the process lives. Values of labels come from fixed sets (`tests/e2e/golden/` has
each whole), but for `edge` (bounded by `limits.metricsEdges`), `method`, `code` and `version`. What to watch
is in [operations.md](operations.md); what each `reason` of traffic's means, in [reasons.md](reasons.md).
"""
SHOWN_VALUES = 16


class Family:
    def __init__(self, name, text):
        self.name, self.text, self.kind, self.labels = name, text, None, {}

    def row(self):
        labels = "; ".join(f"`{k}`: {values(v)}" for k, v in self.labels.items())
        text = self.text if self.text.endswith(".") else self.text + "."
        text = text[0].upper() + text[1:]
        return f"| `{self.name}` | {self.kind} | {labels} | {text} |"


def values(words):
    if words == ["*"]:
        return "any"
    shown = ", ".join(words[:SHOWN_VALUES])
    return shown if len(words) <= SHOWN_VALUES else f"{shown} and {len(words) - SHOWN_VALUES} more"


def read_families(service):
    families, current = {}, None
    for line in (ROOT / "tests" / "e2e" / "golden" / f"metrics-{service}.txt").read_text().splitlines():
        if line.startswith("# HELP "):
            _, _, name, text = line.split(" ", 3)
            current = families[name] = Family(name, text)
        elif line.startswith("# TYPE "):
            current.kind = line.split(" ")[3]
        else:
            for label, word in re.findall(r'(\w+)="([^"]*)"', line):
                known = current.labels.setdefault(label, [])
                if label != "le" and word not in known:
                    known.append(word)
    for family in families.values():
        family.labels.pop("le", None)
    return families


def document():
    all_families = {s: read_families(s) for s in SERVICES}
    shared = set.intersection(*(set(f) for f in all_families.values()))
    all_families["hub"]["penstock_build_info"].labels["service"] = list(SERVICES)
    out = [INTRO]
    head = ["", "| name | kind | labels | what it is |", "| --- | --- | --- | --- |"]
    out += ["## Every service", *head, *(f.row() for n, f in all_families["hub"].items() if n in shared)]
    for service in SERVICES:
        out += ["", f"## {service}", *head, *(f.row() for n, f in all_families[service].items() if n not in shared)]
    return "\n".join(out) + "\n"


def main(arguments):
    made = document()
    if arguments == ["--check"]:
        if not DOCUMENT.exists() or DOCUMENT.read_text() != made:
            print("docs/metrics.md is out of date: run scripts/metrics_docs.py", file=sys.stderr)
            return 1
        return 0
    DOCUMENT.write_text(made)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
