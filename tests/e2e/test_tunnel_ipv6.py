"""Clients and targets over IPv6.  A file of its own, since it is not run where loopback has no IPv6."""
import socket

import e2e
import udp_stand as u


class Ipv6(u.Case):
    def test_tcp(self):
        target = e2e.Target(e2e.echo)
        self.tunnel([target.port], edge={"bindAddress": ""})
        self.assert_echo(target, "TCP6", "::1")

    def test_tcp_of_both_families(self):
        """[::] is every address, as for UDP."""
        target = e2e.Target(e2e.echo)
        self.tunnel([target.port], edge={"bindAddress": "::"})
        self.assert_echo(target, "TCP6", "::1")
        self.assert_echo(target, "TCP4", "127.0.0.1")

    def assert_echo(self, target, family, host):
        with socket.create_connection((host, self.ports[0]), e2e.SECS) as s:
            source_port = s.getsockname()[1]
            s.sendall(b"x")
            self.assertEqual(e2e.receive(s, 1), b"x")
        self.assertEqual(target.headers[-1],
                         f"PROXY {family} {host} {host} {source_port} {self.ports[0]}\r\n".encode())

    def test_udp_of_every_size(self):
        target = self.target("::1")
        self.udp_tunnel([{"host": "::1", "port": target.port}], edge={"bindAddress": "::"})
        self.assert_sizes(self.client(self.ports[0], "::1"))
        self.assert_sizes(self.client(self.ports[0], "127.0.0.1"))


if __name__ == "__main__":
    e2e.main_where_loopback_has_ipv6()
