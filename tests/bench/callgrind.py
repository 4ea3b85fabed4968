"""make callgrind: instructions of one request and of one megabyte, in each program.

    callgrind.py [--out build/bench/callgrind]

The programs of the release build run under valgrind, one request at a time, so what is counted is the
dearest case: nothing is batched.  Counts are of user space only (the kernel's part is system calls:
`strace -c`), and of valgrind's processor, which has AES-NI and AVX2 but no VAES.
"""
import argparse
import contextlib
import pathlib
import re
import subprocess
import sys
import tempfile

import bench
import peers
from peers import SOURCE, penstock

LOADS = (("a request of 128 B", 0, 128, 1), ("a megabyte down", 0, 1 << 20, 1), ("a megabyte up", 1 << 20, 1, 1))


def wrap(folder, out):
    """A build folder whose programs are ours under valgrind."""
    bins = folder / "bin"
    bins.mkdir()
    for name in ("hub", "edge", "traffic"):
        script = bins / f"penstock-{name}"
        script.write_text(f"#!/bin/sh\nexec {peers.program('valgrind')} -q --tool=callgrind --dump-instr=no "
                          f"--callgrind-out-file={out}/{name}.%p {penstock.BUILD.resolve()}/bin/penstock-{name} \"$@\"\n")
        script.chmod(0o755)
    return folder


def control(service, option):
    subprocess.run([peers.program("callgrind_control"), option, str(service.pid)], check=True,
                   capture_output=True, timeout=60)


def dump(service, out, name):
    """The counts since they were zeroed."""
    before = set(out.iterdir())
    control(service, "-d")
    (path,) = set(out.iterdir()) - before
    kept = path.rename(out / name)
    return int(re.search(r"^totals: (\d+)", kept.read_text(), re.M).group(1)), kept


def top(path, total, answers, n=8):
    text = subprocess.run([peers.program("callgrind_annotate"), "--threshold=100", path],
                          capture_output=True, text=True).stdout
    rows = re.findall(r"^\s*([\d,]+) \([ \d.]+%\)\s+(\S+):(\S+)(?:.*\[(.*)\])?", text, re.M)
    own = [(int(count.replace(",", "")), symbol, library) for count, _, symbol, library in rows]
    for value, symbol, library in [row for row in own if row[0] < 0.9 * total][:n]:  # not who called it all
        print(f"      {value / answers:12,.0f}  {value / total:5.1%}  {symbol} [{library.rsplit('/', 1)[-1]}]")


def measure(services, load, out, secs):
    for title, upload, answer, active in LOADS:
        load.run(0.2, active, upload, answer)
        for service in services:
            control(service, "-z")
        answers = load.run(secs, active, upload, answer)["answers"]
        for service in services:
            total, path = dump(service, out, f"{service.name}-{title.replace(' ', '-')}.callgrind")
            print(f"  {service.name:8} {title:20} {total / answers:12,.0f} instructions", flush=True)
            top(path, total, answers)


def ask(url, options, count):
    done = subprocess.run([peers.program("h2load"), *options, "-c1", "-m1", "-t1", f"-n{count}", url],
                          capture_output=True, text=True, timeout=120)
    if f"{count} succeeded" not in done.stdout:
        raise peers.penstock.Failure(f"h2load: {done.stdout}{done.stderr}")


def measure_traffic(service, url, out):
    """Of two runs the difference: what both have, a handshake above all, does not count."""
    for title, path, options, few, many in (("a request by h1", "/1k", ["--h1"], 100, 700),
                                            ("a request by h2", "/1k", [], 100, 700),
                                            ("a megabyte by h1", "/1m", ["--h1"], 5, 25),
                                            ("a megabyte by h2", "/1m", [], 5, 25)):
        name = f"{service.name}-{title.replace(' ', '-')}"
        ask(url + path, options, few)  # what is made once
        totals = []
        for count in (few, many):
            control(service, "-z")
            ask(url + path, options, count)
            total, kept = dump(service, out, f"{name}-{count}.callgrind")
            totals.append(total)
        print(f"  {service.name:8} {title:20} {(totals[1] - totals[0]) / (many - few):12,.0f} instructions", flush=True)
        top(kept, totals[1], many)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--secs", type=int, default=3)
    parser.add_argument("--out", type=pathlib.Path, default=SOURCE / "build" / "bench" / "callgrind")
    options = parser.parse_args()
    options.rounds = 1
    options.out.mkdir(parents=True, exist_ok=True)
    for old in options.out.iterdir():
        old.unlink()
    with contextlib.ExitStack() as stacks:
        folder = pathlib.Path(stacks.enter_context(tempfile.TemporaryDirectory()))
        b = bench.Bench(options, stacks)
        try:
            penstock.BUILD = wrap(folder, options.out)
            port, hub, edge = b.tunnel(b.keep(peers.load_origin()))
            load = peers.Load(1, [port])
            measure((hub, edge), load, options.out, options.secs)
            load.end()
            port, traffic = b.traffic(b.keep(peers.lean_origin()))
            measure_traffic(traffic, f"https://{bench.HOST}:{port}", options.out)
        except peers.Missing as missing:
            sys.exit(f"callgrind: {missing}")
        finally:
            b.end()


if __name__ == "__main__":
    main()
