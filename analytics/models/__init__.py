"""The models of this app. One file per topic; import them from here."""

from analytics.models.data import Export, ExportApproval, Snapshot, StoredChunk, StoredFile
from analytics.models.desk import Analysis, AnalysisLock, PowerPlan, PublishedTable
from analytics.models.dips import DipReview, DipRules, DipTally
from analytics.models.fits import GrowthFit, RatingChange, RatingCount, TherapySums
from analytics.models.together import Panel, PracticeBasis

__all__ = [
    "Analysis",
    "AnalysisLock",
    "DipReview",
    "DipRules",
    "DipTally",
    "Export",
    "ExportApproval",
    "GrowthFit",
    "Panel",
    "PowerPlan",
    "PracticeBasis",
    "PublishedTable",
    "RatingChange",
    "RatingCount",
    "Snapshot",
    "StoredChunk",
    "StoredFile",
    "TherapySums",
]
