"""Scenarios for admins in the console: the form of a connection, unrecognised requests, and the audit log.
The argument names the scenario.

Environment variables name the server (JACKFIELD_URL, TOKEN), the tracker (TRACKER_URL, TRACKER_KEY), the
keys of senders (KEY_1, KEY_2) and axe-core's file (AXE). If SHOTS is set, screenshots are saved in this folder.
"""

import os
import sys

from browser import browser, expect, sign_in


def look_up(window):
    """A person chooses values that the tracker lists, before the connection is stored."""
    sign_in(window)
    window.open("/connections/new?connector=redmine")
    window.fill("Name", "Payments")
    window.fill("Redmine address", os.environ["TRACKER_URL"])
    window.fill("Project", "qa")
    window.fill("API key", os.environ["TRACKER_KEY"])
    window.click("button", "Look up Tracker")
    window.page.get_by_role("button", name="Feature", exact=True).wait_for()
    window.check("look-up")
    window.click("button", "Bug")
    expect(window.page.get_by_label("Tracker", exact=True).input_value(), "Bug")
    # The list follows what is typed, and the Enter key in the search field does not send the form.
    window.page.get_by_label("Search for Critical priorities").press_sequentially("Lo")
    window.page.locator(".choices").get_by_role("button", name="Low").wait_for()
    window.page.get_by_label("Search for Critical priorities").press("Enter")
    window.page.locator(".choices").get_by_role("button", name="Low").click()
    window.page.get_by_label("Name").first.press("Enter")
    window.page.locator("#url").wait_for()
    window.click("link", "Show the connection")
    expect(window.page.locator("main").inner_text(), "Bug")


def senders(window):
    """Senders must sign their requests. After a change of the key, the old key is accepted, too."""
    sign_in(window)
    window.click("link", "Connections")
    window.click("link", "qa")
    window.click("link", "Edit")
    window.page.get_by_text("Senders of webhooks").click()
    window.fill_select("What senders must send in addition to the URL", "signature")
    window.page.get_by_label("Secret of senders").fill("too short")
    window.check("senders")
    window.click("button", "Save")
    window.page.locator(".field .error").get_by_text("whsec_").wait_for()
    window.check("senders-refused")
    window.page.get_by_label("Secret of senders").fill(os.environ["KEY_1"])
    window.click("button", "Save")
    window.page.get_by_text("The changes are saved.").wait_for()
    expect(window.page.locator("#webhook-of").inner_text(), "signature")
    window.click("link", "Edit")
    window.page.get_by_text("Senders of webhooks").click()
    window.page.get_by_label("Secret of senders").fill(os.environ["KEY_2"])
    window.click("button", "Save")
    window.page.get_by_text("two secrets are accepted").wait_for()
    window.check("connection-with-senders")


def conflict(window):
    """Two people edit one connection at the same time. No change is overwritten."""
    sign_in(window)
    window.click("link", "Connections")
    window.click("link", "qa")
    window.click("link", "Edit")
    other = window.context.new_page()
    other.goto(window.page.url)
    other.get_by_label("Name").first.fill("of the other")
    other.get_by_text("More options").click()
    other.get_by_label("Index delay, seconds").fill("30")
    other.get_by_role("button", name="Save", exact=True).last.click()
    other.get_by_text("The changes are saved.").wait_for()
    other.close()
    window.page.get_by_text("More options").click()
    window.page.get_by_label("Index delay, seconds").fill("60")
    window.page.get_by_label("Only this Test Manager project").fill("4711")
    window.click("button", "Save")
    window.page.get_by_text("Another person changed this connection").wait_for()
    expect(window.page.locator("main").inner_text(), "of the other")
    expect(window.page.get_by_label("Name").first.input_value(), "of the other")
    window.check("conflict")
    window.click("button", "Save")
    window.page.get_by_text("The changes are saved.").wait_for()
    expect(window.heading(), "of the other")


def unrecognised(window):
    """A person maps the path of an unrecognised request to Create Defect."""
    sign_in(window)
    window.page.get_by_role("link", name="Look").first.click()
    for request in window.page.get_by_text("What was sent").all():
        request.click()
    expect(window.page.locator("main").inner_text(), "testExecutionId")
    window.check("unrecognised")
    window.click("link", "It is Create Defect")
    expect(window.page.locator("main").inner_text(), "creates a defect in the tracker")
    window.page.get_by_label("Path").fill("/a/../b")
    window.click("button", "Map the path")
    window.page.locator(".field .error").wait_for()
    window.page.get_by_label("Path").fill("/tm/new-defect")
    window.check("confirm-map")
    window.click("button", "Map the path")
    window.page.get_by_text("is Create Defect from now on").wait_for()
    window.page.get_by_text("recognised now").wait_for()


def audit(window):
    """The audit log shows changes and refused attempts."""
    sign_in(window)
    window.click("link", "Audit log")
    expect(window.page.locator("main").inner_text(), "role too low, 3 times")
    expect(window.page.locator("main").inner_text(), "not signed in")
    window.check("audit")
    window.fill("Account", "reader")
    window.click("button", "Filter")
    window.page.wait_for_url("**account=reader**")
    expect(window.page.locator("tbody").inner_text(), "connection.pause")
    if "session.begin" in window.page.locator("tbody").inner_text():
        raise AssertionError("the filter shows other accounts")
    window.click("link", "connection.pause")
    window.page.wait_for_url("**action=connection%2Epause")
    window.fill("To (UTC)", "2000-01-01")
    window.click("button", "Filter")
    window.page.get_by_text("No entries").wait_for()


# Reads attributes, because a field of a form hides the property of the form that has the same name.
LINKS = """(all) => all.map((it) => new URL(
  it.getAttribute("href") ?? it.getAttribute("src") ?? it.getAttribute("action"), location.href).href)"""


def below_a_path(window):
    """A proxy serves the console below a path. Each link stays below this path."""
    sign_in(window)
    prefix = os.environ["JACKFIELD_URL"] + "/"
    for name in ("Connections", "Events", "Defects", "Connectors", "Accounts", "Audit log", "Overview"):
        window.click("link", name)
        window.page.get_by_role("heading", name=name, level=1).wait_for()
        expect(window.page.url, prefix)
        links = window.page.eval_on_selector_all("[href], [src], form", LINKS)
        for link in links:
            expect(link, prefix)
    window.check("below-a-path")
    window.click("button", "Dark")
    expect(window.page.locator("html").get_attribute("data-theme"), "dark")
    cookies = {cookie["name"]: cookie for cookie in window.context.cookies()}
    for name in ("__Secure-jackfield", "jackfield-theme"):
        expect(cookies[name]["path"], "/jackfield")
    window.open("/api/v1/docs")
    window.click("link", "OpenAPI 3.1 document")
    expect(window.page.url, prefix + "api/v1/openapi.json")
    window.open("/events/none")
    expect(window.heading(), "Not found")
    window.open("/")
    window.click("button", "Sign out")
    expect(window.page.url, prefix + "sign-in")


SCENARIOS = {scenario.__name__: scenario for scenario in (
    look_up, senders, conflict, unrecognised, audit, below_a_path)}


def main():
    with browser(os.environ["JACKFIELD_URL"]) as window:
        try:
            SCENARIOS[sys.argv[1]](window)
        except Exception:
            print(f"at {window.page.url}:\n{window.page.locator('body').inner_text()}", file=sys.stderr)
            raise
        if window.problems:
            sys.exit("\n".join(window.problems))


main()
