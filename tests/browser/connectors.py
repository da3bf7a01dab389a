"""A person uploads versions of a connector, goes back to an earlier one, and removes it."""

import os

from browser import expect, sign_in

# The folder with the files that the test made: scripts, and `broken.js`, which is not a script.
FILES = os.environ.get("FILES", "")


def upload(window, file, name=None):
    if name is not None:
        window.fill("Name", name)
    window.page.get_by_label("File").set_input_files(f"{FILES}/{file}")
    window.click("button", "Upload")


def drop(window, file):
    """Drops a file on the form: dispatches the events that a browser sends."""
    with open(f"{FILES}/{file}") as text:
        window.page.evaluate(DROP, [file, text.read()])


DROP = """([name, text]) => {
  const data = new DataTransfer();
  data.items.add(new File([text], name));
  const form = document.querySelector("[data-drop]");
  form.dispatchEvent(new DragEvent("dragover", { bubbles: true, cancelable: true, dataTransfer: data }));
  form.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: data }));
}"""


def refused(window):
    upload(window, "broken.js", "my-tracker")
    expect(window.page.get_by_role("alert").inner_text(), "my-tracker.js:1:")
    window.check("upload-refused")
    if window.page.get_by_role("link", name="my-tracker").count():
        raise AssertionError("a refused file changed something")


def first_version(window):
    window.click("link", "Connectors")
    window.check("connectors-empty")
    refused(window)
    drop(window, "first.js")
    expect(window.page.get_by_label("File").evaluate("(it) => it.files[0].name"), "first.js")
    window.fill("Name", "my-tracker")
    window.click("button", "Upload")
    window.page.get_by_text("Its version 1.0.0 is in use now").wait_for()


def second_version(window):
    upload(window, "second.js")
    window.page.get_by_text("Version 2.0.0 of my-tracker is in use now").wait_for()
    text = window.page.locator("main").inner_text()
    for words in ["creates defects in the tracker", "has the secret key sent", "No run of this connector is stored"]:
        expect(text, words)
    window.page.get_by_text("Source of the script").click()
    expect(window.page.locator(".source").inner_text(), "version: '2.0.0'")
    window.check("connector-script")


def roll_back(window):
    if window.page.get_by_role("link", name="Roll back", exact=True).count() != 1:
        raise AssertionError("the version in use can be rolled back to")
    window.click("link", "Roll back")
    window.check("confirm-rollback")
    window.click("button", "Roll back")
    window.page.get_by_text("The earlier version is in use now.").wait_for()
    expect(window.page.locator("dl.facts").first.inner_text(), "1.0.0")


def remove(window):
    window.click("link", "Remove")
    window.check("confirm-remove")
    window.click("button", "Remove")
    window.page.get_by_text("The connector my-tracker is removed.").wait_for()


def upload_roll_back_remove(window):
    """Uploads two versions of a connector, rolls back to the first, and removes the connector."""
    sign_in(window)
    first_version(window)
    second_version(window)
    roll_back(window)
    remove(window)


def without_scripts(window):
    sign_in(window)
    window.click("link", "Connectors")
    upload(window, "broken.js", "my-tracker")
    expect(window.page.get_by_role("alert").inner_text(), "my-tracker.js:1:")
    upload(window, "my-tracker.js", "")
    expect(window.page.get_by_role("status").inner_text(), "Its version 1.0.0 is in use now")


def used_connector(window):
    """Removes a connector that has runs and a connection, and whose newest file cannot be used."""
    sign_in(window)
    window.open("/connectors/r")
    text = window.page.locator("main").inner_text()
    for words in ["The newest file cannot be used", "r.js:1:", "1 run,", "CPU time"]:
        expect(text, words)
    window.check("connector-used")
    window.click("link", "Remove")
    expect(window.page.locator(".effects").inner_text(), "Webhooks of qa are answered 503")
    window.click("button", "Remove")
    # The page shows again which connections use the connector, and what to do.
    expect(window.page.locator(".field .error").inner_text(), "it is used by qa. Delete these connections first")
    expect(window.page.locator(".effects").inner_text(), "Webhooks of qa are answered 503")
    window.check("remove-refused")
    window.page.get_by_label("Remove it although connections use it").check()
    window.click("button", "Remove")
    window.page.get_by_text("The connector r is removed.").wait_for()
