from django.apps import AppConfig
from django.core.checks import Tags, register

from alliance_site.checks import clocks, durability


class AllianceSiteConfig(AppConfig):
    name = "alliance_site"
    verbose_name = "Site"

    def ready(self) -> None:
        register(durability, Tags.database)
        register(clocks, Tags.database)
