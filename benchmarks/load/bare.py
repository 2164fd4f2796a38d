"""What the same server and database do at best: Django without middleware, one view, one row.

The settings are those of the site, so that connections are kept and checked alike.
"""

import os

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alliance_site.settings")
django.setup()
# Some apps insist on theirs at the start; the handler reads what is there when it is made.
settings.MIDDLEWARE = []
settings.ROOT_URLCONF = __name__

from django.db import models, transaction  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402

from surveys.ids import uuid7  # noqa: E402


class BareRow(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid7)
    answers = models.JSONField()
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "surveys"
        managed = False
        db_table = "load_bare"

    def __str__(self) -> str:
        return str(self.pk)


def insert(request: HttpRequest) -> HttpResponse:
    answers = {name: value for name, value in request.POST.items() if name.startswith("item_")}
    with transaction.atomic():
        BareRow.objects.create(answers=answers)
    return HttpResponse(status=303, headers={"Location": "/", "Content-Length": "0"})


urlpatterns = [path("", insert)]
application = get_wsgi_application()
