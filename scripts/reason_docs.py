#!/usr/bin/env python3
"""docs/reasons.md, from the table of services/traffic/traffic_reason.h.

usage: reason_docs.py           writes the document anew
       reason_docs.py --check   1 when it is not what it should be
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "reasons.md"
TABLE = ROOT / "services" / "traffic" / "traffic_reason.h"
INTRO = """# Why traffic refuses

Made by `scripts/reason_docs.py` from `services/traffic/traffic_reason.h`. Each word is the same wherever it
stands: `reason` of a line of the access log, the label of `penstock_traffic_refused_total`, the body of the
answer ("400 bare_lf") and, with `explain` of the route, its field `penstock-reason`.

The status is what is answered where an answer can still be sent; without one the connection or the stream
just ends. What ends a connection before a request has come is only counted. Keys are told in
[limits.md](limits.md).
"""
STRING = r'"(?:[^"\\]|\\.)*"'
ROW = re.compile(rf'/\* (?P<heading>[^*]+) \*/|X\(\w+,\s+"(?P<word>\w+)",\s+(?P<status>\d+),\s+(?P<meaning>{STRING}(?:\s+{STRING})*)\)')
KEY = re.compile(r"\b((?:limits|timeouts|auth|proxyProtocol)\.\w+|maxBodyBytes|drainSecs)\b")


def plain(strings):
    """What a C compiler makes of them; keys in backquotes."""
    text = re.sub(r'"\s+"', "", strings)[1:-1].replace('\\"', '"').replace("|", "\\|")
    text = KEY.sub(r"`\1`", text)
    return text[0].upper() + text[1:]


def document():
    text = TABLE.read_text()
    text = text[text.index("#define TRAFFIC_REASONS(X)"):text.index("#define X(")].replace("\\\n", "\n")
    head = ["", "| word | status | what it means |", "| --- | --- | --- |"]
    out, rows = [INTRO.rstrip("\n"), *head], 0
    for row in ROW.finditer(text):
        if row["heading"]:
            heading = row["heading"]
            out += ["", f"## {heading[0].upper()}{heading[1:]}", *head]
        else:
            rows += 1
            status = "" if row["status"] == "0" else row["status"]
            out.append(f"| `{row['word']}` | {status} | {plain(row['meaning'])}. |")
    if rows != len(re.findall(r"\bX\(\w+,", text)):
        sys.exit(f"{TABLE.name}: a row that cannot be read")
    return "\n".join(out) + "\n"


def main(arguments):
    made = document()
    if arguments == ["--check"]:
        if not DOCUMENT.exists() or DOCUMENT.read_text() != made:
            print("docs/reasons.md is out of date: run scripts/reason_docs.py", file=sys.stderr)
            return 1
        return 0
    DOCUMENT.write_text(made)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
