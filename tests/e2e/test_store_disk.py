"""A disk that does not take what the hub writes: the change is refused, and nobody's traffic is harmed."""
import subprocess
import tempfile

import e2e
from e2e import penstock, wait_for


def mount(folder, size="1m"):
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True, capture_output=True,
                   text=True, timeout=e2e.SECS)


class Disk(e2e.Case):
    def edges(self, hub):
        return {e["id"]: e for e in hub.api("GET", "/v1/edges", expect=200).json["edges"]}

    def disk(self, size="1m"):
        """A small disk of our own, as the hub's state folder."""
        folder = self.stack.folder / "disk"
        folder.mkdir()
        mount(folder, size)
        # lazily: the stack ends its services after this
        self.addCleanup(lambda: subprocess.run(["umount", "-l", folder], check=True))
        return folder

    def start_hub_on(self, folder):
        self.target = e2e.Target(e2e.echo)
        self.addCleanup(self.target.close)
        self.ports = [penstock.free_port()]
        conf = {"tunnel": {"listen": "127.0.0.1:0"}, "management": {"listen": "127.0.0.1:0"},
                "target": {"host": "127.0.0.1", "ports": {str(self.ports[0]): self.target.port}}}
        self.hub = self.stack.service("hub", conf, state_dir=folder)
        self.token = self.stack.register(self.hub, "e1", self.ports)
        self.edge = self.stack.edge(self.token)
        self.wait_ports(self.edge, self.ports)

    def flows(self):
        with e2e.connect(self.ports[0]) as s:
            s.sendall(b"hello")
            return e2e.receive(s, 5) == b"hello"

    def test_full_disk(self):
        folder = self.disk()
        self.start_hub_on(folder)
        before = self.edges(self.hub)
        with open(folder / "ballast", "wb") as f:
            with self.assertRaises(OSError):
                while True:
                    f.write(b"x" * 65536)
                    f.flush()
        # the log has some room of its own: sooner or later a change is refused
        answers = []

        def is_full():
            ports = [self.ports[0], *range(1, 1000)] if len(answers) % 2 else [self.ports[0]]
            answers.append(self.hub.api("PATCH", "/v1/edges/e1", {"listenPorts": ports, "stunIntervalSecs": len(answers)}))
            if answers[-1].status == 200:
                before.update(self.edges(self.hub))
            return answers[-1].status != 200

        wait_for("a full disk", is_full)
        self.assertEqual(answers[-1].status, 507)
        self.assertEqual(answers[-1].json["type"], "urn:penstock:problem:stateNotWritten")
        self.assertIn("nothing was changed", answers[-1].json["detail"])
        self.assertEqual(self.edges(self.hub), before)
        self.assertGreaterEqual(self.hub.metric("penstock_hub_store_faults_total", reason="full"), 1)
        self.assertTrue(self.flows())
        self.assertEqual(self.hub.api("GET", "/readyz").status, 200)
        (folder / "ballast").unlink()
        self.hub.api("PATCH", "/v1/edges/e1", {"maxInstances": 2}, expect=200)
        after = self.edges(self.hub)
        self.hub.kill()
        self.hub.start()
        self.hub.wait_event("started")
        self.assertEqual(self.edges(self.hub), after)

    def remount(self, folder, mode):
        subprocess.run(["mount", "-o", f"remount,{mode}", folder], check=True, timeout=e2e.SECS)

    def test_read_only_disk(self):
        folder = self.disk(size="16m")
        self.start_hub_on(folder)
        before = self.edges(self.hub)
        self.hub.stop(0)
        self.remount(folder, "ro")  # nothing of SQLite's own is left beside the file: immutable
        self.hub.start()
        self.hub.wait_event("read_only")
        self.hub.wait_event("started")
        self.assertEqual(self.edges(self.hub), before)
        self.assertEqual(self.hub.metric("penstock_hub_store_read_only"), 1)
        answer = self.hub.api("PATCH", "/v1/edges/e1", {"maxInstances": 2}, expect=503)
        self.assertEqual(answer.json["type"], "urn:penstock:problem:stateReadOnly")
        self.assertEqual(self.edges(self.hub), before)
        self.remount(folder, "rw")
        self.hub.api("PATCH", "/v1/edges/e1", {"maxInstances": 2}, expect=200)
        self.assertEqual(self.hub.metric("penstock_hub_store_read_only"), 0)
        # killed, so that the last change is in the log only; then the disk is read-only
        self.hub.kill()
        self.remount(folder, "ro")
        self.hub.start()
        self.hub.wait_event("started")
        self.assertEqual(self.edges(self.hub)["e1"]["maxInstances"], 2)
        self.remount(folder, "rw")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        try:
            mount(place)
        except subprocess.CalledProcessError as why:
            e2e.not_run(f"this user cannot mount a disk: {why.stderr.strip()}")
        subprocess.run(["umount", place], check=True)
    e2e.main()
