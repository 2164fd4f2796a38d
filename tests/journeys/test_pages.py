"""Every page, on a phone and on a desk, light and dark, from left to right and from right to left: no
accessibility fault, no blocked script or style, no sideways scrolling, at 400 % zoom neither."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.journeys.conftest import Site
from tests.journeys.pages import open_form, walk
from tests.journeys.test_main_job import sign_in

pytestmark = pytest.mark.slow

# A chart has a name, its marks say what they show, and the figure around it is called by its heading.
NAMELESS = """[...document.querySelectorAll('.vega-chart')].filter((chart) =>
  !chart.parentElement.querySelector('[role=graphics-document][aria-label]:not([aria-label=""])')
  || [...chart.querySelectorAll('[role=graphics-symbol]')].some((mark) => !mark.getAttribute('aria-label'))
  || !chart.closest('figure').getAttribute('aria-labelledby').split(' ')
    .every((id) => document.getElementById(id)?.textContent.trim())
).length"""


def faults(page: Page) -> list[str]:
    """Serious and critical findings of axe, a page wider than its window, and charts that say nothing to who
    cannot see them."""
    found = [
        f"{violation['id']}: {violation['nodes'][0]['html'][:120]}"
        for violation in Axe().run(page).response["violations"]
        if violation["impact"] in ("serious", "critical")
    ]
    if nameless := page.evaluate(NAMELESS):
        found.append(f"{nameless} charts without a name")
    # From right to left a page overflows to the left, which this width counts as well.
    if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
        found.append("wider than the window")
    return found


# What a window of 1280 px shows at 400 % zoom.
ZOOMED = {"width": 320, "height": 256}


def faults_when_zoomed(page: Page, *, with_axe: bool) -> list[str]:
    size = page.viewport_size
    assert size
    page.set_viewport_size(ZOOMED)
    is_wide = bool(page.evaluate("document.documentElement.scrollWidth > window.innerWidth"))
    found = faults(page) if with_axe else ["wider than the window"] * is_wide
    page.set_viewport_size(size)
    return [f"at 400 % zoom: {fault}" for fault in found]


# What a sheet of A4 holds beside its margins.
PAPER = {"width": 688, "height": 1017}
CUT = """[...document.querySelectorAll('.table-frame')]
  .filter((frame) => frame.scrollHeight > frame.clientHeight + 1).length"""


def faults_on_paper(page: Page) -> list[str]:
    """Rows outside the frame that they scroll in on the screen: on paper what follows would lie over them."""
    size = page.viewport_size
    assert size
    page.set_viewport_size(PAPER)
    page.emulate_media(media="print")
    n_cut = page.evaluate(CUT)
    page.emulate_media(media="screen")
    page.set_viewport_size(size)
    return [f"on paper: {n_cut} tables with rows out of their frame"] if n_cut else []


# Layout depends on the size and the direction, contrast on the scheme: these three show all of them.
@pytest.mark.parametrize(
    ("size", "scheme", "language"),
    [
        ("phone", "light", "en-GB"),
        ("desk", "dark", "en-GB"),
        ("phone", "dark", "ar"),
    ],
)
def test_every_page(site: Site, browser: Browser, size: str, scheme: str, language: str) -> None:
    found = {}
    for name, page, errors in walk(browser, site, size, scheme, language):
        problems = faults(page) + errors
        # A tablet, a slip, a sheet of paper and a link that is over speak to patients, and those of the
        # demonstration read English.
        is_patients = name.startswith(("tablet-", "form-qr-")) or name in ("paper-form", "closed-link")
        if language == "ar" and not is_patients and page.evaluate("document.documentElement.dir") != "rtl":
            problems.append("not from right to left")
        problems += faults_on_paper(page)
        if size == "phone":
            problems += faults_when_zoomed(page, with_axe=name.startswith(("setup-", "form", "own-form")))
        if problems:
            found[name] = problems
    assert found == {}


@pytest.mark.parametrize("language", ["en", "de", "nb", "ar"])
def test_a_sheet_of_twelve_sentences_prints_on_one_page(site: Site, browser: Browser, language: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    sign_in(page, site, "clinic_admin")
    page.goto(f"{site.base_url}/forms/{open_form(site)}/paper/?language={language}")
    assert page.locator(".sheet tbody tr").count() == 12
    printed = page.pdf(prefer_css_page_size=True)
    context.close()
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 1
