"""The pages of the site: walked by axe in `test_pages.py`, photographed by `make screenshots`.

A new page is one line here: its name, the role that sees it ("" for a page without an account), its address.
An address may hold {therapy}, a therapy of the therapist's own; where it depends on more, it is a function of
the signed-in page.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count

from playwright.sync_api import Browser, Page

from tests.journeys.conftest import Site, new_link
from tests.journeys.test_main_job import confirm, console_errors, sign_in

WALKS = count()
DRAWN = "[...document.querySelectorAll('.vega-chart')].every((chart) => chart.dataset.ready === 'yes')"
SIZES = {"phone": {"width": 360, "height": 640}, "desk": {"width": 1280, "height": 800}}
# A page about a wrong address, a slip or something that is over is answered like this, and the browser's
# console says so.
ANSWERED = re.compile(r"status of (403|404|409|410|422) ")


def by_link(address: str, *names: str) -> Callable[[Page, Site], str]:
    """The address that a link of another page leads to, or a link of the page behind that link; links are
    found by a part of their address."""

    def find(page: Page, site: Site) -> str:
        found = site.base_url + address.format(therapy=site.manifest["therapy_ids"][0])
        for name in names:
            page.goto(found)
            found = str(page.locator(f'main a[href*="{name}"]').first.evaluate("link => link.href"))
        return found

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


def closed_form_link(page: Page, site: Site) -> str:
    """Yesterday's link: to a patient's form whose time is over."""
    ((form,),) = site.sql(
        "SELECT id::text FROM surveys_assignment WHERE rater = 'patient' AND state = 'due'"
        " AND closes_at < now() - interval '1 day' ORDER BY closes_at DESC, id LIMIT 1"
    )
    return new_link(site, form)


def demo_analysis(rest: str) -> Callable[[Page, Site], str]:
    """A page of the study's table that the demonstration begins with, once the worker has answered it."""

    def find(page: Page, site: Site) -> str:
        for _ in range(120):
            if found := site.sql(
                "SELECT id::text FROM analytics_analysis WHERE study_id = %s AND status <> ''"
                " ORDER BY number",
                study_id(site, "DEMO"),
            ):
                return f"{site.base_url}/analyses/{found[0][0]}/{rest}"
            page.wait_for_timeout(500)
        raise AssertionError("the analysis of the demonstration was not answered")

    return find


def possible_dip(page: Page, site: Site) -> str:
    """The first possible dip in the therapist's caseload: where its form is sent to is its page."""
    for therapy in site.manifest["therapy_ids"]:
        page.goto(f"{site.base_url}/therapies/{therapy}/")
        form = page.locator('main form[action*="/dips/"]')
        if form.count():
            return str(form.first.evaluate("form => form.action"))
    raise AssertionError("the demonstration has no possible dip")


def study_id(site: Site, code: str) -> str:
    [(study,)] = site.sql("SELECT id FROM surveys_study WHERE code = %s", code)
    return str(study)


def study_page(code: str, path: str = "") -> Callable[[Page, Site], str]:
    """A page of a study's set-up."""

    def find(page: Page, site: Site) -> str:
        return f"{site.base_url}/clinic/studies/{study_id(site, code)}/{path}"

    return find


def desk_page(*names: str) -> Callable[[Page, Site], str]:
    """The research desk of the demonstration's study (journeys add others), or a page behind its links."""

    def find(page: Page, site: Site) -> str:
        return by_link(f"/studies/{study_id(site, 'DEMO')}/data/", *names)(page, site)

    return find


def import_page(path: str = "") -> Callable[[Page, Site], str]:
    """A page of a small file of old ratings, checked and not stored: some forms accepted, some rejected."""

    def find(page: Page, site: Site) -> str:
        found = site.sql(
            "SELECT id FROM surveys_importbatch WHERE state = 'open' ORDER BY uploaded_at LIMIT 1"
        )
        if not found:
            bring_in(page, site, OLD_RATINGS)
            page.get_by_role("button", name="Save and show the first forms").click()
            page.get_by_role("button", name="Check the whole file").click()
            page.get_by_role("button", name=re.compile("^Store")).wait_for()
            return f"{page.url}{path}"
        return f"{site.base_url}/clinic/imports/{found[0][0]}/{path}"

    return find


