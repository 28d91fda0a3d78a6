"""Python's garbage collector, tuned for a process whose objects live for one request and hang together in no cycles.

A batch decodes to some hundred tracked objects that reference counts alone free again. By default every 700 more of
them start a collection, and every hundredth of those walks the whole heap: a quarter of all CPU at 50 events a request
(measured: off, and as here, cost the same). What the process has when it is ready stays until it ends, so collections
need not walk it; cycles do still arise, in exceptions and ended connections, and are found, later.
"""

import gc

# Net new tracked objects until a young collection; what thirty requests of 500 events hold at once.
YOUNG_OBJECTS_MAX = 50_000


def tune_garbage_collection() -> None:
    """Call it once, when everything that lasts is there."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS_MAX, *gc.get_threshold()[1:])
