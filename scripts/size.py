#!/usr/bin/env python3
"""make size: the longest files, headers and functions, and the modules with most files.  Smells, not
limits: each asks what the two things in it are.  --warn: only the files that are too long."""
import collections
import pathlib
import re
import subprocess
import sys

TOP = 20
FILE_LINES = 600
files = [pathlib.Path(f) for f in subprocess.run(
    ["git", "ls-files", "*.c", "*.h"], check=True, capture_output=True, text=True).stdout.split()]


def functions(path):
    """(lines, name) of each function: from its brace in column 0 to the brace that closes it."""
    name, start = None, 0
    for number, line in enumerate(path.read_text().splitlines(), 1):
        head = re.match(r"START_TEST\((\w+)\)", line) or re.match(r"[a-z].*?\b([a-z_0-9]+)\(", line)
        if head and not line.startswith(("typedef", "struct {", "#")):
            name = head.group(1)
        elif line == "{":
            start = number
        elif line == "}" and start:
            yield number - start - 1, name
            start = 0


def show(title, rows):
    print(title)
    for size, what in sorted(rows, key=lambda r: -r[0])[:TOP]:
        print(f"  {size:5} {what}")


lines = {f: len(f.read_text().splitlines()) for f in files}
if "--warn" in sys.argv:
    for f, n in lines.items():
        if n > FILE_LINES:
            print(f"warning: {f} has {n} lines, more than {FILE_LINES}")
    sys.exit()
show(f"files (over {FILE_LINES}: look)", [(n, f) for f, n in lines.items() if f.suffix == ".c"])
show("headers (over 200: look)", [(n, f) for f, n in lines.items() if f.suffix == ".h"])
show("functions (over 60: look)", [(n, f"{f}: {name}") for f in files if f.suffix == ".c"
                                    for n, name in functions(f)])
show("modules (over 12 files: look)", [(n, m) for m, n in collections.Counter(
    f.parent for f in files if f.suffix == ".c" and f.parts[0] in ("lib", "services")).items()])
