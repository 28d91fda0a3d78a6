"""What names somebody is found where it belongs and nowhere else; `python -m attacks.canaries` does it at full size."""

import json
import struct
import subprocess
import sys
from pathlib import Path
from random import Random

import cramjam
import pytest

from attacks.canaries.needles import Canaries, gathered, inflated

ROOT = Path(__file__).parents[2]


@pytest.mark.kafka
def test_no_canary_reaches_a_label_a_log_or_a_metric(kafka_home: Path, tmp_path: Path) -> None:
    """The promise, on the whole pipeline, bad requests and undecodable records included."""
    report = tmp_path / "canaries.json"
    command = [sys.executable, "-m", "attacks.canaries", "--events", "5000", "--seed", "3", "--json", str(report)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert report.exists(), done.stdout + done.stderr
    findings = json.loads(report.read_text())
    leaks = {one["place"]: one["found"] for one in findings if one["found"] and not one["expected"]}
    assert not leaks
    blind = {one["place"]: one for one in findings if set(one["found"]) != set(one["expected"])}
    assert not blind
    searched = {one["place"] for one in findings if not one["expected"] and one["scanned_bytes"]}
    assert {"released topic, keys, values and headers", "table labels, files", "logs of every part"} <= searched
    assert done.returncode == 0


@pytest.mark.parametrize("wrap", [b"%s", b"x%sx", b'{"a": "%s"}', b"\0%s\xff"])
def test_canary_is_found_in_any_surroundings(wrap: bytes) -> None:
    """Fields of a datum follow each other without a gap."""
    canaries = Canaries(Random(1))
    text = canaries.text("session").encode()
    assert canaries.found_in([wrap % text]) == {"session": 1}
    assert canaries.found_in([wrap % text.upper(), wrap % text]) == {"session": 2}
    assert canaries.found_in([wrap % text[:20]]) == {"cut": 1}
    assert not canaries.found_in([wrap % Canaries(Random(2)).text("session").encode()])


@pytest.mark.parametrize("before", [b"", b"a", b"ab", b"abc"])
def test_canary_is_found_in_disguise(before: bytes) -> None:
    """A log may show bytes as hexadecimal, and a token may hold them in base64."""
    import base64

    canaries = Canaries(Random(1))
    text = canaries.text("session")
    assert any("base64" in name for name in canaries.found_in([base64.b64encode(before + text.encode())]))
    assert canaries.found_in([(before + text.encode()).hex().encode()]) == {"as hexadecimal": 1}
    assert canaries.found_in([before + text.encode("utf-16-le")]) == {"as UTF-16": 1}


def test_address_is_found_as_text_and_in_binary() -> None:
    """An engine may store one as 16 bytes."""
    import ipaddress

    canaries = Canaries(Random(1))
    address = canaries.address()
    assert str(ipaddress.ip_address(address)) == address
    assert canaries.found_in([address.encode()]) == {"address": 1}
    assert canaries.found_in([ipaddress.ip_address(address).packed]) == {"address in binary": 1}


def test_pieces_are_gathered_without_loss_and_without_a_false_find() -> None:
    """Two halves of a canary in two records are no canary."""
    canaries = Canaries(Random(1))
    text = canaries.text("session").encode()
    assert canaries.found_in(gathered([text, None, b"", text], bytes_max=1)) == {"session": 2}
    assert not canaries.found_in(gathered([text[:8], text[8:]]))


def block(method: int, body: bytes, plain: bytes) -> bytes:
    return b"c" * 16 + struct.pack("<BII", method, len(body) + 9, len(plain)) + body


def test_every_codec_of_the_engine_is_undone() -> None:
    """Compression hides bytes from a search."""
    plain = b"canary " * 40
    lz4 = bytes(cramjam.lz4.compress_block(plain, store_size=False))
    zstd = bytes(cramjam.zstd.compress(plain))
    multiple = bytes([2, 0x92, 0x90]) + struct.pack("<BII", 0x90, len(zstd) + 9, len(plain)) + zstd
    file = block(0x82, lz4, plain) + block(0x90, zstd, plain) + block(0x02, plain, plain) + block(0x91, multiple, plain)
    assert inflated(file) == plain * 4
    assert inflated(b"") == b""
    for other in (b"columns format version: 1\n", file[:-1], b"\0" * 200):
        assert inflated(other) is None
