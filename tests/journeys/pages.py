"""The pages of the site: walked by axe in `test_pages.py`, photographed by `make screenshots`.

A new page is one line here: its name, the role that sees it ("" for a page without an account), its address.
An address may hold {therapy}, a therapy of the therapist's own; where it depends on more, it is a function of
the signed-in page.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from playwright.sync_api import Browser, Page

from tests.journeys.conftest import Site
from tests.journeys.test_main_job import console_errors, sign_in

SIZES = {"phone": {"width": 360, "height": 640}, "desk": {"width": 1280, "height": 800}}


def by_link(address: str, name: str) -> Callable[[Page, Site], str]:
    """The address that a link of another page leads to; links are found by a part of their address."""

    def find(page: Page, site: Site) -> str:
        page.goto(site.base_url + address)
        return str(page.locator(f'main a[href*="{name}"]').first.evaluate("link => link.href"))

    return find


def open_form(site: Site) -> str:
    """A patient's form of the therapist's own that nobody has begun."""
    query = (
        "SELECT form.id FROM surveys_assignment form"
        " JOIN surveys_session session ON session.id = form.session_id"
        " JOIN surveys_therapy therapy ON therapy.id = session.therapy_id"
        " JOIN surveys_therapist therapist ON therapist.id = therapy.therapist_id"
        " JOIN surveys_user account ON account.id = therapist.user_id"
        " WHERE form.rater = 'patient' AND form.state = 'due' AND form.closes_at > now()"
        " AND account.email = %s ORDER BY form.closes_at, form.id LIMIT 1"
    )
    email = site.manifest["accounts"]["therapist"]["email"]
    if not (found := site.sql(query, email)):
        site.refill()
        found = site.sql(query, email)
    return str(found[0][0])


def open_form_links(page: Page, site: Site) -> str:
    return f"{site.base_url}/forms/{open_form(site)}/links/"


def study_page(code: str, path: str = "") -> Callable[[Page, Site], str]:
    """A page of a study's set-up."""

    def find(page: Page, site: Site) -> str:
        [(study,)] = site.sql("SELECT id FROM surveys_study WHERE code = %s", code)
        return f"{site.base_url}/clinic/studies/{study}/{path}"

    return find


def planned_form(code: str) -> Callable[[Page, Site], str]:
    """The plan of the one form that a study asks for."""

    def find(page: Page, site: Site) -> str:
        page.goto(study_page(code, "draft/forms/")(page, site))
        return str(page.locator('main a[href*="/draft/plan/"]').first.evaluate("link => link.href"))

    return find


@dataclass(frozen=True)
class View:
    """One page as one role sees it."""

    name: str
    role: str
    address: str | Callable[[Page, Site], str]

    def url(self, page: Page, site: Site) -> str:
        if callable(self.address):
            return self.address(page, site)
        return site.base_url + self.address.format(therapy=site.manifest["therapy_ids"][0])


