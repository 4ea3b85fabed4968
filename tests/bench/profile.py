"""make profile: where the processor time of hub, edge and traffic goes, as flame graphs.

    profile.py [--secs 5] [--out build/bench/profile]

Three loads: bulk through the tunnel (8 streams, both directions), requests through the tunnel (100
streams), HTTPS through traffic (64 connections).  A graph and a table by library for each process.
"""
import argparse
import contextlib
import pathlib
import subprocess
import sys
import time

import bench
import flame
import peers
from peers import SOURCE

HZ = 499


class Recording:
    """perf on one process; cpu-clock, as virtual machines have no counters."""

    def __init__(self, name, pid, folder):
        self.name, self.folder, self.data = name, folder, folder / f"{name}.perf"
        self.child = subprocess.Popen(
            [peers.program("perf"), "record", "-q", "-e", "cpu-clock", "-F", str(HZ), "--call-graph", "dwarf,4096",
             "-o", self.data, "-p", str(pid)], stderr=subprocess.DEVNULL)

    def end(self):
        self.child.send_signal(2)
        self.child.wait(60)
        text = subprocess.run([peers.program("perf"), "script", "--no-inline", "-i", self.data, "-F", "comm,ip,sym,dso"],
                              capture_output=True, text=True, errors="replace").stdout
        self.data.unlink()
        stacks = list(flame.frames(text.splitlines()))
        (self.folder / f"{self.name}.svg").write_text(flame.svg(flame.merge(stacks), f"penstock {self.name}"))
        libraries = {}
        for stack in stacks:
            libraries[stack[-1][1]] = libraries.get(stack[-1][1], 0) + 1
        most = sorted(libraries.items(), key=lambda item: -item[1])[:6]
        print(f"{self.name:18} {len(stacks):6} samples: "
              + ", ".join(f"{name} {count / max(len(stacks), 1):.0%}" for name, count in most), flush=True)


def record(load, processes, folder):
    going = [Recording(name, pid, folder) for name, pid in processes]
    time.sleep(0.5)  # perf attaches; what it misses of the load is no loss
    load()
    for recording in going:
        recording.end()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--secs", type=int, default=5)
    parser.add_argument("--out", type=pathlib.Path, default=SOURCE / "build" / "bench" / "profile")
    options = parser.parse_args()
    options.rounds = 1
    options.out.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stacks:
        b = bench.Bench(options, stacks)
        try:
            port, hub, edge = b.tunnel(b.keep(peers.iperf_server()))
            for down in (False, True):
                way = "down" if down else "up"
                record(lambda: bench.iperf(port, options.secs, 8, down),
                       [(f"hub-bulk-{way}", hub.pid), (f"edge-bulk-{way}", edge.pid)], options.out)
            port, hub, edge = b.tunnel(b.keep(peers.load_origin()))
            load = peers.Load(100, [port])
            record(lambda: load.run(options.secs, 100, 0, 128),
                   [("hub-requests", hub.pid), ("edge-requests", edge.pid)], options.out)
            load.end()
            port, traffic = b.traffic(b.keep(peers.nginx_origin(b.folder)))
            record(lambda: bench.wrk(f"https://{bench.HOST}:{port}/", options.secs, 64),
                   [("traffic-https", traffic.pid)], options.out)
        except peers.Missing as missing:
            sys.exit(f"profile: {missing}")
        finally:
            b.end()
    print(f"{options.out}/*.svg")


if __name__ == "__main__":
    main()
