"""What was written about a possible dip is encrypted. The record stays as it was written: only the words may
be written anew, under another key, and only where the transaction says that it does that. The database cannot
tell whether they are the same words.

Each step is committed by itself, and can be done again where an earlier try ended in the middle.
"""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

import surveys.fields
from surveys.fields import is_encrypted
from surveys.rekey import Cell, rewrite

REASON = Cell("analytics_dipreview", "reason")

FORWARD = """
CREATE OR REPLACE FUNCTION analytics_review_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('alliance.rekey', true) = 'on'
        AND to_jsonb(NEW) - 'reason' = to_jsonb(OLD) - 'reason'
        AND (NEW.reason = '') = (OLD.reason = '') THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'analytics_dipreview is append-only' USING ERRCODE = 'restrict_violation';
END $$;
DROP TRIGGER IF EXISTS dip_review_append_only ON analytics_dipreview;
CREATE TRIGGER dip_review_append_only BEFORE UPDATE ON analytics_dipreview
    FOR EACH ROW EXECUTE FUNCTION analytics_review_stays();
"""
BACKWARD = """
DROP TRIGGER IF EXISTS dip_review_append_only ON analytics_dipreview;
CREATE TRIGGER dip_review_append_only BEFORE UPDATE ON analytics_dipreview
    FOR EACH ROW EXECUTE FUNCTION surveys_refuse();
DROP FUNCTION IF EXISTS analytics_review_stays();
"""


def forwards(_apps: StateApps, _editor: BaseDatabaseSchemaEditor) -> None:
    rewrite(REASON, lambda text: None if is_encrypted(text) else surveys.fields.encrypt_bytes(text))


def backwards(_apps: StateApps, _editor: BaseDatabaseSchemaEditor) -> None:
    rewrite(REASON, lambda text: surveys.fields.decrypt_bytes(text) if is_encrypted(text) else None)


class Migration(migrations.Migration):
    atomic = False
    dependencies = [
        ("analytics", "0014_approve_exports"),
        ("surveys", "0026_encrypt_what_is_written"),
    ]
    operations = [
        migrations.AlterField(
            "dipreview",
            "reason",
            surveys.fields.EncryptedText(
                blank=True,
                help_text="What was done, or why it was dismissed; empty only if seen",
                max_length=1000,
            ),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
        migrations.RunPython(forwards, backwards),
    ]
