"""The addresses of the API under /api/v1/ that are of `surveys`."""

from django.urls import path

from surveys.api import fhir, people, sessions

urlpatterns = [
    path("patients/", people.Patients.as_view(), name="api-patients"),
    path("patients/<uuid:patient_id>/", people.PatientView.as_view(), name="api-patient"),
    path("therapies/", people.Therapies.as_view(), name="api-therapies"),
    path("therapies/<uuid:therapy_id>/", people.TherapyView.as_view(), name="api-therapy"),
    path("therapies/<uuid:therapy_id>/sessions/", sessions.Sessions.as_view(), name="api-sessions"),
    path("sessions/<uuid:session_id>/", sessions.SessionView.as_view(), name="api-session"),
    # Addresses of FHIR end without a stroke.
    path("fhir/Questionnaire", fhir.Questionnaires.as_view(), name="api-questionnaires"),
    path(
        "fhir/Questionnaire/<uuid:instrument_id>",
        fhir.QuestionnaireView.as_view(),
        name="api-questionnaire",
    ),
    path("fhir/QuestionnaireResponse", fhir.Answers.as_view(), name="api-answers"),
    path("fhir/QuestionnaireResponse/<uuid:response_id>", fhir.AnswersView.as_view(), name="api-answer"),
]
