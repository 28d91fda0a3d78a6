"""A folder that files are only added to, whatever happens while they are written."""

import datetime
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unjoin.export import folder as folder_module
from unjoin.export.days import DAY, last_closed_day
from unjoin.export.files import ExportError, Notes, Writer
from unjoin.export.folder import PENDING, Folder, opened
from unjoin.export.manifest import NAME, Manifest, decoded, encoded
from unjoin.keys.retention import destroy_due

SCHEMA = pa.schema([pa.field("n", pa.int64())])
FIRST = datetime.date(2026, 9, 21)
MADE_AT = datetime.datetime(2026, 9, 30, tzinfo=datetime.UTC)


def add(folder: Folder, number: int, rows: int = 3) -> None:
    notes = Notes(dataset="counts", query="", made_at=MADE_AT)

    def write(file: Writer) -> int:
        file.write_table(pa.table({"n": list(range(rows))}, SCHEMA))
        notes.rows = rows
        return rows

    day = FIRST + number * DAY
    folder.add(f"through={day}/counts.parquet", day, SCHEMA, notes, write)


def files_of(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*.parquet"))}


def test_files_are_added_and_the_manifest_names_them(tmp_path: Path) -> None:
    """What a reader finds by name is what the manifest lists, and stock readers see one table."""
    for number in range(3):
        with opened(tmp_path / "out", "counts") as folder:
            add(folder, number, rows=number)
    manifest = decoded((tmp_path / "out" / NAME).read_bytes(), "counts")
    assert [part.path for part in manifest.parts] == list(files_of(tmp_path / "out"))
    assert (manifest.rows, manifest.mark, manifest.pending) == (3, FIRST + 2 * DAY, None)
    read = pyarrow.dataset.dataset(tmp_path / "out", partitioning="hive").to_table()
    assert read.num_rows == 3
    assert set(read["through"].to_pylist()) == {str(FIRST + DAY), str(FIRST + 2 * DAY)}
    with opened(tmp_path / "out", "counts") as folder, pytest.raises(ExportError, match="are in that folder"):
        add(folder, 2)


@pytest.mark.parametrize("may_miss", [False, True])
@pytest.mark.parametrize("change", ["appended to", "one bit", "cut"])
def test_file_that_is_not_as_it_was_written_is_named(tmp_path: Path, change: str, may_miss: bool) -> None:
    """Whatever is in the folder: what comes after it is read with it."""
    path = tmp_path / "out"
    for number in range(2):
        with opened(path, "counts") as folder:
            add(folder, number)
    file = next(path.rglob("*.parquet"))
    content = file.read_bytes()
    file.write_bytes(
        {"appended to": content + b"x", "one bit": content[:9] + bytes([content[9] ^ 1]) + content[10:]}.get(
            change, content[:-1]
        )
    )
    before = (path / NAME).read_bytes()
    with pytest.raises(ExportError, match=f"{file} is not the file that {NAME} lists"):
        opened(path, "counts", may_miss=may_miss).__enter__()
    assert (path / NAME).read_bytes() == before
    file.write_bytes(content)
    with opened(path, "counts", may_miss=may_miss) as folder:
        add(folder, 2)


@pytest.mark.parametrize("name", ["features.parquet", "labels.CSV"])
def test_file_s_name_is_no_folder(tmp_path: Path, name: str) -> None:
    """Whoever names a file wants one, and finds a folder of that name only later."""
    with pytest.raises(ExportError, match="name it without"), opened(tmp_path / name, "counts"):
        pass
    assert list(tmp_path.iterdir()) == []


STEPS = 4


@pytest.mark.parametrize("step", range(STEPS + 1))
def test_a_crash_at_any_step_leaves_no_file_that_is_written_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Two files of the same days could differ by one late vote, and tell it; so what was seen once stays."""
    path, left = tmp_path / "out", step

    def dying(name: str) -> Callable[..., None]:
        real = getattr(folder_module, name)

        def call(*arguments: Path) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            real(*arguments)

        return call

    with opened(path, "counts") as folder:
        add(folder, 0)
    with monkeypatch.context() as patched:
        for name in ("put_in_place", "sync"):
            patched.setattr(folder_module, name, dying(name))
        try:
            with opened(path, "counts") as folder:
                add(folder, 1)
        except KeyboardInterrupt:
            pass
    seen = files_of(path)
    assert (left < 0) == (step < STEPS)
    with opened(path, "counts") as folder:
        recorded = folder.manifest.mark == FIRST + DAY
        assert recorded or len(seen) == 1, "a file that was seen is recorded"
        if not recorded:
            add(folder, 1, rows=4)
    assert seen.items() <= files_of(path).items()
    assert [part.path for part in folder.manifest.parts] == list(files_of(path))
    assert sorted(one.name for one in path.iterdir() if one.is_file()) == [NAME]


def test_a_second_export_into_the_folder_is_refused(tmp_path: Path) -> None:
    """Both would add the same days."""
    with opened(tmp_path / "out", "counts"), pytest.raises(ExportError, match="another export"):
        opened(tmp_path / "out", "counts").__enter__()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    """Whoever mistypes a path loses nothing."""
    (tmp_path / "thesis.txt").touch()
    for path, dataset, text in (
        (tmp_path, "counts", "holds files and no _manifest"),
        (tmp_path / "thesis.txt", "counts", "cannot be a folder"),
        (tmp_path / "a" / "b", "counts", "cannot be a folder"),
    ):
        with pytest.raises(ExportError, match=text):
            opened(path, dataset).__enter__()
    with opened(tmp_path / "out", "counts") as folder:
        add(folder, 0)
    with pytest.raises(ExportError, match="holds counts; name another one for labels"):
        opened(tmp_path / "out", "labels").__enter__()
    assert not (tmp_path / "out" / PENDING).exists()


@given(
    st.binary() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda v: json.dumps(v).encode())
)
@settings(max_examples=40)
def test_any_bytes_are_a_manifest_or_one_sentence(content: bytes) -> None:
    """The file lies where anybody may edit it."""
    said = ""
    try:
        decoded(content, "counts")
    except ExportError as error:
        said = str(error)
    assert len(said.splitlines()) <= 1


def test_a_manifest_of_another_version_is_refused() -> None:
    """What it means is not known here."""
    with pytest.raises(ExportError, match="format 2"):
        decoded(encoded(Manifest(dataset="counts", format=2)), "counts")


@given(
    st.datetimes(datetime.datetime(2026, 1, 1), datetime.datetime(2027, 1, 1), timezones=st.just(datetime.UTC)),
    st.integers(1, 24),
)
def test_no_vote_of_a_closed_day_can_leave_the_door(now: datetime.datetime, hours: int) -> None:
    """Its key is due for destruction a day ago, and the next day's is not."""
    day = last_closed_day(now, hours)
    assert destroy_due(day, hours) + DAY <= now < destroy_due(day + DAY, hours) + DAY
