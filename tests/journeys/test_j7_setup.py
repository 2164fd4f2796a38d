"""A clinic sets up a study: page by page on a phone and on a desk, tried out, activated, never half done; and
what happens to its sessions and therapies afterwards. Licences and privacy texts of real clinics are gated in
`tests/surveys/test_studies.py`: this site is a demonstration and needs no licence."""

import re
import time
from datetime import datetime, timedelta

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.journeys.conftest import Site
from tests.journeys.pages import SIZES, study_page
from tests.journeys.test_main_job import console_errors, sign_in
from tests.journeys.test_pages import faults


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
