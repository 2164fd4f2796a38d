"""A researcher asks whether the perspectives differ, plans the next study, and publishes what was found."""

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.journeys.conftest import Site
from tests.journeys.test_j8_researcher import open_desk, signed_in
from tests.journeys.test_main_job import DESK, console_errors

MINUTES = 180_000
# What twelve therapists can carry.
N_SCALES = 2


@pytest.fixture
def desk(site: Site, browser: Browser) -> Page:
    """The analyses of the study of the demonstration, found by links."""
    page = signed_in(browser, site, "researcher")
    open_desk(page, site)
    page.get_by_role("link", name="Analyses", exact=True).click()
    return page


def ask(page: Page, title: str, n_scales: int, time: str = "log") -> None:
    """A question with so many scales of the therapists' forms about practice, up to the button."""
    page.get_by_role("link", name="Ask a question", exact=True).first.click()
    page.get_by_label("Title").fill(title)
    page.get_by_label("Patients’ form").select_option("wai-s")
    page.get_by_label("Scale", exact=True).select_option("total")
    page.get_by_label("How time is counted").select_option(time)
    boxes = page.locator("[name=predictors]")
    for place in range(boxes.count()):
        box = boxes.nth(place)
        is_trait = str(box.get_attribute("value")).startswith("trait:")
        box.set_checked(is_trait and n_scales > 0)
        n_scales -= is_trait
    page.get_by_role("button", name="Compute the answer").click()
    page.wait_for_url(re.compile(r"/analyses/[0-9a-f-]{36}/$"))


def stored(site: Site, page: Page) -> dict[str, Any]:
    """What the database has of the analysis or plan whose page this is, or of its table."""
    kind, found = re.findall(r"/(analyses|plans)/([0-9a-f-]{36})/", page.url)[0]
    table = {"analyses": "analytics_analysis", "plans": "analytics_powerplan"}[kind]
    [(result, spec)] = site.sql(f"SELECT result, spec FROM {table} WHERE id = %s", found)
    return {"result": result, "spec": spec}


def figure(value: float) -> str:
    text = f"{abs(value):.3f}"
    return f"\N{MINUS SIGN}{text}" if round(value, 3) < 0 else text


def p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def span(row: dict[str, Any]) -> str:
    return f"{figure(row['lower'])} to {figure(row['upper'])}"


def cells(section: Locator) -> list[list[str]]:
    """Rows of the first table of a section, without the lines that only name a predictor."""
    rows = section.locator("table").first.locator("tbody tr:has(td)")
    return [[" ".join(cell.split()) for cell in row.locator("td").all_inner_texts()] for row in rows.all()]


def section(page: Page, title: str) -> Locator:
    return page.locator(f"section[aria-labelledby='{title}']")


def expected_joint(result: dict[str, Any]) -> list[list[str]]:
    """The cells of the joint table, from what is stored: both betas, difference, interval, p, adjusted p."""
    [joint] = [model["result"] for model in result["models"] if model["key"] == "joint"]
    fixed = {row["term"]: row["estimate"] for row in joint["fixed"]}
    [time] = result["time"]["names"]
    middle = {"level": "", "growth": f"{time}:"}
    return [
        [
            *(figure(fixed[f"{rater}:{middle[row['effect']]}{row['predictor']}"]) for rater in result["n"]),
            figure(row["estimate"]),
            span(row),
            *(p_text(row[name]) for name in ("p", "p_holm", "p_bh")),
        ]
        for row in joint["contrasts"]
    ]


def expected_separate(result: dict[str, Any]) -> list[list[str]]:
    models = {model["key"]: model["result"]["fixed"] for model in result["models"]}
    raters = [models[f"{rater}.conditional"] for rater in result["n"]]
    terms = {row["term"]: [row] for row in raters[0]}
    for row in raters[1]:
        terms[row["term"]].append(row)
    [time] = result["time"]["names"]
    names = [column["name"] for column in result["predictors"]]
    order = ["Intercept", time, *(term for name in names for term in (name, f"{time}:{name}"))]
    return [
        [
            text
            for row in terms[term]
            for text in (f"{figure(row['estimate'])} ({figure(row['se'])})", span(row), p_text(row["p"]))
        ]
        for term in order
    ]


def sizes_of(result: dict[str, Any]) -> list[str]:
    """Ratings, therapies and therapists of each perspective, as the page says them."""
    titles = {"patient": "Patients’ ratings", "therapist": "Therapists’ ratings"}
    return [
        f"{titles[rater]}: {n['ratings']}, of {n['therapies']} therapies by {n['therapists']} therapists."
        for rater, n in result["n"].items()
    ]


