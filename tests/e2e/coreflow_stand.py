"""A Coreflow for tests, by the letter of RFC 6455 and with every fault that a test asks for: a listener
whose connections the test drives by hand, and traffic in front of a recording origin.

The real server is under tests/coreflow; this one provokes what that one never does.
"""
import base64
import contextlib
import hashlib
import json
import socket
import ssl
import struct

from traffic_stand import SECS, Stand, stack

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
METRIC = "penstock_traffic_coreflow_"


def frame(opcode, payload=b"", fin=True, mask=False, rsv=0, claim=None):
    """One frame; `claim`: the length that its head says instead of the true one."""
    length = len(payload) if claim is None else claim
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    bit = 0x80 if mask else 0
    if length < 126:
        head += bytes([bit | length])
    elif length < 65536:
        head += bytes([bit | 126]) + struct.pack("!H", length)
    else:
        head += bytes([bit | 127]) + struct.pack("!Q", length)
    return head + (b"\0\0\0\0" if mask else b"") + payload


class Ended(Exception):
    """The client ended the connection without a close frame."""


class Connection:
    def __init__(self, s):
        self.s, self.held, self.head = s, bytearray(), None
        s.settimeout(SECS)

    def close(self):
        self.s.close()

    def exactly(self, n):
        while len(self.held) < n:
            try:
                piece = self.s.recv(65536)
            except ConnectionError:
                piece = b""
            if not piece:
                raise Ended()
            self.held += piece
        taken = bytes(self.held[:n])
        del self.held[:n]
        return taken

    # --- the handshake

    def request(self):
        """The upgrade request's fields; its first line under ""."""
        while b"\r\n\r\n" not in self.held:
            self.held += self.s.recv(65536) or self._ended()
        head, _, rest = bytes(self.held).partition(b"\r\n\r\n")
        self.held = bytearray(rest)
        lines = head.decode("ascii").split("\r\n")
        self.head = {"": lines[0], **dict(l.lower().split(": ", 1) for l in lines[1:])}
        self.key = next(l.split(": ")[1] for l in lines if l.startswith("Sec-WebSocket-Key: "))
        return self.head

    @staticmethod
    def _ended():
        raise Ended()

    def accept_key(self):
        return base64.b64encode(hashlib.sha1(self.key.encode() + GUID).digest()).decode()

    def answer(self, **changes):
        """The 101; `changes`: fields with _ for -, None leaves one out, `status` is the first line."""
        fields = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": self.accept_key()}
        status = changes.pop("status", "101 Switching Protocols")
        behind = changes.pop("behind", b"")
        fields.update({k.replace("_", "-"): v for k, v in changes.items()})
        lines = [f"HTTP/1.1 {status}", *(f"{k}: {v}" for k, v in fields.items() if v is not None)]
        self.s.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + behind)

    def open(self):
        self.request()
        self.answer()
        return self

    # --- frames

    def send(self, opcode, payload=b"", **options):
        self.s.sendall(frame(opcode, payload, **options))

    def receive(self):
        """(opcode, payload) of the next frame; every frame of a client must be masked."""
        first, second = self.exactly(2)
        if not second & 0x80:
            raise AssertionError("a frame of the client is not masked")
        length = second & 0x7f
        if length == 126:
            length = struct.unpack("!H", self.exactly(2))[0]
        elif length == 127:
            length = struct.unpack("!Q", self.exactly(8))[0]
        mask = self.exactly(4)
        payload = bytes(b ^ mask[i % 4] for i, b in enumerate(self.exactly(length)))
        return first & 0x0f, payload

    def receive_json(self):
        opcode, payload = self.receive()
        if opcode != TEXT:
            raise AssertionError(f"opcode {opcode} {payload!r} where a text was due")
        return json.loads(payload)

    def close_code(self):
        """Reads to the client's close frame; its code."""
        while True:
            opcode, payload = self.receive()
            if opcode == CLOSE:
                return struct.unpack("!H", payload[:2])[0] if payload else None

    def is_ended(self):
        try:
            self.exactly(1)
        except Ended:
            return True
        return False

    # --- TypedRequest

    def take_tag(self, **answer):
        """The tag that the client asks for, answered."""
        message = self.receive_json()
        if message["method"] != "__typedsocket_setTag" or message["correlation"]["phase"] != "request":
            raise AssertionError(f"no tag: {message}")
        answer = answer or {"response": {"success": True}}
        self.send_json({**message, **answer, "correlation": {**message["correlation"], "phase": "response"}})
        return message["request"]

    def send_json(self, message):
        self.send(TEXT, json.dumps(message).encode())

    def ask(self, request, method="updateRouting", id="1"):
        self.send_json({"method": method, "request": request, "response": None,
                        "correlation": {"id": id, "phase": "request"}})

    def update(self, request, id="1"):
        """The response to updateRouting."""
        self.ask(request, id=id)
        answer = self.receive_json()
        if answer["correlation"] != {"id": id, "phase": "response"} or answer["method"] != "updateRouting":
            raise AssertionError(f"no answer to {id}: {answer}")
        return answer["response"]


class Coreflow:
    """The listener.  `certificate`: wss."""

    def __init__(self, port=0, certificate=None):
        self.listener = socket.create_server(("127.0.0.1", port), backlog=16)
        self.listener.settimeout(SECS)
        self.port = self.listener.getsockname()[1]
        self.context = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate.chain_file, certificate.key_file)
        self.connections = []

    def accept(self):
        s, _ = self.listener.accept()
        if self.context:
            s.settimeout(SECS)
            s = self.context.wrap_socket(s, server_side=True)
        connection = Connection(s)
        self.connections.append(connection)
        return connection

    def tagged(self):
        connection = self.accept().open()
        connection.take_tag()
        return connection

    def close(self):
        self.listener.close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.close()


class CoreflowStand(Stand):
    """traffic with a link to self.coreflow; no routes to begin with."""

    def __init__(self, secure=False, scheme=None, path="", **conf):
        super().__init__(**conf)
        self.secure, self.scheme, self.path = secure, scheme or ("wss" if secure else "ws"), path

    def __enter__(self):
        self.stack = self.exit.enter_context(stack.Stack())
        self.certificates = {}
        self.origin = self.new_origin()
        self.coreflow = self.listen()
        base = {"proxyProtocol": {"trusted": []}, "workers": 1,
                "coreflow": {"url": f"{self.scheme}://{self.host()}:{self.coreflow.port}{self.path}"}}
        if self.secure:
            base["coreflow"]["caFile"] = str(self.certificate("localhost").chain_file)
        stack.merge(base, self.conf)
        self.traffic = self.stack.traffic(**base)
        self.https = self.traffic.address("https")
        self.http = self.traffic.address("http")
        return self

    def host(self):
        return "localhost" if self.secure else "127.0.0.1"

    def listen(self, port=0):
        coreflow = Coreflow(port, self.certificate("localhost") if self.secure else None)
        self.exit.callback(coreflow.close)
        return coreflow

    def link(self):
        return self.traffic.status()["coreflow"]

    def wait_link(self, state):
        stack.wait_for(f"the link is {state}", lambda: self.link()["state"] == state, SECS)
        return self.link()

    def ended(self, reason):
        return self.traffic.metric(METRIC + "ends_total", reason=reason)

    def wait_ended(self, reason, count=1):
        stack.wait_for(f"a link that ended for {reason}", lambda: self.ended(reason) >= count, SECS)

    def messages(self, kind):
        return self.traffic.metric(METRIC + "messages_total", kind=kind)
