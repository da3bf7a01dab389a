"""What an admin does in the console beside defects: the form of a connection, requests that were not
recognised, and who did what. The argument names the scenario.

The environment names the server (JACKFIELD_URL, TOKEN), the tracker (TRACKER_URL, TRACKER_KEY), a webhook
(WEBHOOK_URL) and axe-core's file (AXE). SHOTS is a folder for pictures.
"""

import os
import sys

from browser import browser, expect, sign_in


def look_up(it):
    """A person chooses from what the tracker has, before anything is stored."""
    sign_in(it)
    it.open("/connections/new?connector=redmine")
    it.fill("Name", "Payments")
    it.fill("Redmine address", os.environ["TRACKER_URL"])
    it.fill("Project", "qa")
    it.fill("API key", os.environ["TRACKER_KEY"])
    it.click("button", "Look up Tracker")
    it.page.get_by_role("button", name="Feature", exact=True).wait_for()
    it.check("look-up")
    it.click("button", "Bug")
    expect(it.page.get_by_label("Tracker", exact=True).input_value(), "Bug")
    # The list follows what is typed, and the Enter key does not send the form.
    it.page.get_by_label("Search for Critical priorities").press_sequentially("Lo")
    it.page.locator(".choices").get_by_role("button", name="Low").wait_for()
    it.page.get_by_label("Search for Critical priorities").press("Enter")
    it.page.locator(".choices").get_by_role("button", name="Low").click()
    it.page.get_by_label("Name").first.press("Enter")
    it.page.locator("#url").wait_for()
    it.click("link", "Show the connection")
    expect(it.page.locator("main").inner_text(), "Bug")


def senders(it):
    """Senders must sign, and a new key does not lock them out."""
    sign_in(it)
    it.click("link", "Connections")
    it.click("link", "qa")
    it.click("link", "Edit")
    it.page.get_by_text("Senders of webhooks").click()
    it.fill_select("What senders must send in addition to the URL", "signature")
    it.page.get_by_label("Secret of senders").fill("too short")
    it.check("senders")
    it.click("button", "Save")
    it.page.locator(".field .error").get_by_text("whsec_").wait_for()
    it.check("senders-refused")
    it.page.get_by_label("Secret of senders").fill(os.environ["KEY_1"])
    it.click("button", "Save")
    it.page.get_by_text("The changes are saved.").wait_for()
    expect(it.page.locator("#webhook-of").inner_text(), "signature")
    it.click("link", "Edit")
    it.page.get_by_text("Senders of webhooks").click()
    it.page.get_by_label("Secret of senders").fill(os.environ["KEY_2"])
    it.click("button", "Save")
    it.page.get_by_text("two secrets are accepted").wait_for()
    it.check("connection-with-senders")


def conflict(it):
    """Two people edit one connection: nothing is overwritten."""
    sign_in(it)
    it.click("link", "Connections")
    it.click("link", "qa")
    it.click("link", "Edit")
    other = it.context.new_page()
    other.goto(it.page.url)
    other.get_by_label("Name").first.fill("of the other")
    other.get_by_text("More options").click()
    other.get_by_label("Index delay, seconds").fill("30")
    other.get_by_role("button", name="Save", exact=True).last.click()
    other.get_by_text("The changes are saved.").wait_for()
    other.close()
    it.page.get_by_text("More options").click()
    it.page.get_by_label("Index delay, seconds").fill("60")
    it.page.get_by_label("Only this Test Manager project").fill("4711")
    it.click("button", "Save")
    it.page.get_by_text("Another person changed this connection").wait_for()
    expect(it.page.locator("main").inner_text(), "of the other")
    expect(it.page.get_by_label("Name").first.input_value(), "of the other")
    it.check("conflict")
    it.click("button", "Save")
    it.page.get_by_text("The changes are saved.").wait_for()
    expect(it.heading(), "of the other")


def unrecognised(it):
    """What Test Manager really sent gets its meaning."""
    sign_in(it)
    it.page.get_by_role("link", name="Look").first.click()
    for request in it.page.get_by_text("What was sent").all():
        request.click()
    expect(it.page.locator("main").inner_text(), "testExecutionId")
    it.check("unrecognised")
    it.click("link", "It is Create Defect")
    expect(it.page.locator("main").inner_text(), "creates a defect in the tracker")
    it.page.get_by_label("Path").fill("/a/../b")
    it.click("button", "Map the path")
    it.page.locator(".field .error").wait_for()
    it.page.get_by_label("Path").fill("/tm/new-defect")
    it.check("confirm-map")
    it.click("button", "Map the path")
    it.page.get_by_text("is Create Defect from now on").wait_for()
    it.page.get_by_text("mapped since").wait_for()


def audit(it):
    """An admin sees who did what, and who tried."""
    sign_in(it)
    it.click("link", "Audit log")
    expect(it.page.locator("main").inner_text(), "role too low, 3 times")
    expect(it.page.locator("main").inner_text(), "not signed in")
    it.check("audit")
    it.fill("Account", "reader")
    it.click("button", "Filter")
    it.page.wait_for_url("**account=reader**")
    expect(it.page.locator("tbody").inner_text(), "connection.pause")
    if "session.begin" in it.page.locator("tbody").inner_text():
        raise AssertionError("the filter shows other accounts")
    it.click("link", "connection.pause")
    it.page.wait_for_url("**action=connection%2Epause")
    it.fill("To (UTC)", "2000-01-01")
    it.click("button", "Filter")
    it.page.get_by_text("No entries").wait_for()


# Not the properties of a form: its fields hide them.
LINKS = """(all) => all.map((it) => new URL(
  it.getAttribute("href") ?? it.getAttribute("src") ?? it.getAttribute("action"), location.href).href)"""


def below_a_path(it):
    """Behind a proxy, below a path: no link leads out of it."""
    sign_in(it)
    prefix = os.environ["JACKFIELD_URL"] + "/"
    for name in ("Connections", "Events", "Defects", "Connectors", "Accounts", "Audit log", "Overview"):
        it.click("link", name)
        it.page.get_by_role("heading", name=name, level=1).wait_for()
        expect(it.page.url, prefix)
        links = it.page.eval_on_selector_all("[href], [src], form", LINKS)
        for link in links:
            expect(link, prefix)
    it.check("below-a-path")
    it.click("button", "Dark")
    expect(it.page.locator("html").get_attribute("data-theme"), "dark")
    cookies = {cookie["name"]: cookie for cookie in it.context.cookies()}
    for name in ("__Secure-jackfield", "jackfield-theme"):
        expect(cookies[name]["path"], "/jackfield")
    it.open("/api/v1/docs")
    it.click("link", "OpenAPI 3.1")
    expect(it.page.url, prefix + "api/v1/openapi.json")
    it.open("/events/none")
    expect(it.heading(), "Not found")
    it.open("/")
    it.click("button", "Sign out")
    expect(it.page.url, prefix + "sign-in")


SCENARIOS = {it.__name__: it for it in (
    look_up, senders, conflict, unrecognised, audit, below_a_path)}


def main():
    with browser(os.environ["JACKFIELD_URL"]) as it:
        try:
            SCENARIOS[sys.argv[1]](it)
        except Exception:
            print(f"at {it.page.url}:\n{it.page.locator('body').inner_text()}", file=sys.stderr)
            raise
        if it.problems:
            sys.exit("\n".join(it.problems))


main()