@pytest.mark.slow
def test_the_question_its_progress_and_every_number_of_the_answer(site: Site, desk: Page) -> None:
    errors = console_errors(desk)
    ask(desk, "Do the perspectives differ?", N_SCALES)
    # An answer of a second may be there before the first look.
    seen = desk.locator("#job [role=status]").or_(desk.locator("#result table"))
    expect(seen.first).to_be_visible()
    expect(desk.get_by_role("heading", name="Do the perspectives differ?", level=2)).to_be_visible(
        timeout=MINUTES
    )
    expect(desk.locator("#job [role=status]")).to_have_count(0)
    found = stored(site, desk)
    result, spec = found["result"], found["spec"]
    assert (spec["scale"], spec["time"]["name"], len(spec["predictors"])) == ("total", "log", N_SCALES)
    assert len(result["predictors"]) == N_SCALES

    # Both betas, their difference with its interval, p before and after adjustment: as they are stored.
    joint, separate = section(desk, "joint-title"), section(desk, "separate-title")
    assert cells(joint) == expected_joint(result)
    assert len(cells(joint)) == 2 * N_SCALES
    assert cells(separate) == expected_separate(result)
    expect(separate.locator(".notice")).to_contain_text("Comparing two columns is no test.")
    for text in sizes_of(result):
        expect(desk.locator("#result")).to_contain_text(text)

    # How each search for estimates ended, beside the numbers of it.
    states = {"ok": "converged", "singular": "converged, singular"}
    of_key = {model["key"]: states[model["result"]["status"]] for model in result["models"]}
    expect(joint).to_contain_text(f"Joint model of both perspectives: {of_key['joint']}.")
    for rater, title in (("patient", "Patients’"), ("therapist", "Therapists’")):
        state = of_key[f"{rater}.conditional"]
        expect(separate).to_contain_text(f"{title} ratings, with predictors: {state}.")

    # Twelve therapists are few, and the page says so before any table.
    caution = section(desk, "caution-title")
    expect(caution).to_contain_text("12 therapists are few")
    expect(caution.get_by_text("On the edge of what a model can be")).to_have_count(
        1 if "converged, singular" in {of_key[key] for key in of_key if is_reported(key)} else 0
    )
    assert errors == []


def is_reported(key: str) -> bool:
    return key.split(".")[-1] in ("joint", "conditional", "unconditional")


@pytest.mark.slow
def test_what_few_therapists_cannot_carry_is_refused_without_a_number(site: Site, desk: Page) -> None:
    ask(desk, "Everything at once", 100)
    refused = desk.locator("#result .notice")
    expect(refused).to_contain_text("These data cannot carry the question.", timeout=MINUTES)
    expect(refused).to_contain_text(re.compile(r"at least \d+ therapists, and there are 12"))
    expect(desk.locator("#result table")).to_have_count(0)
    assert set(stored(site, desk)["result"]) == {"refusal"}
    expect(desk.get_by_role("link", name="Ask another question")).to_be_visible()
    desk.goto(desk.url + "publish/")
    desk.get_by_label("Address").fill("refused")
    desk.get_by_role("button", name="Publish").click()
    expect(desk.get_by_role("alert")).to_contain_text("no answer that could be published")


def fill_plan(page: Page, title: str, therapists: str, patients: str, dropout: str, n_studies: int) -> None:
    page.get_by_role("link", name=re.compile("^Plan (a|another) study$")).first.click()
    page.get_by_label("Name of this plan").fill(title)
    for box in page.locator("[name=effects]").all():
        box.set_checked(box.get_attribute("value") == "patient.level")
    page.locator("[name=n_therapists]").fill(therapists)
    page.locator("[name=n_patients]").fill(patients)
    page.locator("[name=dropout]").fill(dropout)
    page.locator("[name=n_studies]").fill(str(n_studies))
    page.locator("[name=seed]").fill("4711")
    page.get_by_role("button", name="Simulate").click()
    page.wait_for_url(re.compile(r"/plans/[0-9a-f-]{36}/$"))


def power_cells(site: Site, page: Page) -> list[list[str]]:
    """The table of power as the page shows it, which is as it is stored."""
    expect(page.locator("#result figure")).to_have_count(1, timeout=MINUTES)
    found = stored(site, page)
    assert (found["spec"]["seed"], found["spec"]["n_studies"]) == (4711, 60)
    expect(page.locator("#result")).to_contain_text("Seed 4711")
    expect(page.locator("#result")).to_contain_text("60 simulated studies of each design")
    shown = [
        [" ".join(cell.split()) for cell in row.locator("th, td").all_inner_texts()]
        for row in page.locator("#result tbody tr").all()
    ]
    for line, design in zip(shown, found["result"]["designs"], strict=True):
        power = design["effects"]["patient.level"]
        assert line[:2] == [str(design["n_therapists"]), str(design["n_patients"])]
        assert line[3] == f"± {power['half_width']:.3f}"
    return shown


