"""Routes that outlive the process: the last good set, on disk in one piece, whatever ends the process."""
import base64
import http.client
import json
import random
import threading
import unittest

from traffic_stand import HOST, Stand, stack

SEED = 20260801
KILLS = 100
ROUTES = 30


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class State(unittest.TestCase):
    def restart(self, stand, how="stop"):
        getattr(stand.traffic, how)()
        stand.traffic.start()
        stand.https = stand.traffic.address("https")

    def test_restart(self):
        """Routes, revision, ETag and passwords are there again; routesFile is not looked at any more."""
        with Stand() as stand:
            auth = {"type": "Basic", "user": "ann", "pass": "s3cret"}
            stand.routes([stand.route(HOST, authentication=auth, balance="p2c"), stand.route("b.example.test")])
            before = stand.traffic.api("GET", "/v1/routes", expect=200)
            self.assertEqual(stand.traffic.status()["stored"], 2)
            other = stand.stack.folder / "other.json"
            other.write_text(json.dumps([stand.route("other.example.test")]))
            stand.traffic.conf["routesFile"] = str(other)
            for how in "stop", "kill":
                self.restart(stand, how)
                after = stand.traffic.api("GET", "/v1/routes", expect=200)
                self.assertEqual((after.body, after.etag), (before.body, before.etag))
                status = stand.traffic.status()
                self.assertEqual((status["revision"], status["stored"], status["desired"]), (2, 2, 2))
                with stand.client() as c:
                    self.assertEqual(c.get("/", HOST).status, 401)
                    self.assertEqual(c.get("/", HOST, ("Authorization", basic("ann", "s3cret"))).status, 200)
            stand.routes([stand.route(HOST)])
            self.assertEqual(stand.traffic.status()["revision"], 3)
            file = stand.traffic.state_dir / "routes.json"
            self.assertEqual(file.stat().st_mode & 0o777, 0o600)
            self.assertNotIn("s3cret", file.read_text())

    def test_routes_file_where_there_is_no_state(self):
        with Stand() as stand:
            stand.traffic.stop()
            (stand.traffic.state_dir / "routes.json").write_text("{broken")
            first = stand.stack.folder / "first.json"
            first.write_text(json.dumps([stand.route("first.example.test")]))
            stand.traffic.conf["routesFile"] = str(first)
            stand.traffic.start()
            self.assertIn("byte", stand.traffic.wait_event("state_unreadable")["error"])
            routes = stand.traffic.api("GET", "/v1/routes", expect=200).json["routes"]
            self.assertEqual([r["hostName"] for r in routes], ["first.example.test"])
            self.assertTrue((stand.traffic.state_dir / "routes.json.bad").exists())

    def test_a_disk_that_takes_nothing(self):
        """Served all the same, with a warning; what was stored before stays."""
        with Stand() as stand:
            obstacle = stand.traffic.state_dir / "routes.json.new"
            (obstacle / "in the way").mkdir(parents=True)
            answer = stand.traffic.api("PUT", "/v1/routes", [stand.route("b.example.test")], expect=200).json
            self.assertEqual([w["code"] for w in answer["warnings"]], ["notStored"])
            self.assertEqual((answer["fate"], answer["revision"]), ("applied", 2))
            status = stand.traffic.status()
            self.assertEqual((status["revision"], status["stored"]), (2, 1))
            self.assertEqual(stand.traffic.metric("penstock_traffic_route_store_failures_total"), 1)
            with stand.client(sni="b.example.test") as c:
                self.assertEqual(c.get("/", "b.example.test").status, 200)
            (obstacle / "in the way").rmdir()
            obstacle.rmdir()
            stand.routes([stand.route(HOST), stand.route("b.example.test")])
            self.assertEqual(stand.traffic.status()["stored"], 3)

    def test_many_routes_are_shown(self):
        """So many that the text is not written on the control thread."""
        with Stand() as stand:
            routes = [{**stand.route(HOST), "hostName": f"h{i}.example.test"} for i in range(200)]
            put = stand.traffic.api("PUT", "/v1/routes", routes, expect=200)
            answer = stand.traffic.api("GET", "/v1/routes", expect=200)
            self.assertEqual([r["hostName"] for r in answer.json["routes"]], [r["hostName"] for r in routes])
            self.assertNotIn("PRIVATE", answer.body.decode())
            self.assertEqual(answer.etag, put.etag)
            stand.traffic.api("GET", "/v1/routes", headers={"If-None-Match": answer.etag}, expect=304)
            shown = stand.traffic.api("GET", "/v1/certificates", expect=200).json["certificates"]
            self.assertEqual(len(shown), 200)

    def put_until_killed(self, stand, sets, accepted):
        """One set after the other, as fast as they are answered; a set's number is its routes' port."""
        while True:
            number = accepted[-1] + 1
            body = sets(number)
            try:
                stand.traffic.api("PUT", "/v1/routes", body, expect=200)
            except (OSError, http.client.HTTPException):
                return  # killed
            accepted.append(number)

    def test_killed_in_the_middle(self):
        """kill -9 at any moment of an update: the next start has the old set or the new one, never a mix."""
        dice = random.Random(SEED)
        with Stand() as stand:
            certificate = stand.certificate("any.example.test")

            def sets(number):
                return [{"hostName": f"h{i}.example.test", "destinationIps": ["127.0.0.1"],
                         "destinationPorts": [number], "publicKey": certificate.chain,
                         "privateKey": certificate.key} for i in range(ROUTES)]

            accepted = [1]
            stand.traffic.api("PUT", "/v1/routes", sets(1), expect=200)
            news = 0
            for kill in range(KILLS):
                writer = threading.Thread(target=self.put_until_killed, args=(stand, sets, accepted))
                writer.start()
                least = accepted[-1] + dice.randrange(3)
                stack.wait_for("updates", lambda: accepted[-1] >= least)
                threading.Event().wait(dice.random() * 0.02)  # where in an update it hits is the point here
                stand.traffic.process.kill()
                writer.join()
                known = accepted[-1]
                self.restart(stand, "kill")
                routes = stand.traffic.api("GET", "/v1/routes", expect=200).json["routes"]
                ports = {tuple(r["destinationPorts"]) for r in routes}
                self.assertEqual((len(routes), len(ports)), (ROUTES, 1), f"kill {kill}, seed {SEED}")
                port = ports.pop()[0]
                self.assertIn(port, (known, known + 1), f"kill {kill}, seed {SEED}")
                news += port == known + 1
                accepted.append(port)
            print(f"{KILLS} kills, {accepted[-1]} sets; {news} times the set that was under way had been stored")


if __name__ == "__main__":
    unittest.main(verbosity=2)
