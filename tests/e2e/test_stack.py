"""Ports that scripts/stack.py hands out: free by TCP and UDP, and never to two tests at once.  Logs that it
keeps: whole, and not in memory where they are a file."""
import pathlib
import random
import socket
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

import e2e
from e2e import penstock

MANY, FEW = 100, 20  # numbers to choose from; how many each process takes
TAKE = f"""
import random, sys
sys.path.insert(0, {str(e2e.SOURCE / "scripts")!r})
import stack
random.sample = lambda numbers, count: [int(n) for n in sys.argv[1:]]
print(*(stack.free_port() for _ in range({FEW})), flush=True)
sys.stdin.read()
"""


class Ports(unittest.TestCase):
    def taken_next(self, numbers):
        with mock.patch.object(random, "sample", return_value=numbers):
            return penstock.free_port()

    def test_not_one_that_a_socket_has(self):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(type=kind) as s:
                s.bind(("127.0.0.1", 0))
                other = penstock.free_port()
                penstock.TAKEN.discard(other)
                self.assertEqual(self.taken_next([s.getsockname()[1], other]), other)

    def test_not_one_twice(self):
        port = penstock.free_port()
        with self.assertRaises(e2e.Failure):
            self.taken_next([port])

    def test_not_one_that_another_process_has(self):
        """Two processes choose from the same numbers in the same order."""
        numbers = map(str, random.sample(range(1024, 65536), MANY))
        both = [subprocess.Popen([sys.executable, "-c", TAKE, *numbers], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, text=True) for numbers in [list(numbers)] * 2]
        for process in both:
            self.addCleanup(process.communicate, timeout=e2e.SECS)
        found = [port for process in both for port in process.stdout.readline().split()]
        self.assertEqual((len(found), len(set(found))), (2 * FEW, 2 * FEW))


class Logs(unittest.TestCase):
    def test_a_long_log_is_in_its_file(self):
        with tempfile.TemporaryDirectory() as folder:
            service = penstock.Service("hub", {}, folder, log=pathlib.Path(folder) / "hub.log")
            service.program = pathlib.Path(folder) / "chatty"
            service.program.write_text("#!/bin/sh\nseq 1 5000 | sed 's/.*/{\"event\": \"said\", \"n\": &}/' >&2\n")
            service.program.chmod(0o700)
            service.start()
            self.assertEqual(service.process.wait(e2e.SECS), 0)
            service.stop()
            self.assertEqual([l["n"] for l in service.lines], list(range(1, penstock.LINES_KEPT + 1)))
            self.assertEqual(len(service.log_file.read_text().splitlines()), 5000)
            self.assertEqual(service.last_lines(2), [f'{{"event": "said", "n": {n}}}' for n in (4999, 5000)])


if __name__ == "__main__":
    e2e.main()
