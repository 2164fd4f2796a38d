"""A session that ended while somebody typed: nothing typed is lost, one press is enough, and nobody else sees
what was typed."""

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.journeys.conftest import Site, wait_for
from tests.journeys.pages import possible_dip
from tests.journeys.test_j1_patient_phone import (
    ANSWERS,
    SAVED,
    answer,
    begin,
    form_id,
    send_button,
    share,
    stored,
)
from tests.journeys.test_j5_therapist import form_of, held_today, quiet_therapy
from tests.journeys.test_main_job import DESK, PHONE, console_errors, sign_in, sign_in_here

pytestmark = pytest.mark.slow

WORDS = "Asked in the session; “too fast” was the word. <b>Ä</b> ١٢"
OPEN = "form => { for (let at = form; at; at = at.parentElement) if ('open' in at) at.open = true }"
KEPT = "() => Object.keys(sessionStorage).filter((name) => name.startsWith('unsent '))"


def lose_session(context: BrowserContext) -> None:
    context.clear_cookies(name="session")


def n_reviews(site: Site) -> int:
    return int(site.sql("SELECT count(*) FROM analytics_dipreview")[0][0])


def dip_once_there(page: Page, site: Site) -> str:
    """Empty while the models of a fresh demonstration are on their way."""
    try:
        return possible_dip(page, site)
    except AssertionError:
        return ""


def send_words(page: Page, site: Site) -> str:
    """From the page of the therapy, as a therapist does it, after the session has ended; its address."""
    address = wait_for("a possible dip", lambda: dip_once_there(page, site), 120)
    form = page.locator("form[data-keep]").first
    # A dip that somebody wrote about already lies one fold deeper.
    form.evaluate(OPEN)
    form.get_by_label("I acted on it").check()
    form.get_by_label("In words").fill(WORDS)
    lose_session(page.context)
    form.get_by_role("button", name="Write it down").click()
    page.wait_for_url("**/accounts/login/**")
    expect(page.get_by_role("status")).to_contain_text("It is kept in this tab")
    return address


def test_words_about_a_dip_are_back_after_the_sign_in_and_gone_once_they_are_stored(
    site: Site, browser: Browser
) -> None:
    context = browser.new_context(**DESK)
    page = context.new_page()
    errors = console_errors(page)
    sign_in(page, site, "therapist")
    before = n_reviews(site)
    send_words(page, site)
    sign_in_here(page, site, "therapist")
    expect(page.get_by_label("In words")).to_have_value(WORDS)
    expect(page.get_by_label("I acted on it")).to_be_checked()
    expect(page.get_by_role("status")).to_contain_text("What you typed is back")
    # A reload loses nothing either; another tab has none of it.
    page.reload()
    expect(page.get_by_label("In words")).to_have_value(WORDS)
    other = context.new_page()
    other.goto(page.url)
    expect(other.get_by_label("In words")).to_have_value("")
    # A sentence about what is wrong stands beside what was sent, once.
    page.get_by_label("In words").fill("")
    page.get_by_role("button", name="Write it down").click()
    expect(page.locator(".error")).to_contain_text("Say in a few words")
    expect(page.get_by_label("In words")).to_have_value("")
    page.get_by_label("In words").fill(WORDS)
    page.get_by_role("button", name="Write it down").click()
    expect(page.get_by_role("status")).to_contain_text("Written down")
    assert n_reviews(site) == before + 1
    expect(page.locator("q", has_text=WORDS)).to_have_count(1)
    assert page.evaluate(KEPT) == []
    assert [error for error in errors if "422" not in error] == []
    context.close()


