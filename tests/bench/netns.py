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
        run("ip", "netns", "add", self.name)
        self.outside = []
        self.run("ip", "link", "set", "lo", "up")

    def run(self, *argv):
        with self:
            run(*argv)

    def __enter__(self):
        self.outside.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        inside = os.open(f"/run/netns/{self.name}", os.O_RDONLY | os.O_CLOEXEC)
        enter(inside)
        os.close(inside)
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
        super().__init__(Namespace(), Namespace(), FAR_ADDRESS)
        ends = ((self.near, "v-near", NEAR_ADDRESS), (self.far, "v-far", FAR_ADDRESS))
        run("ip", "link", "add", "v-near", "netns", self.near.name, "type", "veth",
            "peer", "name", "v-far", "netns", self.far.name)
        for namespace, device, address in ends:
            namespace.run("ip", "address", "add", f"{address}/{PREFIX}", "dev", device)
            namespace.run("ip", "link", "set", device, "mtu", str(mtu), "up")

    def end(self):
        self.near.end()
        self.far.end()
