"""A person decides about a defect in doubt, with the keyboard alone."""

import os

from browser import expect


def in_doubt(window):
    window.open("/sign-in?next=/")
    window.type_token(os.environ["TOKEN"])
    window.page.wait_for_url(f"{window.base}/")
    window.page.get_by_role("heading", name="1 defect needs a decision").wait_for()
    window.check("overview-in-doubt")
    window.press("link", "Decide")
    window.page.wait_for_url("**/defects?needs_person=true")
    window.check("defects-in-doubt")
    window.press("link", "Test case")
    expect(window.heading(), "in doubt")
    window.check("defect-in-doubt")
    window.press("link", "Adopt")
    expect(window.page.locator(".effects").inner_text(), "Nothing is created")
    window.check("confirm-adopt")
    window.page.get_by_label("Key in the tracker").wait_for()
    while "key" != window.page.evaluate("document.activeElement.name"):
        window.page.keyboard.press("Tab")
    window.page.keyboard.type("QA-17")
    window.page.keyboard.press("Enter")
    window.page.get_by_text("The decision is stored: created.").wait_for()
    expect(window.heading(), "QA-17")
