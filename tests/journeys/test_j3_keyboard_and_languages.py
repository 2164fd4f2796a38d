"""A patient who uses the keyboard, a screen reader, a magnified page or another language."""

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.journeys.conftest import Site
from tests.journeys.test_j1_patient_phone import ANSWERS, SAVED, begin, form_id, n_drafts, option, stored
from tests.journeys.test_main_job import DESK, PHONE
from tests.journeys.test_pages import faults

pytestmark = pytest.mark.slow

# What is left of a small laptop's window at 400 % zoom.
LOW = {"width": 320, "height": 256}
N_OPTIONS = 8


def focused(page: Page) -> str:
    """The name of the field, or the words of the control, that has the keyboard."""
    return str(page.evaluate("() => document.activeElement.name || document.activeElement.innerText.trim()"))


def tab_until(page: Page, name: str, most: int = 40) -> list[str]:
    """Presses Tab until this has the keyboard; gives every stop on the way."""
    stops = []
    for _ in range(most):
        page.keyboard.press("Tab")
        stops.append(focused(page))
        if stops[-1] == name:
            return stops
    pytest.fail(f"Tab never came to {name}: {stops}")


def test_the_whole_form_by_keyboard_alone(site: Site, browser: Browser) -> None:
    page = browser.new_context(**DESK).new_page()
    page.goto(next(site.links))
    tab_until(page, "Start")
    page.keyboard.press("Enter")
    page.wait_for_selector("fieldset")
    form = form_id(page)

    # Tab comes to each question once and in its order; nothing is chosen by arriving there.
    stops = tab_until(page, "sharing")
    assert [stop for stop in stops if stop.startswith("item_")] == [f"item_{n}" for n in range(1, 13)]
    assert page.locator("input:checked").count() == 0
    for _ in range(12):
        page.keyboard.press("Shift+Tab")
    assert focused(page) == "item_1"

    # The space bar chooses, the arrows move, Tab goes on.
    page.keyboard.press("Space")
    expect(option(page, 1, 1)).to_be_checked()
    for _ in range(ANSWERS[0] - 1):
        page.keyboard.press("ArrowDown")
    for number, value in enumerate(ANSWERS[1:10], start=2):
        page.keyboard.press("Tab")
        assert focused(page) == f"item_{number}"
        page.keyboard.press("Space")
        for _ in range(value - 1):
            page.keyboard.press("ArrowRight")
    for number, value in enumerate(ANSWERS[:10], start=1):
        expect(option(page, number, value)).to_be_checked()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowUp")
    expect(option(page, 11, -98)).to_be_checked()
    expect(page.locator("#saved")).to_have_text(SAVED)

    # The list of what is open takes the keyboard; its link leads to the question.
    tab_until(page, "send")
    page.keyboard.press("Enter")
    expect(page.locator("#open")).to_be_focused()
    tab_until(page, page.locator("#open li a").first.inner_text())
    page.keyboard.press("Enter")
    expect(page.locator("#item_12")).to_be_in_viewport()
    assert focused(page) == "item_12"
    page.keyboard.press("Space")
    tab_until(page, "sharing")
    page.keyboard.press("Space")
    # Enter in a field sends, and never sends "anyway" or changes the language.
    page.keyboard.press("Enter")
    page.wait_for_url("**/receipt/")
    assert stored(site, form) == [[*ANSWERS[:10], -98, 1]]
    expect(page.locator(".code-large")).to_be_visible()


def said(node: dict[str, Any], field: str = "name") -> str:
    return str(node.get(field, {}).get("value", "")).strip()


def heard(page: Page) -> dict[str, list[tuple[str, str]]]:
    """The radios of the accessibility tree in their order: by the name of their group, each with its name and
    whether it is said to be chosen."""
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    nodes = {node["nodeId"]: node for node in tree}

    def group_of(node: dict[str, Any]) -> dict[str, Any]:
        while said(node, "role") not in ("group", "radiogroup"):
            node = nodes[node["parentId"]]
        return node

    radios: dict[str, list[tuple[str, str]]] = {}
    for node in nodes.values():
        if said(node, "role") == "radio":
            state = {row["name"]: str(row["value"].get("value")) for row in node["properties"]}
            name = re.sub(r"\s+", " ", said(group_of(node)))
            radios.setdefault(name, []).append((said(node), state["checked"]))
    return radios


