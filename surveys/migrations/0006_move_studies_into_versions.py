"""Every study so far becomes its version 1, in force since before its first session; every link a row."""

from datetime import timedelta

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Min
from django.utils import timezone


def into_versions(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    study_model = apps.get_model("surveys", "Study")
    version_model = apps.get_model("surveys", "StudyVersion")
    assignment_model = apps.get_model("surveys", "Assignment")
    session_model = apps.get_model("surveys", "Session")
    link_model = apps.get_model("surveys", "FormLink")
    for study in study_model.objects.order_by("pk"):
        forms = assignment_model.objects.filter(study=study)
        first = [
            session_model.objects.filter(therapy__study=study).aggregate(at=Min("held_at"))["at"],
            forms.aggregate(at=Min("opens_at"))["at"],
        ]
        version = version_model.objects.create(
            study=study,
            number=1,
            visibility=study.visibility,
            active_from=min(filter(None, first), default=timezone.now()) - timedelta(days=1),
        )
        study.plan_lines.update(version=version)
        forms.update(version=version)
    link_model.objects.bulk_create(
        (
            link_model(assignment=form, token_hash=form.token_hash, via="command", issued_at=timezone.now())
            for form in assignment_model.objects.filter(token_hash__isnull=False).iterator()
        ),
        batch_size=1000,
    )


class Migration(migrations.Migration):
    dependencies = [("surveys", "0005_add_versions_consent_and_messages")]
    operations = [migrations.RunPython(into_versions, migrations.RunPython.noop)]
