#!/usr/bin/env python3
"""make cov: line coverage of lib/ and services/ from the gcov data of a build.   usage: coverage.py BUILD"""
import collections
import gzip
import json
import pathlib
import subprocess
import sys
import tempfile

build = pathlib.Path(sys.argv[1]).resolve()
source = pathlib.Path(__file__).resolve().parent.parent
hits = collections.defaultdict(dict)
with tempfile.TemporaryDirectory() as folder:
    data = [str(f) for f in build.rglob("*.gcda") if "/tests/" not in str(f)]
    for i in range(0, len(data), 50):
        subprocess.run(["gcov", "--json-format", *data[i:i + 50]], cwd=folder, check=True,
                       capture_output=True)
        for report in pathlib.Path(folder).glob("*.gcov.json.gz"):
            for entry in json.loads(gzip.decompress(report.read_bytes()))["files"]:
                path = pathlib.Path(entry["file"])
                path = path if path.is_absolute() else build / path
                if not path.resolve().is_relative_to(source):
                    continue
                name = str(path.resolve().relative_to(source))
                if name.startswith(("lib/", "services/")):
                    for line in entry["lines"]:
                        number = line["line_number"]
                        hits[name][number] = hits[name].get(number, 0) + line["count"]
            report.unlink()
total = covered = 0
for name in sorted(hits):
    seen = sum(1 for n in hits[name].values() if n)
    total, covered = total + len(hits[name]), covered + seen
    print(f"{100 * seen / len(hits[name]):6.1f} %  {seen:5}/{len(hits[name]):5}  {name}")
if not total:
    sys.exit("no coverage data: run the tests of the cov preset first")
print(f"{100 * covered / total:6.1f} %  of {total} lines")
