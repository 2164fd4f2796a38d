"""Where somebody is signed in, and the end of it elsewhere."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from surveys.access import person
from surveys.account_access import own_sign_ins
from surveys.services.sign_ins import sign_ins_end
from surveys.session_store import row_key


def sign_ins(request: HttpRequest) -> HttpResponse:
    rows = list(own_sign_ins(request.user))
    this = row_key(request.session)
    context = {
        "rows": [(row, row.pk == this) for row in rows],
        "n_others": sum(row.pk != this for row in rows),
        "now": timezone.now(),
    }
    return render(request, "account/sign_ins.html", context)


def end(request: HttpRequest) -> HttpResponse:
    """One other (`which` is its mark), or all others. What has ended meanwhile is no error."""
    others = own_sign_ins(request.user).exclude(pk=row_key(request.session))
    which = request.POST.get("which", "")
    if which:
        others = others.filter(pk__in=[row.pk for row in others if row.mark == which])
    n = sign_ins_end(user=person(request.user), rows=others, actor=request.user)
    words = ngettext("%(n)s session was ended.", "%(n)s sessions were ended.", n) % {"n": n}
    messages.success(request, words if n else _("That had ended already."))
    return redirect("sign-ins")
