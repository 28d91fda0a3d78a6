"""What each role and command may do at the brokers, where those ask: everything else is refused."""

from collections.abc import Iterator
from typing import Literal, get_args

import msgspec

from schemas.subjects import put_back
from schemas.topics import (
    DEAD_LETTERS,
    DEIDENTIFIED,
    ERASURES,
    KEY_ANNOUNCEMENTS,
    LABELED,
    LABELED_DEAD_LETTERS,
    TOPIC_OF_CATEGORY,
    VERDICTS,
)

User = Literal["collector", "processor", "sink", "topics", "audit", "replay", "erase"]
Operation = Literal["Read", "Write", "Create", "Alter", "Describe", "DescribeConfigs", "AlterConfigs"]
Kind = Literal["topic", "group"]

EVENTS = tuple(TOPIC_OF_CATEGORY.values())
STORED = (*(topic for topic in EVENTS if topic != LABELED), DEIDENTIFIED, DEAD_LETTERS, LABELED_DEAD_LETTERS)
EVERY_TOPIC = (*EVENTS, DEIDENTIFIED, VERDICTS, DEAD_LETTERS, LABELED_DEAD_LETTERS, KEY_ANNOUNCEMENTS, ERASURES)


class Right(msgspec.Struct, frozen=True):
    """Operations on topics or groups. Read and Write allow Describe as well.

    Attributes:
        prefix: whether the names are beginnings of names.

    Source: Kafka's documentation, Security, Operations and Resources on Protocols.
    """

    operations: tuple[Operation, ...]
    kind: Kind
    names: tuple[str, ...]
    prefix: bool = False


# Only the processor reads `events.labeled`, and nobody may delete anything. No role uses transactions, so none has a
# transactional id; an idempotent producer needs no right beside Write.
RIGHTS: dict[User, tuple[Right, ...]] = {
    "collector": (
        Right(("Write", "DescribeConfigs"), "topic", EVENTS),
        Right(("Read", "Write"), "topic", (KEY_ANNOUNCEMENTS,)),
        Right(("Read",), "topic", (ERASURES,)),
    ),
    "processor": (
        Right(("Read",), "topic", (LABELED,)),
        Right(("Read", "Write"), "topic", (VERDICTS, KEY_ANNOUNCEMENTS)),
        Right(("Write",), "topic", (DEIDENTIFIED, LABELED_DEAD_LETTERS)),
        Right(("Read",), "group", ("unjoin-door",)),
    ),
    "sink": (
        Right(("Read",), "topic", STORED),
        Right(("Write",), "topic", (DEAD_LETTERS,)),
        Right(("Read", "Write"), "topic", (ERASURES,)),
        Right(("Read",), "group", ("unjoin-sink-",), prefix=True),
    ),
    "topics": (Right(("Create", "Alter", "Describe", "DescribeConfigs", "AlterConfigs"), "topic", EVERY_TOPIC),),
    "audit": (
        Right(("Read", "DescribeConfigs"), "topic", STORED),
        Right(("Read",), "topic", (ERASURES,)),
        Right(("Describe", "DescribeConfigs"), "topic", (LABELED,)),
        Right(("Describe",), "group", ("unjoin-door",)),
        Right(("Describe",), "group", ("unjoin-sink-",), prefix=True),
    ),
    "replay": (
        Right(("Read",), "topic", (DEAD_LETTERS, LABELED_DEAD_LETTERS)),
        Right(("Write",), "topic", (*EVENTS, DEIDENTIFIED)),
        Right(("Read",), "group", ("unjoin-replay",), prefix=True),
        Right(("Read",), "group", (put_back.GROUP,)),
    ),
    "erase": (Right(("Read", "Write"), "topic", (ERASURES,)),),
}
USERS: tuple[User, ...] = get_args(User)


class Rule(msgspec.Struct, frozen=True):
    """One rule of an authorizer: a user may do this."""

    user: User
    operation: Operation
    kind: Kind
    name: str
    prefix: bool


def rules() -> Iterator[Rule]:
    """Every right, operation by operation and name by name."""
    for user, rights in RIGHTS.items():
        for right in rights:
            for name in right.names:
                for operation in right.operations:
                    yield Rule(user, operation, right.kind, name, right.prefix)


def rights_table() -> str:
    """The table of docs/kafka-security.md, in Markdown."""
    rows = ["| user | may | on |", "|---|---|---|"]
    for user, rights in RIGHTS.items():
        for right in rights:
            names = ", ".join(f"`{name}{'*' * right.prefix}`" for name in right.names)
            rows.append(f"| `{user}` | {', '.join(right.operations)} | {right.kind}s {names} |")
    return "\n".join(rows)