PAGES = (
    View("caseload", "therapist", "/caseload/"),
    View("therapy", "therapist", "/therapies/{therapy}/"),
    View("therapy-therapist", "therapist", "/therapies/{therapy}/?perspective=therapist"),
    View("session-log", "therapist", "/therapies/{therapy}/sessions/"),
    View("form-links", "therapist", open_form_links),
    View("password", "therapist", "/accounts/password/change/"),
    View("supervision", "supervisor", "/supervision/"),
    View("studies", "researcher", "/studies/"),
    View("codebook", "researcher", by_link("/studies/", "codebook")),
    View("admin-home", "clinic_admin", "/clinic/"),
    View("clinic", "clinic_admin", "/clinic/contact/"),
    View("clinic-messages", "clinic_admin", "/clinic/messages/"),
    View("clinic-choice", "clinic_admin", "/clinic/choose/"),
    View("patients", "clinic_admin", "/clinic/patients/"),
    View("patient-new", "clinic_admin", "/clinic/patients/new/"),
    View("patient", "clinic_admin", by_link("/clinic/patients/", "/clinic/patients/0")),
    View("therapy-admin", "clinic_admin", by_link("/clinic/patients/", "/clinic/therapies/0")),
    View("staff", "clinic_admin", "/clinic/staff/"),
    View("staff-new", "clinic_admin", "/clinic/staff/new/"),
    View("account", "clinic_admin", by_link("/clinic/staff/", "/clinic/staff/0")),
    View("setup-studies", "clinic_admin", "/clinic/studies/"),
    View("setup-study-new", "clinic_admin", "/clinic/studies/new/"),
    View("setup-study", "clinic_admin", study_page("DEMO")),
    View("setup-name", "clinic_admin", study_page("ROUTINE-2027", "draft/name/")),
    View("setup-forms", "clinic_admin", study_page("ROUTINE-2027", "draft/forms/")),
    View("setup-plan", "clinic_admin", planned_form("ROUTINE-2027")),
    View("setup-practice", "clinic_admin", study_page("ROUTINE-2027", "draft/practice/")),
    View("setup-visibility", "clinic_admin", study_page("ROUTINE-2027", "draft/visibility/")),
    View("setup-texts", "clinic_admin", study_page("ROUTINE-2027", "draft/texts/")),
    View("setup-reminders", "clinic_admin", study_page("ROUTINE-2027", "draft/reminders/")),
    View("setup-check", "clinic_admin", study_page("ROUTINE-2027", "draft/check/")),
    View("instruments", "clinic_admin", "/instruments/"),
    View("instrument", "clinic_admin", by_link("/instruments/", "/instruments/0")),
    View("instrument-upload", "clinic_admin", "/instruments/upload/"),
    View("licences", "clinic_admin", "/licences/"),
    View("sign-in", "", "/accounts/login/"),
    View("password-reset", "", "/accounts/password/reset/"),
    View("unknown-link", "", "/r/nothing/"),
    View("no-connection", "", "/f/offline/"),
    View("no-such-page", "", "/nowhere/"),
)


def walk(
    browser: Browser, site: Site, size: str, scheme: str, language: str
) -> Iterator[tuple[str, Page, list[str]]]:
    """Every page in a browser of somebody who reads this language: its name, the page, and what its console
    complained about."""
    for role in dict.fromkeys(view.role for view in PAGES):
        context = browser.new_context(viewport=SIZES[size], color_scheme=scheme, locale=language)
        context.set_default_timeout(15_000)
        page = context.new_page()
        errors = console_errors(page)
        if role:
            sign_in(page, site, role)
        for view in PAGES:
            if view.role == role:
                page.goto(view.url(page, site))
                yield from _drawn(view.name, page, errors)
        for way in WAYS.get(role, ()):
            for name in way(page, site):
                yield from _drawn(name, page, errors)
        context.close()


def patient_form(page: Page, site: Site) -> Iterator[str]:
    """A patient's way from the link to the receipt and on to what they sent; the name of each page on it."""
    link = next(site.links)
    page.goto(link)
    # These pages speak the patient's language; a reader of another one chooses it.
    reader = page.evaluate("navigator.language").split("-")[0]
    page.locator(f'main .languages [lang="{reader}"]').click()
    yield "start"
    page.locator("main form button").first.click()
    page.wait_for_selector("fieldset")
    yield "form"
    page.locator("input[name=item_1]").first.check()
    page.locator("[name=send]").first.click()
    page.wait_for_selector("[value=anyway]")
    yield "form-open-items"
    page.locator("[value=anyway]").first.click()
    page.wait_for_url("**/receipt/")
    yield "receipt"
    code = page.locator(".code-large").inner_text()
    page.goto(link)
    yield "received-before"
    page.locator("main a[href*=your-data]").click()
    yield "your-data-code"
    page.locator("[name=code]").fill(code)
    page.locator("main form button").click()
    page.wait_for_url("**/your-data/")
    yield "your-data"
    page.locator("main a[href*=end]").click()
    yield "end-of-part"
    page.locator("[name=choice][value=erase]").check()
    page.locator("main form button").click()
    page.wait_for_selector("[name=confirm]")
    yield "end-of-part-confirmation"


