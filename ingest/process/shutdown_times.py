"""How long a collector may take to stop; its supervisors wait for longer. Pure."""

from ingest.limits import SPOOL_SECONDS_MAX

# Once the collector is told to stop, a client in mid-body gets this long: the next collector waits for the port.
STOP_BODY_SECONDS_MAX = 3.0
# Added to the sum of what the steps of a stop may take; then the process is ended, whatever holds it.
STOP_SPARE_SECONDS = 3.0
# Added once more for each supervisor, until it kills what it started.
SUPERVISOR_SPARE_SECONDS = 3.0


def grace_seconds(body_seconds_max: float, produce_seconds_max: float) -> float:
    """Seconds that a request in flight may still take once the collector stops: its body, Kafka, then the spool."""
    return min(body_seconds_max, STOP_BODY_SECONDS_MAX) + produce_seconds_max + SPOOL_SECONDS_MAX


def stop_seconds_max(body_seconds_max: float, produce_seconds_max: float) -> float:
    """How long a stop can take: requests, then the drain, the producer and the spool, each within its deadline."""
    return grace_seconds(body_seconds_max, produce_seconds_max) + 3 * produce_seconds_max + STOP_SPARE_SECONDS


def supervised_seconds_max(body_seconds_max: float, produce_seconds_max: float, levels: int = 1) -> float:
    """How long to wait for a collector before it is killed.

    Args:
        levels: of supervisors, one above the other, the one that waits included.
    """
    return stop_seconds_max(body_seconds_max, produce_seconds_max) + levels * SUPERVISOR_SPARE_SECONDS
