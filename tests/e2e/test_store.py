"""What the hub's API acknowledged is there after whatever ends the hub (disks that do not take it:
test_store_disk.py)."""
import random
import shutil
import sqlite3
import threading

import e2e
from e2e import penstock, wait_for

SECRET = "a-secret-of-an-edge-that-nobody-shall-see"


class Store(e2e.Case):
    def edges(self, hub):
        return {e["id"]: e for e in hub.api("GET", "/v1/edges", expect=200).json["edges"]}

    def restart(self, hub):
        hub.stop(0)
        hub.start()
        hub.wait_event("started")

    def secret(self, hub, edge="e1"):
        token = hub.api("POST", f"/v1/edges/{edge}/token", {"hubHost": "hub.test"}, expect=200).json["token"]
        return penstock.decode_token(token)["secret"]

    def test_everything_comes_back(self):
        hub = self.stack.hub({})
        hub.api("POST", "/v1/edges", {"id": "e1", "listenPorts": [8081], "secret": SECRET}, expect=201)
        hub.api("POST", "/v1/edges", {"id": "e2", "listenPorts": [8082]}, expect=201)
        hub.api("POST", "/v1/edges", {"id": "e3"}, expect=201)
        hub.api("PATCH", "/v1/edges/e2", {"listenPorts": [1, 2, 3], "stunIntervalSecs": 0, "maxInstances": 7,
                                          "enabled": False}, expect=200)
        hub.api("DELETE", "/v1/edges/e3", expect=204)
        told = hub.api("POST", "/v1/edges/e2/secret", {"graceSecs": 3600}, expect=200).json["oldSecretGoodUntil"]
        self.assertEqual(hub.api("GET", "/v1/edges/e2").json["oldSecretGoodUntil"], told)
        before, secret = self.edges(hub), self.secret(hub, "e2")
        etag = hub.api("GET", "/v1/edges").headers["ETag"]
        self.restart(hub)
        self.assertEqual(self.edges(hub), before)
        self.assertEqual((self.secret(hub), self.secret(hub, "e2")), (SECRET, secret))
        # an ETag of an earlier run is not taken for one of this run
        hub.api("PUT", "/v1/edges", {"edges": []}, headers={"If-Match": etag}, expect=412)
        hub.api("PUT", "/v1/edges", {"edges": [{"id": "e1"}, {"id": "e4"}]}, expect=200)
        self.restart(hub)
        self.assertEqual(sorted(self.edges(hub)), ["e1", "e4"])
        self.assertEqual(self.secret(hub), SECRET)
        self.assertGreaterEqual(hub.metric("penstock_hub_store_commits_total"), 0)

    def test_an_old_secret_stays_good_over_a_restart(self):
        target = e2e.Target(e2e.echo)
        self.addCleanup(target.close)
        self.tunnel([target.port], hub={"tunnel_port": penstock.free_port()})
        self.hub.api("POST", "/v1/edges/e1/secret", {"graceSecs": 3600}, expect=200)
        self.restart(self.hub)
        wait_for("the edge, with its old secret", lambda: self.hub.status()["connectedEdges"])
        self.hub.wait_event("old_secret_used")

    def test_secrets_are_not_in_the_files(self):
        hub = self.stack.hub({})
        hub.api("POST", "/v1/edges", {"id": "e1", "secret": SECRET}, expect=201)
        for path in hub.state_dir.glob("hub.db*"):
            self.assertEqual(path.stat().st_mode & 0o077, 0)
            self.assertNotIn(SECRET.encode(), path.read_bytes())
        hub.stop(0)
        self.assertNotIn(SECRET.encode(), (hub.state_dir / "hub.db").read_bytes())
        (hub.state_dir / "store.key").write_text("k" * 43 + "\n")
        hub.start()
        self.assertIn("another key", hub.wait_event("start_failed")["why"])
        self.assertEqual(hub.process.wait(e2e.SECS), 1)
        hub.stop(1)

    def test_a_lost_key_is_not_made_anew(self):
        """It would open nothing, and the next backup would take it for the right one."""
        hub = self.stack.hub({})
        hub.api("POST", "/v1/edges", {"id": "e1", "secret": SECRET}, expect=201)
        hub.stop(0)
        key = hub.state_dir / "store.key"
        lost = key.rename(hub.state_dir.parent / "kept")
        before = sorted(p.name for p in hub.state_dir.iterdir())
        hub.start()
        self.assertEqual(hub.wait_event("start_failed")["why"], f"{key} is missing; bring it back")
        self.assertEqual(hub.process.wait(e2e.SECS), 1)
        hub.stop(1)
        self.assertEqual(sorted(p.name for p in hub.state_dir.iterdir()), before)
        lost.rename(key)
        hub.start()
        self.assertEqual(self.secret(hub), SECRET)

    def test_the_configuration_begins_and_the_api_goes_on(self):
        """The rule: an entry counts when it is new or was edited; the API's word stays otherwise."""
        first = {"id": "e1", "listenPorts": [8081], "secret": SECRET}
        hub = self.stack.hub({}, edges=[first, {"id": "e2"}])
        self.assertEqual(sorted(self.edges(hub)), ["e1", "e2"])
        hub.api("DELETE", "/v1/edges/e2", expect=204)
        hub.api("PATCH", "/v1/edges/e1", {"listenPorts": [9]}, expect=200)
        self.restart(hub)
        self.assertEqual(sorted(self.edges(hub)), ["e1"])  # deleted is deleted
        self.assertEqual(self.edges(hub)["e1"]["listenPorts"], [9])
        hub.conf["edges"] = [dict(first, listenPorts=[10]), {"id": "e2"}]
        self.restart(hub)
        self.assertEqual(self.edges(hub)["e1"]["listenPorts"], [10])  # it was edited
        self.assertEqual(sorted(self.edges(hub)), ["e1"])
        hub.conf["edges"] = [dict(first, listenPorts=[10], secret=SECRET + "2"), {"id": "e2", "maxInstances": 2}]
        self.restart(hub)
        self.assertEqual(self.secret(hub), SECRET + "2")
        self.assertEqual(sorted(self.edges(hub)), ["e1", "e2"])
        self.assertEqual(hub.events("edge_not_in_configuration"), [])
        hub.conf["edges"] = []
        for _ in range(2):
            self.restart(hub)
            self.assertEqual(sorted(self.edges(hub)), ["e1", "e2"])  # gone from the list is not deleted
            self.assertEqual([l["edge"] for l in hub.events("edge_not_in_configuration")], ["e1", "e2"])
        hub.api("DELETE", "/v1/edges/e1", expect=204)
        hub.conf["edges"] = [first]
        self.restart(hub)
        self.assertEqual(self.edges(hub)["e1"]["listenPorts"], [8081])  # listed again is new again
        self.assertEqual([l["edge"] for l in hub.events("edge_not_in_configuration")], ["e2"])

    def test_edges_that_leave_the_configuration(self):
        """Each is told, up to a number; one that is listed again or deleted is told no more."""
        hub = self.stack.hub({}, edges=[{"id": f"e{i:02}", "secret": SECRET} for i in range(25)])
        hub.api("POST", "/v1/edges", {"id": "of-the-api"}, expect=201)
        listed, hub.conf["edges"] = hub.conf["edges"], []
        self.restart(hub)
        self.assertEqual([l["edge"] for l in hub.events("edge_not_in_configuration")],
                         [e["id"] for e in listed[:20]])
        self.assertEqual([l["untold"] for l in hub.events("edges_not_in_configuration")], [5])
        hub.api("PATCH", "/v1/edges/e00", {"listenPorts": [9]}, expect=200)
        hub.api("PUT", "/v1/edges", {"edges": [{"id": "e00"}, {"id": "e01"}, {"id": "of-the-api"}]}, expect=200)
        hub.conf["edges"] = listed[:1]
        self.restart(hub)
        self.assertEqual([l["edge"] for l in hub.events("edge_not_in_configuration")], ["e01"])
        self.assertEqual(self.edges(hub)["e00"]["listenPorts"], [])  # it was new again
        self.assertEqual(sorted(self.edges(hub)), ["e00", "e01", "of-the-api"])

    def test_a_copy_made_while_it_runs(self):
        """docs/operations.md, back-up and restore: SQLite's copy, taken while changes come in, has all that was
        answered before it; with key and certificate an edge finds its hub again, by the pin it has."""
        target = e2e.Target(e2e.echo)
        self.addCleanup(target.close)
        tunnel_port = penstock.free_port()
        self.tunnel([target.port], hub={"tunnel_port": tunnel_port})
        before, stop = self.edges(self.hub), threading.Event()

        def change():
            n = 0
            while not stop.is_set():
                self.hub.api("POST", "/v1/edges", {"id": f"more-{n}"}, expect=201)
                n += 1
        changer = threading.Thread(target=change)
        copy = self.stack.folder / "copy"
        copy.mkdir(mode=0o700)
        changer.start()
        try:
            wait_for("changes", lambda: "more-3" in self.edges(self.hub))
            before = self.edges(self.hub)
            source = sqlite3.connect(f"file:{self.hub.state_dir}/hub.db?mode=ro", uri=True)
            made = sqlite3.connect(copy / "hub.db")
            source.backup(made)
            made.close()
            source.close()
        finally:
            stop.set()
            changer.join(e2e.SECS)
        after = self.edges(self.hub)
        for name in ("hub.crt", "hub.key", "store.key"):
            shutil.copy(self.hub.state_dir / name, copy)
        self.hub.stop(0)
        restored = self.stack.hub(self.hub.conf["target"]["ports"], tunnel_port=tunnel_port, stateDir=str(copy))
        restored.state_dir = copy
        wait_for("the edge at the restored hub", lambda: restored.status()["connectedEdges"])
        found = self.edges(restored)
        self.assertLessEqual(before.items(), found.items())
        self.assertLessEqual(found.items(), after.items())
        wait_for("the hub's proof, by its pin", lambda: self.edge.status()["hubVerified"] == "pin")
        with e2e.connect(self.ports[0]) as s:
            s.sendall(b"through the restored hub")
            self.assertEqual(e2e.receive(s, 24), b"through the restored hub")

    def test_a_store_that_is_not_ours(self):
        hub = self.stack.hub({})
        hub.status()
        second = penstock.Service("hub", hub.conf, self.stack.folder)  # the same folder
        self.stack.services.append(second)
        second.start()
        self.assertIn("another process uses it", second.wait_event("start_failed")["why"])
        self.assertEqual(second.process.wait(e2e.SECS), 1)
        second.stop(1)
        hub.stop(0)
        (hub.state_dir / "hub.db").write_bytes(b"no database" * 1000)
        hub.start()
        self.assertIn("not a database", hub.wait_event("start_failed")["why"])
        hub.process.wait(e2e.SECS)
        hub.stop(1)

    # --- kill -9

    def write_until_it_dies(self, hub, rng, known):
        """One change after the other; what was acknowledged is in `known`, what was not in `open`."""
        ids = [f"e{i}" for i in range(6)]
        while True:
            edge = rng.choice(ids)
            ports = sorted(rng.sample(range(1, 8000), 3))  # no listener of the hub has one of these: it would refuse
            if edge not in known:
                change, after = ("POST", "/v1/edges", {"id": edge, "listenPorts": ports}), ports
            elif rng.random() < 0.3:
                change, after = ("DELETE", f"/v1/edges/{edge}", None), None
            else:
                change, after = ("PATCH", f"/v1/edges/{edge}", {"listenPorts": ports}), ports
            try:
                hub.api(*change, expect=(200, 201, 204))
            except (OSError, penstock.http.client.HTTPException):
                return edge, after
            if after is None:
                del known[edge]
            else:
                known[edge] = after

    def test_killed_in_the_middle_of_changes(self):
        """The whole hub; the store alone is killed 200 times in tests/unit/test_store_killed.c."""
        rng = random.Random(20260101)
        hub = self.stack.hub({})
        known = {}
        for _ in range(12):
            hub.status()
            killer = threading.Timer(rng.uniform(0.02, 0.25), hub.process.kill)
            killer.start()
            edge, after = self.write_until_it_dies(hub, rng, known)
            killer.join()
            hub.kill()
            hub.start()
            hub.wait_event("started")
            found = {e["id"]: e["listenPorts"] for e in self.edges(hub).values()}
            if found.get(edge) == after:  # it was durable, and only the answer was lost
                known.pop(edge, None)
                if after is not None:
                    known[edge] = after
            self.assertEqual(found, known)

    def test_many_at_once(self):
        """Whoever waits for the disk waits in line; past its end 503, and nothing is half done."""
        hub = self.stack.hub({}, limits={"waitingChanges": 4, "managementPerAddress": 64})
        hub.status()
        statuses, lock = [], threading.Lock()

        def change(i):
            status = hub.api("POST", "/v1/edges", {"id": f"e{i}"}).status
            with lock:
                statuses.append((i, status))

        threads = [threading.Thread(target=change, args=(i,)) for i in range(32)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(e2e.SECS)
        self.assertEqual(len(statuses), 32)
        self.assertEqual({s for _, s in statuses} - {201, 503}, set())
        self.assertEqual(sorted(self.edges(hub)), sorted(f"e{i}" for i, s in statuses if s == 201))
        self.assertEqual(hub.metric("penstock_hub_changes_refused_total"), sum(s == 503 for _, s in statuses))
        self.assertEqual(hub.metric("penstock_hub_changes_waiting"), 0)


if __name__ == "__main__":
    e2e.main()
