"""A person's browser: Chromium with the checks that every page must pass.

Each page is checked in light and dark colours, and with a width of 1280 and 375 pixels: axe-core finds no
violation, and the page is not wider than the window. The page with its files has at most 150 KB.
"""

import os
import pathlib
import tempfile
from contextlib import contextmanager

from playwright.sync_api import sync_playwright

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]
WIDE, SMALL = {"width": 1280, "height": 860}, {"width": 375, "height": 780}
PAGE_BYTES_MAX = 150 * 1024


class Browser:
    """One browser window, and the problems that were found in it."""

    def __init__(self, context, base):
        self.base = base
        self.context = context
        self.page = context.pages[0] if context.pages else context.new_page()
        self.page.set_default_timeout(20_000)
        self.axe = pathlib.Path(os.environ["AXE"]).read_text()
        self.shots = os.environ.get("SHOTS")
        self.problems = []
        self.page.on("pageerror", lambda error: self.problems.append(f"script error: {error}"))
        self.page.on("console", self._on_console)

    def _on_console(self, message):
        # A refused form is a page with status 422, which Chromium and htmx report as an error.
        refusals = ("Failed to load resource", "Response Status Error Code 422")
        if message.type == "error" and not message.text.startswith(refusals):
            self.problems.append(f"{self.page.url}: {message.text}")

    def open(self, path):
        return self.page.goto(self.base + path)

    def heading(self):
        return self.page.locator("h1").inner_text()

    def click(self, role, name):
        self.page.get_by_role(role, name=name, exact=True).first.click()

    def fill(self, label, text):
        self.page.get_by_label(label).first.fill(text)

    def fill_select(self, label, value):
        self.page.get_by_label(label, exact=True).first.select_option(value)

    def type_token(self, token):
        """Types a token into the sign-in form without a mouse, as soon as the field has the focus."""
        self.page.locator("#token:focus").wait_for()
        self.page.keyboard.type(token)
        self.page.keyboard.press("Enter")

    def press(self, role, name):
        """Moves the focus by the Tab key to the element with this role and name, and presses Enter."""
        wanted = self.page.get_by_role(role, name=name).first
        wanted.wait_for()
        for _ in range(120):
            self.page.keyboard.press("Tab")
            if wanted.evaluate("(it) => it === document.activeElement"):
                self.page.keyboard.press("Enter")
                return
        raise AssertionError(f"the Tab key does not reach the {role} {name}")

    def check(self, name):
        """Checks the current page in each colour scheme and width. If SHOTS is set, saves screenshots."""
        for colours in ("light", "dark"):
            for size in (WIDE, SMALL):
                self.page.emulate_media(color_scheme=colours)
                self.page.set_viewport_size(size)
                where = f"{name} ({colours}, {size['width']} px)"
                self._check_axe(where)
                self._check_width(where)
                if self.shots:
                    file = f"{name}-{colours}-{size['width']}.png"
                    self.page.screenshot(path=f"{self.shots}/{file}", full_page=True)
        self.page.emulate_media(color_scheme="light")
        self.page.set_viewport_size(WIDE)
        self._check_weight(name)

    def _check_axe(self, where):
        # Playwright may run scripts that the content security policy of the page forbids.
        if not self.page.evaluate("Boolean(window.axe)"):
            self.page.evaluate(self.axe)
        found = self.page.evaluate(AXE_RUN)
        self.problems += [f"{where}: {violation}" for violation in found]

    def _check_width(self, where):
        wide = self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        if wide > 0:
            self.problems.append(f"{where}: the page is {wide} px wider than the window")

    def _check_weight(self, name):
        size = self.page.evaluate(
            "performance.getEntries().filter((it) => 'decodedBodySize' in it"
            " && it.initiatorType !== 'xmlhttprequest')"
            ".reduce((sum, it) => sum + it.decodedBodySize, 0)")
        if not 0 < size <= PAGE_BYTES_MAX:
            self.problems.append(f"{name}: the page has {size} bytes")


AXE_RUN = """async () => {
  const { violations } = await window.axe.run();
  return violations.map((it) => it.id + ": " + it.help + "\\n" + it.nodes.map((node) =>
    "  " + node.html + "\\n    " + [...node.any, ...node.all, ...node.none]
      .map((check) => check.message).join("; ")).join("\\n"));
}"""


def expect(found, wanted):
    if wanted not in found:
        raise AssertionError(f"{wanted!r} is not in {found!r}")


def sign_in(window):
    window.open("/sign-in")
    window.fill("Token", os.environ["TOKEN"])
    window.page.keyboard.press("Enter")
    window.page.wait_for_url(f"{window.base}/")


@contextmanager
def browser(base, scripts=True):
    with tempfile.TemporaryDirectory() as profile, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=CHROMIUM, args=ARGUMENTS, headless=True, viewport=WIDE,
            # A test's proxy has a certificate of the test's own authority.
            ignore_https_errors=bool(os.environ.get("OWN_AUTHORITY")),
            # During a transition between colours, axe-core measures a wrong contrast.
            reduced_motion="reduce", bypass_csp=False, java_script_enabled=scripts,
            permissions=["clipboard-read", "clipboard-write"])
        try:
            yield Browser(context, base)
        finally:
            context.close()
