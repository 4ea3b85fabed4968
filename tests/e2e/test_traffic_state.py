"""Routes that outlive the process: the last good set, on disk in one piece, whatever ends the process."""
import base64
import http.client
import json
import random
import subprocess
import threading
import unittest

from traffic_stand import HOST, SECS, Stand, stack

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

    def hosts(self, stand):
        return [r["hostName"] for r in stand.traffic.api("GET", "/v1/routes", expect=200).json["routes"]]

    def test_the_same_set_again_is_stored(self):
        """Who sends a set again since it was not stored has it stored, though nothing changes."""
        with Stand() as stand:
            obstacle = stand.traffic.state_dir / "routes.json.new"
            (obstacle / "in the way").mkdir(parents=True)
            routes = [stand.route("b.example.test")]
            for _ in range(2):
                answer = stand.traffic.api("PUT", "/v1/routes", routes, expect=200).json
                self.assertEqual([w["code"] for w in answer["warnings"]], ["notStored"])
            # said first, however much else there is to say
            odd = [{**routes[0], "hostName": f"h{i}.example.test"} for i in range(1001)]
            answer = stand.traffic.api("PUT", "/v1/routes", odd, expect=200).json
            self.assertEqual([w["code"] for w in answer["warnings"][:2]], ["notStored", "certificateNameMismatch"])
            stand.traffic.api("PUT", "/v1/routes", routes, expect=200)
            (obstacle / "in the way").rmdir()
            obstacle.rmdir()
            answer = stand.traffic.api("PUT", "/v1/routes", routes, expect=200).json
            self.assertEqual((answer["fate"], answer["revision"], answer["warnings"]), ("applied", 4, []))
            self.assertEqual(stand.traffic.status()["stored"], 4)
            self.restart(stand, "kill")
            self.assertEqual(self.hosts(stand), ["b.example.test"])

    def test_a_route_that_cannot_be_used_now(self):
        """Its CA file is away at the start: the others are served, the file stays, and it comes back."""
        with Stand() as stand:
            ca = stand.stack.folder / "ca.pem"
            ca.write_text(stand.certificate("ca.example.test").chain)
            origin = stand.route("b.example.test", upstreamTls={"caFile": str(ca)})
            stand.routes([stand.route(HOST), origin])
            ca.rename(ca.with_suffix(".away"))
            self.restart(stand)
            self.assertEqual(self.hosts(stand), [HOST])
            told = stand.traffic.wait_event("route_left_out", level="error")
            self.assertEqual(told["pointer"], "/routes/1/upstreamTls/caFile")
            self.assertIn("b.example.test", told["error"])
            self.assertEqual(stand.traffic.status()["routesLeftOut"], 1)
            self.assertEqual(stand.traffic.metric("penstock_traffic_routes_left_out"), 1)
            self.assertEqual(stand.traffic.api("GET", "/readyz").status, 200)
            self.assertFalse((stand.traffic.state_dir / "routes.json.bad").exists())
            with stand.client() as c:
                self.assertEqual(c.get("/", HOST).status, 200)
            ca.with_suffix(".away").rename(ca)
            self.restart(stand)
            self.assertEqual(self.hosts(stand), [HOST, "b.example.test"])
            self.assertEqual(stand.traffic.status()["routesLeftOut"], 0)
            # a whole set says what shall be: nothing is left out of that, and it is what a restart finds
            ca.rename(ca.with_suffix(".away"))
            self.restart(stand)
            answer = stand.traffic.api("PUT", "/v1/routes", [stand.route(HOST)], expect=200).json
            self.assertEqual(answer["changed"], [])
            self.assertEqual(stand.traffic.metric("penstock_traffic_routes_left_out"), 0)
            ca.with_suffix(".away").rename(ca)
            self.restart(stand)
            self.assertEqual(self.hosts(stand), [HOST])
            # none is left that can be used
            stand.routes([origin])
            ca.rename(ca.with_suffix(".away"))
            self.restart(stand)
            self.assertIn("stored routes cannot be used", stand.traffic.api("GET", "/readyz", expect=503).json["reason"])
            ca.with_suffix(".away").rename(ca)
            self.restart(stand)
            stand.traffic.api("GET", "/readyz", expect=200)
            self.assertEqual(self.hosts(stand), ["b.example.test"])

    def test_not_ready_when_what_was_stored_is_lost(self):
        with Stand() as stand:
            stand.traffic.stop()
            (stand.traffic.state_dir / "routes.json").write_text("{broken")
            for _ in range(2):  # the second finds it put aside
                stand.traffic.start()
                answer = stand.traffic.api("GET", "/readyz", expect=503)
                self.assertIn("stored routes cannot be used", answer.json["reason"])
                stand.traffic.stop()
            stand.traffic.start()
            stand.routes([stand.route(HOST)])
            stand.traffic.api("GET", "/readyz", expect=200)
            self.restart(stand)
            stand.traffic.api("GET", "/readyz", expect=200)

    def test_a_key_that_was_lost(self):
        """No password is right any more: told, counted, until the routes are put anew."""
        with Stand() as stand:
            auth = {"type": "Basic", "user": "ann", "pass": "s3cret"}
            stand.routes([stand.route(HOST, authentication=auth), stand.route("b.example.test")])
            stand.traffic.stop()
            (stand.traffic.state_dir / "auth-key").unlink()
            stand.traffic.start()
            stand.https = stand.traffic.address("https")
            told = stand.traffic.wait_event("passwords_lost", level="error")
            self.assertEqual((told["routes"], told["first"]), (1, HOST))
            self.assertEqual(stand.traffic.status()["passwordsLost"], 1)
            self.assertEqual(stand.traffic.metric("penstock_traffic_route_passwords_lost"), 1)
            right = ("Authorization", basic("ann", "s3cret"))
            with stand.client() as c:
                self.assertEqual(c.get("/", HOST, right).status, 401)
            # what is shown cannot keep a password that is lost; with one all is well
            shown = stand.traffic.api("GET", f"/v1/routes/{HOST}", expect=200).json
            fault = stand.traffic.api("PUT", f"/v1/routes/{HOST}", shown, expect=422).json["errors"][0]
            self.assertEqual(fault["pointer"], "/authentication/pass")
            shown["authentication"]["pass"] = "s3cret"
            stand.traffic.api("PUT", f"/v1/routes/{HOST}", shown, expect=200)
            self.assertEqual(stand.traffic.status()["passwordsLost"], 0)
            self.restart(stand)
            self.assertEqual(stand.traffic.status()["passwordsLost"], 0)
            with stand.client() as c:
                self.assertEqual(c.get("/", HOST, right).status, 200)

    def ends_at_the_start(self, service, **fields):
        self.assertEqual(service.process.wait(SECS), 1)
        return service.wait_event("start_failed", **fields)

    def test_a_key_that_cannot_be_used(self):
        with Stand() as stand:
            stand.traffic.stop()
            (stand.traffic.state_dir / "auth-key").write_text("")
            stand.traffic.start()
            told = self.ends_at_the_start(stand.traffic, what="auth-key")
            self.assertIn("is empty", told["why"])
            stand.traffic.kill()
            (stand.traffic.state_dir / "auth-key").unlink()
            stand.traffic.start()
            self.assertEqual(self.hosts(stand), [HOST])

    def test_a_folder_that_cannot_be_written(self):
        """No reason not to serve: but every answer says so, and it is counted."""
        with Stand() as stand:
            stand.traffic.stop()
            stand.traffic.conf["stateDir"] = "/proc/no-such-folder"
            stand.traffic.conf["management"].update(token="w" * 32, readToken="r" * 32)
            stand.traffic.start()
            stand.traffic.wait_event("state_unusable", level="error")

            def put():
                return stand.traffic.api("PUT", "/v1/routes", [stand.route(HOST)], token="w" * 32, expect=200).json

            for count in 1, 2:
                self.assertEqual([w["code"] for w in put()["warnings"]], ["notStored"])
                status = stand.traffic.api("GET", "/v1/status", token="r" * 32, expect=200).json
                self.assertEqual((status["routes"], status["stored"]), (1, None))
                metrics = stand.traffic.api("GET", "/metrics", token="r" * 32, expect=200).body.decode()
                self.assertIn(f"penstock_traffic_route_store_failures_total {count}\n", metrics)

    def test_one_process_has_the_folder(self):
        """A second one is refused, whatever its ports are; when the first was killed, the next one starts."""
        with Stand() as stand:
            second = stand.stack.service("traffic", stand.traffic.conf, state_dir=stand.traffic.state_dir)
            told = self.ends_at_the_start(second, what="stateDir")
            self.assertIn("another process uses it", told["why"])
            second.kill()
            check = subprocess.run([stand.traffic.program, "check", "--config", stand.stack.folder / "traffic.json"],
                                   capture_output=True, text=True, timeout=SECS)
            self.assertNotIn("another process", check.stdout + check.stderr)
            self.restart(stand, "kill")
            self.assertEqual(self.hosts(stand), [HOST])

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