@pytest.mark.slow
def test_designs_are_compared_by_their_power_and_a_long_plan_can_be_cancelled(site: Site, desk: Page) -> None:
    desk.get_by_role("link", name="Planner", exact=True).click()
    fill_plan(desk, "As now", "10, 40", "3", "20", 60)
    first = power_cells(site, desk)
    assert [line[:2] for line in first] == [["10", "3"], ["40", "3"]]
    desk.get_by_text("What was taken to be true").first.click()
    expect(desk.locator("details").last).to_contain_text("20 % of the therapies end before the last one.")

    # More patients, fewer of whom stay: other designs, other numbers; the first plan keeps its own.
    fill_plan(desk, "More patients", "10, 40", "6", "50", 60)
    second = power_cells(site, desk)
    assert [line[:2] for line in second] == [["10", "6"], ["40", "6"]]
    assert [line[2:] for line in second] != [line[2:] for line in first]
    desk.get_by_text("What was taken to be true").first.click()
    expect(desk.locator("details").last).to_contain_text("50 % of the therapies end before the last one.")

    # The same plan with the same seed: the same numbers.
    fill_plan(desk, "As now, again", "10, 40", "3", "20", 60)
    assert power_cells(site, desk) == first

    fill_plan(desk, "Too long to wait for", "100, 200", "10", "20", 1500)
    expect(desk.locator("#job progress")).to_be_visible(timeout=30_000)
    desk.locator("#job").get_by_role("button", name="Cancel").click()
    expect(desk.locator("#job")).to_contain_text("It was cancelled on", timeout=60_000)
    expect(desk.locator("#result table")).to_have_count(0)
    assert stored(site, desk)["result"] is None


def publish(page: Page, code: str) -> str:
    """Publishes the analysis of this page; the address of the version."""
    page.get_by_role("link", name="Publish the table").click()
    page.get_by_label("Address").fill(code)
    page.get_by_role("button", name="Publish").click()
    page.wait_for_url(f"**/tables/{code}/v*/")
    return page.url


@pytest.mark.slow
def test_a_table_is_published_for_everybody_and_its_withdrawal_stays_readable(
    site: Site, browser: Browser, desk: Page
) -> None:
    ask(desk, "Perspectives, for the paper", N_SCALES, time="linear")
    expect(desk.get_by_role("link", name="Publish the table")).to_be_visible(timeout=MINUTES)
    analysis = desk.url
    result = stored(site, desk)["result"]
    address = publish(desk, "journey-nine")
    assert address.endswith("/tables/journey-nine/v1/")

    # Somebody without an account follows the link without a version.
    reader = browser.new_context(**DESK).new_page()
    answer = reader.goto(f"{site.base_url}/tables/journey-nine/")
    assert answer is not None
    assert (answer.status, reader.url) == (200, address)
    main = reader.locator("main")
    expect(main).to_contain_text("version 1")
    [(digest,)] = site.sql("SELECT sha256 FROM analytics_publishedtable WHERE code = 'journey-nine'")
    expect(main).to_contain_text(digest)
    shown = " ".join(reader.locator("table").first.inner_text().split())
    for line in expected_joint(result):
        assert " ".join(line[2:4]) in shown, (line, shown)
        assert line[5] in shown

    # Another analysis at the same address is its second version; the first stays what it was.
    desk.goto(f"{site.base_url}/studies/{study_of(site, analysis)}/analyses/")
    ask(desk, "Perspectives, with another time", N_SCALES)
    expect(desk.get_by_role("link", name="Publish the table")).to_be_visible(timeout=MINUTES)
    assert publish(desk, "journey-nine").endswith("/v2/")
    reader.goto(f"{site.base_url}/tables/journey-nine/")
    assert reader.url.endswith("/v2/")
    reader.get_by_role("link", name=re.compile("^Version 1 of")).click()
    assert " ".join(reader.locator("table").first.inner_text().split()) == shown

    # Withdrawn: what stands there is that it was, when and why; the other version stays.
    desk.goto(f"{site.base_url}/studies/{study_of(site, analysis)}/tables/")
    row = desk.locator("tbody tr", has_text="journey-nine/v1")
    row.get_by_role("link", name="Withdraw").click()
    desk.get_by_role("button", name="Withdraw").click()
    expect(desk.get_by_role("alert")).to_be_visible()
    desk.get_by_label("Why it is withdrawn").fill("Sessions were counted wrongly.")
    desk.get_by_role("button", name="Withdraw").click()
    answer = reader.goto(address)
    assert answer is not None and answer.status == 410
    expect(reader.get_by_role("heading", level=1)).to_have_text("This table was withdrawn")
    expect(main).to_contain_text("Sessions were counted wrongly.")
    expect(main).to_contain_text(digest)
    expect(reader.locator("table")).to_have_count(0)
    answer = reader.goto(f"{site.base_url}/tables/journey-nine/")
    assert answer is not None and (answer.status, reader.url.endswith("/v2/")) == (200, True)


def study_of(site: Site, address: str) -> str:
    found = re.findall(r"/analyses/([0-9a-f-]{36})/", address)[0]
    return str(site.sql("SELECT study_id FROM analytics_analysis WHERE id = %s", found)[0][0])
