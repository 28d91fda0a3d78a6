"""Pure: which partition a key belongs to, as every stock Kafka client with the Java partitioner sees it."""

from functools import lru_cache
from struct import unpack_from

SEED = 0x9747B28C
MULTIPLIER = 0x5BD1E995
MASK = 0xFFFFFFFF
KEYS_CACHED_MAX = 32_768


def murmur2(data: bytes) -> int:
    """The 32-bit MurmurHash2 of Kafka's Java client, as an unsigned number.

    Source: org.apache.kafka.common.utils.Utils.murmur2.
    """
    length = len(data)
    words = length // 4
    state = SEED ^ length
    for word in unpack_from(f"<{words}I", data):
        mixed = (word * MULTIPLIER) & MASK
        mixed = ((mixed ^ (mixed >> 24)) * MULTIPLIER) & MASK
        state = ((state * MULTIPLIER) & MASK) ^ mixed
    if length % 4:
        state ^= int.from_bytes(data[words * 4 :], "little")
        state = (state * MULTIPLIER) & MASK
    state = ((state ^ (state >> 13)) * MULTIPLIER) & MASK
    return state ^ (state >> 15)


@lru_cache(maxsize=KEYS_CACHED_MAX)
def positive_hash(key: bytes) -> int:
    """What a key's partition is computed from: 0 to 2**31 - 1. A session's records share their key, so it is kept.

    Source: org.apache.kafka.common.utils.Utils.toPositive.
    """
    return murmur2(key) & 0x7FFFFFFF


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a keyed record on a topic of that many partitions.

    Source: org.apache.kafka.clients.producer.internals.BuiltInPartitioner.partitionForKey.
    """
    return positive_hash(key) % partitions
