"""A patient who uses the keyboard, a screen reader, a magnified page or another language."""

from playwright.sync_api import Browser

from tests.journeys.conftest import Site
from tests.journeys.test_j1_patient_phone import begin

# What is left of a small laptop's window at 400 % zoom.
LOW = {"width": 320, "height": 256}


def test_the_focused_option_is_on_screen_in_a_very_low_window(site: Site, browser: Browser) -> None:
    context = browser.new_context(viewport=LOW, reduced_motion="reduce")
    page = begin(context, next(site.links))
    page.keyboard.press("Tab")
    hidden = []
    for key in ["Tab", "ArrowDown", "ArrowDown", "ArrowDown", "Tab"] * 6 + ["Shift+Tab"] * 4:
        page.keyboard.press(key)
        seen = page.evaluate(
            """() => {
                const focused = document.activeElement.closest(".option");
                if (!focused) return null;
                const label = focused.getBoundingClientRect();
                const bar = document.querySelector(".progress").getBoundingClientRect();
                return {top: label.top, bottom: label.bottom, bar: bar.bottom, name: focused.innerText};
            }"""
        )
        if seen and not (seen["bar"] <= seen["top"] and seen["bottom"] <= LOW["height"]):
            hidden.append((key, seen))
    assert hidden == []
    assert page.locator("input:checked").count() >= 6