def bring_in(page: Page, site: Site, content: bytes, name: str = "ratings-2015.csv") -> None:
    """Uploads a file into the study of the demonstration; afterwards its columns are asked for."""
    page.goto(study_page("DEMO", "import/")(page, site))
    file = {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    page.get_by_label("File with old ratings").set_input_files([file])
    page.get_by_role("button", name="Upload the file").click()
    page.wait_for_url("**/columns/")


def _old_ratings() -> bytes:
    names = [f"WAI_{who}_s{at}_{item}" for at in (3, 12, 20) for who in "PT" for item in range(1, 13)]
    rows = [";".join(["patient", "therapist", *names])]
    for patient in range(8):
        answers = [str(1 + (patient * 3 + place) % 7) for place in range(len(names))]
        last = len(names) if patient % 3 else len(names) // 3
        cells = [*answers[:last], *[""] * (len(names) - last)]
        cells[patient] = "9" if patient == 5 else cells[patient]
        rows.append(";".join([f"P{patient:02d}", f"T{patient // 3}", *cells]))
    return "\n".join(rows).encode()


OLD_RATINGS = _old_ratings()


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
    View("dip", "therapist", possible_dip),
    View("agreement", "therapist", "/caseload/agreement/"),
    View("practice", "therapist", "/practice/"),
    View("session-log", "therapist", "/therapies/{therapy}/sessions/"),
    View("session-today", "therapist", "/therapies/{therapy}/sessions/today/"),
    View("session-correct", "therapist", by_link("/therapies/{therapy}/sessions/", "/sessions/0")),
    View("form-links", "therapist", open_form_links),
    View("api-tokens", "researcher", "/accounts/tokens/"),
    View("signing-in", "therapist", "/accounts/2fa/"),
    View("app-set-up", "therapist", "/accounts/2fa/totp/activate/"),
    View("app-remove", "therapist", "/accounts/2fa/totp/deactivate/"),
    View("passkey-set-up", "therapist", "/accounts/2fa/webauthn/add/"),
    View("recovery-codes-new", "therapist", "/accounts/2fa/recovery-codes/generate/"),
    View("code-again", "therapist", "/accounts/2fa/reauthenticate/"),
    View("password", "therapist", "/accounts/password/change/"),
    View("sessions", "therapist", "/accounts/sessions/"),
    View("sign-in-again", "therapist", "/accounts/reauthenticate/"),
    View("sign-out", "therapist", "/accounts/logout/"),
    View("not-allowed", "therapist", "/clinic/"),
    View("supervision", "supervisor", "/supervision/"),
    View("supervision-nothing-found", "supervisor", "/supervision/?show=none&therapist=ZZZZ"),
    View("therapy-supervisor", "supervisor", "/therapies/{therapy}/"),
    View("shared-practices", "supervisor", "/supervision/practices/"),
    View("supervisee-practice", "supervisor", by_link("/supervision/practices/", "/supervision/practices/0")),
    View("studies", "researcher", "/studies/"),
    View("codebook", "researcher", desk_page("codebook")),
    View("plans", "researcher", desk_page("plans")),
    View("plan-new", "researcher", desk_page("plans", "plans/new")),
    View("desk-data", "researcher", desk_page()),
    View("analyses", "researcher", desk_page("/analyses/")),
    View("analysis-new", "researcher", desk_page("/analyses/", "/analyses/new/")),
    View("analysis", "researcher", demo_analysis("")),
    View("analysis-table", "researcher", demo_analysis("table/")),
    View("analysis-trace", "researcher", demo_analysis("trace/joint/")),
    View("analysis-publish", "researcher", demo_analysis("publish/")),
    View("admin-home", "clinic_admin", "/clinic/"),
    View("clinic", "clinic_admin", "/clinic/contact/"),
    View("status", "clinic_admin", "/status/"),
    View("completion", "clinic_admin", "/clinic/completion/"),
    View("completion-all", "clinic_admin", "/clinic/completion/?period=all"),
    View("clinic-requests", "clinic_admin", "/clinic/requests/"),
    View("clinic-request", "clinic_admin", by_link("/clinic/requests/", "/clinic/requests/0")),
    View("clinic-messages", "clinic_admin", "/clinic/messages/"),
    View("clinic-choice", "clinic_admin", "/clinic/choose/"),
    View("reception", "clinic_admin", "/reception/"),
    View("reception-nothing-found", "clinic_admin", "/reception/?code=ZZZZ"),
    View("reception-log", "clinic_admin", "/therapies/{therapy}/sessions/"),
    View("patients", "clinic_admin", "/clinic/patients/"),
    View("patient-new", "clinic_admin", "/clinic/patients/new/"),
    View("patient", "clinic_admin", by_link("/clinic/patients/", "/clinic/patients/0")),
    View("access-file", "clinic_admin", by_link("/clinic/patients/", "/clinic/patients/0", "/access-file/")),
    View("retention", "clinic_admin", "/clinic/retention/"),
    View("privacy-kit", "clinic_admin", "/clinic/privacy/"),
    View("privacy-record", "clinic_admin", "/clinic/privacy/record/"),
    View("privacy-roles", "clinic_admin", "/clinic/privacy/roles/"),
    View("privacy-information", "clinic_admin", by_link("/clinic/privacy/", "/privacy/patients/")),
    View("patients-nothing-found", "clinic_admin", "/clinic/patients/?code=ZZZZ"),
    View("therapy-admin", "clinic_admin", by_link("/clinic/patients/", "/clinic/therapies/0")),
    View("therapy-new", "clinic_admin", by_link("/clinic/patients/", "/clinic/patients/0", "/therapy/")),
    View("staff", "clinic_admin", "/clinic/staff/"),
    View("trace", "clinic_admin", "/clinic/trace/"),
    View("trace-nothing-found", "clinic_admin", "/clinic/trace/?code=ZZZZ&kind=read"),
    View("trace-wrong-day", "clinic_admin", "/clinic/trace/?since=yesterday"),
    View("own-trace", "therapist", "/accounts/trace/"),
    View("staff-new", "clinic_admin", "/clinic/staff/new/"),
    View("role-grants", "clinic_admin", "/roles/"),
    View("account", "clinic_admin", by_link("/clinic/staff/", "/clinic/staff/0")),
    View("setup-studies", "clinic_admin", "/clinic/studies/"),
    View("setup-study-new", "clinic_admin", "/clinic/studies/new/"),
    View("setup-study", "clinic_admin", study_page("DEMO")),
    View("study-dips", "clinic_admin", study_page("DEMO", "dips/")),
    View("setup-name", "clinic_admin", study_page("ROUTINE-2027", "draft/name/")),
    View("setup-forms", "clinic_admin", study_page("ROUTINE-2027", "draft/forms/")),
    View("setup-plan", "clinic_admin", planned_form("ROUTINE-2027")),
    View("setup-practice", "clinic_admin", study_page("ROUTINE-2027", "draft/practice/")),
    View("setup-visibility", "clinic_admin", study_page("ROUTINE-2027", "draft/visibility/")),
    View("setup-texts", "clinic_admin", study_page("ROUTINE-2027", "draft/texts/")),
    View("setup-reminders", "clinic_admin", study_page("ROUTINE-2027", "draft/reminders/")),
    View("setup-check", "clinic_admin", study_page("ROUTINE-2027", "draft/check/")),
    View("import-new", "clinic_admin", study_page("DEMO", "import/")),
    View("import", "clinic_admin", import_page()),
    View("import-columns", "clinic_admin", import_page("columns/")),
    View("imports", "clinic_admin", "/clinic/imports/"),
    View("instruments", "clinic_admin", "/instruments/"),
    View("instrument", "clinic_admin", by_link("/instruments/", "/instruments/0")),
    View("instrument-upload", "clinic_admin", "/instruments/upload/"),
    View("licences", "clinic_admin", "/licences/"),
    View("operator-home", "superuser", "/"),
    View("role-grants-operator", "superuser", "/roles/"),
    View("emergency", "superuser", "/emergency/"),
    View("sign-in", "", "/accounts/login/"),
    View("password-reset", "", "/accounts/password/reset/"),
    View("password-reset-sent", "", "/accounts/password/reset/done/"),
    View("password-set", "", "/accounts/password/reset/key/done/"),
    View("password-link-used", "", "/accounts/password/reset/key/1-used/"),
    View("no-sign-up", "", "/accounts/signup/"),
    View("no-access", "", "/accounts/inactive/"),
    View("unknown-link", "", "/r/nothing/"),
    View("closed-link", "", closed_form_link),
    View("no-tablet", "", "/tablet/"),
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
        context.set_default_timeout(30_000)
        page = context.new_page()
        errors = console_errors(page)
        if role:
            sign_in(page, site, role)
            confirm(page, site, role)
        for view in PAGES:
            if view.role == role:
                page.goto(view.url(page, site))
                yield from _drawn(view.name, page, errors)
        for way in WAYS.get(role, ()):
            for name in way(page, site):
                yield from _drawn(name, page, errors)
        context.close()


def second_step(page: Page, site: Site) -> Iterator[str]:
    """Between the password and being signed in, with a wrong code."""
    account = site.manifest["accounts"]["supervisor"]
    page.goto(f"{site.base_url}/accounts/login/")
    page.fill("input[name=login]", account["email"])
    page.fill("input[name=password]", account["password"])
    page.locator("main").get_by_role("button").first.click()
    page.wait_for_selector("input[name=code]")
    yield "second-step"
    page.fill("input[name=code]", "000000")
    page.locator("main form button").first.click()
    page.wait_for_selector("main .errorlist")
    yield "second-step-slip"


def recovery_codes(page: Page, site: Site) -> Iterator[str]:
    """New codes, shown once."""
    page.goto(f"{site.base_url}/accounts/2fa/recovery-codes/generate/")
    page.locator("main form button").click()
    page.wait_for_selector(".recovery-codes")
    yield "recovery-codes"
    page.goto(f"{site.base_url}/accounts/2fa/recovery-codes/")
    yield "recovery-codes-shown-before"


def start_page(page: Page, link: str) -> None:
    """These pages speak the patient's language; a reader of another one chooses it."""
    page.goto(link)
    reader = page.evaluate("navigator.language").split("-")[0]
    page.locator(f'main .languages [lang="{reader}"]').click()
    page.wait_for_selector(f'html[lang^="{reader}"]')


def patient_form(page: Page, site: Site) -> Iterator[str]:
    """A patient's way from the link to the receipt and on to what they sent; the name of each page on it."""
    link = next(site.links)
    start_page(page, link)
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


def end_of_part(page: Page, site: Site) -> Iterator[str]:
    """A patient of another therapist, whose forms no other walk needs, wants to be asked no more; what their
    links say then."""
    ((form,),) = site.sql(
        """SELECT form.id::text FROM surveys_assignment form
           JOIN surveys_session session ON session.id = form.session_id
           JOIN surveys_therapy therapy ON therapy.id = session.therapy_id
           WHERE form.rater = 'patient' AND form.state = 'due' AND therapy.ended_on IS NULL
             AND therapy.stopped_at IS NULL AND therapy.id::text <> ALL (%s)
           ORDER BY therapy.id DESC LIMIT 1""",
        site.manifest["therapy_ids"],
    )
    link = new_link(site, form, days_open=3)
    start_page(page, link)
    page.locator("main form button").first.click()
    page.wait_for_selector("fieldset")
    page.locator("[name=send]").first.click()
    page.wait_for_selector("[value=anyway]")
    page.locator("[value=anyway]").first.click()
    page.wait_for_url("**/receipt/")
    code = page.locator(".code-large").inner_text()
    page.goto(link + "your-data/")
    page.locator("[name=code]").fill("2345-2345")
    page.locator("main form button").click()
    page.wait_for_selector("main [role=alert]")
    yield "your-data-wrong-code"
    page.locator("[name=code]").fill(code)
    page.locator("main form button").click()
    page.wait_for_url("**/your-data/")
    page.locator("main a[href*=end]").click()
    page.locator("main form button").click()
    page.wait_for_selector("main [role=alert]")
    yield "end-of-part-nothing-chosen"
    page.locator("[name=choice][value=stop]").check()
    page.locator("main form button").click()
    page.locator("[name=confirm]").click()
    page.wait_for_url("**/ended/")
    yield "part-ended"
    page.goto(link)
    yield "link-after-the-end"


def after_a_session(page: Page, site: Site) -> Iterator[str]:
    """A therapist enters a session, with a slip and without one, and rates it."""
    ((therapy,),) = site.sql(
        """SELECT therapy.id::text FROM surveys_therapy therapy
           JOIN surveys_session session ON session.therapy_id = therapy.id
           WHERE therapy.id::text = ANY (%s) AND therapy.arm = 'every' AND therapy.ended_on IS NULL
             AND therapy.stopped_at IS NULL AND therapy.excluded_at IS NULL
           GROUP BY therapy.id ORDER BY max(session.held_at) DESC LIMIT 1""",
        site.manifest["therapy_ids"],
    )
    page.goto(f"{site.base_url}/therapies/{therapy}/sessions/")
    page.locator("[name=held_at]").fill("2099-01-01T10:00")
    page.locator("[name=status][value=cancelled]").check()
    page.locator("main form button.button-primary").click()
    page.wait_for_selector("main .notice-error")
    yield "session-log-slip"
    page.goto(f"{site.base_url}/therapies/{therapy}/sessions/today/")
    # Walks that follow each other quickly have times of their own.
    held_at = datetime.now(UTC) - next(WALKS) * timedelta(minutes=90)
    page.locator("[name=held_at]").fill(f"{held_at:%Y-%m-%dT%H:%M}")
    page.locator("main form button.button-primary").click()
    page.wait_for_selector("main .notice-ok")
    yield "session-entered"
    page.goto(f"{site.base_url}/sessions/{_newest_session(site, therapy)}/no-rating/")
    yield "no-rating"
    page.goto(f"{site.base_url}/caseload/")
    own = site.sql(
        "SELECT id FROM surveys_assignment WHERE session_id = %s AND rater = 'therapist'",
        _newest_session(site, therapy),
    )[0][0]
    page.locator(f"form[action='/forms/{own}/start/'] button").click()
    page.wait_for_selector("fieldset")
    yield "own-form"
    page.locator("[name=send]").first.click()
    page.wait_for_selector("[value=anyway]")
    yield "own-form-open-items"
    page.locator("[value=anyway]").first.click()
    page.wait_for_url("**/receipt/")
    yield "own-receipt"
    page.goto(f"{site.base_url}/sessions/{_newest_session(site, therapy)}/")
    page.locator("[name=status][value=no_show]").check()
    page.locator("main form button.button-primary").click()
    page.wait_for_selector("main .notice-error")
    yield "session-correct-refused"


def _newest_session(site: Site, therapy: str) -> str:
    log = "SELECT id::text FROM surveys_session WHERE therapy_id = %s ORDER BY id DESC LIMIT 1"
    return str(site.sql(log, therapy)[0][0])


def hand_over(page: Page, site: Site) -> Iterator[str]:
    """The two pages with a patient's link on them."""
    address = open_form_links(page, site)
    for name in ("screen", "paper"):
        page.goto(address)
        page.locator(f"main form[action$='/{name}/'] button").click()
        page.wait_for_selector("img.qr")
        yield f"form-qr-{name}"


def study_try_out(page: Page, site: Site) -> Iterator[str]:
    """A test run from its beginning to where nothing is left of it."""
    page.goto(study_page("DEMO")(page, site))
    page.locator("main form[action$='/test/'] button").click()
    page.wait_for_selector("form[action$='/link/']")
    yield "setup-test"
    page.locator("form[action$='/link/'] button").click()
    page.wait_for_selector("img.qr")
    yield "setup-test-link"
    page.locator("form[action$='/clear/'] button").click()
    page.wait_for_selector("main .notice-ok")
    yield "setup-test-cleared"


def slips(page: Page, site: Site) -> Iterator[str]:
    """Forms of the administration sent as they should not be: nothing is stored."""
    page.goto(by_link("/clinic/patients/", "/clinic/patients/0", "/therapy/")(page, site))
    page.locator("main form button.button-primary").click()
    page.wait_for_selector("main .notice-error")
    yield "therapy-new-slip"
    ((running,),) = site.sql("SELECT id FROM surveys_therapy WHERE ended_on IS NULL ORDER BY id LIMIT 1")
    page.goto(f"{site.base_url}/clinic/therapies/{running}/")
    for deed in ("transfer", "end"):
        form = page.locator(f"main form[action$='/{deed}/']")
        page.locator(f"details:has(form[action$='/{deed}/']) > summary").click()
        form.locator("input:not([type=hidden])").first.fill("")
        form.locator("button").click()
        page.wait_for_selector("main .notice-error")
        yield f"therapy-{deed}-slip"
    page.goto(by_link("/clinic/patients/", "/clinic/patients/0", "/withdrawal/")(page, site))
    yield "withdrawal"
    page.locator("main form button").click()
    page.wait_for_selector("main [role=alert]")
    yield "withdrawal-nothing-chosen"
    page.locator("[name=choice][value=erase]").check()
    page.locator("main form button").click()
    page.wait_for_selector("[name=confirm]")
    yield "withdrawal-confirmation"


def new_token(page: Page, site: Site) -> Iterator[str]:
    """A token made, shown once and revoked; before it a slip."""
    page.goto(f"{site.base_url}/accounts/tokens/")
    make = page.locator("main form:has([name=days]) button")
    page.locator("[name=name]").fill(f"Walk {next(WALKS)}")
    make.click()
    page.wait_for_selector("main .notice-error")
    yield "api-token-slip"
    page.locator("[name=scopes]").first.check()
    make.click()
    page.wait_for_selector(".token")
    yield "api-token-new"
    page.locator("main form[action$='/revoke/'] button").first.click()
    page.wait_for_selector("main .notice-ok")
    yield "api-token-revoked"


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


def plan_study(page: Page, site: Site) -> Iterator[str]:
    """A plan with something to mend, then one that is simulated."""
    page.goto(desk_page("plans", "plans/new")(page, site))
    page.locator("[name=title]").fill("A second study")
    page.locator("[name=n_studies]").fill("1")
    page.locator("main form button.button-primary").click()
    page.wait_for_selector("main .error")
    yield "plan-refused"
    page.locator("[name=n_therapists]").fill("12, 24")
    page.locator("[name=n_studies]").fill("50")
    page.locator("[name=effects][value='difference.level']").uncheck()
    page.locator("main form button.button-primary").click()
    page.wait_for_selector("#job [role=status], #result figure")
    yield "plan-waits"
    page.wait_for_selector("#result figure", timeout=120_000)
    yield "plan"


def research_desk(page: Page, site: Site) -> Iterator[str]:
    """Data that are frozen, and a file of them that is asked for; the administrator finds the request."""
    desk = desk_page()(page, site)
    page.goto(desk)
    page.locator("main details > summary").click()
    page.locator("[name=started_until]").fill("2001-01-01")
    page.locator("main form button.button-primary").click()
    page.wait_for_selector("main .notice-error")
    yield "desk-data-refused"
    page.goto(desk)
    page.locator("main form button.button-primary").click()
    page.wait_for_selector("#job[aria-label]")
    yield "desk-data-waiting"
    page.wait_for_selector("#result tbody tr:first-child td[data-label=SHA-256]", timeout=180_000)
    yield "desk-data-frozen"
    page.locator("#result tbody th a").first.click()
    page.wait_for_selector("[name=purpose]")
    yield "desk-snapshot"
    page.locator("main form button.button-primary").click()
    page.wait_for_selector("main .notice-error")
    yield "desk-snapshot-slip"
    page.locator("[name=purpose]").fill("A thesis on how both see the bond; kept on the institute’s server.")
    page.locator("[name=tier][value=scores]").check()
    page.locator("main form button.button-primary").click()
    page.wait_for_url("**/exports/*/")
    yield "desk-export"


def locked_question(page: Page, site: Site) -> Iterator[str]:
    """A question that is locked before it is asked, and one of more predictors than there are therapists."""
    new = desk_page("/analyses/", "/analyses/new/")
    page.goto(new(page, site))
    page.locator("details:has([name=do]) > summary").click()
    page.locator("[name=exclusions]").fill("Therapies of fewer than three sessions.")
    page.locator("[name=do][value=lock]").click()
    page.wait_for_url("**/locks/*/")
    yield "lock"
    page.goto(new(page, site))
    page.locator("[name=time]").select_option("occasion")
    page.locator("[name=sessions]").fill("3")
    page.locator("main form button.button-primary").click()
    page.wait_for_selector("main .notice-error")
    yield "analysis-new-slip"
    page.locator("[name=time]").select_option("linear")
    for box in page.locator("[name=predictors]").all():
        box.check()
    page.locator("main form button.button-primary").click()
    page.wait_for_selector("#job [role=status], #result .notice")
    yield "analysis-waits"
    page.wait_for_selector("#result .notice", timeout=180_000)
    yield "analysis-refused"


def published_table(page: Page, site: Site) -> Iterator[str]:
    """The table of the demonstration's analysis, published and withdrawn, each with a slip before it."""
    page.goto(demo_analysis("publish/")(page, site))
    page.locator("[name=code]").fill("An address")
    page.locator("main form button.button-primary").click()
    page.wait_for_selector("main .notice-error")
    yield "analysis-publish-slip"
    code = f"walk-{next(WALKS)}"
    page.locator("[name=code]").fill(code)
    page.locator("main form button.button-primary").click()
    page.wait_for_url(f"**/tables/{code}/v1/")
    table = page.url
    yield "table"
    page.goto(table.replace("/v1/", "/v9/"))
    yield "table-unknown-version"
    page.goto(desk_page("/tables/")(page, site))
    yield "tables"
    page.locator("tr", has_text=f"{code}/v1").locator("a[href$='/withdraw/']").click()
    page.wait_for_selector("[name=reason]")
    yield "table-withdraw"
    page.locator("main form button.button-primary").click()
    page.wait_for_selector("main .notice-error")
    yield "table-withdraw-slip"
    page.locator("[name=reason]").fill("Sessions were counted wrongly.")
    page.locator("main form button.button-primary").click()
    page.wait_for_url(f"**/tables/{code}/v1/")
    yield "table-withdrawn"


# Pages that are reached by filling something in.
WAYS: dict[str, tuple[Callable[[Page, Site], Iterator[str]], ...]] = {
    "": (patient_form, end_of_part, second_step),
    "therapist": (after_a_session, hand_over),
    "clinic_admin": (form_upload, form_on_paper, study_try_out, slips, tablet),
    "researcher": (recovery_codes, new_token, plan_study, locked_question, published_table, research_desk),
}


def _drawn(name: str, page: Page, errors: list[str]) -> Iterator[tuple[str, Page, list[str]]]:
    if page.locator(".vega-chart").count():
        page.wait_for_function(DRAWN)
    yield name, page, [error for error in errors if not ANSWERED.search(error)]
    errors.clear()
