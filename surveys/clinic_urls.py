"""The addresses of the clinic's administration, under /clinic/."""

from django.urls import path

from surveys.views import plan, setup

_study = "studies/<uuid:study_id>"

urlpatterns = [
    path("studies/", setup.studies, name="setup-studies"),
    path("studies/new/", setup.study_new, name="setup-study-new"),
    path(f"{_study}/", setup.study, name="setup-study"),
    path(f"{_study}/draft/", setup.draft_new, name="setup-draft-new"),
    path(f"{_study}/draft/drop/", setup.draft_drop, name="setup-draft-drop"),
    path(f"{_study}/draft/activate/", setup.activate, name="setup-activate"),
    path(f"{_study}/draft/<slug:slug>/", setup.step, name="setup-step"),
    path(f"{_study}/draft/plan/<uuid:instrument_id>/", plan.plan, name="setup-plan"),
]
