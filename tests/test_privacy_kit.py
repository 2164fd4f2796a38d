"""The privacy kit says what the site's settings are, and nothing that it cannot know."""

from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as site
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from alliance_site.kit.documents import Blank, Grid, Paper, Part, Steps, markdown
from alliance_site.kit.roles import AREAS, COLUMNS, area_of, matrix
from alliance_site.policy import ANYONE, EMERGENCY, OPERATOR, POLICY, SIGNED_IN
from surveys.models import EmergencyAccess, KeepRule, Role, RoleGrant, SignIn
from surveys.retention import years
from tests import factories
from tests.conftest import Cast, signed_in

pytestmark = pytest.mark.django_db
CODES = ("record", "roles", "assessment", "breach")


def text(client: Client, address: str, **query: str) -> str:
    answer = client.get(address, {"as": "markdown", **query})
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/markdown; charset=utf-8")
    return answer.content.decode()


def test_every_route_and_role_of_the_policy_is_in_the_matrix() -> None:
    rows = {str(row[0]): row for row in matrix().rows}
    assert set(COLUMNS) == {ANYONE, OPERATOR, EMERGENCY, *Role.values}
    for (route, method), allowed in POLICY.items():
        row = rows[str(area_of(route).title)]
        for number, who in enumerate(COLUMNS, 1):
            if who in allowed or ANYONE in allowed or (SIGNED_IN in allowed and who != ANYONE):
                assert row[number] != "–", (route, who)
                assert method == "GET" or "changes" in row[number], (route, who)


def test_nobody_is_said_to_do_what_the_policy_refuses() -> None:
    for row in matrix().rows:
        own = {line: allowed for line, allowed in POLICY.items() if str(area_of(line[0]).title) == row[0]}
        for number, who in enumerate(COLUMNS, 1):
            everybody = {ANYONE} if who == ANYONE else {ANYONE, SIGNED_IN, who}
            methods = {method for (_route, method), allowed in own.items() if allowed & everybody}
            assert ("changes" in row[number]) == bool(methods - {"GET"}), (row[0], who)
            assert ("sees" in row[number]) == ("GET" in methods), (row[0], who)


def test_every_route_is_of_an_area() -> None:
    assert {route for route, _method in POLICY if area_of(route) not in AREAS} == set()


def test_a_route_that_no_area_names_stands_under_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(POLICY, ("brand-new", "POST"), frozenset({"researcher"}))
    (row,) = [row for row in matrix().rows if row[0] == "brand-new"]
    assert [cell for cell in row[1:-1] if cell != "–"] == ["changes"]
    assert len({str(area.title) for area in AREAS}) == len(AREAS)


def test_the_papers_open_for_administrators_in_every_language(cast: Cast) -> None:
    client = signed_in(cast.clinic_admin)
    page = client.get(reverse("privacy-kit")).content.decode()
    addresses = [reverse("privacy-paper", args=[code]) for code in CODES]
    addresses.append(reverse("privacy-information", args=[cast.study.pk]))
    for address in addresses:
        assert address in page
        for language, _name in site.LANGUAGES:
            answer = client.get(address, {"language": language})
            assert answer.status_code == 200
        assert "[to fill in: " in text(client, address) or address.endswith("/roles/")
        assert "Draft of" in text(client, address)
    assert client.get(reverse("privacy-paper", args=["poem"])).status_code == 404
    other = reverse("privacy-information", args=[cast.stranger_study.pk])
    assert client.get(other).status_code == 404
    assert signed_in(cast.therapist).get(addresses[0]).status_code == 403


