"""`unjoin keys` as an operator runs it, and what it means to a collector that goes on."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.topics import LABELED
from tests.ingest.running_collector import RunningCollector
from unjoin.cli import main
from unjoin.keys.announcement import fingerprint_of, identity_fingerprint
from unjoin.keys.housekeeping import Housekeeping
from unjoin.keys.identity import door_identity
from unjoin.keys.keyring import KeyDestroyed, Keyring

Run = Callable[..., tuple[int, str]]
TODAY = datetime.now(UTC).date()
YESTERDAY = TODAY - timedelta(days=1)
LONG_AGO = TODAY - timedelta(days=30)


@pytest.fixture
def keyrings(tmp_path: Path) -> dict[str, Keyring]:
    """Both roles' keys of three days, the oldest long due."""
    keyrings = {role: Keyring(tmp_path / "keys" / role) for role in ("edge", "epoch")}
    for keyring in keyrings.values():
        for day in (LONG_AGO, YESTERDAY, TODAY):
            keyring.key_of(day)
    return keyrings


@pytest.fixture
def run(
    tmp_path: Path, keyrings: dict[str, Keyring], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Runs `unjoin keys …`; gives its exit code and everything it wrote."""
    monkeypatch.setenv("UNJOIN_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asked"))

    def command(*arguments: str, answer: str | None = None) -> tuple[int, str]:
        if answer is not None:
            monkeypatch.setattr("builtins.input", lambda *_: answer)
        code = main(["keys", *arguments])
        said = capsys.readouterr()
        return code, said.out + said.err

    return command


def listed(run: Run, *arguments: str) -> dict[tuple[str, str], dict[str, Any]]:
    code, text = run("list", "--format", "json", *arguments)
    assert code == 0
    return {(row["role"], row["day"]): row for row in json.loads(text)}


def states(run: Run, role: str) -> list[str]:
    return [row["state"] for (one, _), row in sorted(listed(run).items()) if one == role]


def test_list_says_what_there_is_was_and_will_be(run: Run, keyrings: dict[str, Keyring]) -> None:
    """The evidence that keys die: for an operator as a table, for a monitor as JSON."""
    keyrings["edge"].destroy(LONG_AGO)
    rows = listed(run)
    assert len(rows) == 6
    gone = rows["edge", str(LONG_AGO)]
    assert gone.keys() == {"role", "day", "state", "created", "destroyed", "due", "fingerprint", "identity"}
    assert gone["state"] == "destroyed"
    assert datetime.fromisoformat(gone["destroyed"]).tzinfo is not None
    assert rows["epoch", str(LONG_AGO)]["destroyed"] is None
    assert datetime.fromisoformat(rows["edge", str(TODAY)]["due"]).date() == TODAY + timedelta(days=2)
    code, table = run("list")
    assert code == 0
    assert max(map(len, table.splitlines())) <= 80
    assert str(YESTERDAY) in table
    assert "destroyed" in table


def test_list_shows_what_hosts_compare_and_what_collectors_can_be_told(
    run: Run, tmp_path: Path, keyrings: dict[str, Keyring]
) -> None:
    """Two hosts with the same folder show the same; no part of a key is in it."""
    identity = door_identity(tmp_path / "keys" / "epoch").public_key().public_bytes_raw()
    rows = listed(run)
    for role, of in (("edge", "edge"), ("epoch", "door")):
        key = keyrings[role].key_of(TODAY)
        assert rows[role, str(TODAY)]["fingerprint"] == fingerprint_of(of, key)
        assert key.hex() not in run("list")[1]
    assert f"door's identity: {identity_fingerprint(identity)}" in run("list")[1]
    assert "identity" not in run("list", "--role", "edge")[1]
    told = {"edge": "", "epoch": identity_fingerprint(identity)}
    assert {role: row["identity"] for (role, _), row in rows.items()} == told
    written = list(csv.DictReader(io.StringIO(run("list", "--format", "csv")[1])))
    assert {row["role"]: row["identity"] for row in written} == told
    assert {row["identity"] for row in listed(run, "--role", "edge").values()} == {""}


def test_rotate_makes_a_new_identity_and_says_what_to_pin(run: Run, tmp_path: Path) -> None:
    """Whoever read the folder read the identity too, and could announce a public key of their own."""
    folder = tmp_path / "keys" / "epoch"
    before = door_identity(folder).private_bytes_raw()
    code, said = run("rotate", "--role", "epoch", "--yes")
    assert code == 0
    after = door_identity(folder)
    assert after.private_bytes_raw() != before
    pinned = identity_fingerprint(after.public_key().public_bytes_raw())
    assert f"where UNJOIN_DOOR_IDENTITY is set, set it to {pinned}" in said


def test_a_role_alone_sees_its_own_folder_only(run: Run, tmp_path: Path, keyrings: dict[str, Keyring]) -> None:
    """In a container the other role's keys are not there, and are not made."""
    for path in (tmp_path / "keys" / "epoch").iterdir():
        path.unlink()
    (tmp_path / "keys" / "epoch").rmdir()
    assert {role for role, _ in listed(run, "--role", "edge")} == {"edge"}
    assert {role for role, _ in listed(run)} == {"edge"}
    assert run("destroy", "--expired")[0] == 0
    assert run("list", "--role", "epoch")[1].startswith("no keys here")
    assert not (tmp_path / "keys" / "epoch").exists()


def test_destroying_what_is_due_asks_nobody_and_takes_no_other(run: Run, keyrings: dict[str, Keyring]) -> None:
    """It is what roles do by themselves; a timer may do it for a role that is down."""
    code, said = run("destroy", "--expired")
    assert code == 0
    assert f"destroyed edge {LONG_AGO}" in said
    assert f"destroyed epoch {LONG_AGO}" in said
    assert states(run, "edge") == states(run, "epoch") == ["destroyed", "in use", "in use"]
    assert "no key is due" in run("destroy", "--expired")[1]


def test_destroying_a_day_says_what_it_costs_and_asks(run: Run, keyrings: dict[str, Keyring]) -> None:
    """There is no way back."""
    code, said = run("destroy", "--day", str(TODAY), answer="n")
    assert code == 1
    assert "nothing was destroyed" in said
    assert "day_closed" in said
    assert "key_destroyed" in said
    assert states(run, "edge")[-1] == "in use"
    assert run("destroy", "--day", str(TODAY), "--role", "epoch", answer="y")[0] == 0
    assert (states(run, "edge")[-1], states(run, "epoch")[-1]) == ("in use", "destroyed")
    assert "was destroyed before" in run("destroy", "--day", str(TODAY), "--role", "epoch")[1]


def test_nobody_to_ask_means_nothing_is_destroyed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer that forgot --yes must not hang, nor guess."""

    def nobody(*_: object) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", nobody)
    code, said = run("rotate")
    assert code == 1
    assert "--yes" in said
    assert states(run, "edge") == ["in use"] * 3


@pytest.mark.parametrize("day", ["2026-13-01", "yesterday", ""])
def test_what_is_no_day_is_wrong_usage(run: Run, day: str) -> None:
    """Guessing which day was meant would destroy the wrong one."""
    with pytest.raises(SystemExit) as stopped:
        run("destroy", "--day", day, "--yes")
    assert stopped.value.code == 2


def test_day_without_a_key_is_an_error(run: Run, keyrings: dict[str, Keyring]) -> None:
    """A slip of the finger should not look like a key destroyed."""
    code, said = run("destroy", "--day", "2001-01-01", "--yes")
    assert code == 1
    assert "no key of 2001-01-01" in said
    assert len(keyrings["edge"].history()) == 3


def test_lost_key_is_listed_as_lost_and_can_be_given_up(run: Run, tmp_path: Path) -> None:
    """The way out that the halted door's last words name."""
    (tmp_path / "keys" / "epoch" / f"{YESTERDAY}.key").unlink()
    (tmp_path / "keys" / "edge" / f"{YESTERDAY}.key").write_bytes(b"short")
    assert [states(run, role)[1] for role in ("edge", "epoch")] == ["lost", "lost"]
    assert run("destroy", "--day", str(YESTERDAY), "--yes")[0] == 0
    assert [states(run, role)[1] for role in ("edge", "epoch")] == ["destroyed", "destroyed"]


def test_rotating_leaves_no_key_that_somebody_may_have_read(run: Run) -> None:
    """Whoever read the folder read all of it; a second key for the same day would be two voters for one session."""
    code, said = run("rotate", "--role", "edge", "--yes")
    assert code == 0
    assert f"the next edge key is that of {TODAY + timedelta(days=1)}" in said
    assert states(run, "edge") == ["destroyed"] * 3
    assert states(run, "epoch") == ["in use"] * 3


# --- what it means to a collector


class DayCollector(RunningCollector):
    """A collector with a folder of keys, and a clock that stands where it is set."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.key_folder = folder / "edge"
        self.keyring = Keyring(self.key_folder)
        self.edge_keys = self._own_key
        self.clock = datetime(2026, 11, 24, 12, tzinfo=UTC)
        self.now_ms = lambda: int(self.clock.timestamp() * 1000)

    def _own_key(self, day: date) -> bytes | None:
        try:
            return self.keyring.key_of(day)
        except KeyDestroyed:
            return None

    def answer(self, ts: datetime | None = None) -> Any:
        """Posts a signal and a label; the label's day, or why it was refused."""
        ts_ms = int((ts or self.clock).timestamp() * 1000)
        label = {"id": "e-1", "type": "image_label", "ts": ts_ms, "task": "t-1", "answer": "beagle"}
        signal = {"id": "e-2", "type": "scroll", "ts": ts_ms, "t": [0], "x": [0], "y": [0]}
        self.producer.records.clear()
        reply = self.post({"session": "s-1", "events": [label, signal]})
        if reply.status != 200:
            return reply.status
        if reply.json()["rejected"]:
            return reply.json()["rejected"][0]["reason"]
        datum = self.opened(next(one for one in self.producer.records if one.topic == LABELED))
        return datum["day"], datum["voter"]


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[DayCollector]:
    collector = DayCollector(tmp_path)
    collector.start()
    yield collector
    collector.stop()


D24, D23 = date(2026, 11, 24), date(2026, 11, 23)


def test_day_of_a_destroyed_key_is_closed_to_labels_and_open_to_the_rest(collector: DayCollector) -> None:
    """An operator destroys today's key while collectors run: within a look nothing more of the day is a voter."""
    day, _ = collector.answer()
    assert day == D24
    Keyring(collector.key_folder).destroy(D24)
    Housekeeping(collector.keyring, "edge", 6, lambda: collector.clock, 3600).look()
    assert collector.answer() == "day_closed"
    assert len(collector.producer.records) == 1
    assert collector.request("GET", "/readyz").status == 200
    collector.clock += timedelta(days=1)
    day, _ = collector.answer()
    assert day == date(2026, 11, 25)


def test_clock_that_goes_back_a_day_crashes_nothing_and_resurrects_nothing(collector: DayCollector) -> None:
    """Labels are then yesterday's, with yesterday's key; where that one is destroyed they are refused."""
    _, voter = collector.answer()
    noon = collector.clock
    collector.clock -= timedelta(days=1)
    day, _ = collector.answer(ts=noon)
    assert day == D23
    collector.keyring.destroy(D23)
    assert collector.answer(ts=noon) == "day_closed"
    assert collector.keyring.days() == [D24]
    collector.clock = noon
    assert collector.answer() == (D24, voter)
    assert collector.answer(ts=noon - timedelta(hours=23)) == "day_closed"
    assert [entry["event"] for entry in collector.keyring.history()] == ["created", "created", "destroyed"]


def test_lost_key_refuses_the_batch_until_it_is_back(collector: DayCollector) -> None:
    """Lost is not destroyed: nothing may be dropped or made anew, and the file's return is all it takes."""
    given = collector.answer()
    key_file = collector.key_folder / f"{D24}.key"
    key = key_file.read_bytes()
    key_file.unlink()
    Housekeeping(collector.keyring, "edge", 6, lambda: collector.clock, 3600).look()
    assert collector.answer() == 503
    assert collector.request("GET", "/readyz").status == 503
    key_file.write_bytes(key)
    assert collector.answer() == given
    assert collector.request("GET", "/readyz").status == 200
