"""A patient on the tablet of the waiting room: staff start the form with a code and hand the tablet over; the
next patient finds nothing of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.journeys.conftest import Site, chromium
from tests.journeys.test_j1_patient_phone import (
    ANSWERS,
    answer,
    browser_storage,
    option,
    send_button,
    share,
    stored,
)
from tests.journeys.test_main_job import DESK, PHONE, console_errors, sign_in

pytestmark = pytest.mark.slow

TABLET = {"viewport": {"width": 768, "height": 1024}, "has_touch": True}
SIZES = pytest.mark.parametrize(
    "size",
    [
        pytest.param(TABLET, id="tablet"),
        pytest.param(PHONE, id="phone"),
        pytest.param(DESK, id="desktop"),
    ],
)
PIN = "730915"
NOTHING_OPENS = "No form opens with this code"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium with its memory of pages, which Playwright switches off and a tablet in a clinic has."""
    with chromium(ignore_default_args=["--disable-back-forward-cache"]) as running:
        yield running


@dataclass(frozen=True)
class Desk:
    """The staff: an administrator who enrols devices, and a therapist with a session log open."""

    site: Site
    page: Page

    def code(self, form: str) -> str:
        """A start code, as the therapist reads it from the screen."""
        [(therapy,)] = self.site.sql(
            "SELECT therapy_id FROM surveys_session s JOIN surveys_assignment a ON a.session_id = s.id"
            " WHERE a.id = %s",
            form,
        )
        self.page.goto(f"{self.site.base_url}/therapies/{therapy}/sessions/")
        self.page.locator(f'form[action="/forms/{form}/start-code/"] button').click()
        shown = self.page.locator(".code-huge").inner_text()
        assert len(shown.replace(" ", "")) == 6
        return shown


@pytest.fixture(scope="module")
def desk(site: Site, browser: Browser) -> Iterator[Desk]:
    context = browser.new_context(**DESK)
    page = context.new_page()
    sign_in(page, site, "therapist")
    yield Desk(site, page)
    context.close()


def new_form(site: Site) -> str:
    """A form that is due, of the therapist's own therapies."""
    token = next(site.links).rstrip("/").rsplit("/", 1)[1]
    query = "SELECT assignment_id FROM surveys_formlink WHERE token_hash = %s"
    return str(site.sql(query, sha256(token.encode()).hexdigest())[0][0])


def enrol(site: Site, context: BrowserContext, name: str) -> Page:
    page = context.new_page()
    sign_in(page, site, "clinic_admin")
    page.goto(f"{site.base_url}/tablets/")
    page.get_by_label("Name of the tablet").fill(name)
    page.get_by_label("PIN of the staff").fill(PIN)
    page.get_by_role("button", name="Make it a tablet").click()
    page.wait_for_url("**/tablet/")
    return page


def type_code(page: Page, code: str) -> None:
    page.get_by_label("Start code").fill(code)
    page.get_by_role("button", name="Go on").click()


def hand_over(page: Page, code: str) -> None:
    """From the lock page to the first card."""
    type_code(page, code)
    page.wait_for_url("**/begin/")
    page.locator("main form button.button-primary").click()
    page.wait_for_selector("fieldset")


def n_saved(site: Site, form: str) -> int:
    return int(site.sql("SELECT count(*) FROM surveys_draftanswer WHERE assignment_id = %s", form)[0][0])


def cookies(context: BrowserContext) -> set[str]:
    return {cookie["name"] for cookie in context.cookies()}


def is_clean(page: Page) -> None:
    """Nothing of a form is on the screen, in a field, or anywhere this origin keeps things."""
    assert page.url.endswith("/tablet/"), page.url
    assert page.locator("fieldset, input[type=radio]").count() == 0
    assert page.get_by_label("Start code").input_value() == ""
    assert cookies(page.context) <= {"tablet", "csrf"}
    assert browser_storage(page) == ["{}", "{}"]
    assert page.evaluate("() => navigator.serviceWorker.getRegistrations().then((all) => all.length)") == 0


