from django.urls import path
from drf_spectacular.views import SpectacularAPIView

from analytics import api
from analytics.views import agreement, board, completion, desk_plans, dips, practice, research, trend

urlpatterns = [
    path("caseload/", board.caseload, name="therapist-home"),
    path("supervision/", board.supervision, name="supervisor-home"),
    path("supervision/board.csv", board.supervision_file, name="supervision-file"),
    path("caseload/agreement/", agreement.agreement, name="agreement"),
    path("practice/", practice.own, name="practice"),
    path("practices/<uuid:therapist_id>/chart.svg", practice.chart, name="practice-chart"),
    path("supervision/practices/", practice.shared, name="shared-practices"),
    path("supervision/practices/<uuid:therapist_id>/", practice.supervisee, name="supervisee-practice"),
    path("therapies/<uuid:therapy_id>/", trend.therapy, name="therapy"),
    path("therapies/<uuid:therapy_id>/chart.svg", trend.chart, name="therapy-chart"),
    path("therapies/<uuid:therapy_id>/page.pdf", trend.sheet, name="therapy-pdf"),
    path("therapies/<uuid:therapy_id>/dips/<uuid:response_id>/", dips.dip, name="dip"),
    path("clinic/studies/<uuid:study_id>/dips/", dips.study, name="study-dips"),
    path("clinic/completion/", completion.page, name="clinic-completion"),
    path("clinic/completion/chart.svg", completion.chart, name="clinic-completion-chart"),
    path("studies/", research.studies, name="study-list"),
    path("studies/<uuid:study_id>/codebook/", research.codebook, name="study-codebook"),
    path("studies/<uuid:study_id>/plans/", desk_plans.plans, name="desk-plans"),
    path("studies/<uuid:study_id>/plans/new/", desk_plans.plan_new, name="desk-plan-new"),
    path("plans/<uuid:plan_id>/", desk_plans.plan, name="desk-plan"),
    path("plans/<uuid:plan_id>/cancel/", desk_plans.cancel, name="desk-plan-cancel"),
    path("api/v1/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/v1/therapies/<uuid:therapy_id>/trend/", api.TherapyTrend.as_view(), name="api-therapy-trend"),
    path("api/v1/studies/", api.Studies.as_view(), name="api-studies"),
    path("api/v1/studies/<uuid:study_id>/ratings.csv", api.StudyRatings.as_view(), name="api-study-ratings"),
    path(
        "api/v1/studies/<uuid:study_id>/composites.csv",
        api.StudyComposites.as_view(),
        name="api-study-composites",
    ),
]
