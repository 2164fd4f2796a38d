"""A patient agrees or not, sees what they sent, and ends their part: it holds at once, everywhere."""

import json
import secrets
from datetime import date
from typing import Any
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.journeys.conftest import ROOT, Site, new_link, wait_for
from tests.journeys.test_main_job import DESK, PHONE, console_errors, fill_and_send
from tests.journeys.test_pages import faults

pytestmark = pytest.mark.slow

SIZES = pytest.mark.parametrize(
    ("size", "choice"),
    [(PHONE, "exclude"), (DESK, "erase")],
    ids=["phone", "desktop"],
)
ANSWERS = [6, 5, 7, 2, 6, 5, 6, 4, 7, 3, 5, 6]
PICTURES = ROOT / "var" / "journey-pictures"


def somebody(site: Site) -> tuple[str, list[str]]:
    """A running therapy of another therapist than the demonstration's, with forms that the patient sent and
    two or more that they missed: its id, and those."""
    ((therapy, missed),) = site.sql(
        """SELECT therapy.id::text,
                  array_agg(form.id::text) FILTER (WHERE form.state = 'due')
           FROM surveys_therapy therapy
           JOIN surveys_session session ON session.therapy_id = therapy.id
           JOIN surveys_assignment form ON form.session_id = session.id AND form.rater = 'patient'
           WHERE therapy.id::text <> ALL (%s) AND therapy.stopped_at IS NULL AND therapy.excluded_at IS NULL
           GROUP BY therapy.id
           HAVING count(*) FILTER (WHERE form.state = 'submitted') >= 2
              AND count(*) FILTER (WHERE form.state = 'due') >= 2
           ORDER BY therapy.id LIMIT 1""",
        site.manifest["therapy_ids"],
    )
    return therapy, missed


def waiting_syncs(site: Site, therapy: str) -> int:
    """Jobs that would set the times of the therapy's forms as the plan has them."""
    jobs = "SELECT count(*) FROM surveys_job WHERE kind = 'forms' AND scope = %s"
    return int(site.sql(f"{jobs} AND state IN ('pending', 'running')", therapy)[0][0])


def study_of(site: Site) -> str:
    """The demonstration's; other journeys set up studies of their own."""
    rows = site.api("researcher", "/api/v1/studies/")
    return str(next(row["id"] for row in rows if row["code"] == "DEMO"))


def freeze(site: Site) -> dict[str, Any]:
    """The study's data frozen as they are now, as the researcher's program has it done."""
    study = study_of(site)
    path = f"/api/v1/studies/{study}/snapshots/"
    token = site.manifest["accounts"]["researcher"]["api_token"]
    headers = {"Authorization": f"Token {token}", "Idempotency-Key": str(uuid4())}
    asked = httpx.post(site.base_url + path, headers=headers, json={}, timeout=30)
    assert asked.status_code == 201, asked.text
    return wait_for("frozen data", lambda: _frozen(site, path, asked.json()["id"]), 180)


def snapshot_now(site: Site, snapshot: dict[str, Any]) -> dict[str, Any]:
    study = study_of(site)
    rows = site.api("researcher", f"/api/v1/studies/{study}/snapshots/")
    return next(row for row in rows if row["id"] == snapshot["id"])


def _frozen(site: Site, path: str, snapshot: str) -> dict[str, Any] | None:
    rows = site.api("researcher", path)
    return next((row for row in rows if row["id"] == snapshot and row["read_at"]), None)


def n_modelled(site: Site) -> int:
    return int(
        site.sql(
            "SELECT n_therapies FROM analytics_growthfit WHERE perspective = 'patient'"
            " ORDER BY fitted_at DESC LIMIT 1"
        )[0][0]
    )