@SIZES
def test_from_the_code_to_the_hand_back_nothing_stays(
    site: Site, browser: Browser, desk: Desk, size: dict[str, Any]
) -> None:
    context = browser.new_context(**size)
    page = enrol(site, context, f"Waiting room {size['viewport']['width']}")
    errors = console_errors(page)
    assert cookies(context) <= {"tablet", "csrf"}
    page.goto(f"{site.base_url}/caseload/")
    is_clean(page)

    form = new_form(site)
    hand_over(page, desk.code(form))
    assert browser_storage(page) == ["{}", "{}"]
    answer(page, 1, 12)
    share(page)
    expect(page.locator("#n-answered")).to_have_text("12")
    expect(page.locator("#saved")).to_contain_text("Saved")
    assert page.evaluate("document.documentElement.scrollWidth") <= size["viewport"]["width"]
    send_button(page).click()
    page.wait_for_url("**/tablet/done/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Thank you. Please hand back the tablet.")
    assert stored(site, form) == [ANSWERS]
    query = "SELECT channel, device, receipt_code FROM surveys_response WHERE assignment_id = %s"
    [(channel, device, receipt)] = site.sql(query, form)
    assert (channel, device) == ("tablet", "tablet")
    assert page.locator("main a, footer a, header a").count() == 0
    assert "browser" not in cookies(context)
    # The code is there for who asks, and not on the screen of who takes the tablet back.
    code = page.get_by_text(receipt)
    expect(code).to_be_hidden()
    page.get_by_text("Show my receipt code").click()
    expect(code).to_be_visible()

    # Back, forward and reload at the thanks, and after the lock.
    for _ in range(3):
        page.go_back()
        assert page.locator("input[type=radio]").count() == 0
        assert not page.url.endswith(f"/f/{form}/")
    page.goto(f"{site.base_url}/tablet/")
    is_clean(page)
    for address in ("/tablet/done/", f"/f/{form}/", f"/f/{form}/receipt/", f"/f/{form}/begin/"):
        page.goto(site.base_url + address)
        is_clean(page)
        assert receipt not in page.content()
    for _ in range(6):
        page.go_back()
        assert page.locator("input[type=radio]").count() == 0
        assert receipt not in page.content()
    page.reload()
    is_clean(page)

    # The next patient starts with an empty form and an opening of their own.
    second = new_form(site)
    hand_over(page, desk.code(second))
    assert page.locator("input:checked").count() == 0
    assert page.locator("input[name=item_1]").count() > 0
    assert errors == []
    context.close()


def test_idle_goes_back_to_the_lock_page_and_a_later_code_goes_on(
    site: Site, browser: Browser, desk: Desk
) -> None:
    context = browser.new_context(**TABLET)
    page = enrol(site, context, "Corridor")
    page.clock.install()
    form = new_form(site)
    hand_over(page, desk.code(form))
    answer(page, 1, 5)
    expect(page.locator("#saved")).to_contain_text("Saved")
    warning = page.get_by_role("alertdialog", name="Still there?")

    # Touching and typing put the clock back.
    for act in (lambda: page.touchscreen.tap(5, 400), lambda: page.keyboard.press("Shift")):
        page.clock.run_for(100_000)
        act()
    page.clock.run_for(149_000)
    expect(warning).to_be_hidden()
    page.clock.run_for(2_000)
    expect(warning).to_be_visible()
    # Any touch ends the warning, and answers nothing that lies under it.
    chosen = page.locator("input:checked").count()
    page.touchscreen.tap(300, 700)
    expect(warning).to_be_hidden()
    assert page.locator("input:checked").count() == chosen
    page.clock.run_for(149_000)
    expect(warning).to_be_hidden()
    page.clock.run_for(2_000)
    page.keyboard.press("Enter")
    expect(warning).to_be_hidden()
    assert page.locator("fieldset").count() > 0

    page.clock.run_for(178_000)
    expect(warning).to_be_visible()
    page.clock.run_for(3_000)
    page.wait_for_url("**/tablet/")
    is_clean(page)
    page.go_back()
    is_clean(page)
    assert n_saved(site, form) == 5

    hand_over(page, desk.code(form))
    assert page.locator("input:checked").count() == 0
    assert page.locator("input[name=item_5]").count() == 0
    expect(page.locator("#elsewhere")).to_contain_text("5 of 12")
    answer(page, 6, 12)
    share(page)
    send_button(page).click()
    page.wait_for_url("**/tablet/done/")
    assert stored(site, form) == [ANSWERS]
    page.clock.run_for(62_000)
    page.wait_for_url("**/tablet/")
    is_clean(page)
    context.close()


def test_an_answer_that_could_not_be_saved_does_not_hold_the_page_open(
    site: Site, browser: Browser, desk: Desk
) -> None:
    context = browser.new_context(**TABLET)
    page = enrol(site, context, "Basement")
    page.clock.install()
    form = new_form(site)
    hand_over(page, desk.code(form))
    page.route("**/answers/", lambda route: route.abort())
    option(page, 1, 6).check()
    expect(page.locator("#saved")).to_contain_text("Not saved yet")
    assert browser_storage(page) == ["{}", "{}"]
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    page.clock.run_for(182_000)
    page.wait_for_url("**/tablet/")
    is_clean(page)
    assert asked == []
    context.close()


