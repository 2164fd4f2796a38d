"""What somebody wrote about an uploaded file, its name and its pieces are encrypted by their columns.

The pieces were encrypted before. Values are rewritten in batches, each committed by itself: what was done
before a failure is left as it is when the migration is run again.
"""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

import surveys.fields
from surveys.fields import is_encrypted
from surveys.rekey import Cell, rewrite

CELLS = [Cell("surveys_importbatch", column) for column in ("file_name", "consent")]


def forwards(_apps: StateApps, _editor: BaseDatabaseSchemaEditor) -> None:
    for cell in CELLS:
        rewrite(cell, lambda text: None if is_encrypted(text) else surveys.fields.encrypt_bytes(text))


def backwards(_apps: StateApps, _editor: BaseDatabaseSchemaEditor) -> None:
    for cell in CELLS:
        rewrite(cell, lambda text: surveys.fields.decrypt_bytes(text) if is_encrypted(text) else None)


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("surveys", "0025_open_in_an_emergency")]
    operations = [
        migrations.AlterField(
            "importbatch",
            "file_name",
            surveys.fields.EncryptedText(
                help_text="As the browser named it, perhaps after people; nothing follows from it",
                max_length=200,
            ),
        ),
        migrations.AlterField(
            "importbatch",
            "consent",
            surveys.fields.EncryptedText(
                blank=True,
                help_text="Under which consent the data were collected, in words",
                max_length=2000,
            ),
        ),
        migrations.AlterField("importchunk", "content", surveys.fields.EncryptedBytes()),
        migrations.RunPython(forwards, backwards),
    ]
