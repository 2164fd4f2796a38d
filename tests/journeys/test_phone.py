"""The form on a phone: without a connection, in a very low window, and with a nervous thumb."""

from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.journeys.conftest import Site
from tests.journeys.test_main_job import PHONE

ANSWERS = [6, 5, 7, 2, 6, 5, 6, 4, 7, 3, 5, 6]
# What is left of a small laptop's window at 400 % zoom.
LOW = {"width": 320, "height": 256}


def begin(context: BrowserContext, link: str) -> Page:
    page = context.new_page()
    page.goto(link)
    page.get_by_role("button", name="Start").click()
    page.wait_for_selector("fieldset")
    return page


def answer(page: Page, first: int, last: int) -> None:
    for number in range(first, last + 1):
        page.locator(f"input[name=item_{number}][value='{ANSWERS[number - 1]}']").check()


def send_button(page: Page) -> Locator:
    return page.get_by_role("button", name="Send", exact=True)


def stored(site: Site, page: Page) -> list[list[int]]:
    """The answers of every response to the form of this page."""
    form = page.url.split("/f/")[1].split("/")[0]
    rows = site.sql("SELECT answers FROM surveys_response WHERE assignment_id = %s", form)
    return [[answers[str(item)] for item in range(1, 13)] for (answers,) in rows]


def n_drafts(site: Site, page: Page) -> int:
    form = page.url.split("/f/")[1].split("/")[0]
    return int(site.sql("SELECT count(*) FROM surveys_draftanswer WHERE assignment_id = %s", form)[0][0])


def test_without_a_connection_sending_waits_and_nothing_is_lost(site: Site, browser: Browser) -> None:
    context = browser.new_context(**PHONE)
    page = begin(context, next(site.links))
    saved = page.locator("#saved")
    answer(page, 1, 5)
    expect(saved).to_contain_text("Saved")
    context.set_offline(True)
    answer(page, 6, 9)
    expect(saved).to_contain_text("Not saved yet")
    send_button(page).click()
    expect(saved).to_have_text("No connection – not sent yet. Try again in a moment")
    expect(saved).to_have_attribute("data-unsaved", "")
    expect(page.get_by_text("9 of 12 answered")).to_be_visible()

    context.set_offline(False)
    expect(saved).to_contain_text("Saved")
    assert n_drafts(site, page) == 9
    answer(page, 10, 12)
    page.locator("input[name=sharing][value=scores]").check()
    send_button(page).click()
    page.wait_for_url("**/receipt/")
    assert stored(site, page) == [ANSWERS]


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


def test_a_double_tap_on_send_is_one_response(site: Site, browser: Browser) -> None:
    page = begin(browser.new_context(**PHONE), next(site.links))
    answer(page, 1, 12)
    page.locator("input[name=sharing][value=none]").check()
    send_button(page).dblclick()
    page.wait_for_url("**/receipt/")
    expect(page.locator("main")).to_contain_text("nothing of your answers")
    assert stored(site, page) == [ANSWERS]
