"""Each answer is the answer to its request: clients over HTTP/2 ask at once, some without bodies in the answers (HEAD, 204, 304,
1xx), some with early ones, cut ones, ends of kept connections, and break off in the midst of it.  Every request has a number that
its answer must carry, in a field and in each piece of the body, and the origin sees nothing but whole requests.

The seed is shown; PENSTOCK_ORDER_SEED repeats a run, PENSTOCK_ORDER_SECS makes it longer."""
import os
import random
import threading
import time
import unittest
import urllib.parse

from h2_client import H2
from traffic_stand import Stand, early, stack

SECS = float(os.environ.get("PENSTOCK_ORDER_SECS", "4"))
SEED = int(os.environ.get("PENSTOCK_ORDER_SEED", "1"))
CLIENTS = 6
AT_ONCE = 12

KINDS = {  # kind: (method, status, has the request a body, has the answer one)
    "sized": ("GET", 200, False, True),
    "chunked": ("GET", 200, False, True),
    "large": ("GET", 200, False, True),
    "empty": ("GET", 200, False, False),
    "head": ("HEAD", 200, False, False),
    "headchunked": ("HEAD", 200, False, False),
    "none": ("GET", 204, False, False),
    "same": ("GET", 304, False, False),
    "hints": ("GET", 200, False, True),
    "hintsnone": ("GET", 204, False, False),
    "upload": ("POST", 200, True, True),
    "uploadnone": ("POST", 204, True, False),
    "expect": ("POST", 200, True, True),
    "early": ("POST", 413, True, True),
    "close": ("GET", 200, False, True),
    "untilclose": ("GET", 200, False, True),
    "slow": ("GET", 200, False, True),
    "lost": ("GET", 502, False, False),
}


def body_of(number, kind):
    return b"%d;" % number * (20000 if kind == "large" else 50)


def asked(request):
    query = dict(urllib.parse.parse_qsl(request.target.partition("?")[2]))
    return int(query["n"]), query["kind"]


def answer_of(number, kind):
    status = KINDS[kind][1]
    head = b"HTTP/1.1 %d X\r\nX-Number: %d\r\n" % (status, number)
    body = body_of(number, kind)
    sized = b"Content-Length: %d\r\n\r\n" % len(body)
    if kind in ("hints", "hintsnone"):
        head = b"HTTP/1.1 103 Early\r\nX-Number: %d\r\n\r\n" % number * 2 + head
    if kind in ("none", "hintsnone", "uploadnone"):
        return head + b"\r\n"
    if kind == "empty":
        return head + b"Content-Length: 0\r\n\r\n"
    if kind in ("head", "same"):
        return head + sized
    if kind == "headchunked":
        return head + b"Transfer-Encoding: chunked\r\n\r\n"
    if kind == "chunked":
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    if kind == "close" or (kind == "early" and number % 2 == 0):
        return head + b"Connection: close\r\n" + sized + body
    if kind == "untilclose":
        return head + b"\r\n" + body
    return head + sized + body


