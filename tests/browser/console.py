"""Uses the console as a person would. The argument names what the person wants to do.

The environment names the server (JACKFIELD_URL, TOKEN), the tracker (TRACKER_URL, TRACKER_KEY,
TRACKER_PROJECT) and axe-core's file (AXE). SHOTS is a folder for pictures.
"""

import json
import os
import re
import sys
import urllib.request
import uuid

import connectors
import defects
import replay
from browser import browser, expect, sign_in

TRACKER = {name: os.environ.get(f"TRACKER_{name}") for name in ("URL", "KEY", "PROJECT")}


def create_defect(webhook_url):
    """What Test Manager sends when a person clicks Create Defect."""
    test = {"testExecutionId": str(uuid.uuid4()), "testCaseId": str(uuid.uuid4())}
    request = urllib.request.Request(
        f"{webhook_url}/defects", json.dumps(test).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def sign_in_by_keyboard(it):
    it.open("/connections")
    expect(it.page.url, "/sign-in?next=")
    it.check("sign-in")
    it.page.reload()
    it.type_token("wrong")
    it.page.get_by_role("alert").wait_for()
    it.type_token(os.environ["TOKEN"])
    it.page.wait_for_url("**/connections")
    it.page.keyboard.press("Tab")
    expect(it.page.locator(":focus").inner_text(), "Skip")
    it.page.keyboard.press("Enter")
    expect(it.page.evaluate("document.activeElement.id"), "main")


def first_connection(it):
    it.open("/")
    it.check("overview-empty")
    it.click("link", "Connections")
    it.click("link", "New connection")
    it.check("choose-connector")
    it.click("link", "Redmine")
    it.check("new-connection")
    it.fill("Name", "Payments")
    it.fill("Redmine address", "not an address")
    it.fill("Project", TRACKER["PROJECT"])
    it.fill("API key", TRACKER["KEY"])
    it.click("button", "Create connection")
    it.page.locator(".field .error").first.wait_for()
    it.check("new-connection-refused")
    it.fill("Redmine address", TRACKER["URL"])
    it.fill("API key", TRACKER["KEY"])
    it.click("button", "Create connection")
    it.page.locator("#url").wait_for()
    it.check("webhook-url")
    it.click("button", "Copy")
    it.page.get_by_role("button", name="Copied").wait_for()
    webhook_url = it.page.locator("#url").inner_text()
    expect(it.page.evaluate("navigator.clipboard.readText()"), webhook_url)
    return webhook_url


def first_defect(it, webhook_url):
    it.click("button", "Try the connection")
    it.page.get_by_role("status").get_by_text("It works").wait_for()
    it.check("try")
    it.click("link", "Wait for the first event")
    it.page.get_by_text("Waiting for Test Manager").wait_for()
    it.check("first-event-waiting")
    defect = create_defect(webhook_url)
    # The page shows the event by itself.
    it.page.get_by_text("first defect is in the tracker").wait_for()
    it.check("first-event")
    return defect


def one_connection(it):
    it.open("/connections")
    it.check("connections")
    it.click("link", "Payments")
    expect(it.page.locator("h1").inner_text(), "active")
    it.check("connection")
    it.click("link", "Edit")
    it.page.locator("#preview pre").wait_for()
    it.fill("Title", "Fails: {{ test_case_id }}")
    it.page.locator("#preview h4").get_by_text("Fails:").wait_for()
    it.fill("Title", "{{ broken")
    it.page.locator("#preview .error").wait_for()
    it.fill("Title", "Fails: {{ test_case_id }}")
    it.page.get_by_text("More options").click()
    it.page.get_by_label("The tracker has a private address").check()
    it.check("edit-connection")
    it.click("button", "Save")
    it.page.get_by_text("The changes are saved.").wait_for()
    expect(it.page.locator("main").inner_text(), "allowed")


def dangerous_changes(it):
    it.click("link", "Pause")
    it.check("confirm-pause")
    it.click("button", "Pause")
    it.page.get_by_text("The connection is paused.").wait_for()
    it.click("button", "Resume")
    it.page.get_by_text("active again").wait_for()
    it.click("link", "Record bodies")
    it.click("button", "Record")
    it.page.get_by_text("recorded from now on").wait_for()
    it.click("button", "Stop recording")
    it.page.get_by_text("not recorded any more").wait_for()
    it.click("link", "Rotate token")
    it.click("button", "Rotate")
    expect(it.page.locator("#url").inner_text(), "/hooks/")


def colours(it):
    it.open("/")
    it.click("button", "Dark")
    expect(it.page.locator("html").get_attribute("data-theme"), "dark")
    it.click("button", "Auto")
    it.check("overview")


def accounts(it):
    it.click("link", "Accounts")
    it.fill("Name", "reader")
    it.check("accounts")
    it.click("button", "Create token")
    expect(it.page.locator("#token").inner_text(), "jackfield_")
    it.check("token")
    it.click("link", "Accounts")
    it.page.get_by_role("link", name="Revoke reader").click()
    it.check("confirm-revoke")
    it.click("button", "Revoke")
    it.page.get_by_text("The token is revoked.").wait_for()


def event_and_defect(it, defect):
    it.click("link", "Events")
    it.check("events")
    it.fill_select("Kind", "create-defect")
    it.click("button", "Filter")
    it.page.locator("tbody a").first.click()
    parts = it.page.get_by_role("region", name="Timeline").locator("tbody th").all_inner_texts()
    rest = iter(parts)
    for wanted in ["Claim", "Instantiate", "Guest", "POST /issues.json", "Store"]:
        if not any(part.startswith(wanted) for part in rest):
            raise AssertionError(f"{wanted} is missing, or not in order: {parts}")
    it.page.get_by_text("Limits and version").first.click()
    it.check("event")
    it.click("link", "Show the defect")
    expect(it.page.locator("h1").inner_text(), defect["id"])
    it.check("defect")
    it.click("link", "Release")
    it.check("confirm-release")
    it.click("button", "Release it")
    it.page.get_by_text("The decision is stored").wait_for()
    it.click("link", "Defects")
    it.check("defects")
    it.click("link", "Connectors")
    it.check("connectors")
    it.click("link", "redmine")
    expect(it.page.locator("main").inner_text(), "x-redmine-api-key")
    it.check("connector")


def problem(it):
    it.open("/connections/none")
    expect(it.heading(), "Not found")
    it.check("problem")


def end(it):
    it.open("/connections")
    it.click("link", "Payments")
    it.click("link", "Delete")
    it.check("confirm-delete")
    it.click("button", "Delete permanently")
    it.page.get_by_text("Payments is deleted").wait_for()
    it.click("button", "Sign out")
    expect(it.page.url, "/sign-in")
    it.open("/connections")
    expect(it.page.url, "/sign-in")


def first_defect_scenario(it):
    sign_in_by_keyboard(it)
    webhook_url = first_connection(it)
    defect = first_defect(it, webhook_url)
    one_connection(it)
    dangerous_changes(it)
    colours(it)
    event_and_defect(it, defect)
    accounts(it)
    problem(it)
    end(it)
    print(defect["id"])


def consent_scenario(it):
    """A version of the connector that wants more waits for a person."""
    sign_in(it)
    it.page.get_by_role("heading", name="old waits for consent").wait_for()
    it.check("overview-needs")
    it.page.get_by_role("link", name=re.compile("Review ?: old waits for consent")).click()
    expect(it.page.locator(".diff").inner_text(), "reach http://mirror.test:8080")
    it.check("consent")
    it.page.get_by_role("button", name="Consent and use version").click()
    it.page.get_by_text("uses the newest version").wait_for()
    expect(it.page.locator("h1").inner_text(), "active")


def viewer_scenario(it):
    """Who may only read sees what is needed for the rest, and cannot do it."""
    sign_in(it)
    it.click("link", "Connections")
    it.click("link", "old")
    expect(it.page.locator("main").inner_text(), "needs the role admin")
    if it.page.get_by_role("link", name="Edit", exact=True).count():
        raise AssertionError("a viewer can edit")
    it.check("connection-of-viewer")
    it.open(it.page.url.removeprefix(it.base) + "/edit")
    expect(it.page.locator("main").inner_text(), "needs the role admin")


SCENARIOS = {
    "first-defect": first_defect_scenario,
    "consent": consent_scenario,
    "viewer": viewer_scenario,
    "not-recorded": replay.not_recorded,
    "replay": replay.scenario,
    "replay-without-scripts": replay.without_scripts,
    "in-doubt": defects.in_doubt,
    "connector": connectors.life,
    "connector-without-scripts": connectors.without_scripts,
    "used-connector": connectors.used_connector,
}
# The scenarios of a browser that runs no scripts.
WITHOUT_SCRIPTS = {"replay-without-scripts", "connector-without-scripts"}


def main():
    scenario = sys.argv[1]
    scripts = scenario not in WITHOUT_SCRIPTS
    with browser(os.environ["JACKFIELD_URL"], scripts) as it:
        try:
            SCENARIOS[scenario](it)
        except Exception:
            print(f"at {it.page.url}:\n{it.page.locator('body').inner_text()}", file=sys.stderr)
            raise
        if it.problems:
            sys.exit("\n".join(it.problems))


main()
