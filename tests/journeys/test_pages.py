"""Every page, on a phone and on a desk, light and dark: no accessibility fault, no blocked script or style,
no sideways scrolling."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page

from tests.journeys.conftest import Site
from tests.journeys.test_main_job import console_errors, sign_in

SIZES = {"phone": {"width": 360, "height": 640}, "desk": {"width": 1280, "height": 800}}


def faults(page: Page) -> list[str]:
    """Serious and critical findings of axe, and a page wider than its window."""
    found = [
        f"{violation['id']}: {violation['nodes'][0]['html'][:120]}"
        for violation in Axe().run(page).response["violations"]
        if violation["impact"] in ("serious", "critical")
    ]
    if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
        found.append("wider than the window")
    return found


def look(
    context: BrowserContext, addresses: dict[str, str], page: Page | None = None
) -> dict[str, list[str]]:
    page = page or context.new_page()
    errors = console_errors(page)
    found = {}
    for name, address in addresses.items():
        errors.clear()
        page.goto(address)
        if page.locator(".vega-chart").count():
            page.wait_for_selector(".vega-chart[data-ready=yes]")
        problems = faults(page) + [error for error in errors if "404" not in error]
        if problems:
            found[name] = problems
    return found


# Layout depends on the size and contrast on the scheme, so two of the four pairs show both.
@pytest.mark.parametrize(("size", "scheme"), [("phone", "light"), ("desk", "dark")])
def test_staff_pages(site: Site, browser: Browser, size: str, scheme: str) -> None:
    therapy = site.manifest["therapy_ids"][0]
    base = site.base_url
    pages = {
        "therapist": {
            "caseload": f"{base}/caseload/",
            "therapy": f"{base}/therapies/{therapy}/",
            "therapy, therapist's perspective": f"{base}/therapies/{therapy}/?perspective=therapist",
            "session log": f"{base}/therapies/{therapy}/sessions/",
            "password": f"{base}/accounts/password/change/",
        },
        "supervisor": {"supervision": f"{base}/supervision/"},
        "researcher": {"studies": f"{base}/studies/"},
        "clinic_admin": {"no role yet": f"{base}/"},
    }
    found = {}
    for role, addresses in pages.items():
        context = browser.new_context(viewport=SIZES[size], color_scheme=scheme)
        page = context.new_page()
        sign_in(page, site, role)
        found |= look(context, addresses, page)
        if role == "researcher":
            page.goto(f"{base}/studies/")
            page.get_by_role("link", name="Codebook").first.click()
            page.wait_for_selector("table.data")
            found |= {"codebook": problems} if (problems := faults(page)) else {}
        context.close()
    assert found == {}


# Layout depends on the size and contrast on the scheme, so two of the four pairs show both.
@pytest.mark.parametrize(("size", "scheme"), [("phone", "light"), ("desk", "dark")])
def test_pages_without_an_account(site: Site, browser: Browser, size: str, scheme: str) -> None:
    context = browser.new_context(viewport=SIZES[size], color_scheme=scheme)
    link = next(site.links)
    addresses = {
        "start": link,
        "unknown link": f"{site.base_url}/r/nothing/",
        "sign-in": f"{site.base_url}/accounts/login/",
        "password reset": f"{site.base_url}/accounts/password/reset/",
        "no such page": f"{site.base_url}/nowhere/",
    }
    assert look(context, addresses) == {}
    page = context.new_page()
    errors = console_errors(page)
    page.goto(link)
    page.get_by_role("button", name="Start").click()
    page.wait_for_selector("fieldset")
    assert faults(page) == []
    page.locator("input[name=item_1]").first.check()
    page.locator("[name=send]").first.click()
    page.wait_for_selector("[value=anyway]")
    assert faults(page) == []
    page.locator("[value=anyway]").first.click()
    page.wait_for_url("**/receipt/")
    assert faults(page) == []
    page.goto(link)
    assert faults(page) == []
    assert errors == []
