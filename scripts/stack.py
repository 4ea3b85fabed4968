"""The services of Penstock as child processes: started with a JSON file each, watched by their logs.

Used by `make run` and by the tests.  Ports come from the kernel (port 0); what was bound is read from
the "listening" lines of the log.  Nothing outlives the object that started it.
"""
import base64
import collections
import contextlib
import fcntl
import functools
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

SOURCE = pathlib.Path(os.environ.get("PENSTOCK_SOURCE", pathlib.Path(__file__).resolve().parent.parent))
BUILD = pathlib.Path(os.environ.get("PENSTOCK_BUILD", SOURCE / "build" / "release"))
START_SECS = 30
LOG_QUIET_SECS = 0.1
STOP_SECS = 20
LINES_KEPT = 1000  # of a service whose log is a file, in memory: those of its start


class Failure(Exception):
    """Something did not happen in time, or a process ended badly."""


def wait_for(what, condition, secs=20.0):
    """Polls `condition` until it is true; its value.  The one place that waits."""
    end = time.monotonic() + secs
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            raise Failure(f"not within {secs} s: {what}")
        time.sleep(0.01)


class Answer:
    """What the management API said."""

    def __init__(self, response, body):
        self.status = response.status
        self.headers = response.headers
        self.body = body
        self.etag = response.headers.get("ETag")

    @property
    def json(self):
        return json.loads(self.body)


