"""A clock for upper bounds: it leaves out the time in which this machine stood still."""
import threading
import time

STEP = 0.05    # how often it looks
HELD_UP = 0.25  # a look that comes so much too late: nobody ran meanwhile


class Stopwatch:
    """`with Stopwatch() as took: ...`, then took.secs: what a test may hold against what it waited for.  A whole
    machine that is stopped for a while (a virtual one is, at times) makes nothing of that slower."""

    def __enter__(self):
        self.begun, self.held_up, self.done = time.monotonic(), 0.0, threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()
        return self

    def _look(self):
        before = time.monotonic()
        while not self.done.wait(STEP):
            now = time.monotonic()
            if now - before > STEP + HELD_UP:
                self.held_up += now - before - STEP
            before = now

    def __exit__(self, *_):
        self.ended = time.monotonic()
        self.done.set()
        self.thread.join()

    @property
    def secs(self):
        return self.ended - self.begun - self.held_up
