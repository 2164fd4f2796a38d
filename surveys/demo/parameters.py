"""What the simulated clinic is like: its size, and the model that its people follow.

Notation: patient i of therapist j at held session s, rater r (patient P, therapist T), time in tens of
sessions t = (s - 3) / 10, therapist traits z_j (standardised DPCCQ scales):

    eta_rij(s) = level_r + growth_r t + sum_k z_jk (a_rk + b_rk t)
                 + u0_rj + u1_rj t + v0_rij + v1_rij t + e_rij(s)

u, v and e are normal; at each level the two raters' effects are correlated. An answer is eta plus the
item's own height and noise, rounded and cut at the ends of the response scale.
"""

from dataclasses import dataclass

from surveys.packs import RATERS

OCCASIONS = (3, 12, 20, 40)
EVERY_SESSION = "every"
TRAITS = ("self_doubt", "frustrating_case", "negative_reaction", "flow", "anxiety", "boredom")
# Scales of the forms about coping and manner. No rating depends on them beyond their share in flow.
PRACTICE = (
    "constructive_coping",
    "avoidant_coping",
    "affirming",
    "directive",
    "reserved",
    "accommodating",
    "invested",
    "efficacious",
)


@dataclass(frozen=True, slots=True)
class Size:
    """How many people. The first therapist's caseload takes 19 of the patients."""

    n_therapists: int
    n_patients: int


# `study` is the design of Nissen-Lie et al. (doi 10.1002/cpp.1891) and its sister papers.
SIZES = {"small": Size(12, 60), "study": Size(70, 370), "large": Size(700, 3_700)}


@dataclass(frozen=True, slots=True)
class Trait:
    """A DPCCQ scale in its own metric, and what one standard deviation of it does to the alliance.

    `effects` holds (level, growth in ten sessions) for the patient's and for the therapist's ratings. Scores
    show seven to nine tenths of the effect on level and half to two thirds of that on growth: the ceiling
    holds the best back, and who does worse stays away. With these sizes one study in four of the size `study`
    shows all three differences between the raters after Holm's adjustment; the demonstration's seed is one.
    """

    mean: float
    sd: float
    effects: tuple[tuple[float, float], tuple[float, float]] = ((0.0, 0.0), (0.0, 0.0))


@dataclass(frozen=True, slots=True)
class Perspective:
    """One rater's ratings, on the 1-7 metric of the item means; slopes are for ten sessions."""

    level: float
    growth: float
    therapist_sd: tuple[float, float]
    therapy_sd: tuple[float, float]
    residual_sd: float
    item_sd: float
    noise_sd: float
    missing: float
    delay_hours: float


@dataclass(frozen=True, slots=True)
class Parameters:
    """The whole simulation. Sources: P ranges published for the WAI and for therapists; S the
    pattern that the study found; O our own choice where nothing is published.

    traits               P where effects are zero; S for who is affected by what; O for all sizes
    trait_correlations   O, signs as published: difficulties and anxiety go together, flow against them
    practice             O; in the order of PRACTICE, as is practice_flow, the correlation of each with flow
    perspectives         P for means, spread and therapist-level share; O for growth and noise.
                         (intercept, slope) SDs: of therapists beyond their traits, and of therapies
    rater_correlation    of the two raters' effects: therapists, therapies, one session. O, chosen so
                         that ratings correlate about .35 (P), and residuals of scores about .35
    intercept_slope      correlation of intercept and slope within a rater; O, negative as a ceiling asks
    every_share          share of therapies with ratings at every session; O
    lengths, max_length  planned lengths of therapies in held sessions, one of which is drawn; O
    weeks                how long ago the first therapies began; O
    status               shares of held sessions, cancellations and no-shows; O
    gap_share            share of weeks followed by one or two free ones; O
    dropout_hazard       chance of ending after a session at the mean rating; O, about a fifth drop out
    dropout_slope        change of its logarithm per point of the last rating the patient gave; O
    skipped              share of single items left out; O
    sharing              shares of forms of which nothing, the scores, or the answers may be seen; O
    trait_noise          SD of an item about its trait, as a share of the response range; O
    trait_missing        share of trait forms that were never filled; O
    trait_years          how many anniversaries the forms about practice were asked for again; O
    trait_stability      correlation of a trait with itself a year later; O
    """

    traits: tuple[Trait, ...] = (
        Trait(1.6, 0.55),
        Trait(1.7, 0.60),
        Trait(1.3, 0.50, effects=((-0.26, -0.06), (0.0, 0.0))),
        Trait(1.9, 0.50, effects=((0.0, 0.0), (0.26, 0.0))),
        Trait(0.9, 0.45, effects=((-0.24, -0.06), (0.0, 0.0))),
        Trait(0.6, 0.40),
    )
    trait_correlations: tuple[tuple[float, ...], ...] = (
        (1.00, 0.40, 0.30, -0.20, 0.45, 0.15),
        (0.40, 1.00, 0.35, -0.10, 0.25, 0.20),
        (0.30, 0.35, 1.00, -0.15, 0.10, 0.30),
        (-0.20, -0.10, -0.15, 1.00, -0.20, -0.35),
        (0.45, 0.25, 0.10, -0.20, 1.00, 0.20),
        (0.15, 0.20, 0.30, -0.35, 0.20, 1.00),
    )
    practice: tuple[Trait, ...] = (
        Trait(3.2, 0.60),
        Trait(1.4, 0.60),
        Trait(2.2, 0.40),
        Trait(1.3, 0.45),
        Trait(0.9, 0.45),
        Trait(1.2, 0.45),
        Trait(2.1, 0.40),
        Trait(1.8, 0.40),
    )
    practice_flow: tuple[float, ...] = (0.3, -0.3, 0.3, 0.0, -0.2, 0.1, 0.4, 0.4)
    perspectives: tuple[Perspective, Perspective] = (
        Perspective(5.55, 0.15, (0.05, 0.03), (0.68, 0.12), 0.45, 0.25, 0.80, 0.12, 14.0),
        Perspective(5.00, 0.08, (0.22, 0.04), (0.45, 0.09), 0.38, 0.25, 0.60, 0.08, 5.0),
    )
    rater_correlation: tuple[float, float, float] = (0.30, 0.38, 0.47)
    intercept_slope: float = -0.20
    every_share: float = 0.12
    lengths: tuple[int, ...] = (16, 26, 42, 46, 52)
    max_length: int = 55
    weeks: int = 110
    status: tuple[float, float, float] = (0.88, 0.07, 0.05)
    gap_share: float = 0.10
    dropout_hazard: float = 0.008
    dropout_slope: float = -0.70
    skipped: float = 0.006
    sharing: tuple[float, float, float] = (0.06, 0.69, 0.25)
    trait_noise: float = 0.06
    trait_missing: float = 0.02
    trait_years: int = 2
    trait_stability: float = 0.85

    def __post_init__(self) -> None:
        if len(self.perspectives) != len(RATERS) or len(self.traits) != len(TRAITS):
            raise ValueError("One perspective per rater and one entry per trait are needed.")
        if not len(self.practice) == len(self.practice_flow) == len(PRACTICE):
            raise ValueError("One entry per scale of the forms about coping and manner is needed.")
