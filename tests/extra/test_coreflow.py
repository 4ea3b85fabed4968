"""The Coreflow link against a server that is made of Coreflow's own libraries (tests/coreflow).

It finds us by our tag and pushes with its own TypedRequest; what it pushes is served.
"""
import json
import queue
import shutil
import subprocess
import threading
import unittest

import extra
from coreflow_stand import CoreflowStand
from traffic_stand import HOST, SECS, stack

OK = {"status": "ok", "errorText": ""}
FILES = extra.SOURCE / "tests" / "coreflow"
HOME = extra.BUILD / "tests-coreflow"


def install():
    """npm ci into the build folder, unless it is done; or ends as not run."""
    for program in ("node", "npm"):
        if not shutil.which(program):
            extra.not_run(f"there is no {program} here")
    if int(subprocess.run(["node", "-p", "process.versions.node.split('.')[0]"], capture_output=True, text=True,
                          check=True).stdout) < 20:
        extra.not_run("node is older than 20")
    lock, done = FILES / "package-lock.json", HOME / "installed"
    HOME.mkdir(exist_ok=True)
    shutil.copy(FILES / "server.mjs", HOME)
    if done.exists() and done.read_text() == lock.read_text():
        return
    shutil.copy(FILES / "package.json", HOME)
    shutil.copy(lock, HOME)
    try:
        made = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=HOME,
                              capture_output=True, text=True, timeout=200)
    except subprocess.TimeoutExpired:
        extra.not_run("npm ci did not end within 200 s")
    if made.returncode:
        extra.not_run("npm could not install the server: " + " ".join(made.stderr.split())[-300:])
    done.write_text(lock.read_text())


class Server:
    def __init__(self, port):
        self.process = subprocess.Popen(["node", HOME / "server.mjs", str(port)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.told, self.log, self.count = queue.Queue(), [], 0
        threading.Thread(target=self._read, daemon=True).start()
        try:
            self.expect("port")
        except BaseException:  # nobody else knows of the child yet
            self.close()
            raise

    def _read(self):
        for line in self.process.stdout:
            if line.startswith("@@"):
                self.told.put(json.loads(line[2:]))
            else:
                self.log.append(line)
        self.told.put(None)

    def expect(self, key):
        """The next thing told that has this key."""
        while True:
            told = self.told.get(timeout=SECS)
            if told is None:
                raise stack.Failure("the server ended:\n" + "".join(self.log[-50:]))
            if key in told:
                return told

    def push(self, request, method="updateRouting"):
        self.count += 1
        self.process.stdin.write(json.dumps({"id": self.count, "method": method, "request": request}) + "\n")
        self.process.stdin.flush()
        told = self.expect("id")
        assert told["id"] == self.count
        return told

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()


class RealCoreflow(unittest.TestCase):
    def setUp(self):
        self.port = stack.free_port()
        self.server = Server(self.port)
        self.addCleanup(lambda: self.server.close())
        self.stand = self.enterContext(CoreflowStand(coreflow={"url": f"http://127.0.0.1:{self.port}"}))
        self.tagged()

    def tagged(self):
        self.assertEqual(self.server.expect("tag"), {"tag": "coretraffic", "payload": {}})
        self.assertTrue(self.stand.wait_link("connected")["tagged"])

    def served(self, name=HOST):
        with self.stand.client(sni=name) as c:
            return c.get("/", name).status

    def test_pushes_are_served_and_faults_told(self):
        told = self.server.push({"reverseConfigs": [self.stand.route(HOST)]})
        self.assertEqual((told["tagged"], told["response"]), (1, OK))
        self.assertEqual(self.served(), 200)
        bad = self.server.push({"reverseConfigs": [{**self.stand.route(HOST), "destinationPorts": [70000]}]})
        self.assertEqual(bad["response"]["status"], "error")
        self.assertIn("/reverseConfigs/0/destinationPorts/0", bad["response"]["errorText"])
        self.assertEqual(self.served(), 200)
        self.assertEqual(self.server.push({"reverseConfigs": [self.stand.route("b.example.test")]})["response"], OK)
        self.assertEqual(self.served("b.example.test"), 200)

    def test_an_unknown_method_is_an_error_of_typedrequest(self):
        self.assertIn("no such method", self.server.push({}, method="restart")["error"])
        self.assertEqual(self.server.push({"reverseConfigs": []})["response"], OK)

    def test_a_thousand_routes(self):
        routes = [{**self.stand.route(HOST), "hostName": f"n{i}.example.test"} for i in range(1000)]
        self.assertEqual(self.server.push({"reverseConfigs": [self.stand.route(HOST), *routes]})["response"], OK)
        self.assertEqual(self.served(), 200)
        self.assertEqual(self.stand.traffic.status()["routes"], 1001)

    def test_it_goes_and_returns(self):
        self.assertEqual(self.server.push({"reverseConfigs": [self.stand.route(HOST)]})["response"], OK)
        self.server.close()
        self.stand.wait_link("waiting")
        self.assertEqual(self.served(), 200)
        self.server = Server(self.port)
        self.tagged()
        self.assertEqual(self.server.push({"reverseConfigs": [self.stand.route("b.example.test")]})["response"], OK)
        self.assertEqual(self.served("b.example.test"), 200)


if __name__ == "__main__":
    install()
    unittest.main(verbosity=2)
