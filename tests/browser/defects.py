"""A person decides about a defect in doubt, with the keyboard alone."""

import os

from browser import expect


def in_doubt(it):
    it.open("/sign-in?next=/")
    it.type_token(os.environ["TOKEN"])
    it.page.wait_for_url(f"{it.base}/")
    it.page.get_by_role("heading", name="1 defect needs a decision").wait_for()
    it.check("overview-in-doubt")
    it.press("link", "Decide")
    it.page.wait_for_url("**/defects?needs_person=true")
    it.check("defects-in-doubt")
    it.press("link", "Test case")
    expect(it.heading(), "in doubt")
    it.check("defect-in-doubt")
    it.press("link", "Adopt")
    expect(it.page.locator(".effects").inner_text(), "Nothing is created")
    it.check("confirm-adopt")
    it.page.get_by_label("Key in the tracker").wait_for()
    while "key" != it.page.evaluate("document.activeElement.name"):
        it.page.keyboard.press("Tab")
    it.page.keyboard.type("QA-17")
    it.page.keyboard.press("Enter")
    it.page.get_by_text("The decision is stored: created.").wait_for()
    expect(it.heading(), "QA-17")
