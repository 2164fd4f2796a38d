"""The main job: a patient answers on a phone, the model refits, the therapist sees the point, the
researcher freezes the row, and all four places agree."""

import io
from typing import Any

import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.journeys.conftest import Site, wait_for
from tests.totp import code_of

PHONE = {"viewport": {"width": 360, "height": 640}, "is_mobile": True, "has_touch": True}
DESK = {"viewport": {"width": 1280, "height": 800}}
ANSWERS = [6, 5, 7, 2, 6, 5, 6, 4, 7, 3, 5, 6]
# The WAI-S key by hand: items 4 and 10 are reversed.
MEAN = (6 + 5 + 7 + (8 - 2) + 6 + 5 + 6 + 4 + 7 + (8 - 3) + 5 + 6) / 12


def console_errors(page: Page) -> list[str]:
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    return errors


def sign_in(page: Page, site: Site, role: str) -> None:
    page.goto(f"{site.base_url}/accounts/login/")
    sign_in_here(page, site, role)


def sign_in_here(page: Page, site: Site, role: str) -> None:
    """On the page that stands there, so that it leads on to where the person wanted to go."""
    account = site.manifest["accounts"][role]
    page.fill("input[name=login]", account["email"])
    page.fill("input[name=password]", account["password"])
    page.locator("main").get_by_role("button").first.click()
    page.fill("input[name=code]", code_of(account["totp_secret"]))
    page.locator("main").get_by_role("button").first.click()
    page.wait_for_url(lambda url: "/accounts/" not in url)


def confirm(page: Page, site: Site, role: str) -> None:
    """The password once more, for pages that ask for it; it holds for a quarter of an hour."""
    page.goto(f"{site.base_url}/accounts/reauthenticate/")
    page.fill("input[name=password]", site.manifest["accounts"][role]["password"])
    page.locator("main").get_by_role("button").first.click()
    page.wait_for_url(lambda url: "/reauthenticate/" not in url)


def fill_and_send(page: Page, link: str, answers: list[int], sharing: str = "scores") -> str:
    page.goto(link)
    page.get_by_role("button", name="Start").click()
    for number, value in enumerate(answers, start=1):
        page.locator(f"input[name=item_{number}][value='{value}']").check()
    page.locator(f"input[name=sharing][value={sharing}]").check()
    page.locator("[name=send]").first.click()
    page.wait_for_url("**/receipt/")
    return page.content()


def test_from_the_patient_s_phone_to_the_therapist_s_chart_and_the_dataset(
    site: Site, browser: Browser
) -> None:
    link = next(site.links)
    phone = browser.new_context(**PHONE).new_page()
    errors = console_errors(phone)
    before = site.sql("SELECT count(*) FROM surveys_response")[0][0]
    fill_and_send(phone, link, ANSWERS)
    expect(phone.get_by_role("heading", level=1)).to_contain_text("Thank you")
    assert phone.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert errors == []

    ((therapy, study, session, stored, score),) = site.sql(
        """SELECT therapy.id::text, therapy.study_id::text, session.number, response.answers,
                  score.mean
           FROM surveys_response response
           JOIN surveys_score score ON score.response_id = response.id AND score.scale = 'total'
           JOIN surveys_assignment assignment ON assignment.id = response.assignment_id
           JOIN surveys_session session ON session.id = assignment.session_id
           JOIN surveys_therapy therapy ON therapy.id = session.therapy_id
           ORDER BY response.submitted_at DESC LIMIT 1"""
    )
    assert site.sql("SELECT count(*) FROM surveys_response")[0][0] == before + 1
    assert [stored[str(item)] for item in range(1, 13)] == ANSWERS
    assert score == pytest.approx(MEAN, abs=1e-12)

    def included() -> dict | None:
        trend = site.api("therapist", f"/api/v1/therapies/{therapy}/trend/")
        return trend if trend["fit"] and trend["fit"]["n_newer"] == 0 else None

    trend = wait_for("a model that includes the new rating", included, 10)
    assert trend["expected"]
    (point,) = [
        row
        for row in trend["ratings"]
        if (row["session"], row["perspective"], row["scale"]) == (session, "patient", "total")
    ]
    assert point["value"] == score
    n_ratings = site.sql(
        """SELECT count(*) FROM surveys_score score
           JOIN surveys_response response ON response.id = score.response_id
           JOIN surveys_assignment assignment ON assignment.id = response.assignment_id
           JOIN surveys_session session ON session.id = assignment.session_id
           JOIN surveys_therapy other ON other.id = session.therapy_id
           JOIN surveys_therapy own ON own.id = %s AND own.study_id = other.study_id
           WHERE score.scale = 'total' AND score.mean IS NOT NULL AND assignment.rater = 'patient'
             AND other.excluded_at IS NULL""",
        therapy,
    )[0][0]
    assert trend["fit"]["n_ratings"] == n_ratings

    desk = browser.new_context(**DESK).new_page()
    errors = console_errors(desk)
    sign_in(desk, site, "therapist")
    desk.locator(f"main table a[href='/therapies/{therapy}/']").click()
    desk.wait_for_selector(".vega-chart[data-ready=yes]")
    marks = desk.locator(".vega-chart svg [aria-label]").evaluate_all(
        "all => all.map(e => e.getAttribute('aria-label'))"
    )
    assert any(f"Session {session}, patient, {MEAN:.1f}, expected" in mark for mark in marks), marks
    desk.locator(".vega-chart").first.locator("svg [aria-label^='Session']").last.hover()
    expect(desk.locator(".chart-tip").first).to_contain_text("Session ")
    number = desk.get_by_role("rowheader", name=str(session), exact=True)
    row = desk.locator("#table-title ~ .table-frame tbody tr", has=number)
    expect(row.locator("td").first).to_have_text(f"{MEAN:.1f}")
    expect(desk.locator(".freshness").first).to_contain_text(f"from {n_ratings} patient ratings")
    assert errors == []

    desk = browser.new_context(**DESK).new_page()
    sign_in(desk, site, "researcher")
    desk.locator(f"a.button[href='/studies/{study}/data/']").click()
    snapshot = freeze(desk)
    line = frozen_row(site, snapshot, session, ANSWERS)
    assert (line["rater"], line["total"]) == ("patient", score)