def form_upload(page: Page, site: Site) -> Iterator[str]:
    """An administrator's file with faults, then one in order, and a licence for it with a slip; nothing is
    stored on the way, so that it can be gone again."""
    file = page.request.get(by_link("/instruments/", "/instruments/0")(page, site) + "file/").text()
    for name, text in (
        ("instrument-faults", file.replace("min_share = 0.75", "min_share = 7")),
        ("instrument-checked", file.replace('version = "demo-', 'version = "2026-')),
    ):
        page.goto(f"{site.base_url}/instruments/upload/")
        chosen = {"name": "form.toml", "mimeType": "text/plain", "buffer": text.encode()}
        page.locator("input[type=file]").set_input_files(files=[chosen])
        page.locator("main form button").last.click()
        page.wait_for_selector("main .notice")
        yield name
    page.goto(f"{site.base_url}/licences/")
    page.locator("[name=holder]").fill("Society")
    page.locator("main form button").last.click()
    page.wait_for_selector("main .notice-error")
    yield "licence-faults"


def form_on_paper(page: Page, site: Site) -> Iterator[str]:
    """A sheet to print, and a slip in typing it in; nothing is stored."""
    form = open_form(site)
    page.goto(f"{site.base_url}/forms/{form}/paper/")
    yield "paper-form"
    page.goto(f"{site.base_url}/forms/{form}/paper/entry/")
    yield "paper-entry"
    page.locator("[name=item_2]").fill("9")
    page.locator("#paper button.button-primary").click()
    page.wait_for_selector("main .notice-error")
    yield "paper-entry-slip"


def enrol(page: Page, site: Site, pin: str) -> None:
    page.goto(f"{site.base_url}/tablets/")
    page.locator("[name=name]").fill("Waiting room")
    page.locator("[name=pin]").fill(pin)
    page.locator("main button.button-primary").click()


def tablet(page: Page, site: Site) -> Iterator[str]:
    """The administrator's browser becomes a tablet and takes a patient from the code to the thanks."""
    assert page.context.browser is not None
    other = page.context.browser.new_page()
    sign_in(other, site, "clinic_admin")
    enrol(other, site, "730915")
    other.wait_for_url("**/tablet/")
    other.close()
    page.goto(f"{site.base_url}/tablets/")
    yield "tablets"
    page.evaluate(
        """(address) => {
            const form = document.querySelector("main form[method=post]");
            form.action = address;
            form.submit();
        }""",
        f"/forms/{open_form(site)}/start-code/",
    )
    page.wait_for_selector(".code-huge")
    yield "start-code"
    code = page.locator(".code-huge").inner_text()
    enrol(page, site, "1")
    page.wait_for_selector("main .notice-error")
    yield "tablets-slip"
    enrol(page, site, "730915")
    page.wait_for_url("**/tablet/")
    page.locator("[name=code]").fill("12")
    page.locator("main form button").click()
    page.wait_for_selector("main .error")
    yield "tablet-lock"
    page.goto(f"{site.base_url}/tablet/leave/")
    yield "tablet-leave"
    page.goto(f"{site.base_url}/tablet/")
    page.locator("[name=code]").fill(code)
    page.locator("main form button").click()
    page.wait_for_url("**/begin/")
    yield "tablet-start"
    page.locator("main form button.button-primary").click()
    page.wait_for_selector("fieldset")
    page.locator("#still-there").evaluate("(dialog) => dialog.showModal()")
    yield "tablet-still-there"
    page.keyboard.press("Escape")
    page.locator("[name=send][value=send]").last.click()
    page.locator("[value=anyway]").first.click()
    page.wait_for_url("**/tablet/done/")
    page.locator("summary").click()
    yield "tablet-done"


# Pages that are reached by filling something in.
WAYS: dict[str, tuple[Callable[[Page, Site], Iterator[str]], ...]] = {
    "": (patient_form,),
    "clinic_admin": (form_upload, form_on_paper, tablet),
}


def _drawn(name: str, page: Page, errors: list[str]) -> Iterator[tuple[str, Page, list[str]]]:
    if page.locator(".vega-chart").count():
        page.wait_for_selector(".vega-chart[data-ready=yes]")
    # A page about a wrong address is answered with 404, one about a slip with 422, and the browser says so.
    yield name, page, [error for error in errors if "404" not in error and "422" not in error]
    errors.clear()
