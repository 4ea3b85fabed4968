#!/usr/bin/env python3
"""helm/penstock/README.md's tables of values, from values.yaml: every key with its default and the comment
above it. What edge and traffic have like hub, and have no comment for, is told in hub's words.

usage: chart_docs.py           writes the README anew
       chart_docs.py --check   1 when it is not what it should be
"""
import pathlib
import re
import sys

CHART = pathlib.Path(__file__).resolve().parent.parent / "helm" / "penstock"
BEGIN = "<!-- values: made from values.yaml by scripts/chart_docs.py -->"
HEAD = ["| value | default | what it is |", "| --- | --- | --- |"]
KEY = re.compile(r"^( *)([A-Za-z]\w*):(?: (.*))?$")


class Value:
    def __init__(self, path, default, comment):
        self.path, self.default, self.comment = path, default, comment


def read_values(lines):
    """The keys in order. One with keys below it has no default; lists and maps stand in one line, or as
    items below their key."""
    values, parents, comment = [], [], []
    for line in lines:
        bare = line.strip()
        match = KEY.match(line)
        if bare.startswith("#"):
            comment.append(bare[1:].strip())
        elif match:
            depth = len(match[1]) // 2
            parents[depth:] = [match[2]]
            values.append(Value(".".join(parents), match[3], " ".join(comment)))
            comment = []
        elif bare.startswith("- "):
            values[-1].default = (values[-1].default or "") + bare
        elif not bare:
            comment = []
        else:
            raise SystemExit(f"chart_docs.py: values.yaml: what is this? {line}")
    return values


def fill_comments(values):
    """hub's words for what has none; resources' two halves need none of their own."""
    known = {v.path: v.comment for v in values}
    for value in values:
        for name in ("edge.", "traffic."):
            if not value.comment and value.path.startswith(name):
                value.comment = known.get("hub." + value.path.removeprefix(name), "")
        if not value.comment and value.default is not None and not value.path.split(".")[-2] == "resources":
            raise SystemExit(f"chart_docs.py: values.yaml says nothing about {value.path}")


def table(values):
    out = []
    tops = [v for v in values if "." not in v.path]
    if plain := [v for v in tops if v.default is not None]:
        out += ["### For all", "", *HEAD, *(row(v) for v in plain)]
    for top in tops:
        if top.default is None:
            out += ["", f"### {top.path}", "", top.comment] if top.comment else ["", f"### {top.path}"]
            out += ["", *HEAD]
            out += [row(v) for v in values if v.path.startswith(top.path + ".") and (v.default is not None or v.comment)]
    return "\n".join(out)


def row(value):
    default = "" if value.default is None else f"`{value.default}`"
    return f"| `{value.path}` | {default} | {value.comment} |".replace("\\", "\\\\")


def main(arguments):
    readme = CHART / "README.md"
    values = read_values((CHART / "values.yaml").read_text().splitlines())
    fill_comments(values)
    text = readme.read_text()
    made = text[:text.index(BEGIN)] + BEGIN + "\n\n" + table(values) + "\n"
    if arguments == ["--check"]:
        if made != text:
            print("helm/penstock/README.md is out of date: run scripts/chart_docs.py", file=sys.stderr)
        return made != text
    readme.write_text(made)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
