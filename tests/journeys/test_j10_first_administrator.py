"""The first administrator of a real clinic: from the link to a password, over the second factor, to the
clinic; then a passkey, after the password and in place of it."""

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.journeys.conftest import ROOT, VAR, Site, environment, running_site
from tests.journeys.test_main_job import PHONE, console_errors
from tests.totp import code_of

EMAIL, PASSWORD = "head@river.example", "another horse in the morning"


@pytest.fixture(scope="module")
def fresh() -> Iterator[Site]:
    """A site of its own: a real clinic has no place among the simulated ones of the other journeys."""
    with running_site(VAR.with_name(f"{VAR.name}-factor")) as running:
        yield running


def password_link(site: Site, base_url: str) -> str:
    words = ["clinic_create", "River Clinic", "--contact", "Reception", "--admin", EMAIL]
    command = [sys.executable, "manage.py", *words, "--base-url", base_url]
    said = subprocess.run(
        command, cwd=ROOT, env=environment(site.var), check=True, capture_output=True, text=True
    )
    return next(word for word in said.stdout.split() if word.startswith("http"))


def add_passkey_device(page: Page) -> None:
    """A device that keeps passkeys and agrees to everything."""
    line = page.context.new_cdp_session(page)
    line.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True}
    options |= {"hasUserVerification": True, "isUserVerified": True, "automaticPresenceSimulation": True}
    line.send("WebAuthn.addVirtualAuthenticator", {"options": options})


def sign_out(page: Page) -> None:
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/accounts/login/")


def give_password(page: Page, base_url: str) -> None:
    page.goto(f"{base_url}/accounts/login/?next=/clinic/staff/")
    expect(page.locator("#passkey-failed")).to_be_hidden()
    page.fill("input[name=login]", EMAIL)
    page.fill("input[name=password]", PASSWORD)
    page.locator("main").get_by_role("button").first.click()


@pytest.mark.slow
def test_from_the_password_link_over_the_second_factor_into_the_clinic(fresh: Site, browser: Browser) -> None:
    # Browsers make passkeys for a name, not for a number.
    base_url = fresh.base_url.replace("127.0.0.1", "localhost")
    page = browser.new_context(**PHONE).new_page()
    errors = console_errors(page)
    page.goto(password_link(fresh, base_url))
    for name in ("password1", "password2"):
        page.fill(f"input[name={name}]", PASSWORD)
    page.get_by_role("button", name="Set the password").click()
    give_password(page, base_url)

    expect(page.get_by_role("heading", level=1)).to_have_text("Set up a second factor")
    assert "Demonstration" not in page.content()
    assert page.locator("img.qr").evaluate("image => image.naturalWidth") > 100
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    key = re.sub(r"\s", "", page.locator("main code.token").inner_text())
    page.fill("input[name=code]", "000000")
    page.get_by_role("button", name="Set up the app").click()
    expect(page.get_by_role("alert").or_(page.locator(".errorlist")).first).to_contain_text("not right")
    page.fill("input[name=code]", code_of(key))
    page.get_by_role("button", name="Set up the app").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Recovery codes")
    expect(page.locator(".recovery-codes li")).to_have_count(10)
    page.get_by_role("link", name="I have kept them").click()
    page.wait_for_url("**/clinic/staff/")

    add_passkey_device(page)
    page.get_by_role("link", name="Signing in").click()
    page.get_by_role("link", name="Set up a passkey").click()
    # Who has a factor confirms before another one is added.
    expect(page.get_by_role("heading", level=1)).to_have_text("Confirm that it is you")
    page.fill("input[name=password]", PASSWORD)
    page.get_by_role("button", name="Confirm").click()
    page.fill("input[name=name]", "Desk at reception")
    page.get_by_label("Sign in with it alone").check()
    page.get_by_role("button", name="Set up the passkey").click()
    expect(page.get_by_text("Desk at reception", exact=True)).to_be_visible()
    expect(page.get_by_text("Passkey, enough alone")).to_be_visible()

    sign_out(page)
    give_password(page, base_url)
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url("**/clinic/staff/")
    sign_out(page)
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url(lambda url: "/accounts/" not in url)
    page.goto(f"{base_url}/clinic/staff/")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert errors == []
