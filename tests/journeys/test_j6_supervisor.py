"""A supervisor on Monday morning: what needs attention stands first, lists hold what their counts say,
columns sort by keyboard, the board leaves as a file with a trace, and nothing shows that is not open to them.
"""

import csv
import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.journeys.conftest import Site, wait_for
from tests.journeys.test_main_job import DESK, PHONE, console_errors, sign_in

pytestmark = pytest.mark.slow

SIZES = pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desktop"])
NEEDS = ["dip", "overdue", "due", "none"]
SUPERVISED = """
    SELECT therapy.code, therapist.code, therapy.id::text FROM surveys_therapy therapy
    JOIN surveys_therapist therapist ON therapist.id = therapy.therapist_id
    JOIN surveys_user account ON account.id = therapist.supervisor_id
    WHERE account.email = %s
"""
NEW = "NEW-J6"


def supervisor(site: Site) -> str:
    return str(site.manifest["accounts"]["supervisor"]["email"])


@pytest.fixture(scope="module", autouse=True)
def therapy_without_data(site: Site) -> None:
    """Of a supervisee's, begun ten days ago, and nothing entered since."""
    site.change(
        """WITH patient AS (
               INSERT INTO surveys_patient (id, clinic_id, code, language, contact)
               SELECT gen_random_uuid(), id, %s, 'en', '' FROM surveys_clinic LIMIT 1 RETURNING id)
           INSERT INTO surveys_therapy
               (id, code, patient_id, therapist_id, study_id, arm, started_on, end_reason)
           SELECT gen_random_uuid(), %s, patient.id, therapy.therapist_id, therapy.study_id, 'every',
                  current_date - 10, ''
           FROM patient, surveys_therapy therapy
           JOIN surveys_therapist therapist ON therapist.id = therapy.therapist_id
           JOIN surveys_user account ON account.id = therapist.supervisor_id
           WHERE account.email = %s AND therapy.id::text <> ALL (%s) ORDER BY therapy.id LIMIT 1""",
        NEW,
        NEW,
        supervisor(site),
        site.manifest["therapy_ids"],
    )


def board(site: Site, browser: Browser, size: dict[str, Any]) -> tuple[Page, list[str]]:
    page = browser.new_context(**size, accept_downloads=True).new_page()
    errors = console_errors(page)
    sign_in(page, site, "supervisor")
    expect(page.get_by_role("heading", level=1)).to_have_text("Supervision")
    return page, errors


def rows(page: Page) -> list[Locator]:
    return page.locator("table.board tbody tr").all()


def codes(page: Page) -> list[str]:
    return page.locator("table.board tbody th").all_inner_texts()


def needs_of(row: Locator) -> list[str]:
    found = row.locator(".needs .state").evaluate_all("marks => marks.map((mark) => mark.className)")
    return [re.search(r"state-(\w+)", name)[1] for name in found]


@SIZES
def test_what_needs_attention_stands_first_and_is_said_in_words(
    site: Site, browser: Browser, size: dict[str, Any]
) -> None:
    page, errors = board(site, browser, size)
    assert set(codes(page)) == {code for code, _, _ in site.sql(SUPERVISED, supervisor(site))}

    def is_looked_for() -> bool:
        page.reload()
        return page.locator(f"table.board .needs .state-{NEEDS[0]}").count() > 0

    # Without a model of the worker there is none yet.
    wait_for("the board shows a possible dip", is_looked_for, 60)
    ranks = [min((NEEDS.index(need) for need in needs_of(row)), default=len(NEEDS)) for row in rows(page)]
    assert ranks == sorted(ranks)
    assert {0, 1, 2} <= set(ranks), "possible dips, something overdue, something due"
    new = page.locator("table.board tbody tr", has_text=NEW)
    expect(new).to_contain_text("Nothing in the log for more than a week")
    expect(new).to_contain_text("No rating received yet")
    expect(page.locator("table.board")).not_to_contain_text("rupture")
    expect(page.locator(".freshness").first).to_contain_text(
        "Possible dips are looked for with the study’s model"
    )
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert errors == []


@SIZES
def test_each_filter_lists_as_many_as_it_says(site: Site, browser: Browser, size: dict[str, Any]) -> None:
    page, errors = board(site, browser, size)
    tabs = page.get_by_role("navigation", name="What needs attention").get_by_role("link")
    n_all = len(rows(page))
    in_list: dict[str, set[str]] = {}
    for at, show in enumerate(["all", *NEEDS]):
        tabs.nth(at).click()
        page.wait_for_url(re.compile(f"show={show}" if show != "all" else r"/supervision/\??(#list)?$"))
        said = int(tabs.nth(at).locator(".count").inner_text())
        listed = rows(page)
        assert len(listed) == said, show
        assert show == "all" or all(show in needs_of(row) for row in listed)
        in_list[show] = set(codes(page))
    assert len(in_list["all"]) == n_all
    assert NEW in in_list["none"]
    assert NEW in in_list["overdue"]
    due = site.sql(
        f"""SELECT DISTINCT supervised.code FROM ({SUPERVISED}) supervised (code, therapist, id)
            JOIN surveys_session session ON session.therapy_id::text = supervised.id
            JOIN surveys_assignment form ON form.session_id = session.id
            WHERE form.state IN ('due', 'opened') AND form.closes_at > now()""",
        supervisor(site),
    )
    assert {code for (code,) in due} <= in_list["due"]
    # The address holds the choice: a reload, and whoever is sent it, sees the same list.
    page.goto(f"{site.base_url}/supervision/?show=dip")
    assert set(codes(page)) == in_list["dip"]
    for code in in_list["dip"]:
        assert page.locator("table.board tbody tr", has_text=code).get_by_role("link", name=code).count() == 1
    assert errors == []