def freeze(page: Page) -> str:
    """From the desk of a study: its data frozen as they are now; the id of the snapshot."""
    button, link = page.locator("#result button.button-primary"), page.locator("#result tbody th a")
    button.wait_for()
    before = link.count()
    button.click()
    expect(link).to_have_count(before + 1, timeout=180_000)
    newest = page.locator("#result tbody tr:first-child td[data-label=SHA-256]")
    expect(newest).to_be_visible(timeout=180_000)
    return str(link.first.get_attribute("href")).strip("/").rpartition("/")[2]


def frozen_row(site: Site, snapshot: str, session: int, answers: list[int]) -> dict[str, Any]:
    """A rating of this session with these answers in a snapshot's frozen table."""
    chunks = site.sql(
        "SELECT content FROM analytics_storedchunk chunk JOIN analytics_storedfile file ON file.id = file_id"
        " WHERE file.snapshot_id = %s AND file.name = 'ratings.parquet' ORDER BY chunk.number",
        snapshot,
    )
    ratings = pd.read_parquet(io.BytesIO(b"".join(bytes(row[0]) for row in chunks)))
    items = ratings[[f"item_{item}" for item in range(1, 13)]]
    row, *_ = ratings[(items == answers).all(axis=1) & (ratings["session"] == session)].to_dict("records")
    return {str(key): value for key, value in row.items()}


def test_the_form_works_without_script_and_by_keyboard(site: Site, browser: Browser) -> None:
    link = next(site.links)
    page = browser.new_context(**PHONE, java_script_enabled=False).new_page()
    fill_and_send(page, link, [4] * 12)
    expect(page.get_by_role("heading", level=1)).to_contain_text("Thank you")
    page.goto(link)
    expect(page.locator("main")).to_contain_text("received")


def test_answers_survive_a_reload_and_stay_on_their_own_browser(site: Site, browser: Browser) -> None:
    link = next(site.links)
    context = browser.new_context(**PHONE)
    page = context.new_page()
    page.goto(link)
    page.get_by_role("button", name="Start").click()
    for number in range(1, 6):
        page.locator(f"input[name=item_{number}][value='3']").check()
    expect(page.get_by_text("5 of 12 answered")).to_be_visible()
    expect(page.get_by_text("Saved").first).to_be_visible()
    page.reload()
    for number in range(1, 6):
        expect(page.locator(f"input[name=item_{number}][value='3']")).to_be_checked()

    other = browser.new_context(**PHONE).new_page()
    other.goto(link)
    other.get_by_role("button", name="Start").click()
    expect(other.locator("main")).to_contain_text("5 of 12")
    expect(other.locator("input[name=item_1]")).to_have_count(0)
    assert other.locator("input[type=radio]:checked").count() == 0
    for number in range(6, 13):
        other.locator(f"input[name=item_{number}][value='6']").check()
    other.locator("input[name=sharing][value=none]").check()
    other.locator("[name=send]").first.click()
    other.wait_for_url("**/receipt/")
    ((stored,),) = site.sql("SELECT answers FROM surveys_response ORDER BY submitted_at DESC LIMIT 1")
    assert [stored[str(item)] for item in range(1, 13)] == [3] * 5 + [6] * 7


def test_a_therapist_rates_and_then_sees(site: Site, browser: Browser) -> None:
    page = browser.new_context(**DESK).new_page()
    errors = console_errors(page)
    sign_in(page, site, "therapist")
    page.goto(f"{site.base_url}/caseload/")
    todo = page.locator("form[action*='/forms/'] button")
    assert todo.count() >= 1, "the demo therapist has a form to fill"
    todo.first.click()
    page.wait_for_selector("fieldset")
    for number in range(1, page.locator("fieldset:has(input[name^=item_])").count() + 1):
        page.locator(f"input[name=item_{number}]").nth(2).check()
    page.locator("[name=send]").first.click()
    page.wait_for_url("**/receipt/")
    assert errors == []
