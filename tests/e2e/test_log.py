"""The log of a service that nobody reads, traffic's with a line a request: it serves, it is managed, it ends;
and who reads it again is told how many lines were lost, where they are missing."""
import contextlib
import os
import pathlib
import signal
import unittest

from e2e import main, penstock, wait_for
from traffic_stand import HOST, SECS, Stand

LOST = "penstock_log_lines_dropped_total"
PATH = "/" + "p" * 255  # all of it is logged
AT_ONCE = 50            # requests of one connection


def children(pid):
    return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def is_answered(service):
    with contextlib.suppress(OSError):
        return service.api("GET", "/healthz").status == 200


class Unread(unittest.TestCase):
    def lines(self, stand):
        """Behind what a start says before it knows its format: all are whole."""
        lines = stand.traffic.lines
        lines = lines[lines.index(stand.traffic.events("listening")[0]):]
        self.assertEqual([line for line in lines if "raw" in line], [])
        return lines

    def ask(self, stand):
        with stand.client() as c:
            c.send(f"GET {PATH} HTTP/1.1\r\nHost: {HOST}\r\n\r\n" * AT_ONCE)
            for _ in range(AT_ONCE):
                self.assertEqual(c.answer().status, 200)
        return AT_ONCE

    def ask_until_lines_are_lost(self, stand):
        """At least 1,000 requests, all answered; how many."""
        stand.traffic.is_read.clear()
        asked = 0
        while asked < 1000 or stand.traffic.metric(LOST) == 0:
            asked += self.ask(stand)
            self.assertLess(asked, 20000, "no line is lost, and nobody reads")
        return asked

    def test_it_serves_and_tells_what_was_lost(self):
        with Stand() as stand:
            self.assertEqual(stand.traffic.metric(LOST), 0)
            asked = self.ask_until_lines_are_lost(stand)
            stand.routes([stand.route(HOST), stand.route("new.example.test")])
            self.assertEqual(len(stand.traffic.api("GET", "/v1/routes", expect=200).json["routes"]), 2)
            lost = stand.traffic.metric(LOST)
            stand.traffic.is_read.set()
            told = stand.traffic.wait_event("log_dropped")
            self.assertEqual((told["level"], told["module"], told["count"]), ("warn", "log", lost))
            asked += self.ask(stand)
        lines = self.lines(stand)
        self.assertEqual(stand.traffic.events("log_dropped"), [told])
        requests = [i for i, line in enumerate(lines) if line["event"] == "request"]
        self.assertEqual(len([i for i in requests if i > lines.index(told)]), AT_ONCE)
        self.assertLessEqual(asked - len(requests), lost)  # lines of the new routes were lost, too
        self.assertGreater(len(requests), 1000)
        self.assertEqual(lines[-1]["event"], "stopped")

    def test_it_ends(self):
        for supervise in False, True:
            with self.subTest(supervise=supervise), Stand(supervise=supervise) as stand:
                self.ask_until_lines_are_lost(stand)
                os.kill(stand.traffic.pid, signal.SIGTERM)
                self.assertEqual(stand.traffic.process.wait(SECS), 0)
                stand.traffic.is_read.set()
                stand.traffic.stop(0)
                requests = [line for line in self.lines(stand) if line["event"] == "request"]
                self.assertGreater(len(requests), 50)
                stand.traffic.lines = []  # it ended as it should: they are not shown

    def test_it_crashes_and_comes_again(self):
        """The supervisor, whose log it is too, does not wait either."""
        with Stand(supervise=True, management_port=penstock.free_port()) as stand:
            self.ask_until_lines_are_lost(stand)
            (child,) = children(stand.traffic.pid)
            os.kill(int(child), signal.SIGSEGV)
            wait_for("another process", lambda: set(children(stand.traffic.pid)) - {child})
            wait_for("its management API", lambda: is_answered(stand.traffic))
            self.assertEqual(stand.traffic.metric("penstock_crash_recoveries_total"), 1)
            stand.traffic.is_read.set()


if __name__ == "__main__":
    main()