def test_columns_sort_by_keyboard_and_keep_the_filter(site: Site, browser: Browser) -> None:
    page, errors = board(site, browser, DESK)
    page.goto(f"{site.base_url}/supervision/?show=due")
    wanted = set(codes(page))
    for name, column in (("Therapy", 0), ("Therapist", 1)):
        head = page.get_by_role("columnheader", name=name, exact=True)
        for order in ("ascending", "descending"):
            # To the head by the tab key alone, wherever the focus was.
            page.locator("h1").evaluate("heading => { heading.tabIndex = -1; heading.focus(); }")
            for _ in range(60):
                page.keyboard.press("Tab")
                if head.locator("a").evaluate("link => link === document.activeElement"):
                    break
            with page.expect_navigation():
                page.keyboard.press("Enter")
            expect(head).to_have_attribute("aria-sort", order)
            cells = page.locator("table.board tbody tr").evaluate_all(
                "(rows, at) => rows.map((row) => row.cells[at].innerText.trim())", column
            )
            assert cells == sorted(cells, reverse=order == "descending")
            assert set(codes(page)) == wanted, "the filter stays"
            assert page.locator("table.board [aria-sort]").count() == 1
    assert errors == []


def test_the_file_of_the_board_holds_its_rows_and_leaves_a_trace(site: Site, browser: Browser) -> None:
    page, errors = board(site, browser, DESK)
    page.goto(f"{site.base_url}/supervision/?show=overdue&sort=-therapy")
    on_screen = codes(page)
    before = site.sql("SELECT count(*) FROM surveys_auditevent WHERE act = 'board.export'")[0][0]
    with page.expect_download() as download:
        page.get_by_role("link", name=re.compile("as a file")).click()
    with open(download.value.path(), newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["therapy"] for line in lines] == on_screen
    assert all("overdue" in line["attention"].split() for line in lines)
    traces = site.sql(
        """SELECT detail->'query'->>'show', account.email FROM surveys_auditevent event
           JOIN surveys_user account ON account.id = event.actor_id
           WHERE act = 'board.export' ORDER BY event.id OFFSET %s""",
        before,
    )
    assert traces == [("overdue", supervisor(site))]
    assert errors == []


@SIZES
def test_practice_is_listed_only_where_it_is_shared(
    site: Site, browser: Browser, size: dict[str, Any]
) -> None:
    page, errors = board(site, browser, size)
    shared = site.sql(
        """SELECT therapist.id::text, therapist.code FROM surveys_therapist therapist
           JOIN surveys_user account ON account.id = therapist.practice_shared_with_id
           WHERE account.email = %s AND therapist.supervisor_id = account.id""",
        supervisor(site),
    )
    others = site.sql(
        """SELECT therapist.id::text FROM surveys_therapist therapist
           JOIN surveys_user account ON account.id = therapist.supervisor_id
           WHERE account.email = %s AND therapist.practice_shared_with_id IS NULL""",
        supervisor(site),
    )
    assert shared and others
    expect(page.locator("main")).not_to_contain_text("DPCCQ")
    page.get_by_role("link", name="What supervisees share of their practice").click()
    page.wait_for_url("**/supervision/practices/")
    assert {code for _, code in shared} == set(page.locator("main a .code").all_inner_texts())
    assert errors == []
    for therapist, *_ in others:
        answer = page.request.get(f"{site.base_url}/supervision/practices/{therapist}/")
        assert answer.status == 404


@SIZES
def test_numbers_of_the_team_come_with_their_basis_or_the_reason_for_none(
    site: Site, browser: Browser, size: dict[str, Any]
) -> None:
    page, _ = board(site, browser, size)
    team = page.get_by_role("region", name="Your team’s patients together")
    expect(team).to_contain_text("Numbers are of at least 5 patients and 3 therapists")
    for tile in team.locator(".card").all():
        told = tile.inner_text()
        if "Mean" in told:
            n = re.search(r"Patients: (\d+); therapists: (\d+); forms: (\d+)", told)
            assert n and int(n[1]) >= 5 and int(n[2]) >= 3
        else:
            assert "No numbers are shown." in told
        assert "As of" in told
