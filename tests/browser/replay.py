"""A person replays a recorded event, reads the differences, and handles the request again."""

from browser import expect, sign_in


def open_create(it):
    """Opens the newest event of Create Defect."""
    it.open("/events?kind=create-defect")
    it.page.locator("tbody a").first.click()


def switch_recording_on(it):
    open_create(it)
    it.check("event-not-recorded")
    it.click("link", "Replay")
    expect(it.page.locator("main").inner_text(), "were not recorded")
    it.check("replay-not-recorded")
    it.click("link", "Record the next events")
    it.click("button", "Record")
    it.page.get_by_text("recorded from now on").wait_for()


def replay_with_the_version_that_ran(it):
    it.click("link", "Replay")
    it.check("replay")
    it.click("button", "Replay")
    expect(it.page.locator(".replayed h2").inner_text(), "the same as recorded")
    it.check("replay-same")


def replay_with_the_newest_version(it):
    it.page.get_by_label("Version of the connector").select_option("newest")
    it.click("button", "Replay again")
    replayed = it.page.locator(".replayed")
    expect(replayed.locator("h2").inner_text(), "different")
    requests = replayed.locator(".exchange > p").all_inner_texts()
    for found, word in zip(requests, ["changed", "changed", "added"], strict=True):
        expect(found, word)
    expect(replayed.locator(".removed").all_inner_texts()[1], "Fails")
    expect(replayed.locator(".added").all_inner_texts()[1], "Broken")
    it.check("replay-different")


def change_a_setting(it):
    it.page.get_by_text("Change settings for the replay").click()
    it.fill("Settings that are changed", "team")
    it.click("button", "Replay again")
    expect(it.page.get_by_role("alert").inner_text(), "is not a line such as")
    it.page.get_by_label("Version of the connector").select_option("")
    it.page.get_by_text("Change settings for the replay").click()
    it.fill("Settings that are changed", "team=red")
    it.click("button", "Replay")
    expect(it.page.locator(".replayed ins").first.inner_text(), "red")


def handle_again(it):
    it.click("link", "Handle it again")
    expect(it.page.locator(".effects").inner_text(), "no other one is created")
    it.check("confirm-repeat")
    it.click("button", "Handle it again")
    it.page.get_by_text("This is the new event. The request succeeded.").wait_for()
    expect(it.heading(), "repeated")


def download(it):
    with it.page.expect_download() as downloading:
        it.click("link", "Download as a fixture")
    print(downloading.value.path().read_text())


def not_recorded(it):
    sign_in(it)
    switch_recording_on(it)


def scenario(it):
    sign_in(it)
    open_create(it)
    it.check("event-recorded")
    replay_with_the_version_that_ran(it)
    replay_with_the_newest_version(it)
    change_a_setting(it)
    handle_again(it)


def without_scripts(it):
    """Prints the fixture that the console downloads."""
    sign_in(it)
    open_create(it)
    it.click("link", "Replay")
    it.page.get_by_label("Version of the connector").select_option("newest")
    it.click("button", "Replay")
    expect(it.page.locator(".replayed h2").inner_text(), "different")
    it.click("link", "Back to the event")
    download(it)
