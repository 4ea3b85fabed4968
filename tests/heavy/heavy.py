"""What the heavy tests share: the stands of tests/e2e, and an echo of datagrams that is fast enough."""
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(os.environ["PENSTOCK_SOURCE"]) / "tests" / "e2e"))

import e2e  # noqa: E402
import udp_stand as u  # noqa: E402
from e2e import penstock  # noqa: E402,F401

CACHE = pathlib.Path(os.environ["PENSTOCK_BUILD"]) / "CMakeCache.txt"
IS_SANITIZED = "PENSTOCK_SANITIZE:STRING=\n" not in CACHE.read_text()


class EchoProcess:
    """An echo of datagrams in a process of its own, so that the test's threads do not slow it."""

    PROGRAM = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
buffer = bytearray(65536)
while True:
    n, peer = s.recvfrom_into(buffer)
    s.sendto(memoryview(buffer)[:n], peer)
"""

    def __init__(self):
        self.process = subprocess.Popen([sys.executable, "-c", self.PROGRAM], stdout=subprocess.PIPE, text=True)
        try:
            self.port = int(self.process.stdout.readline())
        except BaseException:  # nobody else knows of the child yet
            self.close()
            raise

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Case(u.Case):
    def echo(self):
        process = EchoProcess()
        self.addCleanup(process.close)
        return process.port
