"""Which partition a key belongs to, as every stock Kafka client with the Java partitioner computes it."""

from functools import lru_cache

from aiokafka.partitioner import murmur2

KEYS_CACHED_MAX = 32_768


@lru_cache(maxsize=KEYS_CACHED_MAX)  # a hit costs 1/80 of the hash of a key of 36 bytes, and a session repeats its key
def positive_hash(key: bytes) -> int:
    """A key's hash, 0 to 2**31 - 1; its remainder by the number of partitions is the partition.

    Source: org.apache.kafka.common.utils.Utils.toPositive; and
    org.apache.kafka.clients.producer.internals.BuiltInPartitioner.partitionForKey.
    """
    hashed: int = murmur2(key)
    return hashed & 0x7FFFFFFF
