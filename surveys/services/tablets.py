"""Tablets that a clinic hands to its patients, and the start codes that bring one form onto one of them.

A code is six digits: it opens one form, once, on any tablet of the clinic, within ten minutes. Every refusal
of a code reads the same, so that nobody learns which codes exist; after five wrong ones the tablet looks at
none for a minute, then for two, four … up to fifteen.
"""

from datetime import datetime, timedelta
from math import ceil

from django.conf import settings
from django.contrib.auth.hashers import check_password, make_password
from django.db import transaction

from surveys import audit, clock
from surveys.access import LinkState, form_state
from surveys.models import Assignment, Channel, Clinic, Opening, Rater, StartCode, Tablet, User
from surveys.services.responses import FormClosed, form_open
from surveys.tokens import new_start_code, new_token, start_code_hash, token_hash

CODE_LIFE = timedelta(minutes=10)
TRIES = 5
FIRST_WAIT = timedelta(minutes=1)
LONGEST_WAIT = timedelta(minutes=15)


class WrongCode(Exception):
    """The code opens no form here."""


class WrongPin(Exception):
    """The PIN is not that of this tablet."""


class TooManyTries(Exception):
    """Nothing is looked at for `seconds`."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"wait {seconds} s")
        self.seconds = seconds


@transaction.atomic
def tablet_enrol(*, clinic: Clinic, name: str, pin: str, actor: User) -> tuple[Tablet, str]:
    """A new tablet and its secret, which leaves this room once."""
    secret = new_token()
    tablet = Tablet.objects.create(
        clinic=clinic,
        name=name,
        secret_hash=token_hash(secret),
        pin_hash=make_password(pin),
        enrolled_by=actor,
    )
    audit.record("tablet.enrol", subject=tablet, actor=actor, clinic=clinic)
    return tablet, secret


@transaction.atomic
def tablet_revoke(*, tablet: Tablet, actor: User | None = None) -> None:
    """From now on the browser is no tablet any more; what patients answered on it stays. Without an actor
    somebody left the lock page with the PIN."""
    row = Tablet.objects.select_for_update(of=("self",)).select_related("clinic").get(pk=tablet.pk)
    if row.revoked_at is not None:
        return
    row.revoked_at = clock.now()
    row.save(update_fields=["revoked_at"])
    audit.record("tablet.revoke" if actor else "tablet.leave", subject=row, actor=actor, clinic=row.clinic)


def tablet_leave(*, tablet: Tablet, pin: str) -> None:
    """Ends tablet mode on the tablet itself; raises WrongPin or TooManyTries."""
    with transaction.atomic():
        row = _locked(tablet)
        wait = _seconds_left(row.pin_wait_until)
        is_right = not wait and check_password(pin, row.pin_hash)
        if is_right:
            tablet_revoke(tablet=row)
        elif not wait:
            row.pin_misses, row.pin_wait_until = _miss(row, row.pin_misses, "pin")
            row.save(update_fields=["pin_misses", "pin_wait_until"])
            wait = _seconds_left(row.pin_wait_until)
    # After the commit: a miss must count although it ends in an exception.
    if wait:
        raise TooManyTries(wait)
    if not is_right:
        raise WrongPin("The PIN is wrong.")


@transaction.atomic
def start_code_issue(*, assignment: Assignment, actor: User) -> tuple[str, datetime]:
    """A new code for a patient's open form and until when it works; an earlier code of the form ends. Raises
    ValueError for a form of somebody else, FormClosed for one that cannot be begun any more."""
    # One at a time in a clinic: a code must not be given out twice while it works.
    clinic = Clinic.objects.select_for_update(no_key=True).get(pk=assignment.study.clinic_id)
    now = clock.now()
    row = Assignment.objects.get(pk=assignment.pk)
    if row.rater != Rater.PATIENT:
        raise ValueError("Only a patient's form is filled on a tablet; a therapist signs in.")
    if form_state(row, now) is not LinkState.OPEN or now > row.closes_at:
        raise FormClosed("This form can no longer be opened.")
    waiting = StartCode.objects.filter(clinic=clinic, used_at=None)
    (waiting.filter(assignment=row) | waiting.filter(expires_at__lte=now)).delete()
    taken = set(waiting.values_list("code_hash", flat=True))
    code = new_start_code()
    while _hash(clinic, code) in taken:
        code = new_start_code()
    expires_at = now + CODE_LIFE
    StartCode.objects.create(
        clinic=clinic,
        assignment=row,
        code_hash=_hash(clinic, code),
        issued_by=actor,
        issued_at=now,
        expires_at=expires_at,
    )
    audit.record("start_code.issue", subject=row, actor=actor, clinic=clinic)
    return code, expires_at


def start_code_use(*, tablet: Tablet, code: str, browser_hash: str) -> Opening:
    """Opens the form of the code on this tablet; raises WrongCode or TooManyTries, the same for a code that
    is wrong, late, used before or of another clinic."""
    opening = None
    with transaction.atomic():
        row = _locked(tablet)
        wait = _seconds_left(row.code_wait_until)
        if not wait:
            opening = _open(row, code, browser_hash)
            misses = (0, None) if opening else _miss(row, row.code_misses, "code")
            row.code_misses, row.code_wait_until = misses
            row.save(update_fields=["code_misses", "code_wait_until"])
            wait = _seconds_left(row.code_wait_until)
    if wait:
        raise TooManyTries(wait)
    if opening is None:
        raise WrongCode("This code opens no form here.")
    return opening


def _open(tablet: Tablet, code: str, browser_hash: str) -> Opening | None:
    now = clock.now()
    found = (
        StartCode.objects.select_for_update(of=("self",))
        .select_related("assignment")
        .filter(clinic=tablet.clinic, code_hash=_hash(tablet.clinic, code), used_at=None, expires_at__gt=now)
        .first()
    )
    if found is None or tablet.revoked_at is not None:
        return None
    found.used_at, found.tablet = now, tablet
    found.save(update_fields=["used_at", "tablet"])
    try:
        opening = form_open(
            assignment_id=found.assignment_id,
            browser_hash=browser_hash,
            device="tablet",
            channel=Channel.TABLET,
            at=now,
        )
    except FormClosed:
        return None
    audit.record("start_code.use", subject=found.assignment, clinic=tablet.clinic, tablet=str(tablet.pk))
    return opening


def _locked(tablet: Tablet) -> Tablet:
    return Tablet.objects.select_for_update(of=("self",)).select_related("clinic").get(pk=tablet.pk)


def _miss(tablet: Tablet, n_before: int, what: str) -> tuple[int, datetime | None]:
    """The count of misses with this one, and until when the tablet looks at nothing."""
    n_misses = n_before + 1
    if n_misses % TRIES:
        return n_misses, None
    wait = min(FIRST_WAIT * 2 ** min(n_misses // TRIES - 1, 10), LONGEST_WAIT)
    audit.record("tablet.wait", subject=tablet, clinic=tablet.clinic, wrong=what, misses=n_misses)
    return n_misses, clock.now() + wait


def _seconds_left(until: datetime | None) -> int:
    return max(0, ceil((until - clock.now()).total_seconds())) if until else 0


def _hash(clinic: Clinic, code: str) -> str:
    return start_code_hash(f"{clinic.pk} {code}", settings.SECRET_KEY)
