"""What the tunnel's tests share: frames as bytes, the probe (a lane that sends what it is told), a relay
between edge and hub that can be cut or go deaf, echo clients that run beside a test.
"""
import base64
import contextlib
import json
import os
import random
import select
import socket
import ssl
import struct
import subprocess
import threading
import time

import e2e
from e2e import penstock, wait_for

(OPEN, DATA, CLOSE, DATA_BACK, CLOSE_BACK, CONFIG, PING, PONG, WINDOW_UPDATE, WINDOW_UPDATE_BACK,
 UDP_OPEN, UDP_DATA, UDP_DATA_BACK, UDP_CLOSE, CONFIG_ACK, DRAIN, GOODBYE) = range(1, 18)

PAYLOAD_MAX = 65536
INITIAL_WINDOW = 65536


def frame(stream, type_, payload=b"", length=None):
    """`length` lies about the payload."""
    return struct.pack("!IBI", stream, type_, len(payload) if length is None else length) + payload


def proxy_line(port, client="192.0.2.7", client_port=40000, server="127.0.0.1"):
    return f"PROXY TCP4 {client} {server} {client_port} {port}\r\n".encode()


def open_frame(stream, port, **client):
    return frame(stream, OPEN, proxy_line(port, **client))


def udp_open_frame(stream, port, client="192.0.2.7", client_port=40000, server="127.0.0.1"):
    header = (b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c" + socket.inet_aton(client) + socket.inet_aton(server) +
              struct.pack("!HH", client_port, port))
    return frame(stream, UDP_OPEN, header)


class Frame:
    def __init__(self, data):
        self.stream, self.type, length = struct.unpack("!IBI", data[:9])
        self.payload = data[9:]
        if len(self.payload) != length:
            raise e2e.Failure(f"a frame of {length} bytes has {len(self.payload)}")

    @property
    def json(self):
        return json.loads(self.payload)

    def __repr__(self):
        return f"<{self.stream} {self.type:#x} {self.payload[:80]!r}>"


