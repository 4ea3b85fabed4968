"""`make run`: what it leaves to read while it runs, and that it notices who ends."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest

import e2e
from e2e import penstock


class Run(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="penstock-run-")
        self.addCleanup(folder.cleanup)
        self.env_file = pathlib.Path(folder.name) / "run.env"
        self.said = open(pathlib.Path(folder.name) / "said", "w+")
        self.addCleanup(self.said.close)
        self.run = subprocess.Popen(
            [sys.executable, e2e.SOURCE / "scripts" / "run.py", "--any-ports", "--env", self.env_file],
            stdout=self.said, stderr=self.said)
        self.addCleanup(self.end)
        e2e.wait_for("make run", lambda: "Ctrl-C" in self.text() or self.run.poll() is not None, 60)
        self.assertIsNone(self.run.poll(), self.text())
        self.env = dict(line.removeprefix("export ").split("=", 1) for line in self.env_file.read_text().splitlines())

    def end(self):
        if self.run.poll() is None:
            self.run.terminate()
        self.run.wait(60)

    def text(self):
        return pathlib.Path(self.said.name).read_text()

    def test_logs(self):
        for name in ("hub", "edge", "traffic"):
            log = pathlib.Path(self.env[f"{name.upper()}_LOG"])
            self.assertEqual(log.name, f"{name}.log")
            self.assertIn(f"{log}\n", self.text())
            events = [json.loads(line).get("event") for line in log.read_text().splitlines() if line.startswith("{")]
            self.assertIn("listening", events)

    def test_configurations(self):
        """With them the commands of the programs speak of the services that run."""
        for name in ("hub", "edge", "traffic"):
            config = self.env[f"{name.upper()}_CONFIG"]
            told = subprocess.run([penstock.BUILD / "bin" / f"penstock-{name}", "management-token", "--config", config],
                                  capture_output=True, text=True, timeout=e2e.SECS)
            self.assertEqual((told.returncode, told.stdout.strip()), (0, self.env[f"{name.upper()}_TOKEN"]))

    def assert_ended(self, name, status):
        self.assertEqual(self.run.wait(60), status, self.text())
        self.assertIn(f"run: {name} has ended with status {status}", self.text())
        self.assertFalse(self.env_file.exists())
        self.assertFalse(pathlib.Path(self.env["HUB_STATE"]).exists())

    def test_one_that_is_killed(self):
        for_all = {name: int(self.env[f"{name.upper()}_PID"]) for name in ("hub", "edge", "traffic")}
        os.kill(for_all["edge"], signal.SIGKILL)
        self.assert_ended("edge", 128 + signal.SIGKILL)
        self.assertIn("no_credentials", self.text())  # of the last of its log; SIGKILL takes what waited along
        for pid in for_all.values():
            self.assertFalse(pathlib.Path(f"/proc/{pid}").exists())

    def test_one_that_ends(self):
        os.kill(int(self.env["TRAFFIC_PID"]), signal.SIGTERM)
        self.assert_ended("traffic", 0)


if __name__ == "__main__":
    e2e.main()