def test_a_screen_reader_hears_question_answer_and_position(site: Site, browser: Browser) -> None:
    page = begin(browser.new_context(**PHONE), next(site.links))
    radios = heard(page)
    assert len(radios) == 13
    for number in range(1, 13):
        card = page.locator(f"#card_{number}")
        question = re.sub(r"\s+", " ", card.locator("legend").inner_text()).strip()
        assert question.startswith(f"{number} ")
        # What is seen is heard, in the same order, and nothing is chosen yet.
        seen = [words.strip() for words in card.locator("label").all_inner_texts()]
        assert len(set(seen)) == N_OPTIONS
        assert seen[-1] == "Prefer not to answer"
        assert radios[question] == [(words, "false") for words in seen]
    assert "What may your therapist see of this form?" in radios
    # Native radios of one name: the browser itself tells "2 of 8".
    names = page.locator("#card_1 input").evaluate_all("all => all.map(one => one.type + one.name)")
    assert names == ["radioitem_1"] * N_OPTIONS
    option(page, 1, 6).check()
    first_question = next(iter(heard(page).values()))
    assert [name for name, is_chosen in first_question if is_chosen == "true"] == ["Very often"]
    # The state is spoken once when it turns, and not after each answer.
    status = page.get_by_role("status")
    expect(status).to_have_text(SAVED)
    first = status.inner_text()
    option(page, 2, 5).check()
    expect(page.locator("#saved")).to_have_text(SAVED)
    assert status.inner_text() == first


def test_the_focused_option_is_on_screen_in_a_very_low_window(site: Site, browser: Browser) -> None:
    context = browser.new_context(viewport=LOW, reduced_motion="reduce")
    page = begin(context, next(site.links))
    tab_until(page, "item_1")
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


SIGHTS = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "forced colours": {"forced_colors": "active"},
    "high contrast": {"contrast": "more"},
    "400 % zoom": {"viewport": LOW},
}


@pytest.mark.parametrize("language", ["en", pytest.param("ar", marks=pytest.mark.slow)])
def test_no_page_of_a_form_has_a_serious_finding_in_any_sight(
    site: Site, browser: Browser, language: str
) -> None:
    """Both directions of reading in light, dark, forced and high contrast, and at four times the size."""
    found = {}

    def look(name: str, page: Page) -> None:
        for sight, options in SIGHTS.items():
            page.set_viewport_size(options.get("viewport", PHONE["viewport"]))
            page.emulate_media(
                color_scheme=options.get("color_scheme", "light"),
                forced_colors=options.get("forced_colors", "none"),
                contrast=options.get("contrast", "no-preference"),
            )
            if problems := faults(page):
                found[name, sight] = problems

    link = next(site.links)
    # Without motion: colours that are still on their way to another scheme are no finding.
    page = browser.new_context(viewport=PHONE["viewport"], reduced_motion="reduce").new_page()
    page.goto(f"{link}?language={language}")
    look("start", page)
    page.locator("main form button").click()
    page.wait_for_selector("fieldset")
    option(page, 1, 5).check()
    option(page, 2, -98).check()
    look("form", page)
    page.locator("button[name=send]").click()
    page.wait_for_selector("#open")
    look("open items", page)
    page.locator("button[value=anyway]").click()
    page.wait_for_url("**/receipt/")
    look("receipt", page)
    page.goto(f"{site.base_url}/f/offline/?language={language}")
    look("no connection", page)
    assert found == {}


# Words in pixels beyond the card that they stand in, or cut by it.
OUTSIDE = """[...document.querySelectorAll('.question, .ribbon')].flatMap((card) => {
  const edge = card.getBoundingClientRect();
  return [...card.querySelectorAll('span, label, legend')].filter((words) => {
    const box = words.getBoundingClientRect();
    return box.left < edge.left - 1 || box.right > edge.right + 1 || words.scrollWidth > words.clientWidth + 1
      && getComputedStyle(words).display !== 'inline';
  }).map((words) => words.innerText);
})"""


