"""What the door holds and has done, as its metrics say: totals, for the page and for whoever runs the stack. Pure."""

import msgspec
from prometheus_client.parser import text_string_to_metric_families


class DoorTotals(msgspec.Struct, frozen=True):
    """Counts of one processor since it started.

    Attributes:
        held_labels, held_voters: what waits for its crowd now; voters are sessions.
        crowd_min: sessions that a crowd has at least.
        crowd_target: sessions with which it leaves before its wait is over.
        suppressed: labels that will never leave, by reason; only reasons that occurred.
    """

    held_labels: int
    held_voters: int
    crowd_min: int
    crowd_target: int
    released: int
    suppressed: dict[str, int]


def door_totals_of(exposition: str) -> DoorTotals:
    """The totals in a text of Prometheus's exposition format.

    Raises:
        ValueError: it is not one, or not the door's.
    """
    samples = [sample for family in text_string_to_metric_families(exposition) for sample in family.samples]
    plain = {sample.name: int(sample.value) for sample in samples if not sample.labels}
    try:
        return DoorTotals(
            held_labels=plain["unjoin_door_held_labels"],
            held_voters=plain["unjoin_door_held_voters"],
            crowd_min=plain["unjoin_door_crowd_min"],
            crowd_target=plain["unjoin_door_crowd_target"],
            released=plain["unjoin_door_released_total"],
            suppressed={
                sample.labels["reason"]: int(sample.value)
                for sample in samples
                if sample.name == "unjoin_door_suppressed_total" and sample.value
            },
        )
    except KeyError as error:
        raise ValueError(f"no sample {error}") from None
