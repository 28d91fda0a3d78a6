"""Labels sealed to the door: what a process of the edge keeps for it, from one request to the next."""

import datetime
from collections.abc import Callable

from schemas.encoders import encoder_maker
from schemas.seal import Sealer, place_of
from schemas.topics import LABELED

CONTENT_SUBJECT = "events.labeled.content-value"
"""What is inside the seal."""

# The door's public key of a day, 32 bytes; raises UnjoinError where none is known.
DoorKeys = Callable[[datetime.date], bytes]

SEALERS_MAX = 8

_SEALED = encoder_maker("events.labeled-value", ("day",))


class Seals:
    """Seals labels, with one content key for many of them; belongs to one thread.

    Args:
        door_keys: the door's public key of a day; asked for each label, so that none is sealed to an outdated one.
        partition_of: where a voter's labels and verdicts lie, whichever process of the edge writes them.
        monotonic: seconds.
    """

    def __init__(
        self, door_keys: DoorKeys, partition_of: Callable[[bytes], int], monotonic: Callable[[], float]
    ) -> None:
        self._door_keys = door_keys
        self.partition_of = partition_of
        self._monotonic = monotonic
        self._sealers: dict[tuple[datetime.date, bytes], Sealer] = {}

    def sealed(self, content: bytes, day: datetime.date, partition: int) -> bytes:
        """A record value of `events.labeled`, for that partition alone.

        Args:
            content: a record value of `CONTENT_SUBJECT`.

        Raises:
            UnjoinError: no door has announced its public key of the day, or it is none.
        """
        value: bytes = _SEALED(day=day)((self._sealer(day).seal(content, place_of(LABELED, partition)),))[0]
        return value

    def _sealer(self, day: datetime.date) -> Sealer:
        of = day, self._door_keys(day)
        found = self._sealers.get(of)
        if found is None:
            if len(self._sealers) >= SEALERS_MAX:  # labels come for three days at a time
                del self._sealers[min(self._sealers)]
            found = self._sealers[of] = Sealer(*of, self._monotonic)
        return found
