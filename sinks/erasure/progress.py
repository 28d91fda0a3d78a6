"""Pure: how far a request is after what was seen of its rows, parts and topics."""

from collections.abc import Mapping

import msgspec

from schemas.subjects.erasures import DAY_MS, Erasure, State
from sinks.erasure.rows import LeftOnDisk


class Patience(msgspec.Struct, frozen=True):
    """How long to wait although nothing more is seen.

    Attributes:
        engine_s: since the engine came up: it takes a while to know the parts that it no longer needs.
        clocks_s: how far the engine's clock, and that of a machine that puts records back, may be from ours.
        brokers_s: between a log's new start and the end of its files (Kafka's `file.delete.delay.ms` is 60 s).
        refuse_days: how long events of somebody who is gone are refused.
    """

    engine_s: int = 60
    clocks_s: int = 60
    brokers_s: int = 90
    refuse_days: int = 30


def came_back(erasure: Erasure, rows: Mapping[str, int], now_ms: int) -> Erasure:
    """The request once rows of it were found: its state begins anew, if it was any further."""
    counted = erasure.counted(rows)
    return counted if counted.state is State.ACCEPTED else counted.reached(State.ACCEPTED, now_ms, ends={})


def put_back(erasure: Erasure, until_ms: int, now_ms: int) -> Erasure:
    """An open request after somebody said that records of before are written once more, until then.

    What it waited for says no longer where its records end, so it begins anew.
    """
    if erasure.state is State.ACCEPTED:
        return msgspec.structs.replace(erasure, ends={}, put_back_until_ms=until_ms)
    return erasure.reached(State.ACCEPTED, now_ms, ends={}, put_back_until_ms=until_ms)


def waits_for_what_is_put_back(erasure: Erasure) -> Erasure:
    """An accepted request of which no row was found, while records may still be written once more."""
    waits_for = "a replay or a rewind, which may still put records back"
    return msgspec.structs.replace(erasure.counted({}), ends={}, waits_for=waits_for)


def rows_deleted(
    erasure: Erasure, passed: bool, ends: Mapping[str, int], theirs: Mapping[str, int], now_ms: int
) -> Erasure:
    """An accepted request of which no row was found, after `passed` was seen.

    Args:
        passed: whether the sinks have stored what lay on the topics when it was first looked for.
        ends: of the logs now that a row or a dead letter of theirs may come from.
        theirs: of the logs now that may hold records of theirs: what is appended later is none, or makes a row that
            is found.
    """
    counted = erasure.counted({})
    if not passed:
        waits_for = "records that sinks have still to store"
        return msgspec.structs.replace(counted, ends=erasure.ends or _begun(ends), waits_for=waits_for)
    return counted.reached(State.ROWS_DELETED, now_ms, ends=_begun(theirs))


def parts_clean(erasure: Erasure, left: LeftOnDisk, patience: Patience, now_ms: int) -> Erasure:
    """A request whose rows are deleted, or one that is about to be done."""
    if waits_for := _unclean(left, patience):
        return msgspec.structs.replace(erasure, waits_for=waits_for)
    return erasure.reached(State.PARTS_CLEAN, now_ms)


def topics_past(erasure: Erasure, starts: Mapping[str, int], now_ms: int) -> Erasure:
    """A request of which nothing is left in ClickHouse.

    Args:
        starts: the first offset of each log; a log that is no more has none.
    """
    held = sorted(log for log, end in erasure.ends.items() if log in starts and starts[log] < end)
    if held:
        return msgspec.structs.replace(erasure, waits_for=f"retention of {', '.join(held)}")
    return erasure.reached(State.TOPICS_PAST, now_ms)


def done(erasure: Erasure, left: LeftOnDisk, patience: Patience, now_ms: int) -> Erasure:
    """A request whose topics are past, of which every row was looked for once more."""
    if not brokers_are_done(erasure, patience, now_ms):
        return msgspec.structs.replace(erasure, waits_for="brokers that delete files")
    if waits_for := _unclean(left, patience):
        return msgspec.structs.replace(erasure, waits_for=waits_for)
    return erasure.reached(State.DONE, now_ms)


def brokers_are_done(erasure: Erasure, patience: Patience, now_ms: int) -> bool:
    """Whether brokers had the time to delete the files of what their logs no longer hold."""
    return now_ms - erasure.at_ms[State.TOPICS_PAST] >= patience.brokers_s * 1_000


def forgotten(erasure: Erasure, patience: Patience, now_ms: int) -> Erasure:
    """A request that is done; it is forgotten once nobody has to be refused any more."""
    if now_ms - erasure.at_ms[State.DONE] < patience.refuse_days * DAY_MS:
        return erasure
    return erasure.reached(State.FORGOTTEN, now_ms, digest="", salt="", ends={})


def _begun(ends: Mapping[str, int]) -> dict[str, int]:
    return {log: end for log, end in ends.items() if end}


def _unclean(left: LeftOnDisk, patience: Patience) -> str:
    if left.detached:
        return "detached parts: look at system.detached_parts, and drop or attach them"
    if left.inactive:
        return "parts that are no longer in use, which ClickHouse deletes after old_parts_lifetime"
    return "the engine, which has just started" if left.up_s < patience.engine_s else ""
