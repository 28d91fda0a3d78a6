"""`unjoin keys`: lists, rotates and destroys the keys of the day.

Every day has keys of its own, so they rotate by themselves at midnight UTC, and die by themselves when they are due.
What `rotate` means beyond that: somebody may have read a role's folder, so every key in it is destroyed now, and the
next one is that of the first day without. Never a second key for the same day: a session would have two voters that
day, vote twice, count as two in its crowd, and escape the verdict about it; and the door could not repeat a crowd that
it released but had not committed.

    UnjoinError
    └── KeysError    what was asked cannot be done, or was not confirmed; nothing was destroyed
"""

import argparse
import datetime
from pathlib import Path
from typing import Literal

import msgspec
from rich.console import Console

from schemas.outcomes import UnjoinError
from unjoin.keys.announcement import Role, fingerprint_of, identity_fingerprint
from unjoin.keys.housekeeping import destroy_expired
from unjoin.keys.identity import existing_identity, new_identity
from unjoin.keys.keyring import Keyring, KeyringError
from unjoin.keys.retention import destroy_due
from unjoin.output import add_format, print_table, say
from unjoin.settings import Settings

ROLES = ("edge", "epoch")
ROLE_OF_KEYS: dict[str, Role] = {"edge": "edge", "epoch": "door"}
CONSEQUENCE = {
    "edge": "collectors reject labels of that day from now on (day_closed)",
    "epoch": "the door suppresses labels of that day that have not left yet (key_destroyed)",
}

State = Literal["in use", "destroyed", "lost"]


class KeysError(UnjoinError):
    """What was asked cannot be done, or was not confirmed; nothing was destroyed."""


class KeyRow(msgspec.Struct, frozen=True):
    """What is known of one role's key of one day; times in UTC.

    Attributes:
        state: lost where it was made, is not there whole, and is not destroyed on record.
        fingerprint: 32 hexadecimal digits, the same on every host that has this key; empty where there is none.
        created, destroyed: times in the journal; None where it has none.
        due: when it is destroyed by itself.
        identity: fingerprint of the door's identity as it is now; empty of an edge key, and where there is none.
    """

    role: str
    day: datetime.date
    state: State
    created: datetime.datetime | None
    destroyed: datetime.datetime | None
    due: datetime.datetime
    fingerprint: str = ""
    identity: str = ""


def run_keys(options: argparse.Namespace, settings: Settings, console: Console, now: datetime.datetime) -> int:
    """Carries out one action; running roles notice what was destroyed within a minute.

    Raises:
        KeysError: it cannot be done, or was not confirmed.
        KeyringError: a folder of keys cannot be read or written.
    """
    folders = {"edge": settings.edge_keys_dir, "epoch": settings.epoch_keys_dir}
    keyrings = {role: Keyring(folders[role]) for role in ROLES if options.role in (role, "both")}
    if options.action == "list":
        rows = [row for role in keyrings for row in key_rows(role, keyrings[role], settings.labeled_retention_hours)]
        identity = existing_identity(folders["epoch"]) if "epoch" in keyrings else None
        _show(rows, identity, options.format)
    elif options.action == "rotate":
        _rotate(keyrings, options.yes, console, now)
        if "epoch" in keyrings:
            _rotate_identity(folders["epoch"], console)
    elif options.expired:
        _destroy_expired(keyrings, settings.labeled_retention_hours, console, now)
    else:
        _destroy(keyrings, options.day, options.yes, console)
    return 0


