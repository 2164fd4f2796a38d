"""After a restoration without the list of withdrawals: enter them from the list that was found later."""

from django.core.management.base import BaseCommand, CommandError

from surveys.services.withdrawal_list import list_path, withdrawals_replay


class Command(BaseCommand):
    help = "Enter again the withdrawals of BACKUP_DIR/withdrawals.jsonl that the database does not know."

    def handle(self, *_args: object, **_options: object) -> None:
        if not list_path().exists():
            raise CommandError(f"There is no list at {list_path()}. Put the latest one there.")
        replay = withdrawals_replay()
        self.stdout.write(
            f"{replay.n_there} were there, {replay.n_entered} entered again, {replay.n_unknown} of people "
            "who are not in these data."
        )
        if replay.n_unreadable:
            raise CommandError(f"{replay.n_unreadable} lines of {list_path()} cannot be read. Look at it.")