def test_words_that_were_not_sent_are_for_nobody_else(site: Site, browser: Browser) -> None:
    context = browser.new_context(**DESK)
    page = context.new_page()
    sign_in(page, site, "therapist")
    address = send_words(page, site)
    assert len(page.evaluate(KEPT)) == 1
    # Somebody else signs in, in the same tab.
    page.goto(f"{site.base_url}/accounts/login/")
    sign_in_here(page, site, "supervisor")
    assert page.evaluate(KEPT) == []
    context.clear_cookies()
    page.goto(address)
    sign_in_here(page, site, "therapist")
    expect(page.get_by_label("In words")).to_have_value("")
    # Signing out forgets, in every tab.
    send_words(page, site)
    sign_in_here(page, site, "therapist")
    expect(page.get_by_label("In words")).to_have_value(WORDS)
    other = context.new_page()
    other.goto(f"{site.base_url}/caseload/")
    other.get_by_role("button", name="Sign out").click()
    other.wait_for_url("**/accounts/login/**")
    page.wait_for_function(f"({KEPT})().length === 0")
    context.close()


def test_a_session_that_was_typed_after_the_sitting_ended_is_entered_at_the_second_press(
    site: Site, browser: Browser
) -> None:
    context = browser.new_context(**PHONE)
    page = context.new_page()
    sign_in(page, site, "therapist")
    therapy, _ = quiet_therapy(site)
    page.goto(f"{site.base_url}/therapies/{therapy}/sessions/")
    form = page.locator("form[data-keep]")
    typed = form.locator("input[name=held_at]").input_value()[:-2] + "07"
    form.locator("input[name=held_at]").fill(typed)
    form.locator("input[name=status]").nth(1).check()
    reason = form.locator("select[name=reason] option").nth(1).get_attribute("value") or ""
    form.locator("select[name=reason]").select_option(reason)
    lose_session(context)
    form.get_by_role("button", name="Enter the session").click()
    page.wait_for_url("**/accounts/login/**")
    sign_in_here(page, site, "therapist")
    expect(form.locator("input[name=held_at]")).to_have_value(typed)
    expect(form.locator("input[name=status]").nth(1)).to_be_checked()
    expect(form.locator("select[name=reason]")).to_have_value(reason)
    form.get_by_role("button", name="Enter the session").click()
    expect(page.get_by_role("status")).to_contain_text("in the log")
    assert page.evaluate(KEPT) == []
    context.close()


def test_a_patient_whose_browser_forgot_everything_sends_with_one_press_after_the_link(
    site: Site, browser: Browser
) -> None:
    context = browser.new_context(**PHONE)
    link = next(site.links)
    page = begin(context, link)
    form = form_id(page)
    answer(page, 1, 12)
    share(page)
    context.clear_cookies()
    send_button(page).click()
    expect(page.locator("main")).to_contain_text("Open your link again")
    expect(page.locator("main")).not_to_contain_text("did not show that")
    begin(context, link)
    page.get_by_role("button", name="Send again").click()
    page.wait_for_url("**/receipt/")
    assert stored(site, form) == [ANSWERS]
    context.close()


def test_a_therapist_signed_out_in_the_middle_of_a_form_sends_with_one_press_after_the_sign_in(
    site: Site, browser: Browser
) -> None:
    context = browser.new_context(**DESK)
    page = context.new_page()
    sign_in(page, site, "therapist")
    therapy, _ = quiet_therapy(site)
    number = held_today(page, site, therapy)
    form, _ = form_of(site, therapy, number, "therapist")
    page.goto(f"{site.base_url}/caseload/")
    page.locator(f"form[action='/forms/{form}/start/'] button").first.click()
    page.wait_for_selector("fieldset")
    answer(page, 1, 12)
    # An answer that is on its way would bring the session's cookie back.
    expect(page.locator("#saved")).to_have_text(SAVED)
    lose_session(context)
    send_button(page).click()
    expect(page.locator("main")).to_contain_text("Open your link again")
    sign_in(context.new_page(), site, "therapist")
    page.get_by_role("button", name="Send again").click()
    page.wait_for_url("**/receipt/")
    assert stored(site, form) == [ANSWERS]
    context.close()
