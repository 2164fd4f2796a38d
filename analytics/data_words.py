"""Frozen data and files in words, in the reader's language."""

from typing import Any

from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from analytics.anonymity import K
from analytics.disclosure import MIN_PATIENTS, MIN_THERAPISTS
from analytics.selection import Selection
from analytics.services.exports import State
from analytics.services.snapshots import SelectionRefused

STAGES: dict[str, str | Promise] = {
    "": gettext_lazy("At work"),
    "reading": gettext_lazy("Reading tables"),
    "writing": gettext_lazy("Writing tables"),
    "tables": gettext_lazy("Making the tables of the file"),
}
STATES: dict[State, str | Promise] = {
    State.WAITING: gettext_lazy("waits for approval"),
    State.DECLINED: gettext_lazy("declined"),
    State.WITHDRAWN: gettext_lazy("approval taken back"),
    State.ERASED: gettext_lazy("deleted, because a patient had their data erased"),
    State.REFUSED: gettext_lazy("not made: too few people are left in it"),
    State.BUILDING: gettext_lazy("approved, being made"),
    State.READY: gettext_lazy("ready"),
    State.EXPIRED: gettext_lazy("expired"),
    State.OUTDATED: gettext_lazy("out of date: patients have left since"),
}
GONE: dict[State, str | Promise] = {
    State.WAITING: gettext_lazy("It has not been approved yet."),
    State.DECLINED: gettext_lazy("The request was declined. Ask again with what the reason asks for."),
    State.WITHDRAWN: gettext_lazy(
        "The approval was taken back, and the file is deleted. Delete the copies that you have, or talk to"
        " the clinic; a new request needs a new approval."
    ),
    State.ERASED: gettext_lazy(
        "A patient in it has had their data erased, and the file is deleted. Delete the copies that you have,"
        " freeze the data again and ask for a new file."
    ),
    State.REFUSED: gettext_lazy(
        "Patients have left since, and too few people remain for a file that tells nothing of one of them."
        " Freeze the data again when there are more."
    ),
    State.BUILDING: gettext_lazy("It is being made. Come back in a minute."),
    State.EXPIRED: gettext_lazy(
        "A file can be fetched for 24 hours. Have it made again on its page: it has the same bytes as long as"
        " nobody in it has left."
    ),
    State.OUTDATED: gettext_lazy(
        "Patients have asked to be left out since it was made. Have it made again on its page: it is made"
        " without them."
    ),
}
COLUMNS: dict[str, str | Promise] = {
    "patient_language": gettext_lazy("language of the patient"),
    "end_reason": gettext_lazy("how the therapy ended"),
    "is_ended": gettext_lazy("whether it ended"),
    "arm": gettext_lazy("arm of the study"),
}


def selection_words(values: dict[str, Any]) -> str:
    selection = Selection.from_dict(values)
    parts = []
    if selection.started_from:
        parts.append(_("begun on or after %(day)s") % {"day": date_format(selection.started_from)})
    if selection.started_until:
        parts.append(_("begun on or before %(day)s") % {"day": date_format(selection.started_until)})
    if selection.arms:
        parts.append(_("arms: %(arms)s") % {"arms": ", ".join(selection.arms)})
    if selection.only_ended:
        parts.append(_("ended ones only"))
    return _("Therapies: %(which)s") % {"which": "; ".join(parts)} if parts else _("All therapies")


def stage_words(code: str) -> str:
    return str(STAGES[code])


def refusal(refused: SelectionRefused) -> str:
    """Why data are not frozen, with the rule and what to do."""
    if refused.rule == "key":
        return _(
            "The site has no key for pseudonyms. Ask its operator to set PSEUDONYM_KEY; nothing is lost."
        )
    if refused.rule == "busy":
        return _("Data of this study are being frozen just now. Wait until that is done, or cancel it.")
    if refused.rule == "difference":
        return ngettext(
            "These therapies differ by %(n)d patient from those of snapshot %(other)d, and two selections "
            "must be the same or differ by at least %(k)d: what is in one and not in the other would tell of "
            "that patient. Choose as in snapshot %(other)d, or wider apart.",
            "These therapies differ by %(n)d patients from those of snapshot %(other)d, and two selections "
            "must be the same or differ by at least %(k)d: what is in one and not in the other would tell of "
            "those patients. Choose as in snapshot %(other)d, or wider apart.",
            refused.n,
        ) % {"n": refused.n, "other": refused.other, "k": MIN_PATIENTS}
    return too_few(refused.rule)


def too_few(code: str) -> str:
    """Why a dataset is refused, by the code of `Anonymity.lacks`."""
    if code == "patients":
        return _(
            "Fewer than %(n)d patients are in it, and numbers of so few would tell of each of them. Choose"
            " more therapies, or wait until there are more."
        ) % {"n": MIN_PATIENTS}
    if code == "therapists":
        return _(
            "Fewer than %(n)d therapists are in it, and numbers of so few would tell of each of them. Choose"
            " more therapies, or wait until there are more."
        ) % {"n": MIN_THERAPISTS}
    return _(
        "Even without language, ending and arm, fewer than %(k)d patients share the number of their sessions"
        " (up to 20, or more) and the size of their therapist’s caseload. Choose other therapies, or wait."
    ) % {"k": K}


EXPORT_REFUSALS: dict[str, str | Promise] = {
    "frozen": gettext_lazy("There are no data in this snapshot to make a file of. Freeze the data again."),
    "agreement": gettext_lazy("Every answer leaves only with a signed agreement: say which."),
    "key": gettext_lazy(
        "The site has no key for pseudonyms. Ask its operator to set PSEUDONYM_KEY; nothing is lost."
    ),
    "own": gettext_lazy("You asked for this file; somebody else has to decide about it."),
    "twice": gettext_lazy("You have approved it already; it takes another person."),
    "decided": gettext_lazy("It was decided meanwhile. See below what became of it."),
    "state": gettext_lazy("It need not be made again just now."),
}


def export_refusal(code: str) -> str:
    return str(EXPORT_REFUSALS[code]) if code in EXPORT_REFUSALS else too_few(code)


def gone_words(state: State) -> str:
    return str(GONE[state])


def state_words(state: State) -> str:
    return str(STATES[state])


def withheld_words(names: list[str]) -> str:
    return ", ".join(str(COLUMNS[name]) for name in names)
