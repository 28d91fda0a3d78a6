"""A key's partition is the one that any stock client would choose."""

import aiokafka.partitioner
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.kafka.partitioner import fast_murmur2, murmur2, positive_hash


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_keys_are_hashed_as_kafkas_own_tests_say(key: bytes, hashed: int) -> None:
    """Source: org.apache.kafka.common.utils.UtilsTest.testMurmur2, signed there."""
    assert positive_hash(key) == hashed & 0x7FFFFFFF


@given(st.binary(max_size=80), st.integers(1, 200))
def test_partition_agrees_with_aiokafkas_default_partitioner(key: bytes, partitions: int) -> None:
    """A session's records meet on one partition, whoever wrote them."""
    everything = list(range(partitions))
    assert fast_murmur2(key) == murmur2(key)
    assert positive_hash(key) % partitions == aiokafka.partitioner.DefaultPartitioner()(key, everything, everything)
