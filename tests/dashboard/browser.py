"""A real browser (Chromium, driven by Selenium) on the hub's dashboard: what the tests do with it, in
words of the page: fields by their label, buttons by their name.

Everything waits for a condition; whatever the browser had to complain about (a console error, a violation
of the page's policy) is kept in .complaints().
"""
import base64
import contextlib
import os
import pathlib
import shutil
import tempfile

import e2e

SECS = e2e.SECS
CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"

# What "system-ui" is here: pictures look alike on every machine that has the font.
FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <include ignore_missing="yes">/etc/fonts/fonts.conf</include>
  <match><edit name="family" mode="prepend" binding="strong"><string>Inter</string></edit></match>
</fontconfig>
"""

# Is this shown, enabled and not behind an open dialog?
FIND = """
const [selector, name] = arguments;
const open = [...document.querySelectorAll('dialog[open]')].at(-1);
const named = (node) => node.getAttribute('aria-label') ?? node.labels?.[0]?.textContent ?? node.textContent;
return [...(open ?? document).querySelectorAll(selector)].find((node) => node.checkVisibility({visibilityProperty: true})
  && (name === null || named(node).trim() === name)) ?? null;
"""


def why_not():
    """What is missing here; "" when the tests can run."""
    for program in (CHROMIUM, DRIVER):
        if not pathlib.Path(program).exists():
            return f"there is no {program} here (Debian's packages chromium and chromium-driver)"
    try:
        import selenium.webdriver  # noqa: F401
    except ImportError:
        return "there is no Selenium for Python here (Debian's package python3-selenium)"
    return ""


class Browser:
    """One window; .text, .click, .fill and .wait are all that a test needs."""

    def __init__(self):
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="penstock-browser-"))
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                         "--disable-background-networking", "--disable-component-update", "--no-first-run",
                         "--disable-extensions", "--lang=en-US", "--window-size=1440,1000", f"--user-data-dir={self.folder}/profile"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        (self.folder / "fonts.conf").write_text(FONTS)
        service = Service(DRIVER, env=dict(os.environ, FONTCONFIG_FILE=str(self.folder / "fonts.conf")))
        self.driver = webdriver.Chrome(service=service, options=options)
        self.driver.set_page_load_timeout(SECS)
        self.driver.set_script_timeout(SECS)
        self.log = []

    def close(self):
        with contextlib.suppress(Exception):
            self.driver.quit()
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- looking

    def js(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def ask(self, script, *arguments):
        """The value of an async function's body."""
        answer = self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1]; const given = [...arguments].slice(0, -1);"
            "(async (...arguments) => {" + script + "})(...given).then((v) => done({v}), (e) => done({e: String(e)}));", *arguments)
        if "e" in answer:
            raise e2e.Failure(answer["e"])
        return answer["v"]

    def cdp(self, command, **arguments):
        return self.driver.execute_cdp_cmd(command, arguments)

    def find(self, selector, name=None):
        return self.js(FIND, selector, name)

    def wait(self, selector, name=None, secs=SECS):
        return e2e.wait_for(f"{selector} {name or ''}", lambda: self.find(selector, name), secs)

    def wait_gone(self, selector, name=None, secs=SECS):
        e2e.wait_for(f"no {selector} {name or ''}", lambda: not self.find(selector, name), secs)

    def wait_js(self, what, script, *arguments, secs=SECS):
        return e2e.wait_for(what, lambda: self.js(script, *arguments), secs)

    def text(self, selector):
        return self.js("return document.querySelector(arguments[0])?.textContent.trim() ?? null", selector)

    def wait_text(self, selector, part, secs=SECS):
        try:
            return e2e.wait_for(f"{part!r} in {selector}", lambda: part in (self.text(selector) or ""), secs)
        except e2e.Failure as failure:
            raise e2e.Failure(f"{failure}; it says {self.text(selector)!r}") from None

    # --- doing

    def click(self, name, selector="button"):
        self.wait(selector, name).click()

    def fill(self, label, value):
        field = self.wait("input, select, textarea", label)
        field.clear()
        field.send_keys(value)

    def keys(self, *keys):
        """To whatever has the focus."""
        from selenium.webdriver import ActionChains
        actions = ActionChains(self.driver)
        for key in keys:
            actions.send_keys(key)
        actions.perform()

    def focused(self):
        """What has the focus, by its name."""
        return self.js("const n = document.activeElement; return (n.getAttribute('aria-label') ?? n.labels?.[0]?.textContent ?? "
                       "n.textContent ?? '').trim() || n.tagName")

    # --- how it is shown

    def scheme(self, name):
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def size(self, width, height, mobile=False, scale=1):
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile)

    def picture(self, path, **clip):
        options = {"clip": {**clip, "scale": 1}} if clip else {}
        path.write_bytes(base64.b64decode(self.cdp("Page.captureScreenshot", **options)["data"]))

    # --- what went wrong

    def complaints(self):
        """Messages of the console that are no plain information, all since the start."""
        self.log += self.driver.get_log("browser")
        return [f"{m['source']}: {m['message']}" for m in self.log if m["level"] in ("SEVERE", "WARNING")]
