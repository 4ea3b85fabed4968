"""One measurement each, by the programs that load and by none of ours."""
import collections
import json
import re
import subprocess
import time

import peers
from peers import penstock


# Of a client: with one the machine stood idle for a tenth of the time, most of it beside whoever costs least.
THREADS = 2

Load = collections.namedtuple("Load", "rate p99 requests")  # a second; seconds; how many there were in all


class Behind(Exception):
    """A load was not borne: by whom it went to, or by a machine that others use."""


def iperf(port, secs, streams, down, *options, host="127.0.0.1"):
    """GB/s."""
    argv = [peers.program("iperf3"), "-c", host, "-p", str(port), "-t", str(secs), "-P", str(streams), "-J", *options]
    end = time.monotonic() + 10
    while True:
        done = subprocess.run(argv + (["-R"] if down else []), capture_output=True, text=True, timeout=secs + 30)
        found = json.loads(done.stdout)
        if "error" not in found:
            return found["end"]["sum_received"]["bits_per_second"] / 8e9
        # the end of the last run is still on its way: the server says it is busy, and resets
        if not re.search("busy|control message|cookie", found["error"]) or time.monotonic() > end:
            raise penstock.Failure(f"iperf3: {found['error']}")
        time.sleep(0.05)


def wrk(url, secs, connections, *headers, threads=THREADS):
    argv = [peers.program("wrk"), f"-t{threads}", f"-c{connections}", f"-d{secs}s", "--latency"]
    for header in headers:
        argv += ["-H", header]
    text = subprocess.run(argv + [url], capture_output=True, text=True, check=True, timeout=secs + 30).stdout
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))
    value, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", text).groups()
    if float(rate) == 0:
        raise penstock.Failure(f"wrk got no answer from {url}: {text}")
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    if errors:
        raise penstock.Failure(f"wrk: {errors.group(0)} from {url}")
    requests = int(re.search(r"(\d+) requests in", text).group(1))  # wrk looks at the clock each 100 ms
    return Load(rate, float(value) * {"us": 1e-6, "ms": 1e-3, "s": 1}[unit], requests)


def paced(url, rate, secs, log, connections=32, threads=1):
    """p99 in ms of keep-alive requests at a fixed rate; Behind when too few of them were answered."""
    log.unlink(missing_ok=True)
    subprocess.run([peers.program("h2load"), "--h1", f"-c{connections}", f"-t{threads}", f"-D{secs}", f"--log-file={log}",
                    f"--rps={rate / connections:.1f}", url], capture_output=True, check=True, timeout=secs + 30)
    times = sorted(int(line.split("\t")[2]) for line in log.read_text().splitlines())
    if len(times) < rate * secs * 0.8:
        raise Behind(f"{url}: {len(times)} of {rate * secs:.0f} requests were answered")
    return times[len(times) * 99 // 100] / 1000


def h2load(url, secs, connections, streams):
    """Answers a second over HTTP/2; every one has to be there."""
    argv = [peers.program("h2load"), f"-c{connections}", f"-m{streams}", f"-t{THREADS}", f"-D{secs}", "--warm-up-time=0", url]
    text = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=secs + 30).stdout
    rate = float(re.search(r"finished in [\d.]+\w+, ([\d.]+) req/s", text).group(1))
    done = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", text)
    if rate == 0 or done.group(2) != "0" or "Application protocol: h2" not in text:
        raise penstock.Failure(f"h2load: {text}")
    return Load(rate, None, int(done.group(1)))
