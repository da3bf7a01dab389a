"""A person replays a recorded event, reads the differences, and handles the request again."""

from browser import expect, sign_in


def open_create(window):
    """Opens the newest event of Create Defect."""
    window.open("/events?kind=create-defect")
    window.page.locator("tbody a").first.click()


def switch_recording_on(window):
    open_create(window)
    window.check("event-not-recorded")
    window.click("link", "Replay")
    expect(window.page.locator("main").inner_text(), "were not recorded")
    window.check("replay-not-recorded")
    window.click("link", "Record the next events")
    window.click("button", "Record")
    window.page.get_by_text("recorded from now on").wait_for()


def replay_with_the_version_that_ran(window):
    window.click("link", "Replay")
    window.check("replay")
    window.click("button", "Replay")
    expect(window.page.locator(".replayed h2").inner_text(), "the same as recorded")
    window.check("replay-same")


def replay_with_the_newest_version(window):
    window.page.get_by_label("Version of the connector").select_option("newest")
    window.click("button", "Replay again")
    replayed = window.page.locator(".replayed")
    expect(replayed.locator("h2").inner_text(), "different")
    requests = replayed.locator(".exchange > p").all_inner_texts()
    for found, word in zip(requests, ["changed", "changed", "added"], strict=True):
        expect(found, word)
    expect(replayed.locator(".removed").all_inner_texts()[1], "Fails")
    expect(replayed.locator(".added").all_inner_texts()[1], "Broken")
    window.check("replay-different")


def change_a_setting(window):
    window.page.get_by_text("Change settings for the replay").click()
    window.fill("Settings that are changed", "team")
    window.click("button", "Replay again")
    expect(window.page.get_by_role("alert").inner_text(), "is not a line such as")
    window.page.get_by_label("Version of the connector").select_option("")
    window.page.get_by_text("Change settings for the replay").click()
    window.fill("Settings that are changed", "team=red")
    window.click("button", "Replay")
    expect(window.page.locator(".replayed ins").first.inner_text(), "red")


def handle_again(window):
    window.click("link", "Handle it again")
    expect(window.page.locator(".effects").inner_text(), "no other one is created")
    window.check("confirm-repeat")
    window.click("button", "Handle it again")
    window.page.get_by_text("This is the new event. The request succeeded.").wait_for()
    expect(window.heading(), "repeated")


def download(window):
    with window.page.expect_download() as downloading:
        window.click("link", "Download as a fixture")
    print(downloading.value.path().read_text())


def not_recorded(window):
    sign_in(window)
    switch_recording_on(window)


def scenario(window):
    sign_in(window)
    open_create(window)
    window.check("event-recorded")
    replay_with_the_version_that_ran(window)
    replay_with_the_newest_version(window)
    change_a_setting(window)
    handle_again(window)


def without_scripts(window):
    """Replays an event in a browser that runs no scripts. Prints the downloaded fixture."""
    sign_in(window)
    open_create(window)
    window.click("link", "Replay")
    window.page.get_by_label("Version of the connector").select_option("newest")
    window.click("button", "Replay")
    expect(window.page.locator(".replayed h2").inner_text(), "different")
    window.click("link", "Back to the event")
    download(window)
