"""Networks of the bench's own.

stand_alone(): the whole run leaves the machine's network for an empty one, whose loopback no firewall
filters and no connection tracking slows.  (A container engine's rules make the kernel track every packet of
loopback, too; some hundred thousand short connections later its table is full, and it drops.)

Namespace, Link: two that a veth pair joins: what lies between a tunnel's ends has an MTU of its own, and can
be made slow.

Needs root; nothing outside is touched, and nothing remains.
"""
import contextlib
import ctypes
import itertools
import os
import subprocess

import peers

CLONE_NEWNET = 0x40000000
NEAR_ADDRESS, FAR_ADDRESS, PREFIX = "192.0.2.1", "192.0.2.2", 30  # TEST-NET-1
NUMBER = itertools.count()
libc = ctypes.CDLL(None, use_errno=True)


def run(*argv):
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        raise peers.Missing(f"{' '.join(argv)}: {done.stderr.strip()}")


def enter(descriptor):
    """This thread, and the processes that it starts."""
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


outer = None  # the machine's network, once we have left it


def stand_alone():
    """This process and what it starts, before it has threads.  False: it is not allowed."""
    global outer
    before = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    if libc.unshare(CLONE_NEWNET) != 0:
        os.close(before)
        return False
    outer = before
    run("ip", "link", "set", "lo", "up")
    return True


@contextlib.contextmanager
def outside():
    """For what has to be fetched: this thread is in the machine's network meanwhile."""
    if outer is None:
        yield
        return
    inside = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(outer)
        yield
    finally:
        enter(inside)
        os.close(inside)


class Namespace:
    """`with` it: this thread is inside."""

    def __init__(self):
        self.name = f"penstock-{os.getpid()}-{next(NUMBER)}"
        self.outside = []
        try:
            run("ip", "netns", "add", self.name)
            self.run("ip", "link", "set", "lo", "up")
        except BaseException:  # nobody else knows of it yet
            self.end()
            raise

    def run(self, *argv):
        with self:
            run(*argv)

    def __enter__(self):
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            inside = os.open(f"/run/netns/{self.name}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                enter(inside)
            finally:
                os.close(inside)
        except BaseException:
            os.close(outside)
            raise
        self.outside.append(outside)
        return self

    def __exit__(self, *ignored):
        back = self.outside.pop()
        enter(back)
        os.close(back)

    def end(self):
        with contextlib.suppress(peers.Missing):
            run("ip", "netns", "delete", self.name)


class Pair(peers.Place):
    """near: the clients and the edge; far: the hub and its targets.  end() after all processes in them."""

    def __init__(self, mtu):
        with contextlib.ExitStack() as made:  # what there is when the rest cannot be had
            near = Namespace()
            made.callback(near.end)
            far = Namespace()
            made.callback(far.end)
            super().__init__(near, far, FAR_ADDRESS)
            run("ip", "link", "add", "v-near", "netns", near.name, "type", "veth",
                "peer", "name", "v-far", "netns", far.name)
            for namespace, device, address in ((near, "v-near", NEAR_ADDRESS), (far, "v-far", FAR_ADDRESS)):
                namespace.run("ip", "address", "add", f"{address}/{PREFIX}", "dev", device)
                namespace.run("ip", "link", "set", device, "mtu", str(mtu), "up")
            made.pop_all()

    def end(self):
        self.near.end()
        self.far.end()
