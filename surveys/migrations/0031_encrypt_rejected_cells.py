"""What stood in a cell of a file that was not taken over is encrypted: a column that was chosen wrongly may
hold anything about anybody.

Values are rewritten in batches, each committed by itself: what was done before a failure is left as it is
when the migration is run again.
"""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

import surveys.fields
from surveys.fields import is_encrypted
from surveys.rekey import Cell, rewrite

VALUES = Cell("surveys_importrejection", "values", names=("value",))


def forwards(_apps: StateApps, _editor: BaseDatabaseSchemaEditor) -> None:
    rewrite(VALUES, lambda text: None if is_encrypted(text) else surveys.fields.encrypt_bytes(text))


def backwards(_apps: StateApps, _editor: BaseDatabaseSchemaEditor) -> None:
    rewrite(VALUES, lambda text: surveys.fields.decrypt_bytes(text) if is_encrypted(text) else None)


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("surveys", "0030_keep_rows_of_clinics_apart")]
    operations = [
        migrations.AlterField(
            "importrejection",
            "values",
            surveys.fields.EncryptedWithin(
                default=dict,
                help_text="Of the sentence; what stood in the cell is encrypted",
                names=("value",),
            ),
        ),
        migrations.RunPython(forwards, backwards),
    ]
