"""Uses the console as a person would. The argument names the scenario.

Environment variables name the server (JACKFIELD_URL, TOKEN), the tracker (TRACKER_URL, TRACKER_KEY,
TRACKER_PROJECT) and axe-core's file (AXE). If SHOTS is set, screenshots are saved in this folder.
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
    """Sends the request that Test Manager sends when a person clicks Create Defect."""
    test = {"testExecutionId": str(uuid.uuid4()), "testCaseId": str(uuid.uuid4())}
    request = urllib.request.Request(
        f"{webhook_url}/defects", json.dumps(test).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def sign_in_by_keyboard(window):
    window.open("/connections")
    expect(window.page.url, "/sign-in?next=")
    window.check("sign-in")
    window.page.reload()
    window.type_token("wrong")
    window.page.get_by_role("alert").wait_for()
    window.type_token(os.environ["TOKEN"])
    window.page.wait_for_url("**/connections")
    window.page.keyboard.press("Tab")
    expect(window.page.locator(":focus").inner_text(), "Skip")
    window.page.keyboard.press("Enter")
    expect(window.page.evaluate("document.activeElement.id"), "main")


def first_connection(window):
    window.open("/")
    window.check("overview-empty")
    window.click("link", "Connections")
    window.click("link", "New connection")
    window.check("choose-connector")
    window.click("link", "Redmine")
    window.check("new-connection")
    window.fill("Name", "Payments")
    window.fill("Redmine address", "not an address")
    window.fill("Project", TRACKER["PROJECT"])
    window.fill("API key", TRACKER["KEY"])
    window.click("button", "Create connection")
    window.page.locator(".field .error").first.wait_for()
    window.check("new-connection-refused")
    window.fill("Redmine address", TRACKER["URL"])
    window.fill("API key", TRACKER["KEY"])
    window.click("button", "Create connection")
    window.page.locator("#url").wait_for()
    window.check("webhook-url")
    window.click("button", "Copy")
    window.page.get_by_role("button", name="Copied").wait_for()
    webhook_url = window.page.locator("#url").inner_text()
    expect(window.page.evaluate("navigator.clipboard.readText()"), webhook_url)
    return webhook_url


def first_defect(window, webhook_url):
    window.click("button", "Try the connection")
    window.page.get_by_role("status").get_by_text("It works").wait_for()
    window.check("try")
    window.click("link", "Wait for the first event")
    window.page.get_by_text("Waiting for Test Manager").wait_for()
    window.check("first-event-waiting")
    defect = create_defect(webhook_url)
    # The page shows the event without a reload.
    window.page.get_by_text("Test Manager has got a defect").wait_for()
    window.check("first-event")
    return defect


def one_connection(window):
    window.open("/connections")
    window.check("connections")
    window.click("link", "Payments")
    expect(window.page.locator("h1").inner_text(), "active")
    window.check("connection")
    window.click("link", "Edit")
    window.page.locator("#preview pre").wait_for()
    window.fill("Title", "Fails: {{ test_case_id }}")
    window.page.locator("#preview h4").get_by_text("Fails:").wait_for()
    window.fill("Title", "{{ broken")
    window.page.locator("#preview .error").wait_for()
    window.fill("Title", "Fails: {{ test_case_id }}")
    window.page.get_by_text("More options").click()
    window.page.get_by_label("The tracker has a private address").check()
    window.check("edit-connection")
    window.click("button", "Save")
    window.page.get_by_text("The changes are saved.").wait_for()
    expect(window.page.locator("main").inner_text(), "allowed")


def dangerous_changes(window):
    window.click("link", "Pause")
    window.check("confirm-pause")
    window.click("button", "Pause")
    window.page.get_by_text("The connection is paused.").wait_for()
    window.click("button", "Resume")
    window.page.get_by_text("active again").wait_for()
    window.click("link", "Record bodies")
    window.click("button", "Record")
    window.page.get_by_text("recorded from now on").wait_for()
    window.click("button", "Stop recording")
    window.page.get_by_text("not recorded any more").wait_for()
    window.click("link", "Rotate token")
    window.click("button", "Rotate")
    expect(window.page.locator("#url").inner_text(), "/hooks/")


def colours(window):
    window.open("/")
    window.click("button", "Dark")
    expect(window.page.locator("html").get_attribute("data-theme"), "dark")
    window.click("button", "Auto")
    window.check("overview")


def accounts(window):
    window.click("link", "Accounts")
    window.fill("Name", "reader")
    window.check("accounts")
    window.click("button", "Create token")
    expect(window.page.locator("#token").inner_text(), "jackfield_")
    window.check("token")
    window.click("link", "Accounts")
    window.page.get_by_role("link", name="Revoke reader").click()
    window.check("confirm-revoke")
    window.click("button", "Revoke")
    window.page.get_by_text("The token is revoked.").wait_for()


def event_and_defect(window, defect):
    window.click("link", "Events")
    window.check("events")
    window.fill_select("Kind", "create-defect")
    window.click("button", "Filter")
    window.page.locator("tbody a").first.click()
    parts = window.page.get_by_role("region", name="Timeline").locator("tbody th").all_inner_texts()
    rest = iter(parts)
    for wanted in ["Claim", "Instantiate", "Guest", "POST /issues.json", "Store"]:
        if not any(part.startswith(wanted) for part in rest):
            raise AssertionError(f"{wanted} is missing, or not in order: {parts}")
    window.page.get_by_text("Limits and version").first.click()
    window.check("event")
    window.click("link", "Show the defect")
    expect(window.page.locator("h1").inner_text(), defect["id"])
    window.check("defect")
    window.click("link", "Release")
    window.check("confirm-release")
    window.click("button", "Release it")
    window.page.get_by_text("The decision is stored").wait_for()
    window.click("link", "Defects")
    window.check("defects")
    window.click("link", "Connectors")
    window.check("connectors")
    window.click("link", "redmine")
    expect(window.page.locator("main").inner_text(), "x-redmine-api-key")
    window.check("connector")


def problem(window):
    window.open("/connections/none")
    expect(window.heading(), "Not found")
    window.check("problem")


def end(window):
    window.open("/connections")
    window.click("link", "Payments")
    window.click("link", "Delete")
    window.check("confirm-delete")
    window.click("button", "Delete permanently")
    window.page.get_by_text("Payments is deleted").wait_for()
    window.click("button", "Sign out")
    expect(window.page.url, "/sign-in")
    window.open("/connections")
    expect(window.page.url, "/sign-in")


def first_defect_scenario(window):
    sign_in_by_keyboard(window)
    webhook_url = first_connection(window)
    defect = first_defect(window, webhook_url)
    one_connection(window)
    dangerous_changes(window)
    colours(window)
    event_and_defect(window, defect)
    accounts(window)
    problem(window)
    end(window)
    print(defect["id"])


def consent_scenario(window):
    """A new version of the connector requests another origin, and waits for a person's consent."""
    sign_in(window)
    window.page.get_by_role("heading", name="old waits for consent").wait_for()
    window.check("overview-needs")
    window.page.get_by_role("link", name=re.compile("Review ?: old waits for consent")).click()
    expect(window.page.locator(".diff").inner_text(), "reach http://mirror.test:8080")
    window.check("consent")
    window.page.get_by_role("button", name="Consent and use version").click()
    window.page.get_by_text("uses the newest version").wait_for()
    expect(window.page.locator("h1").inner_text(), "active")


