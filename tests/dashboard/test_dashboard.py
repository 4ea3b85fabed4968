"""The hub's dashboard in Chromium: a real hub, real edges, and somebody who looks, types and clicks.

Not run (exit status 77) where Chromium, its driver or Selenium cannot be had.
"""
import json
import signal
import socket
import subprocess
import unittest

import dashboard_stand as stand
from dashboard_stand import chromium, e2e, penstock, wait_for

import tunnel_stand as t

EVIL = "<img src=x onerror=\"document.title='hit'\"><b>b</b>"


def serve_http(s):
    """One answer, whatever was asked."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += s.recv(65536)
    s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
    s.shutdown(1)


class LogIn(stand.Case):
    def test_wrong_and_right(self):
        self.expected = {401}
        self.start_hub(edges=[{"id": "fra-1"}])
        self.open(log_in=False)
        for token, words in (("wrong-token-0123456789", "does not know this token"), ("ä b", "no token")):
            self.browser.fill("Management token", token)
            self.browser.click("Log in")
            self.browser.wait_text("#login-fault", words)
            self.assertFalse(self.browser.find("#board"))
            self.assertEqual(self.browser.focused(), "Management token" if "know" in words else "Log in")
        self.browser.fill("Management token", self.hub.token())
        self.browser.click("Log in")
        self.browser.wait("#board")
        self.assertEqual(self.row("fra-1")["State"], "Not connected")

    def test_nothing_is_kept(self):
        self.start_hub(edges=[{"id": "fra-1"}])
        self.open()
        token = self.hub.token()
        self.assert_nothing_stored()
        page = self.browser.js("return document.documentElement.outerHTML + [...document.querySelectorAll('input, textarea')].map((n) => n.value)")
        self.assertNotIn(token, page)
        self.assertNotIn(token, self.browser.driver.current_url)
        self.browser.click("Log out")
        self.browser.wait("#login")
        self.assertNotIn("fra-1", self.browser.js("return document.documentElement.outerHTML"))
        self.open()
        self.browser.driver.refresh()
        self.browser.wait("#login")  # a reload has forgotten it
        self.assertFalse(self.browser.find("#board"))
        self.open()
        self.browser.driver.get("about:blank")
        self.browser.driver.back()  # from the browser's memory of pages, or anew: without the token
        self.browser.wait("#login")
        self.assertNotIn("fra-1", self.browser.js("return document.documentElement.outerHTML"))
        self.assert_nothing_stored()

    def test_a_token_that_is_taken_back(self):
        self.expected = {401}
        self.start_hub(edges=[{"id": "fra-1"}])
        self.open()
        (self.hub.state_dir / "management-token").write_text("another-token-0123456789012345\n")
        self.hub.process.send_signal(signal.SIGHUP)
        self.browser.wait_text("#login-fault", "no longer takes this token")
        self.assertNotIn("fra-1", self.browser.js("return document.documentElement.outerHTML"))

    def test_a_token_that_may_only_look(self):
        self.expected = {403}
        self.start_hub(edges=[{"id": "fra-1"}])
        self.open(read=True)
        self.browser.wait("#read-only")
        self.assertFalse(self.browser.find("button", "Add edge"))
        self.sheet("fra-1")
        for name in ("Change ports…", "Token…", "New secret…", "Disconnect…", "Remove…"):
            self.assertFalse(self.browser.find("button", name))
        self.browser.click("Close")
        self.browser.click("Log out")
        self.open()  # who may change comes after who may not
        self.browser.wait("button", "Add edge")
        self.assertFalse(self.browser.find("#read-only"))


class Life(stand.Case):
    def wait_edge(self, edge):
        wait_for("its tunnel", lambda: edge.status()["connected"])

    def copy_token(self):
        """The one in the dialog, by its button and the clipboard."""
        b = self.browser
        origin = b.js("return location.origin")
        b.cdp("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"], origin=origin)
        b.click("Copy token")
        b.wait_text("#token .said[role=status]", "Copied.")
        token = b.ask("return await navigator.clipboard.readText()")
        self.assertEqual(token, b.js("return document.getElementById('token-text').value"))
        b.click("Close")
        self.wait_closed("token")
        b.wait_js("the token to be wiped", "return document.getElementById('token-text').value === ''")
        return token

    def test_an_edge_from_its_first_day_to_its_last(self):
        target = e2e.Target(serve_http, proxy=None)
        self.addCleanup(target.close)
        first, second = penstock.free_port(), penstock.free_port()
        plain = {"port": target.port, "proxyProtocol": "off"}
        b = self.browser
        self.start_hub({first: plain, second: plain})
        self.open()
        b.wait_text("#edges-note", "No edge yet")

        b.click("Add edge")
        b.fill("Name", "fra-1")
        b.fill("TCP ports", str(first))
        b.click("Add edge")
        b.wait_text("#token-title", "Token of fra-1")
        token = self.copy_token()
        self.wait_state("fra-1", "Not connected")
        self.assertEqual(penstock.decode_token(token)["edgeId"], "fra-1")

        edge = self.stack.edge(token, instance="machine-1")
        self.wait_state("fra-1", "Connected")
        self.wait_row("fra-1", Public_address="127.0.0.1", Ports=str(first), Transport="TLS" if penstock.TRANSPORT == "tcpTls" else "QUIC")
        b.wait_text("#live", "fra-1: Connected.")
        b.wait_text("#events", "fra-1 connected from 127.0.0.1, instance machine-1")

        self.sheet("fra-1")
        b.click("Change ports…")
        b.fill("TCP ports", f"{first}, {second}")
        b.click("Save")
        self.wait_closed("edit")
        b.wait_text("#sheet .said", "fra-1 is saved.")
        self.wait_ports(edge, [first, second])
        said = subprocess.run(["curl", "-sS", "--max-time", "20", f"http://127.0.0.1:{second}/"], capture_output=True, text=True)
        self.assertEqual((said.stdout, said.returncode), ("hello", 0), said.stderr)
        self.wait_row("fra-1", Ports=str(second), State="Connected")

        b.click("New secret…")
        b.click("no time: its tunnels are closed now", "label")
        b.click("Make new secret")
        b.wait_text("#token-title", "Token of fra-1")
        self.wait_state("fra-1", "Not connected")
        renewed = self.copy_token()
        self.assertNotEqual(t.secret_of(renewed), t.secret_of(token))
        edge.stop()
        edge = self.stack.edge(renewed, instance="machine-2")
        self.wait_state("fra-1", "Connected")
        b.wait_text("#events", "secret changed")

        b.click("Disconnect…")
        b.click("Cancel")
        self.assertFalse(self.hub.events("edge_kicked"))
        b.click("Disconnect…")
        b.click("Disconnect")
        self.hub.wait_event("edge_kicked", edge="fra-1")
        self.wait_closed("confirm")
        b.wait_text("#events", "fra-1 disconnected: kicked")
        self.wait_edge(edge)
        self.wait_state("fra-1", "Connected")  # it came back

        b.click("Remove…")
        b.click("Remove")
        self.wait_closed("sheet")
        wait_for("no row", lambda: self.row("fra-1") is None)
        self.assertEqual(b.focused(), "Edges")
        b.wait_text("#live", "fra-1 is removed.")
        self.hub.api("GET", "/v1/edges/fra-1", expect=404)
        wait_for("no tunnel", lambda: not edge.status()["connected"])
        self.assert_nothing_stored()

    def test_a_hub_that_does_not_know_its_name(self):
        """The token's host and port are asked for; what is wrong with them is said beside them."""
        self.expected = {422}
        self.hub = self.stack.hub({})
        b = self.browser
        self.open()
        b.click("Add edge")
        b.fill("Name", "fra-1")
        b.click("Add edge")
        b.wait("input", "Host")
        self.assertEqual(b.js("return document.getElementById('token-host').value"), "127.0.0.1")
        self.assertEqual(b.js("return document.getElementById('token-port').value"), str(self.hub.address("tunnel")[1]))
        b.fill("Host", "no host!")
        b.click("Make token")
        b.wait_text("#token-host-fault", "must be a host name")
        b.fill("Host", "hub.example.test")
        b.click("Make token")
        self.assertEqual(penstock.decode_token(self.copy_token())["hubHost"], "hub.example.test")

    def test_without_a_clipboard(self):
        """As on plain HTTP from another machine."""
        self.start_hub()
        self.open()
        self.browser.click("Add edge")
        self.browser.fill("Name", "fra-1")
        self.browser.click("Add edge")
        self.browser.wait("button", "Copy token")
        self.browser.js("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
        self.browser.click("Copy token")
        self.browser.wait_text("#token .said[role=status]", "C")
        self.assertEqual(self.browser.js("return getSelection().toString() || document.activeElement.value.slice("
                                         "document.activeElement.selectionStart, document.activeElement.selectionEnd)"),
                         self.browser.js("return document.getElementById('token-text').value"))

    def test_what_the_hub_does_not_take(self):
        self.expected = {409, 412, 422}
        b = self.browser
        taken = penstock.free_port()
        self.start_hub({}, edges=[{"id": "fra-1", "listenPorts": [80]}], management={"listen": f"127.0.0.1:{taken}"})
        self.open()
        b.click("Add edge")
        b.click("Add edge")
        b.wait_text("#edit-id-fault", "needs a name")
        self.assertEqual(b.focused(), "Name")
        b.fill("Name", "fra 1")
        b.fill("TCP ports", f"80, x, {taken}")
        b.fill("Instances", "65")
        b.click("Add edge")
        b.wait_text("#edit-tcp-fault", "“x” is no port")
        b.wait_text("#edit-instances-fault", "from 1 to 64")
        b.fill("TCP ports", f"80 {taken}")
        b.fill("Instances", "2")
        b.click("Add edge")
        b.wait_text("#edit-id-fault", "A-Za-z0-9")
        b.wait_text("#edit-tcp-fault", f"{taken}: its target 127.0.0.1:{taken} is the hub's own management listener")
        self.assertEqual(b.js("return document.getElementById('edit-tcp').getAttribute('aria-invalid')"), "true")
        b.fill("Name", "fra-1")
        b.fill("TCP ports", "80")
        b.click("Add edge")
        b.wait_text("#edit .fault.said", "the edge \"fra-1\" exists")
        b.click("Cancel")
        self.assertEqual(b.focused(), "Add edge")
        self.assertEqual(len(self.hub.api("GET", "/v1/edges").json["edges"]), 1)

        self.sheet("fra-1")
        b.click("Change ports…")
        b.wait("input", "TCP ports")
        self.hub.api("PATCH", "/v1/edges/fra-1", {"listenPorts": [81, 82, 83]}, expect=200)
        b.fill("TCP ports", "443")
        b.click("Save")
        b.wait_text("#edit .fault.said", "it now has TCP 81-83, UDP none")
        self.assertEqual(self.hub.api("GET", "/v1/edges/fra-1").json["listenPorts"], [81, 82, 83])
        b.click("Save")
        self.wait_closed("edit")
        self.assertEqual(self.hub.api("GET", "/v1/edges/fra-1").json["listenPorts"], [443])


class Live(stand.Case):
    def test_what_others_change_shows(self):
        self.start_hub(edges=[{"id": "fra-1", "listenPorts": [80]}])
        self.open()
        self.hub.api("POST", "/v1/edges", {"id": "ams-2", "listenPorts": [8000, 8001, 8002], "listenPortsUdp": [53]}, expect=201)
        self.wait_row("ams-2", Ports="8000-8002 53 UDP")
        self.hub.api("PATCH", "/v1/edges/fra-1", {"enabled": False}, expect=200)
        self.wait_state("fra-1", "Disabled")
        self.sheet("ams-2")
        self.hub.api("DELETE", "/v1/edges/ams-2", expect=204)
        self.wait_closed("sheet")
        wait_for("no row", lambda: self.row("ams-2") is None)

    def test_numbers(self):
        """Streams, throughput and its line, port trouble: what the hub says of a busy edge."""
        target = e2e.Target(e2e.echo)
        self.addCleanup(target.close)
        port, taken = penstock.free_port(), penstock.free_port()
        with socket.create_server(("127.0.0.1", taken)):
            self.start_hub({port: target.port})
            edge = self.stack.edge(self.stack.register(self.hub, "fra-1", [port, taken]))
            self.open()
            self.wait_state("fra-1", "Port trouble")
            self.browser.wait_text("#tile-edges-more", "1 with port trouble")
            clients = t.echo_clients(port, 3)
            self.wait_row("fra-1", Streams="3", From_clients="bit/s")
            wait_for("throughput", lambda: not self.row("fra-1")["From clients"].startswith("0 "))
            self.browser.wait_js("its line", "return document.querySelectorAll('#edges .line-in')[0].getAttribute('d').length > 20")
            self.browser.wait_text("#tile-streams", "3")
            self.sheet("fra-1")
            self.browser.wait_js("its streams", "return document.querySelectorAll('#streams tbody tr').length === 3")
            self.browser.wait_text("#sheet-facts", f"{taken} TCP: ")
            for client in clients:
                self.assertEqual(client.finish(), "stopped")
            self.browser.wait_text("#streams-note", "None is open")
            edge.stop()
            self.browser.wait_text("#sheet-instances", "None is connected")
            self.browser.wait_text("#sheet-facts", "ago: ")

    def test_two_machines_of_one_edge(self):
        target = e2e.Target(e2e.echo)
        self.addCleanup(target.close)
        port = penstock.free_port()
        self.start_hub({port: target.port})
        token = self.stack.register(self.hub, "fra-1", [port], maxInstances=2)
        for address, mode in (("127.0.0.1", "quicWithFallback"), ("127.0.0.2", "tcpTls")):
            self.wait_ports(self.stack.edge(token, bindAddress=address, instance=f"at {address}", transportMode=mode), [port])
        self.open()
        self.wait_row("fra-1", State="Connected", Transport="QUIC + TLS ×2")
        for host in ("127.0.0.1", "127.0.0.2", "127.0.0.2"):
            s = socket.create_connection((host, port), stand.SECS)
            self.addCleanup(s.close)
            s.settimeout(stand.SECS)
            s.sendall(b"x")
            self.assertEqual(e2e.receive(s, 1), b"x")
        self.wait_row("fra-1", Streams="3")
        self.browser.wait_text("#tile-edges", "1 of 1")
        self.sheet("fra-1")
        self.browser.wait_text("#sheet-facts", "2 of 2")
        self.assertEqual(self.browser.js("return [...document.querySelectorAll('.instance b')].map((n) => n.textContent).sort()"),
                         ["at 127.0.0.1", "at 127.0.0.2"])

    def test_a_hub_that_goes_and_comes_back(self):
        self.expected = {"net::ERR"}
        management, tunnel = penstock.free_port(), penstock.free_port()
        self.start_hub(edges=[{"id": "fra-1"}], management={"listen": f"127.0.0.1:{management}"}, tunnel={"listen": f"127.0.0.1:{tunnel}"})
        self.open()
        self.hub.kill()
        self.browser.wait_text("#outage", "does not answer")
        self.assertTrue(self.row("fra-1"))  # what was known stays, and is said to be old
        self.hub.start()
        self.browser.wait_gone("#outage")
        self.stack.edge(self.hub.api("POST", "/v1/edges/fra-1/token").json["token"])
        self.wait_state("fra-1", "Connected")
        self.browser.wait_text("#events", "fra-1 connected", secs=60)  # the stream of events is back

    def test_a_hub_that_says_nothing(self):
        """Its machine is gone, as far as one can see: no answer and no end."""
        self.start_hub(edges=[{"id": "fra-1"}])
        self.open()
        self.hub.process.send_signal(signal.SIGSTOP)
        try:
            self.browser.wait_text("#outage", "does not answer", secs=60)
        finally:
            self.hub.process.send_signal(signal.SIGCONT)
        self.browser.wait_gone("#outage")
        self.hub.api("POST", "/v1/edges", {"id": "ams-2"}, expect=201)
        self.wait_state("ams-2", "Not connected")

    def test_draining(self):
        self.start_hub(drainDelaySecs=60)
        self.open()
        self.browser.wait_text("#hub-state", "Serving")
        self.hub.api("POST", "/v1/drain", expect=202)
        self.browser.wait_text("#hub-state", "Draining")
        self.browser.click("Log out")  # the second signal, at the end of the test, ends the hub at once

    def test_a_hidden_tab_asks_for_nothing(self):
        self.start_hub(log={"level": "debug"})
        self.open()
        b = self.browser

        def polls():
            return len(self.hub.events("request", path="/v1/status"))

        wait_for("some polls", lambda: polls() >= 3)
        page = b.driver.current_window_handle
        b.driver.switch_to.new_window("tab")
        other = b.driver.current_window_handle
        b.driver.switch_to.window(page)  # the driver's, not the browser's: it stays behind
        if not b.js("return document.hidden"):
            b.js("Object.defineProperty(document, 'hidden', {value: true, configurable: true}); document.dispatchEvent(new Event('visibilitychange'))")
        before = polls()
        # Three turns in which nothing may happen, by the page's own clock.
        b.ask("const until = performance.now() + 6000; while (performance.now() < until) await new Promise((r) => setTimeout(r, 200));")
        self.assertLessEqual(polls() - before, 1)  # one may have been under way
        b.js("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
        b.driver.switch_to.window(other)
        b.driver.close()
        b.driver.switch_to.window(page)
        wait_for("polls again", lambda: polls() > before + 2)

    def test_a_long_registry(self):
        self.start_hub(edges=[{"id": f"edge-{n:03}", "listenPorts": [80, 443]} for n in range(500)])
        self.open()
        b = self.browser
        b.wait_text("#edges-note", "200 of 500 edges are shown")
        self.assertEqual(b.js("return document.querySelectorAll('#edges tbody tr').length"), 200)
        b.fill("Show edges that contain", "EDGE-49")
        wait_for("ten", lambda: b.js("return document.querySelectorAll('#edges tbody tr').length") == 10)
        b.fill("Show edges that contain", "nothing")
        b.wait_text("#edges-note", "None of 500 edges fits")


class Hostile(stand.Case):
    def test_words_of_strangers_are_text(self):
        """An instance's name and the reasons of port errors are whatever an edge says."""
        port = penstock.free_port()
        self.start_hub({}, edges=[{"id": "fra-1", "listenPorts": [port], "secret": "s" * 43}])
        probe = t.Probe(self.hub.address("tunnel"), "fra-1", "s" * 43, instance=EVIL)
        self.addCleanup(probe.close)
        self.open()
        if "error" in probe.wait_answer():  # the hub takes no such name: then as near as it does
            probe = t.Probe(self.hub.address("tunnel"), "fra-1", "s" * 43, instance="evil")
            self.addCleanup(probe.close)
            probe.wait_open()
        probe.send(t.frame(0, t.CONFIG_ACK, json.dumps({
            "revision": probe.config["revision"], "listenPorts": [], "listenPortsUdp": [],
            "errors": [{"port": port, "protocol": "tcp", "error": EVIL}], "publicIp": None}).encode()))
        self.wait_state("fra-1", "Port trouble")
        self.sheet("fra-1")
        self.browser.wait_text("#sheet-facts", EVIL)
        self.assertEqual(self.browser.js("return document.querySelectorAll('img[src=x], #sheet-facts b, .instance dl b, #events b').length"), 0)
        self.assertNotEqual(self.browser.js("return document.title"), "hit")
        self.browser.click("Close")

    def test_the_policy(self):
        """What injected markup would try, tried from inside the page."""
        self.start_hub(edges=[{"id": "fra-1"}])
        self.open()
        refused = self.browser.ask("""
            const outcome = {};
            const seen = new Set();
            addEventListener('securitypolicyviolation', (e) => seen.add(e.effectiveDirective));
            const attempt = async (name, act) => { try { await act(); outcome[name] = 'done'; } catch { outcome[name] = 'refused'; } };
            await attempt('innerHTML', () => { document.body.insertAdjacentHTML('beforeend', '<b id=injected>x</b>'); });
            await attempt('elsewhere', () => fetch('http://127.0.0.1:9/'));
            const script = document.createElement('script');
            script.append('document.title = "hit"');
            try { document.body.append(script); } catch {}
            const image = new Image();
            image.src = 'data:image/gif;base64,R0lGODlhAQABAAAAACw=';
            await new Promise((resolve) => { image.onload = image.onerror = resolve; });
            const style = document.createElement('style');
            style.append('body { display: none }');
            document.body.append(style);
            const base = document.createElement('base');
            base.href = 'http://127.0.0.1:9/';
            document.head.append(base);
            await new Promise((resolve) => setTimeout(resolve, 0));
            return {outcome, seen: [...seen].sort(), injected: !!document.getElementById('injected'), title: document.title,
                    shown: getComputedStyle(document.body).display, base: document.baseURI};
        """)
        self.assertEqual(refused["outcome"], {"innerHTML": "refused", "elsewhere": "refused"})
        self.assertFalse(refused["injected"])
        self.assertNotEqual(refused["title"], "hit")
        self.assertEqual(refused["shown"], "block")
        self.assertNotIn(":9/", refused["base"].replace(str(self.hub.address("management")[1]), ""))
        for directive in ("require-trusted-types-for", "connect-src", "img-src", "style-src-elem", "base-uri"):
            self.assertIn(directive, refused["seen"])
        self.expected = {"violates the following", "Content Security Policy", "requires 'Trusted"}

    def test_no_other_site_frames_it(self):
        self.start_hub()
        page = ('<!doctype html><title>frame</title><iframe src="http://%s:%d/"></iframe>' % self.hub.address("management")).encode()

        def serve(s):
            s.recv(65536)
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(page) + page)
            s.shutdown(1)

        site = e2e.Target(serve, proxy=None)
        self.addCleanup(site.close)
        self.browser.driver.get(f"http://127.0.0.1:{site.port}/")
        self.browser.driver.switch_to.frame(0)
        self.assertFalse(self.browser.js("return document.getElementById('login') !== null"))
        self.browser.driver.switch_to.default_content()
        said = self.browser.complaints()
        self.assertTrue(any("frame-ancestors" in c for c in said), said)
        self.expected = {"frame-ancestors"}


class Access(stand.Case):
    def start(self):
        b = self.browser
        port = penstock.free_port()
        self.start_hub({port: 9}, edges=[{"id": "par-3", "listenPorts": list(range(8000, 8040, 2))}, {"id": "old-lab", "enabled": False}])
        self.stack.edge(self.stack.register(self.hub, "fra-1", [port]), instance="machine-1")
        self.open()
        self.wait_state("fra-1", "Connected")
        return b

    def dialogs(self):
        """Opens each, one after the other; yields its name."""
        b = self.browser
        b.click("Add edge")
        yield "add"
        b.click("Add edge")
        b.wait_text("#edit-id-fault", "needs a name")
        yield "add, with a fault"
        b.click("Cancel")
        self.sheet("fra-1")
        yield "sheet"
        for button, word in (("Change ports…", "Cancel"), ("Token…", "Close"), ("New secret…", "Cancel"), ("Disconnect…", "Cancel"),
                             ("Remove…", "Cancel")):
            b.click(button)
            b.wait("button", word)
            if button == "Token…":
                b.wait("button", "Copy token")
            yield button
            b.click(word)
        b.click("Close")

    def test_contrast(self):
        self.start()
        for scheme in ("light", "dark"):
            self.browser.scheme(scheme)
            self.assert_contrast(f"{scheme}, board")
            for name in self.dialogs():
                self.assert_contrast(f"{scheme}, {name}")
        self.browser.click("Log out")
        for scheme in ("light", "dark"):
            self.browser.scheme(scheme)
            self.assert_contrast(f"{scheme}, log-in")

    def test_on_a_phone(self):
        self.start()
        self.browser.size(390, 844, mobile=True)
        self.assert_fits("board")
        for name in self.dialogs():
            self.assert_fits(name)
        self.browser.size(320, 640, mobile=True)
        self.assert_fits("a small one")
        self.browser.click("Log out")
        self.assert_fits("log-in")

    def test_names_and_roles(self):
        b = self.start()
        for width in (1440, 390):
            b.size(width, 900)
            tree = self.assert_named("board")
            for role, name in (("banner", ""), ("main", ""), ("heading", "Edges"), ("table", "Edges"), ("columnheader", "Latency"),
                               ("button", "fra-1"), ("searchbox", "Show edges that contain"), ("region", "What happened")):
                self.assertIn(role, [r for r, n in tree if name in n], (width, name))
            self.assertEqual(len([r for r, _ in tree if r == "row"]), 4, width)  # on a phone, where it shows as cards, too
            self.assertEqual(len([r for r, _ in tree if r == "cell"]), 33, width)
        for name in self.dialogs():
            tree = self.assert_named(name)
            self.assertTrue(any(r in ("dialog", "alertdialog") for r, _ in tree), name)
            self.assertNotIn(("heading", "Edges"), tree, name)  # what is behind it is not there

    def test_by_keyboard_alone(self):
        from selenium.webdriver.common.keys import Keys
        self.start_hub(edges=[{"id": "fra-1", "listenPorts": [80]}])
        self.open(log_in=False)
        b = self.browser
        self.assertEqual(b.focused(), "Management token")
        b.keys(self.hub.token(), Keys.ENTER)
        b.wait("#board")
        self.assertEqual(b.focused(), "Edges")
        order = []
        for _ in range(4):
            b.keys(Keys.TAB)
            order.append(b.focused())
        self.assertEqual(order, ["Show edges that contain", "Order", "Add edge", "fra-1"])
        self.assertEqual(b.js("return getComputedStyle(document.activeElement).outlineStyle"), "solid")
        b.js("getSelection().selectAllChildren(document.getElementById('edges-title'))")  # is in nobody's way
        b.keys(Keys.ENTER)
        b.wait_js("the sheet", "return document.getElementById('sheet').open")
        self.assertEqual(b.focused(), "fra-1")  # its title
        b.keys(Keys.TAB)
        b.keys(Keys.TAB)
        self.assertEqual(b.focused(), "Change ports…")
        b.keys(Keys.ENTER)
        b.wait("input", "TCP ports")
        b.wait_js("focus", "return document.activeElement.id === 'edit-tcp'")
        b.keys(Keys.END, ", 443", Keys.ENTER)
        self.wait_closed("edit")
        wait_for("the change", lambda: self.hub.api("GET", "/v1/edges/fra-1").json["listenPorts"] == [80, 443])
        self.assertEqual(b.focused(), "Change ports…")  # back where it began
        for _ in range(4):
            b.keys(Keys.TAB)
            if b.focused() == "Remove…":
                break
        b.keys(Keys.ENTER)
        b.wait("button", "Remove")
        self.assertEqual(b.focused(), "Cancel")  # the harmless one
        b.keys(Keys.ESCAPE)
        self.wait_closed("confirm")
        self.assertEqual(b.focused(), "Remove…")
        b.keys(Keys.ESCAPE)
        self.wait_closed("sheet")
        self.assertEqual(b.focused(), "fra-1")
        self.hub.api("GET", "/v1/edges/fra-1", expect=200)

    def test_no_movement_for_who_wants_none(self):
        self.start_hub()
        self.browser.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
        self.open()
        self.browser.click("Add edge")
        self.assertEqual(self.browser.js("return getComputedStyle(document.getElementById('edit')).animationName"), "none")


class Modules(stand.Case):
    """The parts without a page, called as they are."""

    def setUp(self):
        super().setUp()
        self.start_hub()
        self.open(log_in=False)

    def call(self, module, expression):
        return self.browser.ask(f"const m = await import('/dashboard/{module}.js'); return {expression};")

    def test_ports(self):
        cases = {"": [], "80": [80], " 443,80 ; 80\n": [80, 443], "8000-8002": [8000, 8001, 8002], "1 65535": [1, 65535],
                 "5–6": [5, 6], "1-1024": list(range(1, 1025))}
        for text, ports in cases.items():
            self.assertEqual(self.call("format", f"m.parsePorts({json.dumps(text)})"), {"ports": ports, "fault": ""}, text)
        for text in ("x", "0", "65536", "-1", "80-", "9-8", "1-2000", "1-1024 2000", "1-65535", "8e1", "80.5", "٨٠"):
            answer = self.call("format", f"m.parsePorts({json.dumps(text)})")
            self.assertEqual(answer["ports"], [], text)
            self.assertTrue(answer["fault"], text)
        for ports, text in (([], ""), ([80], "80"), ([80, 81], "80, 81"), ([80, 81, 82, 443], "80-82, 443")):
            self.assertEqual(self.call("format", f"m.ports({ports})"), text)

    def test_numbers(self):
        for expression, text in (("bytes(0)", "0 B"), ("bytes(999)", "999 B"), ("bytes(1000)", "1.00 kB"), ("bytes(9994)", "9.99 kB"),
                                 ("bytes(9996)", "10.0 kB"), ("bytes(999499)", "999 kB"), ("bytes(999600)", "1.00 MB"),
                                 ("bytes(1e18)", "1000 PB"), ("rate(125000)", "1.00 Mbit/s"), ("duration(59.9)", "59 s"),
                                 ("duration(3600)", "1 h 0 min"), ("duration(90000)", "1 d 1 h"), ("since('nonsense')", "")):
            self.assertEqual(self.call("format", f"m.{expression}"), text, expression)

    def test_events_in_any_pieces(self):
        stream = ("retry: 2000\n\nid: a-1\nevent: x\ndata: {\"n\":1}\n\n:\n\nid: a-2\r\nevent: gap\r\ndata: {}\r\n\r\n"
                  "data: ä\ndata: b\n\nid: a-3\nevent: never\n\nid: half")
        for size in (1, 2, 3, 7, len(stream)):
            answer = self.call("events", f"""(() => {{
                const parser = new m.EventParser(), text = {json.dumps(stream)}, events = [];
                for (let i = 0; i < text.length; i += {size}) events.push(...parser.push(text.slice(i, i + {size})));
                return {{events, last: parser.lastId}};
            }})()""")
            self.assertEqual(answer, {"events": [{"id": "a-1", "type": "x", "data": '{"n":1}'}, {"id": "a-2", "type": "gap", "data": "{}"},
                                                 {"id": "a-2", "type": "message", "data": "ä\nb"}], "last": "a-3"}, size)
        self.assertEqual(self.call("events", "(() => { try { new m.EventParser().push('x'.repeat(2 << 20)); } catch { return 'refused'; } })()"),
                         "refused")

    def test_rates(self):
        """From counters that go on, begin anew and pause."""
        answer = self.call("store", """(() => {
            const store = new m.Store(), edge = {id: 'e', enabled: true, listenPorts: [], listenPortsUdp: []}, told = [];
            store.subscribe((changes) => told.push(...changes.map((c) => c.state)));
            const poll = (ms, bytesIn, connectedAt, more = {}) => {
              const i = {edgeId: 'e', instance: 'i', connectedAt, bytesIn, bytesOut: 0, portErrors: [], revision: 1, acknowledgedRevision: 1,
                         transport: 'quic', remoteAddress: '::1', publicIp: null, activeStreams: 1, udpSessions: 0, udpDropped: 0, rttMs: 3, ...more};
              store.takePoll({connectedEdges: connectedAt ? [i] : []}, ms === 0 ? [edge] : null, ms);
              const row = store.edge('e');
              return [row.state, row.history.now.in, row.history.in.length];
            };
            const seen = [poll(0, 5000, 'a'), poll(500, 6900, 'a') && poll(2000, 7000, 'a'), poll(4000, 7000, 'a'), poll(6000, 400, 'b'),
                          poll(8000, 400, 'b', {revision: 2}), poll(10000, 400, 'b', {portErrors: [{}]}), poll(12000, 0, null),
                          poll(60000, 9600, 'b'), poll(62000, 9600, 'b')];
            for (let n = 0; n < 200; n++) poll(64000 + 2000 * n, 9600, 'b');
            return {seen, length: store.edge('e').history.in.length, told};
        })()""")
        self.assertEqual(answer["seen"], [["connected", 0, 0], ["connected", 1000, 1], ["connected", 0, 2], ["connected", 200, 3],
                                          ["changing", 0, 4], ["trouble", 0, 5], ["offline", 0, 6], ["connected", 200, 1],
                                          ["connected", 0, 2]])
        self.assertEqual(answer["length"], 60)
        self.assertEqual(answer["told"], ["changing", "trouble", "offline", "connected"])

    def test_events_are_bounded_and_kept_once(self):
        answer = self.call("store", """(() => {
            const store = new m.Store();
            const take = (id, type = 'edgeConnected', data = '{"edgeId":"e"}') => store.takeEvent({id, type, data});
            take('', 'gap', '{}');
            const first = store.events.length;
            for (let n = 0; n < 150; n++) { take(`a-${n}`); take(`a-${n}`); }
            take('', 'gap', '{}');
            take('a-200', 'edgeConnected', 'no json');
            return {first, count: store.events.length, types: [store.events[0].type, store.events[1].type], last: store.events.at(-1).id};
        })()""")
        self.assertEqual(answer, {"first": 0, "count": 100, "types": ["gap", "edgeConnected"], "last": "a-51"})


if __name__ == "__main__":
    why = chromium.why_not()
    if why:
        e2e.not_run(why)
    unittest.main(verbosity=2)
