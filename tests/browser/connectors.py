"""A person uploads versions of a connector, goes back to an earlier one, and removes it."""

import os

from browser import expect, sign_in

# The files that the test made: two versions of a script, and one that is broken.
FILES = os.environ.get("FILES", "")


def upload(it, file, name=None):
    if name is not None:
        it.fill("Name", name)
    it.page.get_by_label("File").set_input_files(f"{FILES}/{file}")
    it.click("button", "Upload")


def drop(it, file):
    """Drops a file on the form, as the browser reports it."""
    with open(f"{FILES}/{file}") as text:
        it.page.evaluate(DROP, [file, text.read()])


DROP = """([name, text]) => {
  const data = new DataTransfer();
  data.items.add(new File([text], name));
  const form = document.querySelector("[data-drop]");
  form.dispatchEvent(new DragEvent("dragover", { bubbles: true, cancelable: true, dataTransfer: data }));
  form.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: data }));
}"""


def refused(it):
    upload(it, "broken.js", "my-tracker")
    expect(it.page.get_by_role("alert").inner_text(), "my-tracker.js:1:")
    it.check("upload-refused")
    if it.page.get_by_role("link", name="my-tracker").count():
        raise AssertionError("a refused file changed something")


def first_version(it):
    it.click("link", "Connectors")
    it.check("connectors-empty")
    refused(it)
    drop(it, "first.js")
    expect(it.page.get_by_label("File").evaluate("(it) => it.files[0].name"), "first.js")
    it.fill("Name", "my-tracker")
    it.click("button", "Upload")
    it.page.get_by_text("Its version 1.0.0 serves now").wait_for()


def second_version(it):
    upload(it, "second.js")
    it.page.get_by_text("Version 2.0.0 of my-tracker serves now").wait_for()
    text = it.page.locator("main").inner_text()
    for words in ["creates defects in the tracker", "has the secret key sent", "No run is stored"]:
        expect(text, words)
    it.page.get_by_text("Source of the script").click()
    expect(it.page.locator(".source").inner_text(), "version: '2.0.0'")
    it.check("connector-script")


def roll_back(it):
    if it.page.get_by_role("link", name="Roll back", exact=True).count() != 1:
        raise AssertionError("the version in use can be rolled back to")
    it.click("link", "Roll back")
    it.check("confirm-rollback")
    it.click("button", "Roll back")
    it.page.get_by_text("The earlier version serves now.").wait_for()
    expect(it.page.locator("dl.facts").first.inner_text(), "1.0.0")


def remove(it):
    it.click("link", "Remove")
    it.check("confirm-remove")
    it.click("button", "Remove")
    it.page.get_by_text("The connector my-tracker is removed.").wait_for()


def life(it):
    """From an empty folder to an empty folder."""
    sign_in(it)
    first_version(it)
    second_version(it)
    roll_back(it)
    remove(it)


def without_scripts(it):
    sign_in(it)
    it.click("link", "Connectors")
    upload(it, "broken.js", "my-tracker")
    expect(it.page.get_by_role("alert").inner_text(), "my-tracker.js:1:")
    upload(it, "my-tracker.js", "")
    expect(it.page.get_by_role("status").inner_text(), "Its version 1.0.0 serves now")


def used_connector(it):
    """A connector with runs and a connection, and a newest file that cannot be used."""
    sign_in(it)
    it.open("/connectors/r")
    text = it.page.locator("main").inner_text()
    for words in ["The newest file cannot be used", "r.js:1:", "1 run,", "CPU time"]:
        expect(text, words)
    it.check("connector-used")
    it.click("link", "Remove")
    expect(it.page.locator(".effects").inner_text(), "Webhooks of qa are answered 503")
    it.click("button", "Remove")
    # The page says again who uses it, and what to do.
    expect(it.page.locator(".field .error").inner_text(), "it is used by qa. Delete these connections first")
    expect(it.page.locator(".effects").inner_text(), "Webhooks of qa are answered 503")
    it.check("remove-refused")
    it.page.get_by_label("Remove it although connections use it").check()
    it.click("button", "Remove")
    it.page.get_by_text("The connector r is removed.").wait_for()
