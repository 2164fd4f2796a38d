"""The paper for the hours after a breach."""

from django.utils.translation import gettext as _

from alliance_site.kit.documents import Blank, Paper, Part, Steps
from alliance_site.kit.facts import Facts
from alliance_site.kit.papers import note


def _first_hour() -> Part:
    return Part(
        _("In the first hour"),
        [
            Steps(
                [
                    _(
                        "Write down when and by whom it was noticed: the 72 hours for a report "
                        "to the authority begin then."
                    ),
                    _(
                        "Stop it: close the account on the page Staff, revoke its tokens, "
                        "tablets and links; where the machine itself is broken into, take it off "
                        "the network and do not delete anything."
                    ),
                    _("Keep what there is: a backup of now (manage.py backup) and the log."),
                ]
            )
        ],
    )


def _first_day() -> Part:
    return Part(
        _("On the first day"),
        [
            Steps(
                [
                    _(
                        "Find out what was seen: the page Trace, by person and days, names each "
                        "patient whose pages were opened."
                    ),
                    _(
                        "Ask whether the trace is whole: manage.py audit_check, with a head that "
                        "was kept elsewhere."
                    ),
                    _(
                        "Change keys that others may have: field key (manage.py "
                        "field_keys_rotate), secret key, the database’s password, tokens."
                    ),
                    _(
                        "Decide with the data protection officer whether it is a risk for the "
                        "people concerned."
                    ),
                ]
            )
        ],
    )


def _three_days() -> Part:
    return Part(
        _("Within 72 hours"),
        [
            Steps(
                [
                    _(
                        "Report to the authority: what happened, how many people and which data, "
                        "what may follow, what was done. What is not known yet is handed in "
                        "later."
                    ),
                    _(
                        "Tell patients and staff where the risk for them is high, in plain "
                        "words, and what they can do."
                    ),
                ]
            ),
            Blank(_("who decides, who writes, where it is filed")),
        ],
    )


def breach(facts: Facts) -> Paper:
    """What to do in the hours after a breach (GDPR, Articles 33 and 34)."""
    return Paper(
        "breach",
        _("When data may have been seen or lost"),
        note(facts),
        [
            Part(
                _("Whom to call"),
                [
                    Blank(
                        _(
                            "data protection officer, operator of the site, head of the clinic, with "
                            "telephone numbers"
                        )
                    ),
                    Blank(_("the supervisory authority and its form for reports")),
                ],
            ),
            _first_hour(),
            _first_day(),
            _three_days(),
        ],
    )