def picture(page: Page, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png", full_page=True)


def assert_fine(page: Page, name: str) -> None:
    picture(page, name)
    assert faults(page) == [], name


@SIZES
def test_from_the_receipt_to_the_end_of_the_part(
    site: Site, browser: Browser, size: dict[str, Any], choice: str
) -> None:
    name = "phone" if size is PHONE else "desk"
    therapy, (first, second, *_) = somebody(site)
    link = new_link(site, first, days_open=3)
    context = browser.new_context(**size)
    page = context.new_page()
    errors = console_errors(page)
    fill_and_send(page, link, ANSWERS, sharing="answers")
    code = page.locator(".code-large").inner_text()
    n_sent = site.sql(
        """SELECT count(*) FROM surveys_response response
           JOIN surveys_assignment form ON form.id = response.assignment_id
           JOIN surveys_session session ON session.id = form.session_id
           WHERE form.rater = 'patient' AND session.therapy_id = %s""",
        therapy,
    )[0][0]

    # The link alone shows nothing; a wrong code says nothing; the code opens the page, however it is typed.
    page.goto(link)
    page.get_by_role("link", name="See what you sent, or end your part").click()
    assert_fine(page, f"code-{name}")
    page.get_by_label("Receipt code").fill("2345-2345")
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("alert")).to_contain_text("This is not the code of a form that you sent")
    expect(page.get_by_label("Receipt code")).to_be_focused()
    assert_fine(page, f"wrong-code-{name}")
    errors.clear()
    expect(page.get_by_label("Receipt code")).to_have_value("2345-2345")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type(code.lower().replace("-", ""))
    page.keyboard.press("Enter")
    page.wait_for_url(f"{site.base_url}/your-data/")

    # The submission of this code, in words, as a page that can be printed.
    expect(page.locator("article")).to_have_count(1)
    newest = page.locator("article").filter(has_text=code)
    expect(newest.locator("tbody tr")).to_have_count(12)
    expect(newest).to_contain_text("Your therapist ")
    assert_fine(page, f"your-data-{name}")
    page.emulate_media(media="print")
    for hidden in page.locator(".screen-only").all():
        assert not hidden.is_visible()
    assert not page.get_by_role("button").count()
    expect(newest.locator("tbody tr").first).to_be_visible()
    picture(page, f"your-data-print-{name}")
    page.emulate_media(media="screen")

    # The therapist sees less of one form at once.
    newest.get_by_text("Let your therapist see less of this form").click()
    newest.get_by_label("My result in numbers, but not the single answers").check()
    newest.get_by_role("button", name="Change").click()
    expect(page.get_by_role("status")).to_contain_text("Changed")
    sharing = "SELECT sharing FROM surveys_response WHERE assignment_id = %s"
    assert site.sql(sharing, first) == [("scores",)]

    wait_for("the forms as the plan has them", lambda: not waiting_syncs(site, therapy), 20)
    other_link = new_link(site, second, days_open=3)

    # Three choices, none made; by keyboard to the second page, which names the day; then it is done.
    before, frozen = n_modelled(site), freeze(site)
    page.get_by_role("link", name="End your part").click()
    expect(page.get_by_role("radio")).to_have_count(3)
    expect(page.locator(":checked")).to_have_count(0)
    assert_fine(page, f"end-{name}")
    by_keyboard(page, choice)
    today = f"{date.today():%-d %B %Y}"
    expect(page.locator("main")).to_contain_text(f"It holds from today, {today}")
    assert_fine(page, f"end-confirm-{name}")
    assert site.sql("SELECT stopped_at FROM surveys_therapy WHERE id = %s", therapy) == [(None,)]
    page.get_by_role("button", name="Yes, end my part").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Your part has ended")
    expect(page.locator("main")).to_contain_text(f"Since {today}")
    assert_fine(page, f"ended-{name}")

    # At once: open links, answers, downloads, models; and the trace, which holds no answer.
    stranger = browser.new_context(**size).new_page()
    stranger.goto(other_link)
    expect(stranger.get_by_role("heading", level=1)).to_have_text("Thank you, there is nothing to do")
    assert site.sql(sharing, first) == ([] if choice == "erase" else [("none",)])
    without = freeze(site)
    assert without["counts"]["n_left_out"] == frozen["counts"]["n_left_out"] + 1
    assert without["counts"]["n_episodes"] == frozen["counts"]["n_episodes"] - 1
    earlier = snapshot_now(site, frozen)
    if choice == "exclude":
        assert earlier["n_left_out_since"] == 1 and earlier["erased_at"] is None
    else:
        assert earlier["erased_at"] is not None
    wait_for("a model without the therapy", lambda: n_modelled(site) == before - 1, 30)
    ((detail,),) = site.sql(
        """SELECT detail FROM surveys_auditevent WHERE act = 'withdrawal.enter' ORDER BY id DESC LIMIT 1"""
    )
    detail = detail if isinstance(detail, dict) else json.loads(detail)
    erased = n_sent if choice == "erase" else 0
    assert detail == {"choice": choice, "n_closed": 1, "n_erased": erased}

    # Closed is closed, also for the Back button.
    page.get_by_role("button", name="Close this page now").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("This page is closed")
    errors.clear()
    page.go_back()
    expect(page.locator("article")).to_have_count(0)
    expect(page.get_by_role("heading", level=1)).to_have_text("This page is closed")
    assert [error for error in errors if "410" not in error] == []


