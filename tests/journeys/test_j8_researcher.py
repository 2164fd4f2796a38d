"""A researcher freezes the data, asks for a file, and has it for a day once somebody else agrees."""

import hashlib
import io
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.journeys.conftest import Site
from tests.journeys.pages import study_id
from tests.journeys.test_main_job import DESK, confirm, console_errors, freeze, sign_in


def fetch(page: Page) -> bytes:
    with page.expect_download() as download:
        page.get_by_role("link", name="Fetch the file").click()
    return bytes(download.value.path().read_bytes())


def texts(content: bytes) -> dict[str, str]:
    """Every file of the archive as text."""
    found = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            data = archive.read(name)
            is_table = name.endswith(".parquet")
            found[name] = pd.read_parquet(io.BytesIO(data)).to_csv() if is_table else data.decode("latin-1")
    return found


def people(site: Site) -> set[str]:
    """Everything of the site that names somebody: codes, addresses, identifiers."""
    rows = site.sql(
        "SELECT code FROM surveys_patient UNION SELECT code FROM surveys_therapist"
        " UNION SELECT code FROM surveys_therapy UNION SELECT email FROM surveys_user"
        " UNION SELECT id::text FROM surveys_patient UNION SELECT id::text FROM surveys_therapist"
        " UNION SELECT id::text FROM surveys_therapy UNION SELECT receipt_code FROM surveys_response"
    )
    return {str(row[0]) for row in rows}


@contextmanager
def another_researcher(site: Site) -> Iterator[str]:
    """The supervisor's account, who for a while also works with the data."""
    email = site.manifest["accounts"]["supervisor"]["email"]
    site.change(
        "INSERT INTO surveys_membership (user_id, clinic_id, role) SELECT user_id, clinic_id, 'researcher'"
        " FROM surveys_membership JOIN surveys_user ON surveys_user.id = user_id WHERE email = %s",
        email,
    )
    yield "supervisor"
    site.change(
        "DELETE FROM surveys_membership WHERE role = 'researcher'"
        " AND user_id = (SELECT id FROM surveys_user WHERE email = %s)",
        email,
    )


def signed_in(browser: Browser, site: Site, role: str) -> Page:
    page = browser.new_context(**DESK).new_page()
    sign_in(page, site, role)
    return page


def open_desk(page: Page, site: Site) -> None:
    """Follows the link to the desk of the demonstration's study; other journeys set up more studies."""
    page.locator(f"main a[href='/studies/{study_id(site, 'DEMO')}/data/']").click()


@pytest.mark.slow
def test_from_the_frozen_data_to_the_file_and_its_end(site: Site, browser: Browser) -> None:
    page = signed_in(browser, site, "researcher")
    errors = console_errors(page)
    open_desk(page, site)

    # The same therapies twice: identical, and said to be; the identifier and the whole hash are shown.
    first, again = freeze(page), freeze(page)
    expect(page.locator("#result tbody tr").first).to_contain_text("identical to snapshot")
    ((one,), (two,)) = site.sql(
        "SELECT sha256 FROM analytics_snapshot WHERE id::text IN (%s, %s) ORDER BY number", first, again
    )
    assert one == two
    page.goto(f"{site.base_url}/snapshots/{again}/")
    expect(page.locator("main")).to_contain_text(again)
    expect(page.locator("main")).to_contain_text(one)

    # Asked for; nothing that was typed is lost by a slip.
    page.get_by_label("What is the file for?").fill("A thesis on the bond of the two")
    page.get_by_label("Every answer, with dates", exact=False).check()
    page.get_by_role("button", name="Ask for it").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Confirm that it is you")
    page.get_by_label("Password").fill(site.manifest["accounts"]["researcher"]["password"])
    page.get_by_role("button", name="Confirm and send").click()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_label("What is the file for?")).to_have_value("A thesis on the bond of the two")
    page.get_by_label("Scale scores", exact=False).check()
    page.get_by_role("button", name="Ask for it").click()
    page.wait_for_url("**/exports/*/")
    export = page.url.rstrip("/").rpartition("/")[2]
    expect(page.locator("main")).to_contain_text("waits for approval")

    # Somebody else reads what it is for and what it tells of people, and agrees.
    admin = signed_in(browser, site, "clinic_admin")
    admin.goto(f"{site.base_url}/clinic/")
    admin.get_by_role("link", name="Requests for data").first.click()
    admin.locator(f"a[href='/clinic/requests/{export}/']").click()
    admin.get_by_label("Password").fill(site.manifest["accounts"]["clinic_admin"]["password"])
    admin.get_by_role("button", name="Confirm").click()
    expect(admin.locator("main")).to_contain_text("A thesis on the bond of the two")
    expect(admin.locator("main")).to_contain_text("each patient is one of at least")
    admin.get_by_role("button", name="Approve").click()
    expect(admin.get_by_role("status")).to_contain_text("Approved")

    # The password was given again a moment ago.
    page.reload()
    page.get_by_role("link", name="Fetch the file").wait_for(timeout=180_000)
    with page.expect_download() as download:
        page.get_by_role("link", name="Fetch the file").click()
    content = download.value.path().read_bytes()
    page.goto(f"{site.base_url}/exports/{export}/")
    assert fetch(page) == content
    assert site.sql("SELECT sha256 FROM analytics_export WHERE id = %s", export) == [
        (hashlib.sha256(content).hexdigest(),)
    ]
    fetched = site.sql(
        "SELECT count(*) FROM surveys_auditevent WHERE act = 'export.download' AND subject = %s",
        f"export:{export}",
    )
    assert fetched == [(2,)]
    nobody_is_named(site, texts(content))
    assert [error for error in errors if not re.search("status of 4(01|22)", error)] == []

    for role in ("clinic_admin", "therapist"):
        other = signed_in(browser, site, role)
        assert status(other, site, export) == 403
    with another_researcher(site) as role:
        other = signed_in(browser, site, role)
        confirm(other, site, role)
        assert status(other, site, export) == 404

    # After its day it is gone, and the page says how to have it again: the same bytes.
    site.change("UPDATE analytics_export SET expires_at = now() - interval '1 minute' WHERE id = %s", export)
    gone = page.goto(f"{site.base_url}/exports/{export}/file/")
    assert gone is not None and gone.status == 410
    expect(page.get_by_role("alert")).to_contain_text("can be fetched for 24 hours")
    page.get_by_role("button", name="Make it again").click()
    page.get_by_role("link", name="Fetch the file").wait_for(timeout=180_000)
    assert fetch(page) == content, "the password was given a minute ago"


def status(page: Page, site: Site, export: str) -> int:
    return page.request.get(f"{site.base_url}/exports/{export}/file/").status


def nobody_is_named(site: Site, files: dict[str, str]) -> None:
    assert {"data/ratings.parquet", "data/therapists.parquet", "MANIFEST.sha256"} <= set(files)
    wrong = [(name, who) for name, text in files.items() for who in people(site) if who in text]
    assert wrong == []
    assert (
        "item_1" not in files["data/ratings.parquet"] and "submitted_on" not in files["data/ratings.parquet"]
    )
