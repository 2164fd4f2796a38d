"""What the papers say of signing in, of what two people do together, and of emergencies."""

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from alliance_site.kit.documents import Block, Grid, Part
from alliance_site.kit.facts import Facts
from surveys.models import EmergencyAccess, RoleGrant


def sign_in_parts(facts: Facts) -> list[Part]:
    return [
        Part(_("Signing in, and what is kept of it"), _signing_in(facts)),
        Part(_("What nobody does alone, and emergencies"), _together(facts)),
    ]


def emergency_words(facts: Facts) -> str:
    """For patients."""
    if not facts.opens_in_emergencies:
        return _("Whoever runs this site cannot open your pages.")
    return _(
        "In an emergency, when nobody who treats you can be reached, whoever runs this site can read your "
        "pages for %(minutes)s minutes. The reason is written down, two people are told at once, and your "
        "own page says on which day it was."
    ) % {"minutes": _minutes()}


def _signing_in(facts: Facts) -> list[Block]:
    until = _("until it is replaced, removed or reset; also of a closed account")
    rows = [
        [_("Password"), _("a hash (Argon2)"), _("until the next one")],
        [_("App on the phone"), _("its key, encrypted"), until],
        [_("Passkey"), _("its public half and a name; nothing of finger or face"), until],
        [_("Recovery codes"), _("what they are computed from, encrypted, and which were used"), until],
        [
            _("Each sign-in"),
            _(
                "account, beginning, last use, browser and system in two words, what was confirmed; no "
                "network address"
            ),
            _sessions(facts),
        ],
        [
            _("Wrong tries"),
            _("how many there were from a network address"),
            _("until the night after they count no more"),
        ],
    ]
    words: list[Block] = [
        _("Everybody who signs in gives a password and a second factor, or a passkey for both."),
        Grid([_("What"), _("What is stored"), _("How long")], rows),
        _(
            "A second factor that was lost is reset by two administrators of the clinic together, or by the "
            "operator of this site; its owner gets a mail, and the trace a row."
        ),
    ]
    if facts.provider:
        words.append(_provider(facts))
    return words


def _sessions(facts: Facts) -> str:
    return _("%(minutes)s minutes without use, %(hours)s hours at most; deleted within the hour after") % {
        "minutes": facts.idle_minutes,
        "hours": facts.longest_hours,
    }


def _provider(facts: Facts) -> str:
    name = {"name": facts.provider}
    if facts.believes_provider:
        return (
            _(
                "People may also sign in by %(name)s, which learns when they do. That it asks for a second "
                "factor is believed; nothing of its answer is kept."
            )
            % name
        )
    return (
        _(
            "People may also sign in by %(name)s, which learns when they do. The second factor is asked for "
            "here all the same; nothing of its answer is kept."
        )
        % name
    )


def _together(facts: Facts) -> list[Block]:
    days = RoleGrant.LASTS.days
    return [
        ngettext(
            "Administrators, researchers and operators are made by two people: one asks, another confirms "
            "within %(n)s day. Both stand in the trace, and those concerned get a mail.",
            "Administrators, researchers and operators are made by two people: one asks, another confirms "
            "within %(n)s days. Both stand in the trace, and those concerned get a mail.",
            days,
        )
        % {"n": days},
        _("Files of coded data and shorter times of keeping need a second person as well."),
        _operators(facts),
    ]


def _operators(facts: Facts) -> str:
    if not facts.opens_in_emergencies:
        return _(
            "Operators see nothing of a patient. Nothing can be opened in an emergency, because no mail "
            "server is set that could tell anybody."
        )
    return _(
        "Operators see nothing of a patient, but in an emergency the pages of one for %(minutes)s minutes, "
        "to read, with a reason. Two people at least are told by mail, and every page stands in the trace."
    ) % {"minutes": _minutes()}


def _minutes() -> int:
    return int(EmergencyAccess.LASTS.total_seconds()) // 60
