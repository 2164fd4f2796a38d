"""The table behind Django's database cache, which counts refused links for all web processes."""

from django.db import migrations

FORWARD = """
CREATE TABLE cache (cache_key varchar(255) PRIMARY KEY, value text NOT NULL, expires timestamptz NOT NULL);
CREATE INDEX cache_expires ON cache (expires);
"""


class Migration(migrations.Migration):
    dependencies = [("surveys", "0002_refuse_change_of_records")]
    operations = [migrations.RunSQL(FORWARD, "DROP TABLE cache;")]
