"""Every page, on a phone and on a desk, light and dark, from left to right and from right to left: no
accessibility fault, no blocked script or style, no sideways scrolling."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.journeys.conftest import Site
from tests.journeys.pages import walk


def faults(page: Page) -> list[str]:
    """Serious and critical findings of axe, and a page wider than its window."""
    found = [
        f"{violation['id']}: {violation['nodes'][0]['html'][:120]}"
        for violation in Axe().run(page).response["violations"]
        if violation["impact"] in ("serious", "critical")
    ]
    # From right to left a page overflows to the left, which this width counts as well.
    if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
        found.append("wider than the window")
    return found


# Layout depends on the size and the direction, contrast on the scheme: these three show all of them.
@pytest.mark.parametrize(
    ("size", "scheme", "language"),
    [("phone", "light", "en-GB"), ("desk", "dark", "en-GB"), ("phone", "dark", "ar")],
)
def test_every_page(site: Site, browser: Browser, size: str, scheme: str, language: str) -> None:
    found = {}
    for name, page, errors in walk(browser, site, size, scheme, language):
        problems = faults(page) + errors
        # A tablet and a sheet of paper speak to patients, and those of the demonstration read English.
        is_patients = name.startswith("tablet-") or name == "paper-form"
        if language == "ar" and not is_patients and page.evaluate("document.documentElement.dir") != "rtl":
            problems.append("not from right to left")
        if problems:
            found[name] = problems
    assert found == {}