@pytest.mark.parametrize("language", ["en", "de", "nb", "ar"])
def test_with_text_of_twice_the_size_nothing_scrolls_sideways_and_nothing_is_cut(
    site: Site, browser: Browser, language: str
) -> None:
    """Text at 200 % on narrow phones, and a page at 200 % zoom, which leaves 180 px of 360."""
    link = next(site.links)
    page = browser.new_context(viewport=PHONE["viewport"], service_workers="block").new_page()
    page.goto(f"{link}?language={language}")
    found = {}

    def look(name: str) -> None:
        for width, percent in ((360, 200), (320, 200), (180, 100)):
            page.set_viewport_size({"width": width, "height": 740})
            page.evaluate(f"document.documentElement.style.fontSize = '{1.0625 * percent}%'")
            beyond = page.evaluate("document.documentElement.scrollWidth") - width
            if beyond > 0 or page.evaluate(OUTSIDE):
                found[name, width, percent] = (beyond, page.evaluate(OUTSIDE))

    look("start")
    page.locator("main form button.button-primary").click()
    page.wait_for_selector("fieldset")
    look("form")
    page.locator("button[value=send]").click()
    page.wait_for_selector("#open")
    look("open items")
    assert found == {}


def left(found: Locator) -> float:
    box = found.bounding_box()
    assert box
    return box["x"]


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desktop"])
def test_a_form_in_arabic_reads_from_right_to_left_and_can_be_switched_in_the_middle(
    site: Site, browser: Browser, size: dict[str, Any]
) -> None:
    page = browser.new_context(**size).new_page()
    page.goto(next(site.links))
    english = left(page.get_by_role("button", name="Start"))
    page.get_by_role("link", name="العربية").click()
    expect(page.locator("html")).to_have_attribute("dir", "rtl")
    start = page.locator("main form button")
    assert left(start) >= english
    start.click()
    page.wait_for_selector("fieldset")
    form = form_id(page)
    expect(page.locator("html")).to_have_attribute("lang", "ar")

    # Order, progress and marks are mirrored; the digits are European.
    bar, card = page.locator(".progress"), page.locator("#card_1")
    assert left(page.locator("#n-answered")) > left(page.locator("#saved"))
    assert re.search(r"\b0\b.*\b12\b", bar.inner_text(), re.DOTALL)
    assert card.locator(".question-number").inner_text() == "1"
    first, last = option(page, 1, 1), option(page, 1, 7)
    if size is DESK:
        assert left(first) > left(last)
    else:
        assert left(first) > left(card.locator(".option span").first)
    assert re.search(r"[\u0600-\u06ff]", card.locator("legend").inner_text())

    # Another language in the middle: nothing is lost, saved or not.
    option(page, 1, 6).check()
    option(page, 2, -98).check()
    expect(page.locator("#saved")).to_have_text(re.compile(r"\d\d:\d\d"))
    page.locator("input[name=sharing][value=scores]").check()
    page.get_by_role("button", name="Deutsch").click()
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page.locator("html")).to_have_attribute("dir", "ltr")
    expect(option(page, 1, 6)).to_be_checked()
    expect(option(page, 2, -98)).to_be_checked()
    expect(page.locator("input[name=sharing][value=scores]")).to_be_checked()
    assert n_drafts(site, form) == 2
    for number in range(3, 13):
        option(page, number, 4).check()
    page.locator("button[name=send]").click()
    page.wait_for_url("**/receipt/")
    expect(page.locator("html")).to_have_attribute("lang", "de")
    assert stored(site, form) == [[6, -98] + [4] * 10]
    ((language, wording),) = site.sql(
        """SELECT response.language, instrument.language FROM surveys_response response
           JOIN surveys_instrument instrument ON instrument.id = response.instrument_id
           WHERE response.assignment_id = %s""",
        form,
    )
    assert (language, wording) == ("de", "de")


def test_without_script_switching_the_language_keeps_what_is_filled_in(site: Site, browser: Browser) -> None:
    page = begin(browser.new_context(**PHONE, java_script_enabled=False), next(site.links))
    option(page, 1, 6).check()
    page.get_by_role("button", name="Norsk bokmål").click()
    expect(page.locator("html")).to_have_attribute("lang", "nb")
    expect(option(page, 1, 6)).to_be_checked()