def test_wrong_codes_tell_nothing_and_the_fifth_is_followed_by_a_pause(
    site: Site, browser: Browser, desk: Desk
) -> None:
    context = browser.new_context(**TABLET)
    page = enrol(site, context, "First floor")
    form = new_form(site)
    replaced = desk.code(form).replace(" ", "")
    good = desk.code(form).replace(" ", "")
    guesses = [replaced, *(f"{(int(good) + step) % 10**6:06d}" for step in (1, 2, 3))]
    refusals = set()
    for guess in guesses:
        type_code(page, guess)
        refusals.add(page.get_by_role("alert").inner_text())
        assert guess not in page.content()
    assert len(refusals) == 1
    assert refusals.pop().startswith(NOTHING_OPENS)
    type_code(page, f"{(int(good) + 4) % 10**6:06d}")
    pause = page.get_by_role("alert")
    expect(pause).to_contain_text("Please wait")
    # While it lasts the right code is not looked at either.
    type_code(page, good)
    expect(pause).to_contain_text("Please wait")
    site.change("UPDATE surveys_tablet SET code_wait_until = now()")
    type_code(page, good)
    page.wait_for_url("**/begin/")
    # Once used it opens nothing, here or elsewhere.
    page.goto(f"{site.base_url}/tablet/")
    type_code(page, good)
    expect(page.get_by_role("alert")).to_contain_text(NOTHING_OPENS)
    context.close()


def test_only_the_pin_of_the_staff_leads_out(site: Site, browser: Browser) -> None:
    context = browser.new_context(**TABLET)
    page = enrol(site, context, "Reception")
    for address in ("/", "/accounts/login/", "/tablets/", "/studies/", "/r/nothing/"):
        page.goto(site.base_url + address)
        is_clean(page)
    page.get_by_role("link", name="Leave tablet mode").click()
    pin = page.get_by_label("PIN of the staff")
    assert (pin.get_attribute("type"), pin.get_attribute("autocomplete")) == ("text", "off")
    for n in range(5):
        pin.fill(f"73091{n}")
        page.locator("main").get_by_role("button").click()
    expect(page.get_by_role("alert")).to_contain_text("Please wait")
    site.change("UPDATE surveys_tablet SET pin_wait_until = now()")
    pin.fill(PIN)
    page.locator("main").get_by_role("button").click()
    page.wait_for_url("**/accounts/login/")
    assert "tablet" not in cookies(context)
    context.close()


def test_a_device_that_the_clinic_ends_is_a_tablet_no_more(site: Site, browser: Browser, desk: Desk) -> None:
    context, office = browser.new_context(**TABLET), browser.new_context(**DESK)
    page = enrol(site, context, "Lost one")
    form = new_form(site)
    hand_over(page, desk.code(form))
    admin = office.new_page()
    sign_in(admin, site, "clinic_admin")
    admin.goto(f"{site.base_url}/tablets/")
    row = admin.get_by_role("row", name="Lost one")
    row.get_by_role("button").click()
    expect(row).to_contain_text("Ended on")
    # With the next touch; the page may be gone before it shows the mark.
    option(page, 1, 6).click()
    page.wait_for_url("**/tablet/")
    expect(page.get_by_role("heading", level=1)).to_have_text("This browser is not a tablet of a clinic")
    assert n_saved(site, form) == 0
    page.go_back()
    assert page.locator("input[type=radio]").count() == 0
    assert cookies(context) <= {"csrf"}
    context.close()
    office.close()


def test_without_script_the_form_works_and_the_page_refreshes_itself(
    site: Site, browser: Browser, desk: Desk
) -> None:
    context = browser.new_context(**TABLET)
    enrol(site, context, "Old one").close()
    plain = browser.new_context(**TABLET, java_script_enabled=False, storage_state=context.storage_state())
    context.close()
    page = plain.new_page()
    page.goto(f"{site.base_url}/tablet/")
    form = new_form(site)
    hand_over(page, desk.code(form))
    refresh = page.locator("meta[http-equiv=refresh]")
    assert refresh.get_attribute("content") == "600; url=/tablet/"
    answer(page, 1, 12)
    share(page)
    send_button(page).click()
    page.wait_for_url("**/tablet/done/")
    assert refresh.get_attribute("content") == "60; url=/tablet/"
    assert stored(site, form) == [ANSWERS]
    page.go_back()
    assert page.locator("input[type=radio]").count() == 0
    plain.close()