def by_keyboard(page: Page, choice: str) -> None:
    """Tab into the choices, arrows to the one, Tab on, Enter."""
    page.locator("#main").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.locator("[value=stop]")).to_be_checked()
    for value in ("exclude", "erase"):
        if page.locator(f"[value={choice}]").is_checked():
            break
        page.keyboard.press("ArrowDown")
        expect(page.locator(f"[value={value}]")).to_be_checked()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Continue")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_selector("[name=confirm]")


def ask_consent(site: Site, form: str) -> None:
    """The form is asked for under a version with a declaration, which no other form follows."""
    ((version,),) = site.sql("""SELECT form.version_id FROM surveys_assignment form WHERE id = %s""", form)
    number = secrets.randbelow(20_000) + 100
    site.change(
        """WITH made AS (
               INSERT INTO surveys_studyversion
                   (study_id, number, visibility, is_open_to_supervisors, reminder_hours, created_at)
               SELECT study_id, %s, visibility, is_open_to_supervisors, reminder_hours, now()
               FROM surveys_studyversion WHERE id = %s
               RETURNING id),
           told AS (
               INSERT INTO surveys_consenttext (version_id, language, information, declaration)
               SELECT id, 'en', 'The clinic collects this to learn how therapies go.',
                      'My answers may be used for research under a code.' FROM made)
           UPDATE surveys_assignment SET version_id = (SELECT id FROM made) WHERE id = %s""",
        number,
        version,
        form,
    )
    # In force before all others, so that no session follows it.
    site.change(
        "UPDATE surveys_studyversion SET active_from = timestamptz '2001-01-01' + %s * interval '1 hour'"
        " WHERE number = %s",
        number,
        number,
    )


@pytest.mark.parametrize(("size", "answer"), [(PHONE, "no"), (DESK, "yes")], ids=["phone", "desktop"])
def test_the_declaration_is_answered_once_and_the_information_stays_in_reach(
    site: Site, browser: Browser, size: dict[str, Any], answer: str
) -> None:
    name = "phone" if size is PHONE else "desk"
    therapy, (form, *_) = somebody(site)
    link = new_link(site, form, days_open=3)
    ask_consent(site, form)
    page = browser.new_context(**size).new_page()
    errors = console_errors(page)
    page.goto(link)
    expect(page.get_by_role("radio")).to_have_count(2)
    expect(page.locator(":checked")).to_have_count(0)
    page.get_by_text("Who collects what").click()
    expect(page.locator("main")).to_contain_text("to learn how therapies go")
    assert_fine(page, f"consent-{name}")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("fieldset#consent")).to_be_visible()
    page.get_by_label("I agree" if answer == "yes" else "I do not agree", exact=True).check()
    page.get_by_role("button", name="Start").click()
    page.wait_for_selector("input[name=item_1]")
    page.get_by_text("Who collects what").click()
    expect(page.locator("main")).to_contain_text("to learn how therapies go")
    assert_fine(page, f"consent-form-{name}")
    other = browser.new_context(**size).new_page()
    other.goto(link)
    expect(other.get_by_role("radio")).to_have_count(0)
    left_out = site.sql("SELECT excluded_at IS NOT NULL FROM surveys_therapy WHERE id = %s", therapy)
    assert left_out == [(answer == "no",)]
    assert errors == []
