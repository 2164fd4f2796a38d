from django.apps import AppConfig


class AllianceSiteConfig(AppConfig):
    name = "alliance_site"
    verbose_name = "Site"
