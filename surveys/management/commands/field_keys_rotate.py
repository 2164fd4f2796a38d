"""Everything that is encrypted in the database under the first field key, by the operator of the server."""

from django.core.management.base import BaseCommand, CommandError

from surveys.rekey import Rewritten, encrypted_cells, rekey


class Command(BaseCommand):
    help = (
        "Encrypt every encrypted column anew with the first field key, while the site is in use; the site "
        "must run with that key already. Can be ended and called again."
    )

    def handle(self, *_args: object, **_options: object) -> None:
        found: list[Rewritten] = []
        for cell in encrypted_cells():
            found.append(rekey(cell))
            row = found[-1]
            self.stdout.write(f"{cell}: {row.n_rows} values, {row.n_changed} encrypted anew")
        n_unreadable = sum(row.n_unreadable for row in found)
        if n_unreadable:
            raise CommandError(
                f"{n_unreadable} values cannot be read with the keys of this site. Put the key that they "
                "were written with into FIELD_KEY_FALLBACKS and call this again; until then empty nothing."
            )
        n_changed = sum(row.n_changed for row in found)
        n_rows = sum(row.n_rows for row in found)
        self.stdout.write(f"All {n_rows} values are under the first key, {n_changed} of them since now.")
        if n_changed:
            self.stdout.write("Call this once more after every part of the site was restarted with that key.")
        else:
            self.stdout.write("FIELD_KEY_FALLBACKS can be emptied.")
