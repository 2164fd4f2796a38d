"""What the models are made of and what they found. Sums follow the ratings; a fit is added, never changed.

Possible dips are not rows: they follow from the ratings that a reader may see (`analytics.dips`). What people
chose and did about them is.
"""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from surveys.ids import uuid7
from surveys.models import Clinic, Rater, Response, Study, Therapist, Therapy, User


class RatingChange(models.Model):
    """Something of a therapy's ratings is new, gone or moved since its sums were made.

    Written by database triggers in the transaction of the change, whoever makes it; only ever added, so that
    no two changes wait for each other, and deleted by those who make the sums.
    """

    # A mark outlives its therapy: what is gone must leave the sums as well.
    study = models.ForeignKey(Study, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+")
    therapy = models.ForeignKey(
        Therapy, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )

    def __str__(self) -> str:
        return f"{self.therapy_id} of {self.study_id}"


class TherapySums(models.Model):
    """All that the models need of one therapy's ratings by one rater on one scale: number, means, and
    corrected sums of squares and products of time and rating y, for each coding of time
    (`analytics.dataset.CODINGS`). Made by `analytics.services.sums`."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, db_index=False, related_name="+")
    perspective = models.CharField(max_length=12, choices=Rater, help_text="Whose ratings are summed")
    instrument = models.CharField(max_length=40)
    scale = models.CharField(max_length=40)
    therapy = models.ForeignKey(Therapy, on_delete=models.CASCADE, related_name="+")
    therapist = models.ForeignKey(Therapist, on_delete=models.CASCADE, db_index=False, related_name="+")
    n = models.PositiveIntegerField()
    mean_time = models.FloatField()
    mean_y = models.FloatField()
    css_time = models.FloatField(help_text="Sum of (time - mean_time)^2")
    csp = models.FloatField(help_text="Sum of (time - mean_time) (y - mean_y)")
    css_y = models.FloatField(help_text="Sum of (y - mean_y)^2")
    mean_log = models.FloatField(help_text="As mean_time, of the logarithm of the session")
    css_log = models.FloatField(help_text="As css_time, of the logarithm of the session")
    csp_log = models.FloatField(help_text="As csp, of the logarithm of the session")

    class Meta:
        verbose_name_plural = "therapy sums"
        constraints = [
            models.UniqueConstraint(
                fields=["study", "perspective", "instrument", "scale", "therapy"],
                # How many ratings a study has is counted whenever sums are made.
                include=["n"],
                name="therapy_sums_once",
            ),
            models.CheckConstraint(condition=Q(n__gte=1), name="therapy_sums_of_a_rating"),
            models.CheckConstraint(
                condition=Q(css_time__gte=0, css_log__gte=0, css_y__gte=0),
                name="therapy_sums_of_squares_are_not_negative",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.therapy_id} {self.perspective} {self.scale}: {self.n}"


class RatingCount(models.Model):
    """How many ratings the sums of a study hold, by rater, form and scale. Every page of a therapy asks; made
    with the sums, so that nobody counts them again."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, db_index=False, related_name="+")
    perspective = models.CharField(max_length=12, choices=Rater)
    instrument = models.CharField(max_length=40)
    scale = models.CharField(max_length=40)
    n = models.PositiveIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["study", "perspective", "instrument", "scale"], name="rating_count_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.study_id} {self.perspective} {self.scale}: {self.n}"


class GrowthFit(models.Model):
    """One growth model of one study, for the ratings by one rater on one scale, in one coding of time."""

    class Status(models.TextChoices):
        OK = "ok", "Fitted"
        SINGULAR = "singular", "Fitted; a variance is estimated as zero"
        NOT_CONVERGED = "not_converged", "The estimation did not settle"
        NO_VARIATION = "no_variation", "All ratings are the same"
        INSUFFICIENT_DATA = "insufficient_data", "Too few ratings"
        TIMED_OUT = "timed_out", "The estimation took too long"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="growth_fits")
    perspective = models.CharField(max_length=12, choices=Rater, help_text="Whose ratings are modelled")
    instrument = models.CharField(max_length=40)
    scale = models.CharField(max_length=40)
    coding = models.CharField(max_length=12, default="linear", help_text="How the model counts time")
    status = models.CharField(max_length=20, choices=Status)
    message = models.CharField(max_length=500, blank=True)
    spec = models.JSONField()
    result = models.JSONField(
        null=True, help_text="Estimates with their provenance; empty where there are none"
    )
    read_at = models.DateTimeField(help_text="When the ratings were read")
    data_fingerprint = models.CharField(max_length=64)
    n_ratings = models.PositiveIntegerField()
    n_therapies = models.PositiveIntegerField()
    n_therapists = models.PositiveIntegerField()
    engine_version = models.CharField(max_length=40)
    seconds = models.FloatField()
    fitted_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(result__isnull=False) | ~Q(status__in=["ok", "singular"]),
                name="growth_fit_has_a_result",
            ),
        ]
        indexes = [
            models.Index(
                fields=["study", "perspective", "instrument", "coding", "scale", "-fitted_at"],
                name="growth_fit_latest",
            )
        ]

    def __str__(self) -> str:
        return f"{self.study_id} {self.perspective} {self.scale}: {self.status}"


