"""A stored fit is never changed; a newer one is added."""

from django.db import migrations

FORWARD = """
CREATE TRIGGER growth_fit_append_only BEFORE UPDATE ON analytics_growthfit
    FOR EACH ROW EXECUTE FUNCTION surveys_refuse();
"""


class Migration(migrations.Migration):
    dependencies = [("analytics", "0001_create_growth_fit"), ("surveys", "0002_refuse_change_of_records")]
    operations = [migrations.RunSQL(FORWARD, "DROP TRIGGER growth_fit_append_only ON analytics_growthfit;")]
