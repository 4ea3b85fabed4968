"""Two network namespaces joined by a veth pair: what lies between a tunnel's ends has an MTU of its own,
and can be made slow.  Needs root; nothing outside the two is touched, and nothing remains.
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