def test_what_the_papers_say_follows_the_settings(cast: Cast, settings: Any) -> None:
    client = signed_in(cast.clinic_admin)
    record = reverse("privacy-paper", args=["record"])
    sheet = reverse("privacy-information", args=[cast.study.pk])
    before, told = text(client, record), text(client, sheet)
    assert "Harbour Clinic, Reception, 555 0100" in before and "Study S1" in before
    assert "Kept for good" in before and "No e-mail leaves this site" in before
    page = client.get(record).content.decode()
    assert '<th scope="row">Study S1</th>' in page and '<td data-label="Kept">Kept for good</td>' in page
    assert "once they have given their own rating" in told and "Nobody is reminded" in told
    assert "On each form you choose" in told and "You are asked whether" not in told

    factories.replan(cast.study, reminder_hours=[24])
    rule = {"clinic": cast.clinic, "kind": "answers", "days": years(10)}
    KeepRule.objects.create(**rule, proposed_at=timezone.now(), approved_at=timezone.now())
    settings.MAIL_STAYS_HERE, settings.EMAIL_HOST = False, "mail.example.org"
    settings.BACKUP_KEY, settings.HTTPS = "", True
    after, told = text(client, record), text(client, sheet)
    assert "mail server mail.example.org" in after and "10 years" in after and "10 years" in told
    assert "Reminders go out after: 24 hours." in told
    assert (
        "| Backups are encrypted | no |" in after and "| Encrypted connections are enforced | yes |" in after
    )

    factories.set_visibility(cast.study, "blind")
    factories.ask_consent(cast.study)
    told = text(client, sheet)
    assert "Your therapist will never see your answers." in told and "On each form you choose" not in told
    assert "You are asked whether" in told


def test_what_the_papers_say_of_signing_in_follows_the_settings_and_the_models(
    cast: Cast, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = signed_in(cast.clinic_admin)
    record = reverse("privacy-paper", args=["record"])
    sheet = reverse("privacy-information", args=[cast.study.pk])
    before, told = text(client, record), text(client, sheet)
    for words in (
        "| App on the phone | its key, encrypted | until it is replaced, removed or reset;",
        "its public half",
        "two administrators of the clinic together",
        "30 minutes without use, 12 hours at most",
        "another confirms within 7 days",
        "Nothing can be opened in an emergency, because no mail server is set",
        "| Everybody who signs in gives a second factor | yes |",
    ):
        assert words in before, words
    assert "People may also sign in by" not in before
    assert "Whoever runs this site cannot open your pages." in told

    settings.MAIL_STAYS_HERE, settings.EMAIL_HOST = False, "mail.example.org"
    settings.SESSION_COOKIE_AGE, settings.OIDC_NAME = 20 * 60, "Harbour ID"
    monkeypatch.setattr(RoleGrant, "LASTS", timedelta(days=1))
    monkeypatch.setattr(EmergencyAccess, "LASTS", timedelta(minutes=10))
    after, told = text(client, record), text(client, sheet)
    assert "20 minutes without use" in after and "within 1 day." in after
    assert "the pages of one for 10 minutes" in after and "your pages for 10 minutes" in told
    assert "Harbour ID, which learns when they do. The second factor is asked for here" in after
    settings.OIDC_MFA = True
    assert "That it asks for a second factor is believed" in text(client, record)


def test_what_is_stored_of_signing_in_is_what_the_record_says(cast: Cast) -> None:
    """A column or a kind of factor that comes has to be told there."""
    said = {"session_key", "session_data", "expire_date", "user", "began_at", "used_at", "browser", "system"}
    assert {field.name for field in SignIn._meta.get_fields()} == said
    assert site.MFA_SUPPORTED_TYPES == ["totp", "webauthn", "recovery_codes"]
    assert ("mfa_authenticator", "data", ("secret", "seed")) in site.ENCRYPTED_IN_JSON


def test_markdown_is_whole_and_takes_nothing_typed_for_its_own() -> None:
    blocks = ["<b>bold</b>", Blank("what"), Grid(["a", "b"], [["1|2", "x\ny"]]), Steps(["do"])]
    parts = [Part("One | two", blocks)]
    assert markdown(Paper("p", "Paper", "A draft", parts), "fill in").splitlines() == [
        "# Paper",
        "",
        "> A draft",
        "",
        "## One \\| two",
        "",
        "\\<b\\>bold\\</b\\>",
        "",
        "[fill in: what]",
        "",
        "| a | b |",
        "| --- | --- |",
        "| 1\\|2 | x y |",
        "",
        "1. do",
    ]
