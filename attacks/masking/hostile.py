"""Answers that cost the masker most for their bytes: made by hand, or found by climbing from those (`--worst`)."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from random import Random
from types import FrameType
from typing import Any

from processors.masking.canonical import canonical
from processors.masking.mask import mask

ANSWER_BYTES = 4_096

UNITS = (
    "7", "@", "[", "[(", "[({<", "a@", "a@b.co ", "a at b dot com ", "name at example dot com ", "5 ", "555-123-4567 ",
    "12 34-", "1.", "1:", "a:", "DE89 ", "７ ", "5\u200b", "5\u200d", "٣a七é-", "%40a.", "a://b@", "4111 ", "5-", '"a',
    '"a@b.cc"', "1::2 ", "[email]5555555", "a[at]b[dot]", "(5)", "+5", "ﷺ7", "1(", "1 ", "5551234x1,",
    "1234567890,", "4111 1111 1111 1112 ", "123456789,", "12345678901,", "44051401359;", "4800101500908;",
    "123456789012;", "601100000000,", "110105194912310021;", "4111111111111112,", "4111-1111-", "3782 822463 10005 ",
    "AB123456C ", "131052-308T ", "12345678A ", "12.531.909-K ", "811228-9875 ", "531 21 7351 ", "000-21-7351 ",
    "943 476 5919 ", "2341 2341 2345 ", "DE89370400440532013001 ", "MT84MALT011000012345MTLCAST001T ", "1234567,",
    "order 1234567;", "a at b.co ", "a at b dot zz ", "a at b.co.uk.de ", "1::2:3 ", "::1:", "1.2.3.4 ", "1.2.3.4.5 ",
    "1.234, 5.678;", "1.1.11;", "1/1/11 ", "10:30 ", "abcdef1;", "0000000;", "ﬁ7", "é1234567;", "x1234567 ",
    "no 1234567 ", "tel1234567 ", "ssn 123456789 ", "oib 33392005962 ", "$1234567 ", "isbn 1234567 ", "v1.2.3.4 ",
    # Found by climbing; each was the worst of its day.
    " at ﷺﷺ\u0308\u0301[email]5555555a at b.co.uk.de ﷺ at ", ":: at at 5[email]½[email]\u0308\u0301",
    '[email]"½12345678A ', "a@ﷺﷺ\u03010000000", "ﷺ1.%40", "12.531.909-K -[email]5555555ﷺ0:[o]ﷺ",
    "ﷺ%40", "([phone]a@3782 822463 10005 [email]411 ŉ/", "2.531.909-K tel [email]¨943 476 5919 \"arder #½[email](",
)  # fmt: skip
PIECES = (
    *UNITS, "\u0301", "\u0344", "ﷺ", "犬", "é", "９", "٣", "[dot]", "(at)", " at ", " dot ", "com", "iban ", "bsn ",
    "order #", "€", "°", "-", "/", "(", ")", "+", "00", "[phone]", "::", '"', "¨", "ŉ", "𝟘", "㍘", "½", "\u0345\u0334",
)  # fmt: skip


def filled(unit: str, size: int = ANSWER_BYTES) -> str:
    """`unit` again and again, `size` bytes of UTF-8 or a few less."""
    return (unit * (size // len(unit.encode()) + 1)).encode()[:size].decode(errors="ignore")


def at_the_door(answer: str) -> str:
    """What the door makes of an answer."""
    return mask(canonical(answer))


def calls_of(function: Callable[[str], Any], answer: str) -> int:
    """Calls, of Python's and of C's functions, that `function` makes on `answer`: work that no clock has to measure."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        function(answer)
    finally:
        sys.setprofile(before)
    return calls


def us_a_byte(answer: str, rounds: int = 3) -> float:
    """Microseconds of CPU that the door spends on a byte of `answer`, the best of some rounds."""
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time_ns()
        at_the_door(answer)
        best = min(best, time.process_time_ns() - start)
    return best / 1_000 / len(answer.encode())


def climb(seconds: float, seed: int, keep: int = 20) -> list[tuple[float, str]]:
    """Search for worse shapes, from the known ones: (microseconds a byte, unit), worst first."""
    random = Random(seed)
    best = sorted(((us_a_byte(filled(unit)), (unit,)) for unit in UNITS), reverse=True)[:keep]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        parts = list(random.choice(best)[1])
        place = random.randrange(len(parts))
        match random.randrange(4):
            case 0:
                parts.insert(place, random.choice(PIECES))
            case 1:
                parts[place] = random.choice(PIECES)
            case 2:
                del parts[place]
            case _:
                cut = random.randrange(len(parts[place]))
                parts[place] = parts[place][:cut] + parts[place][cut + 1 :]
        found = tuple(part for part in parts if part)
        if not found or found in {parts for _, parts in best} or us_a_byte(filled("".join(found)), 1) < best[-1][0]:
            continue
        best = sorted([*best, (us_a_byte(filled("".join(found))), found)], reverse=True)[:keep]
    # Measured anew: of many noisy figures the largest are those with the most noise.
    units = ["".join(parts) for _, parts in best]
    return sorted(((us_a_byte(filled(unit), 20), unit) for unit in units), reverse=True)
