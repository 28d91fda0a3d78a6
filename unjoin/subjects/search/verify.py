"""`unjoin erase --verify ID`: whether anything of a person is left, by a search of every place.

A request names its person by a digest alone, so whoever asks says once more who it was, and the digest says whether
that is the same. What a place may still hold depends on how far the request is.
"""

import argparse
import asyncio

import msgspec
from rich.console import Console

from schemas.subjects.erasures import MEANS, Erasure, State
from schemas.subjects.selectors import digest
from unjoin.connections.kafka_login import kafka_access_of
from unjoin.settings import Settings
from unjoin.subjects.arguments import selector_named
from unjoin.subjects.requests import requests_of
from unjoin.subjects.search.command import search_everywhere, show, texts_of, write_report
from unjoin.subjects.stored_rows import SubjectError

FOUND, CANNOT_TELL = 1, 3


def run_verify(options: argparse.Namespace, settings: Settings, console: Console) -> int:
    """Searches, shows and reports; 0 where nothing is left, `FOUND` where something is, `CANNOT_TELL`.

    Raises:
        SubjectError, SelectorError: there is no such request, or it is about somebody else.
        RequestsError: Kafka does not hand out the requests.
    """
    selector = selector_named(options)
    if options.format != "table":
        console = Console(stderr=True)
    erasure = asyncio.run(_request(settings, options.verify))
    if not erasure.digest:
        console.print("the request is forgotten: nothing says any more whom it was about; searching all the same")
    elif digest(selector, bytes.fromhex(erasure.salt)).hex() != erasure.digest:
        raise SubjectError("the request is about somebody else: name the person as they were named when it was made")
    searched = search_everywhere(settings, texts_of(selector, options.email, options.also), console)
    about = {"id": erasure.id, "reference": erasure.reference, "state": str(erasure.state)}
    searched = msgspec.structs.replace(searched, request=about)
    show(searched, options.format)
    if options.report:
        write_report(searched, options.report)
    console.print(_verdict(erasure, searched.found, blind=searched.blind), highlight=False, soft_wrap=True)
    return FOUND if searched.found else CANNOT_TELL if searched.blind else 0


async def _request(settings: Settings, named: str) -> Erasure:
    async with requests_of(kafka_access_of(settings)) as requests:
        found = requests.newest.get(named)
    if found is None:
        raise SubjectError("there is no such request; `unjoin erase --list` shows them")
    return found


def _verdict(erasure: Erasure, found: int, *, blind: bool) -> str:
    state = f"the request is at {erasure.state}: {MEANS[erasure.state]}"
    if found:
        more = "" if erasure.state in (State.DONE, State.FORGOTTEN) else "; search again once it is done"
        return f"found {found:,} time{'s' * (found != 1)}; {state}{more}"
    if blind:
        return f"found nowhere, but not every place could be searched; {state}"
    return f"found nowhere; {state}"