def key_rows(role: str, keyring: Keyring, labeled_hours: int) -> list[KeyRow]:
    """Every key that there is or was, by day."""
    at: dict[tuple[str, datetime.date], datetime.datetime] = {}
    for entry in keyring.history():
        day = datetime.date.fromisoformat(str(entry["day"]))
        when = datetime.datetime.fromtimestamp(int(entry["at"]) // 1000, datetime.UTC)
        at.setdefault((str(entry["event"]), day), when)
    days = {day for _, day in at} | set(keyring.days())
    return [
        KeyRow(
            role,
            day,
            _state(keyring, day),
            at.get(("created", day)),
            at.get(("destroyed", day)),
            destroy_due(day, labeled_hours),
            _fingerprint(role, keyring, day),
        )
        for day in sorted(days)
    ]


def _state(keyring: Keyring, day: datetime.date) -> State:
    if keyring.is_destroyed(day):
        return "destroyed"
    try:
        return "lost" if keyring.existing_key_of(day) is None else "in use"
    except KeyringError:
        return "lost"


def _fingerprint(role: str, keyring: Keyring, day: datetime.date) -> str:
    try:
        key = keyring.existing_key_of(day)
    except KeyringError:
        return ""
    return "" if key is None else fingerprint_of(ROLE_OF_KEYS[role], key)


def _show(rows: list[KeyRow], identity: bytes | None, form: str) -> None:
    if not rows and form == "table":
        say("no keys here yet: a role makes the key of a day when it is first asked for")
    elif form == "table":
        cells = [
            (row.role, str(row.day), row.state, *map(_minute, (row.created, row.destroyed, row.due))) for row in rows
        ]
        print_table(("role", "day", "state", "created", "destroyed", "due"), cells)
        for row in rows:
            if row.fingerprint:
                say(f"fingerprint of {row.role} {row.day}: {row.fingerprint}")
    else:
        door = "" if identity is None else identity_fingerprint(identity)
        rows = [msgspec.structs.replace(row, identity=door) if row.role == "epoch" else row for row in rows]
        shown = [msgspec.to_builtins(row) for row in rows]
        print_table(KeyRow.__struct_fields__, (list(row.values()) for row in shown), form, document=rows)
    if identity is not None and form == "table":
        say(f"door's identity: {identity_fingerprint(identity)}")


def _minute(when: datetime.datetime | None) -> str:
    return "" if when is None else f"{when:%m-%d %H:%M}"


def _destroy_expired(
    keyrings: dict[str, Keyring], labeled_hours: int, console: Console, now: datetime.datetime
) -> None:
    done = [(role, day) for role in keyrings for day in destroy_expired(keyrings[role], now, labeled_hours)]
    for role, day in done:
        console.print(f"destroyed {role} {day}", highlight=False)
    if not done:
        console.print("no key is due", highlight=False)


def _destroy(keyrings: dict[str, Keyring], day: datetime.date, yes: bool, console: Console) -> None:
    gone = [role for role in keyrings if keyrings[role].is_destroyed(day)]
    for role in gone:
        keyrings[role].destroy(day)  # removes what a crash may have left
        console.print(f"{role} {day} was destroyed before", highlight=False)
    known = [role for role in keyrings if role not in gone and _is_known(keyrings[role], day)]
    if not known and not gone:
        raise KeysError(f"there is no key of {day} here")
    if known:
        _confirm([(role, day) for role in known], yes, console)
        _carry_out(keyrings, [(role, day) for role in known], console)


def _is_known(keyring: Keyring, day: datetime.date) -> bool:
    return day in keyring.days() or any(entry["day"] == str(day) for entry in keyring.history())


def _rotate(keyrings: dict[str, Keyring], yes: bool, console: Console, now: datetime.datetime) -> None:
    keys = [(role, day) for role in keyrings for day in keyrings[role].days() if not keyrings[role].is_destroyed(day)]
    if keys:
        _confirm(keys, yes, console)
        _carry_out(keyrings, keys, console)
    for role, keyring in keyrings.items():
        day = now.date()
        while keyring.is_destroyed(day):
            day += datetime.timedelta(days=1)
        console.print(f"the next {role} key is that of {day} (UTC), made when it is first asked for", highlight=False)


def _rotate_identity(folder: Path, console: Console) -> None:
    if existing_identity(folder) is None:
        return
    made = identity_fingerprint(new_identity(folder))
    console.print(
        f"the door has a new identity; where UNJOIN_DOOR_IDENTITY is set, set it to {made}",
        highlight=False,
        soft_wrap=True,
    )


def _confirm(keys: list[tuple[str, datetime.date]], yes: bool, console: Console) -> None:
    for role, day in keys:
        console.print(f"{role} {day}: {CONSEQUENCE[role]}", highlight=False)
    if yes:
        return
    try:
        answer = console.input("destroy? There is no way back. \\[y/N] ")
    except EOFError:
        raise KeysError("nothing was destroyed: say --yes where nobody can be asked") from None
    if answer.strip().lower() not in ("y", "yes"):
        raise KeysError("nothing was destroyed")


def _carry_out(keyrings: dict[str, Keyring], keys: list[tuple[str, datetime.date]], console: Console) -> None:
    for role, day in keys:
        if keyrings[role].destroy(day):
            console.print(f"destroyed {role} {day}", highlight=False)


def add_keys_arguments(keys: argparse.ArgumentParser) -> None:
    """The actions of `unjoin keys`."""
    actions = keys.add_subparsers(dest="action", required=True, metavar="ACTION")

    def add(name: str, short: str, text: str) -> argparse.ArgumentParser:
        action = actions.add_parser(name, help=short, description=text)
        action.add_argument("--role", choices=(*ROLES, "both"), default="both", help="whose keys; default both")
        return action

    list_ = add(
        "list", "list keys, and when they were made and destroyed", "Lists what there is and was; times in UTC."
    )
    add_format(list_)
    destroy = add(
        "destroy",
        "destroy a day's keys, or those that are due",
        "Destroys keys for good, on record. Each role does so by itself when its keys are due; for a day that is not, "
        "labels are lost: collectors reject them without the edge key, the door suppresses them without the epoch key. "
        "For a key that is lost, it records that it is destroyed, so that its role goes on without it.",
    )
    which = destroy.add_mutually_exclusive_group(required=True)
    which.add_argument("--day", type=_day, help="YYYY-MM-DD")
    which.add_argument("--expired", action="store_true", help="what is due, without asking")
    rotate = add(
        "rotate",
        "somebody may have read the keys: destroy all there are, go on with new ones tomorrow",
        "Keys rotate by themselves: each UTC day has its own. This is for keys that somebody may have read: it "
        "destroys all that are there, so labels of those days, today's too, are rejected or suppressed until the next "
        "day's key is made. It never makes a second key for a day: a session could vote twice, and count twice in a "
        "crowd. It cannot undo what was read: whoever has the edge's key and reads events.labeled can join what lies "
        "there until its retention is over.",
    )
    for action in (destroy, rotate):
        action.add_argument("--yes", action="store_true", help="do not ask")


def _day(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a day like 2026-11-24") from None
