"""The papers: what the site knows of itself, in words, and blanks for what it cannot know."""

from django.utils.formats import date_format
from django.utils.translation import gettext as _

from alliance_site.kit.documents import Blank, Block, Grid, Paper, Part, Steps
from alliance_site.kit.facts import Facts, StudyFacts, reminder_words, yes_no
from alliance_site.kit.roles import matrix
from alliance_site.kit.signing_in import emergency_words, sign_in_parts
from surveys.retention import FIXED


def note(facts: Facts) -> str:
    return _(
        "Draft of %(day)s, made from the settings of this site. To be checked and completed by the "
        "clinic’s data "
        "protection officer; blanks are for what the software cannot know."
    ) % {"day": date_format(facts.at, "DATE_FORMAT")}


def _responsible(facts: Facts) -> Part:
    return Part(
        _("Who is responsible"),
        [
            f"{facts.clinic.name}, {facts.clinic.contact}",
            Blank(_("postal address and legal representative of the clinic")),
            Blank(_("name and contact of the data protection officer")),
        ],
    )


def _kept(facts: Facts) -> list[Block]:
    """Time limits, as they are chosen now."""
    return [
        Grid([_("What"), _("Kept")], [list(row) for row in facts.kept]),
        _(
            "Links to forms that were not sent go %(links)s days after the form has closed, sign-ins within "
            "the hour after they ended. The trace of who did what is not deleted."
        )
        % {"links": FIXED["links"]},
        Blank(_("how long backups are kept")),
    ]


def record(facts: Facts) -> Paper:
    """The record of processing activities (GDPR, Article 30)."""
    studies = [
        [row.name, row.visibility, yes_no(row.asks_consent), reminder_words(row.reminders)]
        for row in facts.studies
    ]
    return Paper(
        "record",
        _("Record of processing activities"),
        note(facts),
        [
            _responsible(facts),
            Part(
                _("Purposes"),
                [
                    _(
                        "Patients and therapists rate how they work together, so that therapies are "
                        "looked after "
                        "and, where a study says so, researched."
                    ),
                    Grid(
                        [_("Study"), _("Who sees the answers"), _("Asks for consent"), _("Reminders")],
                        studies,
                    )
                    if studies
                    else _("No study is active yet."),
                    Blank(_("legal basis of each purpose")),
                ],
            ),
            Part(
                _("Whose data, and which"),
                [
                    _(
                        "Patients: a random code, language, e-mail address where given, dates of "
                        "therapies and "
                        "sessions, answers and results, consents and withdrawals. No name, no birthday."
                    ),
                    _("Therapists: account, own ratings, what they say of their own practice."),
                    _("Everybody who signs in: name, e-mail address, what they did and looked at."),
                ],
            ),
            Part(_("Who receives data"), _receivers(facts)),
            *sign_in_parts(facts),
            Part(_("Time limits"), _kept(facts)),
            Part(_("Measures of security"), _measures(facts)),
        ],
    )


def _receivers(facts: Facts) -> list[Block]:
    mail = (
        _(
            "E-mails to patients go through the mail server %(host)s; they name no clinic and hold "
            "nothing clinical."
        )
        % {"host": facts.mail_server}
        if facts.mail_server
        else _("No e-mail leaves this site: no mail server is set.")
    )
    return [
        _("People of the clinic by their roles; see the role matrix."),
        _("Researchers of the clinic: coded data; a file leaves with the approval of a second person."),
        mail,
        Blank(_("who hosts the machine, who keeps copies of backups, contracts with them")),
        Blank(_("transfers to countries outside of the EU or EEA, or that there are none")),
    ]


def _measures(facts: Facts) -> list[Block]:
    rows = [
        [_("Encrypted connections are enforced"), yes_no(facts.is_https)],
        [_("Addresses and free text about patients are encrypted in the database"), yes_no(True)],
        [_("Backups are encrypted"), yes_no(facts.has_backup_key)],
        [_("Data for research are coded"), yes_no(facts.has_pseudonym_key)],
        [_("Everybody who signs in gives a second factor"), yes_no(True)],
        [_("Reading and changes leave a trace that is sealed"), yes_no(True)],
        [_("The newest seal leaves the machine every day"), yes_no(facts.sends_heads)],
    ]
    return [
        Grid([_("Measure"), _("On this site")], rows),
        Blank(_("encryption of the disk, access to the machine, who holds the keys")),
    ]


def role_matrix(facts: Facts) -> Paper:
    return Paper(
        "roles",
        _("Role matrix"),
        note(facts),
        [
            Part(
                _("Who may do what"),
                [
                    _(
                        "Read from the list by which this site lets people in. A role that stands "
                        "nowhere gets in nowhere."
                    ),
                    matrix(),
                ],
            )
        ],
    )


