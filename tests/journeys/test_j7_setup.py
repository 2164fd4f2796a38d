"""A clinic sets up a study: page by page on a phone and on a desk, tried out, activated, never half done; and
what happens to its sessions and therapies afterwards. Licences and privacy texts of real clinics are gated in
`tests/surveys/test_studies.py`: this site is a demonstration and needs no licence."""

import re
import time
from datetime import datetime, timedelta
from pathlib import Path

import pyreadstat
import pytest
from pandas import DataFrame
from playwright.sync_api import Browser, Page, Route, expect

from tests.journeys.conftest import Site
from tests.journeys.pages import ANSWERED, SIZES, bring_in, study_page
from tests.journeys.test_main_job import console_errors, sign_in
from tests.journeys.test_pages import faults

pytestmark = pytest.mark.slow


def admin_page(browser: Browser, site: Site, size: str = "desk", **options: object) -> Page:
    context = browser.new_context(viewport=SIZES[size], locale="en-GB", **options)
    context.set_default_timeout(20_000)
    page = context.new_page()
    sign_in(page, site, "clinic_admin")
    return page


def go_on(page: Page) -> None:
    page.get_by_role("button", name="Save and go on").click()


@pytest.mark.parametrize(("size", "script"), [("phone", True), ("desk", False)])
def test_a_study_is_set_up_left_resumed_tried_out_and_activated(
    site: Site, browser: Browser, size: str, script: bool
) -> None:
    code = f"CARE-{size}"
    page = admin_page(browser, site, size, java_script_enabled=script)
    errors = console_errors(page)
    page.goto(f"{site.base_url}/clinic/studies/new/")
    page.get_by_label("Name of the study").fill("Routine care")
    page.get_by_label("Code").fill(code)
    go_on(page)

    wording = page.locator("li", has_text="short form (WAI-S), patient").first
    wording.get_by_role("link").click()
    page.get_by_label("After the sessions that I list").first.check()
    page.get_by_label("Listed sessions").first.fill("3, 12, twenty")
    page.get_by_role("button", name="Save the plan").click()
    expect(page.get_by_text("“twenty” is no session number")).to_be_visible()
    expect(page.get_by_label("Listed sessions").first).to_have_value("3, 12, twenty")
    page.get_by_label("Listed sessions").first.fill("3, 12, 20, 40")
    page.get_by_label("Tolerance in sessions").first.fill("1")
    page.get_by_label(re.compile("By the same plan also")).check()
    page.get_by_role("button", name="Save and show it").click()
    expect(page.get_by_text("After sessions 3, 12, 20 and 40.")).to_be_visible()
    asked = page.locator(".plan-asked").all_inner_texts()
    assert asked == ["3", "12", "20", "40"]

    # Left in the middle, and found again from the home page as it was.
    page.goto(f"{site.base_url}/clinic/")
    page.get_by_role("link", name=re.compile("What is missing.*Routine care")).first.click()
    page.goto(study_page(code, "draft/visibility/")(page, site))
    expect(page.locator("input:checked")).to_have_count(0)
    go_on(page)
    expect(page.get_by_text("None is chosen for you")).to_be_visible()
    sentence = "once they have given their own rating of the same session"
    expect(page.get_by_text(sentence).first).to_be_visible()
    page.get_by_label("The therapist sees the patient's rating after giving their own").check()
    go_on(page)

    page.get_by_label("Privacy information").fill("What the clinic collects, and why.")
    page.get_by_role("button", name="Back").click()
    page.goto(study_page(code, "draft/texts/")(page, site))
    expect(page.get_by_label("Privacy information")).to_have_value("What the clinic collects, and why.")
    page.get_by_label("Privacy information").fill("")
    go_on(page)
    page.goto(study_page(code, "draft/check/")(page, site))
    expect(page.get_by_text("There is no privacy information for patients yet.", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Activate version 1")).to_be_disabled()
    page.get_by_role("link", name=re.compile("Mend it")).first.click()
    page.get_by_label("Privacy information").fill("What the clinic collects, and why.")
    go_on(page)
    page.goto(study_page(code, "draft/check/")(page, site))
    expect(page.get_by_text("Nothing is missing")).to_be_visible()
    expect(page.get_by_text(sentence).first).to_be_visible()

    if script:
        assert faults(page) == []
        assert [error for error in errors if "422" not in error] == []
    try_out(site, browser, page, code)
    page.goto(study_page(code, "draft/check/")(page, site))
    page.get_by_role("button", name="Activate version 1").click()
    expect(page.get_by_text("Version 1 is in force.")).to_be_visible()
    page.get_by_role("button", name="Change by a new version").click()
    expect(page.get_by_text("draft of version 2")).to_be_visible()
    page.context.close()


def try_out(site: Site, browser: Browser, page: Page, code: str) -> None:
    """A test run of the draft: a patient's form is filled in, shown as stored, and cleared away."""
    counts = "SELECT (SELECT count(*) FROM surveys_{}), (SELECT count(*) FROM surveys_{})"
    counts = counts.format("response", "patient")
    before = site.sql(counts)
    page.get_by_role("button", name="Try it out with a made-up patient").click()
    page.get_by_role("button", name="Show a link to the form").click()
    link = page.locator('main a[href*="/r/"]').inner_text()
    expect(page.locator("img.qr")).to_be_visible()
    patient = browser.new_context(viewport=SIZES["phone"], locale="en-GB").new_page()
    patient.goto(link)
    patient.locator("main form button").first.click()
    for item in range(1, 13):
        patient.locator(f"input[name=item_{item}]").nth(5).check()
    patient.locator("input[name=sharing]").nth(1).check()
    patient.locator("[name=send]").first.click()
    patient.wait_for_url("**/receipt/")
    patient.context.close()
    page.goto(page.url.removesuffix("link/"))
    expect(page.get_by_text("12 of 12 answered").first).to_be_visible()
    studies = {row["code"] for row in site.api("researcher", "/api/v1/studies/")}
    assert f"{code}-test" not in studies
    page.get_by_role("button", name="Clear the test run").click()
    expect(page.get_by_text("nothing of it is left")).to_be_visible()
    assert site.sql(counts) == before


def test_a_patient_begins_is_logged_late_and_goes_on_with_another_therapist(
    site: Site, browser: Browser
) -> None:
    page = admin_page(browser, site)
    page.goto(f"{site.base_url}/clinic/patients/new/")
    page.get_by_label("E-mail address").fill("someone@example.org")
    page.get_by_role("button", name="Enter the patient").click()
    code = page.locator(".code-large").inner_text()
    assert re.fullmatch(r"[0-9A-Z]{5}-[0-9A-Z]", code)
    page.get_by_role("link", name="Begin a therapy").click()
    page.get_by_label("Therapist", exact=True).select_option(index=1)
    study = page.locator("select[name=study] option", has_text="(DEMO)").get_attribute("value")
    page.get_by_label("Study", exact=True).select_option(study)
    page.get_by_label("Arm of the study").select_option(index=1)
    began = datetime.now() - timedelta(days=30)
    page.get_by_label("First day of the therapy").fill(f"{began:%Y-%m-%d}")
    page.get_by_role("button", name="Begin the therapy").click()
    expect(page.get_by_text("has begun")).to_be_visible()
    therapy = page.url

    def numbers() -> list[tuple[object, ...]]:
        return site.sql(
            "SELECT status, number FROM surveys_session WHERE therapy_id = %s ORDER BY held_at",
            therapy.rstrip("/").rsplit("/", 1)[-1],
        )

    page.get_by_role("link", name="Session log").first.click()
    log = page.url
    for days, what in ((20, "Held"), (13, "Cancelled"), (6, "Held"), (25, "Held")):
        page.goto(log)
        at = datetime.now() - timedelta(days=days)
        page.get_by_label("Date and time").fill(f"{at:%Y-%m-%dT%H:00}")
        page.locator("label.option", has_text=what).first.click()
        page.get_by_role("button", name="Enter the session").click()
        page.wait_for_load_state()
    assert numbers() == [("held", 1), ("held", 2), ("cancelled", None), ("held", 3)]
    # The last one was entered late, and the page says what it moved.
    expect(page.locator(".notice-ok")).to_contain_text(re.compile("[Ss]ession"))

    page.goto(therapy)
    page.get_by_text("Transfer to another therapist").click()
    page.get_by_label("New therapist").select_option(index=1)
    page.get_by_role("button", name="Transfer", exact=True).click()
    # It opens the patient's pages to somebody else, and asks who does that; what was chosen is kept.
    page.get_by_label("Password").fill(site.manifest["accounts"]["clinic_admin"]["password"])
    page.get_by_role("button", name="Confirm and send").click()
    expect(page.get_by_text("All earlier ratings stay with the therapy before.")).to_be_visible()
    assert [number for _status, number in numbers()] == [1, 2, None, 3]
    page.context.close()


def test_two_taps_on_a_button_enter_one_patient(site: Site, browser: Browser) -> None:
    page = admin_page(browser, site)
    count = "SELECT count(*) FROM surveys_patient"
    ((before,),) = site.sql(count)
    page.goto(f"{site.base_url}/clinic/patients/new/")
    posts = []

    def slowly(route: Route) -> None:
        """The second tap comes while the answer to the first is awaited."""
        if route.request.method == "POST":
            posts.append(route.request.url)
            time.sleep(0.5)
        route.continue_()

    page.route("**/clinic/patients/new/", slowly)
    page.get_by_role("button", name="Enter the patient").evaluate(
        "(button) => { button.click(); setTimeout(() => button.click(), 150); }"
    )
    expect(page.locator(".code-large")).to_be_visible()
    assert len(posts) == 1
    assert site.sql(count) == [(before + 1,)]
    page.context.close()


def test_old_ratings_are_brought_in_checked_stored_and_taken_out_again(
    site: Site, browser: Browser, tmp_path: Path
) -> None:
    page = admin_page(browser, site)
    errors = console_errors(page)
    before = site.sql("SELECT count(*) FROM surveys_response")

    # An SPSS file: labels, value labels and declared missing codes are recognised.
    bring_in(page, site, spss_file(tmp_path), "ratings.sav")
    expect(page.get_by_label("Patient", exact=True)).to_have_value("nr")
    expect(page.get_by_label("Who rated")).to_have_value("who")
    expect(page.get_by_label("Words for patients")).to_have_value("1")
    expect(page.get_by_label("Codes for no answer")).to_have_value(re.compile(r"\b8\b"))
    page.get_by_label("Keep this under a name").fill("The old study")
    page.get_by_role("button", name="Save and show the first forms").click()
    expect(page.get_by_role("row", name=re.compile("P-17.*11 of 12"))).to_be_visible()
    page.get_by_role("button", name="Drop the file").click()
    expect(page.get_by_text("Dropped before it was stored")).to_be_visible()
    bring_in(page, site, spss_file(tmp_path), "again.sav")
    expect(page.get_by_label("Kept for files with these columns")).to_be_visible()
    page.get_by_role("button", name="Save and show the first forms").click()
    page.get_by_role("button", name="Drop the file").click()

    # A CSV file: every rejected row with its reason, and the counts add up.
    content = long_file()
    bring_in(page, site, content)
    page.get_by_role("button", name="Save and show the first forms").click()
    page.get_by_role("button", name="Check the whole file").click()
    expect(
        page.get_by_text("6 rows with 6 forms: 3 accepted + 0 there already + 3 rejected.")
    ).to_be_visible()
    rejected = page.get_by_role("region", name="Rejected").get_by_role("row").all_inner_texts()
    assert ["lies outside" in rejected[1], "aunt" in rejected[2], "no session number" in rejected[3]] == [
        True
    ] * 3
    with page.expect_download() as file:
        page.get_by_role("link", name="Download the rejected rows").click()
    assert file.value.path().read_text("utf-8-sig").count("\n") == 4
    assert site.sql("SELECT count(*) FROM surveys_response") == before
    page.get_by_role("button", name="Store 3 forms").click()
    expect(page.get_by_text("Say under which consent these ratings were collected.")).to_be_visible()
    page.get_by_label("Under which consent").fill("Signed on paper in 2015.")
    page.get_by_role("button", name="Store 3 forms").click()
    expect(page.get_by_role("button", name="Take everything out again")).to_be_visible()
    assert site.sql("SELECT count(*) FROM surveys_response") == [(before[0][0] + 3,)]
    stored = page.url

    # The same file again adds nothing.
    bring_in(page, site, content.replace(b",5,", b",5.0,"), "saved-anew.csv")
    page.get_by_role("button", name="Save and show the first forms").click()
    page.get_by_role("button", name="Check the whole file").click()
    expect(page.get_by_text("0 accepted + 3 there already + 3 rejected.")).to_be_visible()
    page.get_by_role("button", name="Drop the file").click()

    page.goto(stored)
    page.get_by_role("button", name="Take everything out again").click()
    expect(page.get_by_text("What was stored, and taken out again")).to_be_visible()
    assert site.sql("SELECT count(*) FROM surveys_response") == before
    assert [error for error in errors if not ANSWERED.search(error)] == []


def long_file() -> bytes:
    head = ["patient", "therapist", "session", "date", "rater", *(f"wai_{item}" for item in range(1, 13))]
    rows = [
        ["J7-1", "T1", 3, "2015-03-01", "P", *[5] * 12],
        ["J7-1", "T1", 3, "2015-03-01", "T", *[4] * 12],
        ["J7-1", "T1", 12, "2015-06-01", "P", *[6] * 12],
        ["J7-1", "T1", 20, "2015-09-01", "P", 9, *[6] * 11],
        ["J7-1", "T1", 20, "2015-09-01", "aunt", *[6] * 12],
        ["J7-2", "T1", "", "2015-09-01", "P", *[6] * 12],
    ]
    return "\n".join(",".join(map(str, row)) for row in [head, *rows]).encode()


def spss_file(folder: Path) -> bytes:
    columns = {"nr": ["P-17"], "beh": ["A"], "sitz": [3.0], "who": [1.0]}
    frame = DataFrame(columns | {f"wai{item}": [8.0 if item == 2 else 5.0] for item in range(1, 13)})
    path = folder / "old.sav"
    pyreadstat.write_sav(
        frame,
        path,
        column_labels={"nr": "Patient", "beh": "Therapist", "sitz": "Session number", "who": "Rater"},
        variable_value_labels={"who": {1: "Patient", 2: "Therapist"}},
        missing_ranges={f"wai{item}": [8] for item in range(1, 13)},
    )
    return path.read_bytes()
