#!/usr/bin/env python3
"""docs/limits.md: every key of the three programs, from the tables that the programs print themselves.

usage: limits.py BIN > docs/limits.md
"""
import pathlib
import subprocess
import sys

INTRO = """# Keys and limits

Made by `make docs` from the programs' own tables (`penstock-hub --print-keys`). Every queue, table and
retry has a key, or stands under [Fixed](#fixed); what is counted when a key's limit is reached stands
beside it. Each key is also an environment variable: `limits.streams` is `PENSTOCK_LIMITS__STREAMS`.
"""


def main():
    folder = pathlib.Path(sys.argv[1])
    print(INTRO)
    for name in ("edge", "hub", "traffic"):
        table = subprocess.run([folder / f"penstock-{name}", "--print-keys"], check=True,
                               capture_output=True, text=True).stdout
        print(f"## {name}\n\n{table}")
    print((pathlib.Path(__file__).parent.parent / "docs" / "limits-fixed.md").read_text(), end="")


main()
