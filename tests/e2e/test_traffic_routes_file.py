"""routesFile with routesFileSecs: several replicas follow one file, as pods follow a Secret, and keep what they
have when it is at fault."""
import json
import os
import pathlib

import e2e
from e2e import penstock, wait_for
from traffic_stand import HOST, Origin, Raw


class Volume:
    """A folder as the kubelet makes one of a Secret: routes.json -> ..data/routes.json, ..data -> a folder of
    this version; a change is one rename."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        self.version = 0
        self.file = self.folder / "routes.json"

    def put(self, text):
        self.version += 1
        data = self.folder / f"..{self.version}"
        data.mkdir()
        (data / "routes.json").write_text(text)
        link = self.folder / "..data_tmp"
        link.symlink_to(data.name)
        os.rename(link, self.folder / "..data")
        if not self.file.is_symlink():
            self.file.symlink_to("..data/routes.json")


class RoutesFile(e2e.Case):
    def setUp(self):
        super().setUp()
        self.origins = [Origin(), Origin()]
        for origin in self.origins:
            self.addCleanup(origin.close)
        self.certificate = penstock.Certificate(self.stack.folder, HOST, "other.example.test")
        self.volume = Volume(self.stack.folder / "volume")

    def route(self, host, origin):
        return {"hostName": host, "destinationIps": ["127.0.0.1"], "destinationPorts": [origin.port],
                "publicKey": self.certificate.chain, "privateKey": self.certificate.key}

    def put(self, *routes):
        self.volume.put(json.dumps({"routes": routes}))

    def start(self, count=1):
        self.replicas = [self.stack.traffic(routesFile=str(self.volume.file), routesFileSecs=1, workers=1,
                                            proxyProtocol={"trusted": []}) for _ in range(count)]

    def hosts(self, traffic):
        return sorted(r["hostName"] for r in traffic.api("GET", "/v1/routes", expect=200).json["routes"])

    def wait_hosts(self, *hosts):
        for traffic in self.replicas:
            wait_for(f"the routes are {hosts}", lambda t=traffic: self.hosts(t) == sorted(hosts))

    def served_by(self, traffic, host=HOST):
        with Raw(traffic.address("https"), sni=host) as client:
            self.assertEqual(client.get("/x", host).status, 200)
        return [i for i, origin in enumerate(self.origins) if origin.seen("/x")]

    def looked(self, traffic, count):
        """Updates with this outcome or another one that the file has led to."""
        wait_for(f"{count} updates", lambda: len(traffic.events("update", peer="routesFile")) >= count)
        return [e["fate"] for e in traffic.events("update", peer="routesFile")]

    def test_replicas_follow(self):
        self.put(self.route(HOST, self.origins[0]))
        self.start(2)
        for traffic in self.replicas:
            # the first look finds what the start has loaded
            self.assertEqual(self.looked(traffic, 1), ["unchanged"])
            self.assertEqual(traffic.status()["revision"], 1)
        self.put(self.route(HOST, self.origins[1]), self.route("other.example.test", self.origins[1]))
        self.wait_hosts(HOST, "other.example.test")
        for traffic in self.replicas:
            self.assertEqual(self.served_by(traffic), [1])
            self.assertEqual(self.served_by(traffic, "other.example.test"), [1])

    def test_a_fault_is_told_and_the_routes_stay(self):
        self.put(self.route(HOST, self.origins[0]))
        self.start()
        [traffic] = self.replicas
        self.looked(traffic, 1)
        self.put({**self.route(HOST, self.origins[1]), "destinationPorts": [70000]})
        self.assertEqual(self.looked(traffic, 2)[1], "rejected")
        self.assertIn("/routes/0/destinationPorts", str(traffic.status()["lastError"]))
        self.volume.put("{")
        self.assertEqual(self.looked(traffic, 3)[2], "rejected")
        os.unlink(self.volume.file)
        traffic.wait_event("file_unreadable", error="No such file or directory")
        self.assertEqual(self.served_by(traffic), [0])
        self.volume.put(json.dumps([self.route("other.example.test", self.origins[1])]))
        self.wait_hosts("other.example.test")

    def test_the_newest_wins(self):
        """What the API has put stays until the file is another one."""
        self.put(self.route(HOST, self.origins[0]))
        self.start()
        [traffic] = self.replicas
        self.looked(traffic, 1)
        traffic.api("PUT", "/v1/routes", {"routes": [self.route("other.example.test", self.origins[0])]}, expect=200)
        self.volume.put("[")  # a look, and nothing comes of it
        self.assertEqual(self.looked(traffic, 2)[1], "rejected")
        self.assertEqual(self.hosts(traffic), ["other.example.test"])
        self.put(self.route(HOST, self.origins[1]))
        self.wait_hosts(HOST)
        self.assertEqual(self.served_by(traffic), [1])

    def test_without_it_the_file_is_read_once(self):
        self.put(self.route(HOST, self.origins[0]))
        traffic = self.stack.traffic(routesFile=str(self.volume.file))
        self.assertEqual(self.hosts(traffic), [HOST])
        self.put()
        # an update of the API goes through the same line; there was none of the file
        traffic.api("PUT", "/v1/routes", {"routes": [self.route(HOST, self.origins[1])]}, expect=200)
        self.assertEqual(traffic.events("update", peer="routesFile"), [])


if __name__ == "__main__":
    e2e.main()