class Probe:
    """tests/tools/tunnel_probe.c: one lane of an edge, with a right proof.  `hello` is a whole line
    with @PROOF@ in it; `answer`, `frames` and `ended` are what the hub said."""

    def __init__(self, address, edge_id, secret, instance="probe", session=None, lane=0, hello=None,
                 alpn=None):
        options = ["--show-hello", "--instance", instance, "--lane", str(lane)]
        for name, value in (("--session", session), ("--hello", hello), ("--alpn", alpn)):
            if value is not None:
                options += [name, value]
        self.process = subprocess.Popen(
            [penstock.BUILD / "bin" / "tunnel_probe", "%s:%d" % address, *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=dict(os.environ, PROBE_EDGE_ID=edge_id, PROBE_SECRET=secret))
        self.hello = self.answer = self.ended = self.ended_at = None
        self.started_at = time.monotonic()
        self.frames = []
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            word, _, rest = line.rstrip(b"\n").partition(b" ")
            with self.changed:
                if word == b"hello":
                    self.hello = rest + b"\n"
                elif word == b"answer":
                    self.answer = json.loads(rest)
                elif word == b"frame":
                    self.frames.append(Frame(bytes.fromhex(rest.decode())))
                elif word == b"end":
                    self._end(rest.decode())
                self.changed.notify_all()
        with self.changed:
            if self.ended is None:
                self._end("died")
            self.changed.notify_all()

    def _end(self, why):
        self.ended, self.ended_at = why, time.monotonic()

    def _wait(self, what, condition, secs):
        with self.changed:
            if not self.changed.wait_for(lambda: condition() or self.ended, secs) or not condition():
                raise e2e.Failure(f"the probe saw no {what} within {secs} s (ended: {self.ended}, "
                                  f"answer: {self.answer}, frames: {self.frames[-10:]})")

    def wait_answer(self, secs=e2e.SECS):
        self._wait("answer", lambda: self.answer, secs)
        return self.answer

    def wait_open(self, secs=e2e.SECS):
        answer = self.wait_answer(secs)
        if "error" in answer:
            raise e2e.Failure(f"the hub refused the probe: {answer}")
        return self

    def wait_error(self, secs=e2e.SECS):
        """The code of an error answer."""
        answer = self.wait_answer(secs)
        if "error" not in answer:
            raise e2e.Failure(f"the hub took the probe: {answer}")
        return answer["error"]["code"]

    def wait_end(self, secs=e2e.SECS):
        with self.changed:
            if not self.changed.wait_for(lambda: self.ended, secs):
                raise e2e.Failure(f"the probe's connection goes on after {secs} s")
        return self.ended

    def seen(self, type_, stream=None):
        with self.changed:
            return [f for f in self.frames if f.type == type_ and stream in (None, f.stream)]

    def wait_frame(self, type_, stream=None, count=1, secs=e2e.SECS):
        self._wait(f"frame {type_:#x} of {stream}", lambda: len(
            [f for f in self.frames if f.type == type_ and stream in (None, f.stream)]) >= count, secs)
        return self.seen(type_, stream)[count - 1]

    def bytes_back(self, stream):
        return b"".join(f.payload for f in self.seen(DATA_BACK, stream))

    def wait_back(self, stream, n, secs=e2e.SECS):
        wait_for(f"{n} bytes on stream {stream}",
                 lambda: self.ended or len(self.bytes_back(stream)) >= n, secs)
        return self.bytes_back(stream)

    def goodbye(self, secs=e2e.SECS):
        """Waits for GOODBYE and for the end; what it said."""
        self.wait_frame(GOODBYE, 0, secs=secs)
        self.wait_end(secs)
        return self.frames[-1].json

    def send(self, *pieces):
        """The hub may have gone: then the bytes are lost."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(b"".join(pieces))
            self.process.stdin.flush()

    @property
    def session(self):
        return self.answer["session"]

    @property
    def config(self):
        return self.answer["config"]

    def acknowledge(self, revision=None, ports=None):
        config = self.config if revision is None else {"revision": revision, "listenPorts": ports}
        self.send(frame(0, CONFIG_ACK, json.dumps({
            "revision": config["revision"], "listenPorts": config["listenPorts"], "listenPortsUdp": [],
            "errors": [], "publicIp": None}).encode()))

    def close(self):
        if self.ended is None:
            self.process.kill()
        self.process.wait(e2e.SECS)
        self.reader.join(e2e.SECS)
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()


class Relay:
    """A TCP relay in front of an address.  mode: "pass"; "stop": nothing is read, so that the senders'
    windows close; "drop": all is read and thrown away, so that the peers' kernels are content."""

    BUFFER = 65536  # in the kernel, a side: little is taken once nothing is read

    def __init__(self, to, port=0):
        self.to, self.mode = to, "pass"
        self.most = None  # connections at a time: one more is closed
        self.changed = threading.Condition()
        self.pairs = []
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.BUFFER)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen()
        self.address = self.listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                a, _ = self.listener.accept()
            except OSError:
                return
            if self.most is not None and len(self.pairs) >= self.most:
                a.close()
                continue
            b = socket.socket()
            b.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.BUFFER)
            try:
                b.connect(self.to)
            except OSError:
                a.close()
                b.close()
                continue
            for s in (a, b):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.changed:
                self.pairs.append((a, b))
                self.changed.notify_all()
            for one, other in ((a, b), (b, a)):
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one, other):
        with contextlib.suppress(OSError):
            while True:
                with self.changed:
                    self.changed.wait_for(lambda: self.mode != "stop")
                data = one.recv(65536)
                with self.changed:
                    if self.mode == "drop":
                        if not data:
                            return  # not even the end is told
                        continue
                if not data:
                    other.shutdown(socket.SHUT_WR)
                    return
                other.sendall(data)
        with contextlib.suppress(OSError):
            e2e.reset(other)

    def set_mode(self, mode):
        with self.changed:
            self.mode = mode
            self.changed.notify_all()

    def cut(self, pairs=None):
        """Every connection, or these, is reset at both ends."""
        with self.changed:
            pairs = self.pairs if pairs is None else pairs
            self.pairs = [p for p in self.pairs if p not in pairs]
        for pair in pairs:
            for s in pair:
                with contextlib.suppress(OSError):
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    s.shutdown(socket.SHUT_RD)  # wakes the thread that reads it
                with contextlib.suppress(OSError):
                    s.close()

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.set_mode("pass")
        self.cut()


