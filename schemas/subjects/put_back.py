"""Pure: the mark that says that records of before are written once more, behind the ends that requests wait for.

`unjoin replay` puts dead letters back on their topics, and `unjoin rewind` has sinks set garbage aside again. Nobody
can say whose garbage is, so every request that is open begins anew once this may have happened. The mark is a commit's
metadata, of a group that nobody is a member of: whoever writes sets it before, and renews it while writing, so that a
process that is killed has left it, and nothing is written behind its time.
"""

from schemas.topics import DEAD_LETTERS

GROUP = "unjoin-sink-put-back"
PLACE = (DEAD_LETTERS, 0)
"""The topic and partition whose commit has it."""
HOLDS_MS = 60_000
RENEWED_MS = 30_000
"""With less left than this it is renewed before a record is written: a send that is given up has ended by then."""


def until_ms_of(metadata: str) -> int:
    """Until when records may be put back, Unix milliseconds; 0 where nobody said."""
    return int(metadata) if metadata.isascii() and metadata.isdigit() else 0