class Service:
    """One of the three programs."""

    def __init__(self, name, conf, folder, build=None, env=None, state_dir=None, log=None):
        """`log`: a file for all that it writes to standard error; in memory the first lines are kept then, not all."""
        self.name = name
        self.folder = pathlib.Path(folder)
        self.conf_file = self.folder / f"{name}.json"
        self.log_file = pathlib.Path(log) if log else None
        self.state_dir = pathlib.Path(state_dir) if state_dir else self.folder / f"{name}-state"
        # supervised, the process that is started here would not be the one that serves
        self.conf = {"log": {"format": "json"}, "stateDir": str(self.state_dir), "supervise": False,
                     "drainSecs": 0}  # a test ends with connections open
        for key, value in conf.items():
            if isinstance(value, dict) and isinstance(self.conf.get(key), dict):
                self.conf[key].update(value)
            else:
                self.conf[key] = value
        self.program = pathlib.Path(build or BUILD) / "bin" / f"penstock-{name}"
        self.env = dict(os.environ, **(env or {}))
        self.process = None
        self.lines = []
        self.changed = threading.Condition()
        self.reader = None
        self.is_read = threading.Event()  # its log; cleared, the reader stops behind some KiB
        self.is_read.set()

    # --- life

    def start(self):
        self.conf_file.write_text(json.dumps(self.conf))
        self.lines = []
        self.process = subprocess.Popen(
            [self.program, "--config", self.conf_file], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
            env=self.env, text=True, errors="replace")
        self.reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self.reader.start()
        return self

    def _read(self, process):
        with open(self.log_file, "a", buffering=1) if self.log_file else contextlib.nullcontext() as log:
            for line in process.stderr:
                self.is_read.wait()
                if log:
                    log.write(line)
                    if len(self.lines) >= LINES_KEPT:
                        continue
                self._keep(line)
        with self.changed:
            self.changed.notify_all()

    def _keep(self, line):
        try:
            event = json.loads(line)
        except ValueError:
            event = {"raw": line.rstrip("\n")}
        with self.changed:
            self.lines.append(event)
            self.changed.notify_all()

    @property
    def pid(self):
        return self.process.pid

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, expect=0):
        """SIGTERM; the exit status must be `expect` (sanitizers end with another)."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_SECS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Failure(f"{self.name} did not end within {STOP_SECS} s of SIGTERM") from None
        finally:
            self._end_reader()
        self.process = None
        if expect is not None and status != expect:
            raise Failure(f"{self.name} ended with {status}, expected {expect}")

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self._end_reader()
            self.process = None

    def _end_reader(self):
        self.reader.join(STOP_SECS)
        self.process.stderr.close()

    # --- log

    def events(self, event=None, **fields):
        """What it has logged.  A service gathers lines before it writes them (lib/loop/log_writer.h), so the last ones
        are there when a moment has passed without another."""
        with self.changed:
            count, end = -1, time.monotonic() + START_SECS
            while self.is_running() and count != len(self.lines) and time.monotonic() < end:
                count = len(self.lines)
                self.changed.wait(LOG_QUIET_SECS)
            lines = list(self.lines)
        return [l for l in lines if (event is None or l.get("event") == event)
                and all(l.get(k) == v for k, v in fields.items())]

    def wait_event(self, event, secs=START_SECS, count=1, **fields):
        """The count-th line of this kind."""
        end = time.monotonic() + secs
        with self.changed:
            while True:
                found = [l for l in self.lines if l.get("event") == event
                         and all(l.get(k) == v for k, v in fields.items())]
                if len(found) >= count:
                    return found[count - 1]
                left = end - time.monotonic()
                if left <= 0 or (self.process and self.process.poll() is not None):
                    raise Failure(f"{self.name}: no {event} {fields} in its log")
                self.changed.wait(min(left, 0.5))

    def address(self, name):
        """("127.0.0.1", 43210) of a listener."""
        text = self.wait_event("listening", name=name)["address"]
        host, port = text.rsplit(":", 1)
        host = host.strip("[]")
        return {"::": "127.0.0.1", "0.0.0.0": "127.0.0.1"}.get(host, host), int(port)

    def dump(self, out=sys.stderr, last=200):
        print(f"--- {self.name} ({'runs' if self.is_running() else 'ended'})", file=out)
        for line in self.last_lines(last):
            print("   ", line, file=out)

    def last_lines(self, count):
        if self.log_file:
            with open(self.log_file, errors="replace") as log:
                return [line.rstrip("\n") for line in collections.deque(log, count)]
        return [line.get("raw") or json.dumps(line) for line in self.lines[-count:]]

    # --- management API

    def token(self, read=False):
        name = "management-read-token" if read else "management-token"
        path = self.state_dir / name
        wait_for(f"{path}", lambda: path.exists() and path.read_text().strip())
        return path.read_text().split()[0]

    def api(self, method, path, body=None, token=None, headers=None, expect=None, timeout=30):
        host, port = self.address("management")
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
        sent = {"Authorization": f"Bearer {self.token() if token is None else token}"}
        data = None
        if body is not None:
            data = body if isinstance(body, (bytes, str)) else json.dumps(body)
            sent["Content-Type"] = "application/json"
        sent.update(headers or {})
        connection.request(method, path, data, {k: v for k, v in sent.items() if v is not None})
        response = connection.getresponse()
        is_endless = response.headers.get("Content-Type") == "text/event-stream" and method != "HEAD"
        answer = Answer(response, response.readline() if is_endless else response.read())
        connection.close()
        if expect is not None and answer.status not in (expect if isinstance(expect, tuple) else (expect,)):
            raise Failure(f"{self.name}: {method} {path}: {answer.status} {answer.body[:2000]!r}")
        return answer

    def status(self):
        return self.api("GET", "/v1/status", expect=200).json

    def metric(self, name, **labels):
        """The sum of the samples of a metric that carry these labels."""
        text = self.api("GET", "/metrics", expect=200).body.decode()
        total, seen = 0.0, False
        for line in text.splitlines():
            if line.startswith("#"):
                continue
            key, value = line.rsplit(" ", 1)
            if key.split("{")[0] == name and all(f'{k}="{v}"' in key for k, v in labels.items()):
                total, seen = total + float(value), True
        if not seen:
            raise Failure(f"{self.name}: no metric {name} {labels}")
        return total

    # --- process

    def open_files(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def resident_bytes(self):
        with open(f"/proc/{self.pid}/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# What edges dial by, where a test does not say it itself; empty: the default.
TRANSPORT = os.environ.get("PENSTOCK_TRANSPORT", "")


class Certificate:
    """A self-signed certificate for names, made by openssl."""

    def __init__(self, folder, *names, kind="ec", days="30"):
        base = pathlib.Path(folder) / names[0].replace("*", "_")
        self.chain_file, self.key_file = base.with_suffix(".crt"), base.with_suffix(".key")
        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "ec" else ["-newkey", "rsa:2048"]
        subprocess.run(
            ["openssl", "req", "-x509", *new_key, "-nodes", "-days", days,
             "-keyout", self.key_file, "-out", self.chain_file, "-subj", f"/CN={names[0]}",
             "-addext", "subjectAltName=" + ",".join(f"DNS:{n}" for n in names)],
            check=True, capture_output=True)
        self.chain, self.key = self.chain_file.read_text(), self.key_file.read_text()


TAKEN = set()  # by take_port()


@functools.cache
def port_locks():
    """A file of which this user's processes lock a byte a port; open until the process ends, for to close it
    unlocks it."""
    return open(pathlib.Path(tempfile.gettempdir()) / f"penstock-ports-{os.getuid()}", "ab")


def take_port(port):
    """Makes the number this process's for as long as it lives; False: it is somebody's already."""
    if port in TAKEN:  # a process's own lock does not stop it
        return False
    try:
        fcntl.lockf(port_locks(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    TAKEN.add(port)
    return True


def is_free(host, port):
    """By TCP and by UDP."""
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        try:
            tcp.bind((host, port))
            udp.bind((host, port))
        except OSError:
            return False
    return True


def free_port(host="127.0.0.1"):
    """A port that is free now, by TCP and by UDP, and that no other call returns, of this process or of
    another one that runs.  Only for ports that must be named before they are bound (the hub assigns public
    ports by number): below those that the kernel gives to outgoing connections, for one of them could take
    it meanwhile."""
    low = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in random.sample(range(max(low // 3, 1024), low), 1000):
        if is_free(host, port) and take_port(port):
            return port
    raise Failure("no free port")


class Stack:
    """Edge, hub, traffic and whatever else a caller starts, in a folder of its own."""

    def __init__(self, build=None, keep=False, logs=False):
        """`logs`: each service's log is a file in the folder, NAME.log."""
        self.build = build
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="penstock-"))
        self.keep = keep
        self.logs = logs
        self.services = []

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        failed = kind is not None and kind is not KeyboardInterrupt
        if failed:
            for service in self.services:
                service.dump()
        try:
            for service in reversed(self.services):
                try:
                    service.stop(None if failed else 0)
                except Failure:
                    service.dump()
                    if not failed:
                        raise
        finally:
            for service in self.services:
                service.kill()
            if not self.keep:
                shutil.rmtree(self.folder, ignore_errors=True)

    def service(self, name, conf, **options):
        folder = self.folder
        if any(s.name == name and s.is_running() for s in self.services):  # a second one shares no state
            folder = folder / f"{name}-{len(self.services)}"
            folder.mkdir()
        if self.logs:
            options["log"] = folder / f"{name}.log"
        service = Service(name, conf, folder, build=self.build, **options)
        self.services.append(service)
        return service.start()

    def hub(self, targets, tunnel_port=0, management_port=0, **conf):
        """`targets`: public port -> port, or {host, port, proxyProtocol}."""
        base = {
            "tunnel": {"listen": f"127.0.0.1:{tunnel_port}"},
            "target": {"host": "127.0.0.1", "ports": {str(k): v for k, v in targets.items()}},
            "management": {"listen": f"127.0.0.1:{management_port}"},
        }
        merge(base, conf)
        return self.service("hub", base)

    def edge(self, token=None, management_port=0, **conf):
        base = {"bindAddress": "127.0.0.1", "management": {"listen": f"127.0.0.1:{management_port}"},
                "stun": {"server": ""}}  # nothing here asks the internet
        if token:
            base["token"] = token
        if TRANSPORT:
            base["transportMode"] = TRANSPORT
        merge(base, conf)
        return self.service("edge", base)

    def traffic(self, http_port=0, https_port=0, management_port=0, **conf):
        base = {
            "http": {"listen": f"127.0.0.1:{http_port}"},
            "https": {"listen": f"127.0.0.1:{https_port}"},
            "management": {"listen": f"127.0.0.1:{management_port}"},
            "proxyProtocol": {"trusted": ["127.0.0.0/8"]},
        }
        merge(base, conf)
        return self.service("traffic", base)

    def register(self, hub, edge_id, ports, at=None, **fields):
        """An edge at the hub; its connection token, for the hub's own address or `at`."""
        hub.api("POST", "/v1/edges", {"id": edge_id, "listenPorts": list(ports), **fields}, expect=201)
        host, port = at or hub.address("tunnel")
        return hub.api("POST", f"/v1/edges/{edge_id}/token", {"hubHost": host, "hubPort": port},
                       expect=(200, 201)).json["token"]


def merge(into, other):
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value


def decode_token(token):
    return json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))


def tls_context(certificate=None):
    """A client's, that trusts one certificate, or none at all."""
    context = ssl.create_default_context()
    if certificate is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(cadata=certificate.chain)
    return context
