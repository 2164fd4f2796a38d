"""The addresses of the clinic's administration, under /clinic/."""

from django.urls import path

from surveys.views import (
    clinics,
    consent,
    imports,
    messages,
    people,
    plan,
    setup,
    staff,
    testruns,
    trace,
    withdrawals,
)

_study = "studies/<uuid:study_id>"
_import = "imports/<uuid:batch_id>"

urlpatterns = [
    path("", staff.home, name="admin-home"),
    path("trace/", trace.clinic, name="clinic-trace"),
    path("messages/", messages.clinic_log, name="clinic-messages"),
    path("contact/", clinics.describe, name="clinic-describe"),
    path("choose/", clinics.choose, name="clinic-choose"),
    path("staff/", staff.staff, name="people-staff"),
    path("staff/new/", staff.staff_new, name="people-staff-new"),
    path("staff/<uuid:user_id>/", staff.account, name="people-account"),
    path("staff/<uuid:user_id>/invite/", staff.invite, name="people-invite"),
    path("staff/<uuid:user_id>/leave/", staff.leave, name="people-leave"),
    path("patients/", people.patients, name="people-patients"),
    path("patients/new/", people.patient_new, name="people-patient-new"),
    path("patients/<uuid:patient_id>/", people.patient, name="people-patient"),
    path("patients/<uuid:patient_id>/therapy/", people.therapy_new, name="people-therapy-new"),
    path(
        "patients/<uuid:patient_id>/studies/<uuid:study_id>/withdrawal/",
        withdrawals.enter,
        name="withdrawal-enter",
    ),
    path(
        "patients/<uuid:patient_id>/studies/<uuid:study_id>/consent/",
        consent.enter,
        name="consent-enter",
    ),
    path("therapies/<uuid:therapy_id>/", people.therapy, name="people-therapy"),
    path("therapies/<uuid:therapy_id>/end/", people.therapy_close, name="people-therapy-end"),
    path("therapies/<uuid:therapy_id>/transfer/", people.therapy_move, name="people-therapy-transfer"),
    path("studies/", setup.studies, name="setup-studies"),
    path("studies/new/", setup.study_new, name="setup-study-new"),
    path(f"{_study}/", setup.study, name="setup-study"),
    path(f"{_study}/draft/", setup.draft_new, name="setup-draft-new"),
    path(f"{_study}/draft/drop/", setup.draft_drop, name="setup-draft-drop"),
    path(f"{_study}/draft/activate/", setup.activate, name="setup-activate"),
    path(f"{_study}/draft/<slug:slug>/", setup.step, name="setup-step"),
    path(f"{_study}/import/", imports.upload, name="import-new"),
    path("imports/", imports.imports, name="imports"),
    path(f"{_import}/", imports.show, name="import"),
    path(f"{_import}/columns/", imports.columns, name="import-columns"),
    path(f"{_import}/check/", imports.check, name="import-check"),
    path(f"{_import}/store/", imports.store, name="import-store"),
    path(f"{_import}/rejected/", imports.rejected_file, name="import-rejected"),
    path(f"{_import}/find/", imports.find, name="import-find"),
    path(f"{_import}/drop/", imports.drop, name="import-drop"),
    path(f"{_import}/undo/", imports.undo, name="import-undo"),
    path(f"{_import}/cancel/", imports.cancel, name="import-cancel"),
    path(f"{_study}/test/", testruns.begin, name="setup-test-new"),
    path("tests/<uuid:test_id>/", testruns.show, name="setup-test"),
    path("tests/<uuid:test_id>/link/", testruns.link, name="setup-test-link"),
    path("tests/<uuid:test_id>/clear/", testruns.clear, name="setup-test-clear"),
    path(f"{_study}/draft/plan/<uuid:instrument_id>/", plan.plan, name="setup-plan"),
]
