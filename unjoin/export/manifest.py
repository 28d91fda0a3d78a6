"""Pure: what a folder of exported files holds, as its `_manifest.json` says it."""

import datetime

import msgspec

from unjoin.export.files import ExportError, Notes

FORMAT = 1
NAME = "_manifest.json"
"""Readers of folders of Parquet pass over a name that begins so."""


class Part(msgspec.Struct, kw_only=True):
    """One file of the folder, and the whole days that are in it.

    Attributes:
        path: in the folder; it is not changed any more.
        bytes, sha256: of the file.
        seen: of what `left_out` counts, how much the days held.
        late: how much of these days has come since; it is in no file.
    """

    path: str
    bytes: int
    sha256: str
    notes: Notes
    seen: int = 0
    late: int = 0


class Manifest(msgspec.Struct, kw_only=True):
    """The folder.

    Attributes:
        dataset: one folder holds one.
        mark: the last day that is in a file, or was and had no rows; None before the first.
        parts: in order of their days, which no two share.
        pending: was written but perhaps not put in place yet; what is in place of it is whole.
    """

    format: int = FORMAT
    dataset: str
    mark: datetime.date | None = None
    parts: list[Part] = []
    pending: Part | None = None

    @property
    def rows(self) -> int:
        """Of all files."""
        return sum(part.notes.rows for part in self.parts)


def encoded(manifest: Manifest) -> bytes:
    """As JSON that people can read."""
    return msgspec.json.format(msgspec.json.encode(manifest)) + b"\n"


def decoded(content: bytes, dataset: str) -> Manifest:
    """Reads a manifest.

    Raises:
        ExportError: it is none, of a later version, or of another data set.
    """
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except msgspec.MsgspecError:
        raise ExportError(f"{NAME} in that folder is no manifest of an export; name another folder") from None
    if manifest.format != FORMAT:
        raise ExportError(f"{NAME} in that folder is of format {manifest.format}, this version writes {FORMAT}")
    if manifest.dataset != dataset:
        raise ExportError(f"that folder holds {manifest.dataset}; name another one for {dataset}")
    return manifest
