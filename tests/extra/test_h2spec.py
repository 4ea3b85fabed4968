"""h2spec against traffic, and again with --strict: every case passes.  Says "not run: why" where the
program can't be had (Go builds it once, into the build folder)."""
import os
import re
import shutil
import subprocess
import sys

from extra import BUILD, not_run
from traffic_stand import Stand

VERSION = "v2.2.1+incompatible"
MODULE = f"github.com/summerwind/h2spec/cmd/h2spec@{VERSION}"
HOST = "localhost"  # h2spec takes the SNI from the host that it dials


def h2spec():
    found = shutil.which("h2spec")
    folder = BUILD / "extra" / f"h2spec-{VERSION}"
    if found or (folder / "h2spec").exists():
        return found or str(folder / "h2spec")
    go = shutil.which("go", path=os.environ["PATH"] + ":/usr/local/go/bin")
    if not go:
        not_run("there is neither h2spec nor go")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run([go, "install", MODULE], env={**os.environ, "GOBIN": str(folder.resolve())}, timeout=200,
                              capture_output=True, text=True)
    except subprocess.TimeoutExpired:
        not_run("go install took too long")
    if done.returncode != 0:
        not_run(f"go install {MODULE}: {done.stderr.strip()[-500:]}")
    return str(folder / "h2spec")


def main():
    program = h2spec()
    with Stand(log={"access": False}) as stand:
        stand.routes([stand.route(HOST)])
        for options in ([], ["--strict"]):
            done = subprocess.run([program, "-h", HOST, "-p", str(stand.https[1]), "-t", "-k", "-o", "5", *options],
                                  capture_output=True, text=True, timeout=300)
            found = re.search(r"(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed", done.stdout)
            if not found or found.group(1) != found.group(2) or int(found.group(1)) < 145:
                print(done.stdout, done.stderr)
                sys.exit(1)
            print(" ".join(["h2spec", *options]), found.group(0))


main()