def viewer_scenario(window):
    """A viewer sees which role a change needs, and cannot make the change."""
    sign_in(window)
    window.click("link", "Connections")
    window.click("link", "old")
    expect(window.page.locator("main").inner_text(), "needs the role admin")
    if window.page.get_by_role("link", name="Edit", exact=True).count():
        raise AssertionError("a viewer can edit")
    window.check("connection-of-viewer")
    window.open(window.page.url.removeprefix(window.base) + "/edit")
    expect(window.page.locator("main").inner_text(), "needs at least the role admin")


SCENARIOS = {
    "first-defect": first_defect_scenario,
    "consent": consent_scenario,
    "viewer": viewer_scenario,
    "not-recorded": replay.not_recorded,
    "replay": replay.scenario,
    "replay-without-scripts": replay.without_scripts,
    "in-doubt": defects.in_doubt,
    "connector": connectors.upload_roll_back_remove,
    "connector-without-scripts": connectors.without_scripts,
    "used-connector": connectors.used_connector,
}
# The scenarios of a browser that runs no scripts.
WITHOUT_SCRIPTS = {"replay-without-scripts", "connector-without-scripts"}


def main():
    scenario = sys.argv[1]
    scripts = scenario not in WITHOUT_SCRIPTS
    with browser(os.environ["JACKFIELD_URL"], scripts) as window:
        try:
            SCENARIOS[scenario](window)
        except Exception:
            print(f"at {window.page.url}:\n{window.page.locator('body').inner_text()}", file=sys.stderr)
            raise
        if window.problems:
            sys.exit("\n".join(window.problems))


main()