class DipRules(models.Model):
    """By which rules a study's possible dips are looked for, from a moment on; the newest counts. Only ever
    added. Without a row it is `analytics.dips.DEFAULT`."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="+")
    rules = ArrayField(
        models.CharField(max_length=20), blank=True, help_text="Codes of `analytics.dips.RULES`; empty: none"
    )
    chosen_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    chosen_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "dip rules"

    def __str__(self) -> str:
        return f"{self.study_id}: {', '.join(self.rules) or 'none'}"


class DipReview(models.Model):
    """What a therapist did about one possible dip: a rating, and the rule that points at it. Only ever added;
    it goes only with the response. No row: the dip is new."""

    class State(models.TextChoices):
        SEEN = "seen", _("Seen")
        ACTED = "acted", _("Acted on")
        DISMISSED = "dismissed", _("Dismissed")

    response = models.ForeignKey(Response, on_delete=models.CASCADE, related_name="+")
    rule = models.CharField(max_length=20)
    state = models.CharField(max_length=12, choices=State)
    reason = models.TextField(
        max_length=1000, blank=True, help_text="What was done, or why it was dismissed; empty only if seen"
    )
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state="seen", reason="") | (Q(state__in=["acted", "dismissed"]) & ~Q(reason="")),
                name="dip_review_has_its_reason",
            )
        ]

    def __str__(self) -> str:
        return f"{self.response_id} {self.rule}: {self.state}"


class DipTally(models.Model):
    """How often each rule points at a rating of a study, and what became of it, as of one moment. Made again
    only in batches of ratings (`analytics.services.dip_tally`), so that nothing can be told of one form."""

    study = models.OneToOneField(Study, on_delete=models.CASCADE, related_name="+")
    counted_at = models.DateTimeField()
    fitted_at = models.DateTimeField(null=True, help_text="Of the oldest model used; empty: there was none")
    n_ratings = models.PositiveIntegerField(help_text="Patients' ratings that their therapists may see")
    rules = ArrayField(models.CharField(max_length=20), blank=True, help_text="Those in force at that time")
    counts = models.JSONField(help_text="By the rule's code: numbers, as `DipCount` names them")

    class Meta:
        verbose_name_plural = "dip tallies"

    def __str__(self) -> str:
        return f"{self.study_id} as of {self.counted_at}"


class PracticeBasis(models.Model):
    """Which scores the comparison of therapists with the others of their clinic is made of, for one scale of
    a form about practice in general: the latest of every therapist, as of one moment. Renewed only in batches
    (`analytics.services.practice_bands`). Holds no value: one that is erased is gone from the comparison."""

    clinic = models.ForeignKey(Clinic, on_delete=models.CASCADE, related_name="+")
    instrument = models.CharField(max_length=40)
    minimum = models.SmallIntegerField(help_text="Of the answer scale, as maximum")
    maximum = models.SmallIntegerField()
    scale = models.CharField(max_length=40)
    scores = ArrayField(models.BigIntegerField(), help_text="Ids of scores, one of each therapist")
    made_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "practice bases"
        constraints = [
            models.UniqueConstraint(
                fields=["clinic", "instrument", "minimum", "maximum", "scale"], name="practice_basis_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.clinic_id} {self.instrument} {self.scale}: {len(self.scores)}"


class Panel(models.Model):
    """What is said of the ratings of a clinic's or a team's patients together, with one form, as of one
    moment. Only ever added, and only when enough new forms came in (`analytics.services.panels`), so that no
    two in a row differ by one form. The newest counts."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="+")
    supervisor = models.ForeignKey(
        User,
        on_delete=models.CASCADE,
        null=True,
        related_name="+",
        help_text="Of whose team; empty: of the whole clinic",
    )
    rater = models.CharField(max_length=12, choices=Rater)
    instrument = models.CharField(max_length=40)
    figures = models.JSONField(
        help_text="Numbers as `analytics.disclosure.Figures` names them, or what it lacks"
    )
    made_at = models.DateTimeField(help_text="The moment that it is of; what came later is not in it")

    class Meta:
        indexes = [
            models.Index(fields=["study", "supervisor", "rater", "instrument", "-id"], name="panel_latest")
        ]

    def __str__(self) -> str:
        return f"{self.study_id} {self.rater} {self.instrument} as of {self.made_at}"