class UdpRelay(threading.Thread):
    """The same for datagrams, on the number of a TCP relay that free_port() gave to both: each client has a socket of its own towards
    the hub.  mode: "pass", "drop".  rebind(): the hub sees other addresses from now on, as behind a NAT
    that was restarted."""

    def __init__(self, to, port):
        super().__init__(daemon=True)
        self.to, self.mode, self.must_stop = to, "pass", False
        self.front = self._socket(("127.0.0.1", port))
        self.upstream = {}  # client -> socket
        self.old = []
        self.start()

    @staticmethod
    def _socket(at):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        s.bind(at)
        s.setblocking(False)
        return s

    def _forward(self, data, client):
        if client not in self.upstream:
            self.upstream[client] = self._socket(("127.0.0.1", 0))
        with contextlib.suppress(OSError):
            self.upstream[client].sendto(data, self.to)

    def run(self):
        while not self.must_stop:
            upstream = {s: client for client, s in list(self.upstream.items())}
            for s in select.select([self.front, *upstream], [], [], 0.05)[0]:
                with contextlib.suppress(OSError):
                    data, peer = s.recvfrom(65535)
                    if self.mode == "drop":
                        continue
                    if s is self.front:
                        self._forward(data, peer)
                    else:
                        self.front.sendto(data, upstream[s])

    def rebind(self):
        self.old += self.upstream.values()
        self.upstream = {}

    def close(self):
        self.must_stop = True
        self.join(e2e.SECS)
        for s in [self.front, *self.upstream.values(), *self.old]:
            s.close()


class EchoClient(threading.Thread):
    """Sends and reads back until told to stop or until it ends: .outcome "stopped", "reset", "ended" or
    "wrong"; .rounds counts."""

    def __init__(self, port, seed, size=4096):
        super().__init__(daemon=True)
        self.socket = e2e.connect(port)
        self.random, self.size = random.Random(seed), size
        self.rounds, self.outcome, self.must_stop = 0, None, False
        self.start()

    def run(self):
        try:
            while not self.must_stop:
                data = self.random.randbytes(self.size)
                self.socket.sendall(data)
                if e2e.receive(self.socket, len(data)) != data:
                    self.outcome = "wrong"
                    return
                self.rounds += 1
            self.outcome = "stopped"
        except (ConnectionResetError, BrokenPipeError):
            self.outcome = "reset"
        except e2e.Failure:
            self.outcome = "ended"
        except OSError as failure:
            self.outcome = repr(failure)
        finally:
            self.socket.close()

    def finish(self):
        self.must_stop = True
        self.join(e2e.SECS)
        return self.outcome


def echo_clients(port, count, secs=e2e.SECS):
    """Running ones: each has had an echo."""
    clients = [EchoClient(port, seed) for seed in range(count)]
    wait_for(f"{count} echoes", lambda: all(c.rounds > 0 or c.outcome for c in clients), secs)
    return clients


def tls_client(address, alpn="penstock/1", source=None, maximum=None, secs=e2e.SECS):
    """A TLS connection to a hub, without any check of the hub."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if maximum:
        context.maximum_version = maximum
    if alpn:
        context.set_alpn_protocols([alpn])
    s = socket.create_connection(address, secs, (source, 0) if source else None)
    s.settimeout(secs)
    try:
        return context.wrap_socket(s)
    except BaseException:
        s.close()
        raise


def read_to_end(s):
    """Everything until the other side ends, in order or not."""
    data = b""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while piece := s.recv(65536):
            data += piece
    return data


def secret_of(token):
    return penstock.decode_token(token)["secret"]


def token_with(token, **changes):
    """The same token with other fields; None leaves one out."""
    fields = {**penstock.decode_token(token), **changes}
    fields = {k: v for k, v in fields.items() if v is not None}
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).rstrip(b"=").decode()