class Order(unittest.TestCase):
    def setUp(self):
        self.faults, self.counts, self.lock = [], {}, threading.Lock()
        self.number = 0

    def fault(self, text):
        with self.lock:
            self.faults.append(text)

    def count(self, what):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    # --- the origin

    def answer(self, s, request):
        number, kind = asked(request)
        if request.method != KINDS[kind][0] or (KINDS[kind][2] and request.body != body_of(number, kind)):
            self.fault(f"the origin got {request.line} with {request.body[:40]}")
        if kind == "lost":
            return None
        if kind == "slow":
            time.sleep(0.002 * (number % 10))  # an origin's own time, nobody waits for it
        whole = answer_of(number, kind)
        cut = number % len(whole) if number % 3 == 0 else 0
        s.sendall(whole[:cut])
        s.sendall(whole[cut:])
        return None if kind in ("close", "untilclose") else b""

    def answer_early(self, s, request, reader):
        number, kind = asked(request)
        s.sendall(answer_of(number, kind))
        if number % 2:  # the rest is taken all the same, and the connection may be kept
            request.body, _ = reader.body(request)
            return b""
        return None

    # --- the clients

    def ask(self, c, dice):
        with self.lock:
            self.number += 1
            number = self.number
        kind = dice.choice(list(KINDS))
        method, _, has_body, _ = KINDS[kind]
        body = body_of(number, kind)
        fields = [("expect", "100-continue")] if kind == "expect" else []
        if has_body and (kind == "expect" or dice.random() < 0.5):
            fields.append(("content-length", str(len(body))))
        path = f"/{'early' if kind == 'early' else 'order'}?n={number}&kind={kind}"
        stream = c.request(path, *fields, method=method, end=not has_body)
        cut, rest = dice.random(), None
        if kind in ("hints", "hintsnone", "expect"):
            cut = 1  # an interim answer to a stream that it has reset is an error to python3-h2, not a late frame
        if has_body and cut > 0.1:  # else it is broken off without one
            half = dice.randrange(len(body))
            c.send(stream, body[:half])
            rest = body[half:]
        if cut < 0.25:
            c.c.reset_stream(stream, 8)
            c.flush()
            c.answers.pop(stream)
            self.count("broken off")
            return None
        return stream, number, kind, rest

    def go_on(self, c, stream, kind, rest):
        """The second half of a body, behind the answer when that is an early one."""
        a = c.answers[stream]
        if kind == "early":
            c.until(lambda: a.has_ended or a.error is not None)
        if a.error is None:
            c.send(stream, rest, end=True)

    def check(self, a, number, kind):
        _, status, _, has_answer = KINDS[kind]
        if a.error is not None and not a.fields:
            self.count(f"reset {kind}")
            return self.fault(f"{number} {kind} was reset, {a.error}")
        self.count(kind)
        if (kind == "lost" or (kind == "early" and number % 2 == 0)) and a.status == 502 and a.one("x-number") is None:
            return None  # the origin closed without an answer, or with bytes unread, which is a reset
        want = (status, str(number), body_of(number, kind) if has_answer else b"")
        if (a.status, a.one("x-number"), a.body) != want:
            self.fault(f"{number} {kind} got {a.status}, {a.one('x-number')}, {a.body[:40]} ({len(a.body)})")
        return None

    def client(self, stand, seed, end):
        dice = random.Random(seed)
        try:
            while time.monotonic() < end:
                with H2(stand.https) as c:
                    for _ in range(dice.randrange(1, 12)):
                        waiting = [w for w in (self.ask(c, dice) for _ in range(AT_ONCE)) if w]
                        if dice.random() < 0.05:  # and the whole connection is
                            break
                        for stream, _, kind, rest in waiting:
                            if rest is not None:
                                self.go_on(c, stream, kind, rest)
                        for stream, number, kind, _ in waiting:
                            self.check(c.wait(stream), number, kind)
        except Exception as error:  # the thread's end would be silent
            self.fault(f"client {seed}: {error!r}")

    def test_each_gets_its_own(self):
        print(f"seed {SEED}", flush=True)
        with Stand(log={"access": False}, limits={"h2Resets": 1000000, "upstreamIdle": 4}) as stand:
            stand.origin.answers["/order"] = self.answer
            stand.origin.answers["/early"] = early(lambda *args: self.answer_early(*args))
            end = time.monotonic() + SECS
            threads = [threading.Thread(target=self.client, args=(stand, SEED * 1000 + i, end)) for i in range(CLIENTS)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            self.assertEqual(self.faults[:5], [], f"{len(self.faults)} in all; {self.counts}")
            self.assertEqual(stand.origin.garbage, [])
            self.assertEqual(stand.reason("upstream_extra"), 0)
            self.assertGreater(stand.traffic.metric("penstock_traffic_upstream_reuses_total"), self.number / 10)
            stack.wait_for("nothing is in flight", lambda: stand.traffic.metric("penstock_traffic_exchanges_open") == 0)
            print(self.counts, flush=True)


if __name__ == "__main__":
    unittest.main(verbosity=2)