def information(facts: Facts, study: StudyFacts) -> Paper:
    """What patients of a study are told (GDPR, Article 13)."""
    asked = [f"{title}: {plan}" for title, plan, is_patients in study.forms if is_patients]
    return Paper(
        "information",
        _("Information for patients: %(study)s") % {"study": study.name},
        note(facts),
        [
            _responsible(facts),
            Part(
                _("What you are asked"),
                [Steps(asked) if asked else Blank(_("which forms")), reminder_words(study.reminders)],
            ),
            Part(
                _("Who sees what you answer"),
                [
                    study.patients_read,
                    *_choice(study),
                    _(
                        "The administration sees that a form came in, and no answer, unless you ask for "
                        "a file of all that is kept about you."
                    ),
                    emergency_words(facts),
                ],
            ),
            Part(
                _("What it is for"),
                [
                    _(
                        "You are asked whether your answers may be used for research. If you do not "
                        "agree, your treatment stays as it is."
                    )
                    if study.asks_consent
                    else _("The research team sees your answers under a code, without your name."),
                    Blank(_("the purpose in words for patients, and the legal basis")),
                ],
            ),
            Part(_("How long it is kept"), _kept(facts)),
            _rights(),
        ],
    )


def _choice(study: StudyFacts) -> list[Block]:
    """Under a blind policy there is nothing to choose."""
    if study.is_blind:
        return []
    return [_("On each form you choose what your therapist may see, and later you can let them see less.")]


def _rights() -> Part:
    return Part(
        _("Your rights"),
        [
            Steps(
                [
                    _(
                        "You need not answer. Leaving a form, or all of them, has no "
                        "disadvantage for your treatment."
                    ),
                    _(
                        "You can end your part at any time: be asked no more, have your answers "
                        "left out, or have them erased."
                    ),
                    _(
                        "You can ask what is kept about you, and who looked at it; the clinic "
                        "gives you a file."
                    ),
                    _("You can have wrong entries corrected, and object."),
                ]
            ),
            Blank(_("the supervisory authority to which patients may complain")),
        ],
    )


def _risks() -> list[tuple[str, str]]:
    """What may happen, and what the software does against it."""
    return [
        (
            _("A therapist sees answers that were not meant for them"),
            _("The study’s rule, the patient’s choice and the order of ratings are in every query"),
        ),
        (
            _("Somebody else uses a patient’s link or tablet"),
            _("A link can only be written with; a tablet forgets after sending or three minutes"),
        ),
        (
            _("Somebody recognises a person in research data"),
            _("Pseudonyms of each snapshot, a check of what a file tells, approval by others"),
        ),
        (
            _("An account of the staff is taken over"),
            _(
                "A second factor, tries that are slowed down, sessions that end, the password again before "
                "what is sensitive; every reading leaves a trace"
            ),
        ),
        (
            _("Somebody of the staff gives themselves more than their role"),
            _("Two people give the roles that see most, and delete; taking a role away needs one"),
        ),
        (
            _("The database or a backup is stolen"),
            _(
                "Addresses and texts are encrypted, backups as a whole; answers are not, for models are "
                "computed from them"
            ),
        ),
        (_("Answers are lost"), _("One transaction for each form, backups that are rehearsed")),
        (
            _("Wrong numbers lead to a wrong decision"),
            _("Numbers that cannot be trusted are not shown; each says what it is made of"),
        ),
    ]


def assessment(facts: Facts) -> Paper:
    """The outline of a data protection impact assessment (GDPR, Article 35)."""
    return Paper(
        "assessment",
        _("Outline of a data protection impact assessment"),
        note(facts),
        [
            Part(
                _("What is done"),
                [
                    _(
                        "See the record of processing activities and the role matrix, which are made "
                        "from the same settings."
                    ),
                    Grid(
                        [_("Study"), _("Who sees the answers")],
                        [[row.name, row.visibility] for row in facts.studies],
                    )
                    if facts.studies
                    else _("No study is active yet."),
                ],
            ),
            Part(
                _("Why it is needed, and in proportion"),
                [Blank(_("necessity and proportionality, and what patients and therapists said of it"))],
            ),
            Part(
                _("Risks"),
                [
                    Grid(
                        [
                            _("Risk"),
                            _("What the software does"),
                            _("Likelihood, severity"),
                            _("What remains to be done"),
                        ],
                        [[risk, measure, "…", "…"] for risk, measure in _risks()],
                    ),
                    *_measures(facts),
                ],
            ),
            Part(
                _("Opinion and decision"),
                [Blank(_("opinion of the data protection officer; decision, date, next review"))],
            ),
        ],
    )
