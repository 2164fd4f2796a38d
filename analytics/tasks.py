"""The kinds of jobs that this app can do."""

from analytics.services.refit import study_refit
from surveys import jobs

jobs.register("refit", study_refit)
