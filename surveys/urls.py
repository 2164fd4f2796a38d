from django.urls import include, path

from surveys.views import instruments, link, offline, respond, tablet, therapist

urlpatterns = [
    path("clinic/", include("surveys.clinic_urls")),
    path("r/<str:token>/", link.link, name="link"),
    path("f/offline/", offline.page, name="form-offline"),
    path("f/worker.js", offline.worker, name="form-worker"),
    path("f/<uuid:assignment_id>/", respond.form, name="form"),
    path("f/<uuid:assignment_id>/begin/", tablet.begin, name="form-begin"),
    path("f/<uuid:assignment_id>/answers/", respond.answers, name="form-answers"),
    path("f/<uuid:assignment_id>/restart/", respond.restart, name="form-restart"),
    path("f/<uuid:assignment_id>/send/", respond.send, name="form-send"),
    path("f/<uuid:assignment_id>/receipt/", respond.receipt, name="form-receipt"),
    path("tablet/", tablet.lock, name="tablet"),
    path("tablet/done/", tablet.done, name="tablet-done"),
    path("tablet/leave/", tablet.leave, name="tablet-leave"),
    path("tablets/", tablet.devices, name="tablets"),
    path("tablets/<uuid:tablet_id>/revoke/", tablet.revoke, name="tablet-revoke"),
    path("forms/<uuid:assignment_id>/start-code/", tablet.start_code, name="start-code"),
    path("caseload/", therapist.home, name="therapist-home"),
    path("supervision/", therapist.supervision, name="supervisor-home"),
    path("forms/<uuid:assignment_id>/start/", therapist.form_start, name="own-form-start"),
    path("therapies/<uuid:therapy_id>/sessions/", therapist.session_log, name="session-log"),
    path("instruments/", instruments.instrument_list, name="instrument-list"),
    path("instruments/upload/", instruments.upload, name="instrument-upload"),
    path("instruments/<uuid:instrument_id>/", instruments.instrument, name="instrument"),
    path("instruments/<uuid:instrument_id>/file/", instruments.instrument_file, name="instrument-file"),
    path("licences/", instruments.licences, name="licences"),
]
