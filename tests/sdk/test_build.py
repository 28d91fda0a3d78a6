"""What is committed is what the sources say, is small, and does nothing that a page's policy forbids."""

import gzip
import hashlib
import json
import re
import subprocess
import tomllib
from pathlib import Path

from ingest.web.sdk_files import CURRENT, HASH_DIGITS, RELEASES, read_sdk_files, sdk_file
from tests.sdk.conftest import ROOT, SDK, Node

GZIPPED_BYTES_MAX = 6 * 1024


def test_committed_script_is_what_its_sources_build(node: Node, tmp_path: Path) -> None:
    """Collectors serve it without Node; who reads the sources must have read what runs."""
    node.run("node", "build.mjs", "--out", str(tmp_path))
    assert (tmp_path / "unjoin.js").read_bytes() == CURRENT.read_bytes(), "run `make sdk`"


def test_script_is_at_most_6_kilobytes_gzipped() -> None:
    """It loads on every page of every site that uses it."""
    assert len(gzip.compress(CURRENT.read_bytes(), 9)) <= GZIPPED_BYTES_MAX


def test_script_uses_nothing_that_a_strict_policy_or_a_visitor_forbids() -> None:
    """No code from text, no markup, no cookie, nothing that outlives the tab but undelivered batches."""
    script = CURRENT.read_text()
    forbidden = (
        r"\beval\b|Function\(|innerHTML|document\.write|createElement|\.cookie|localStorage|canvas|userAgent|plugins"
    )
    assert re.findall(forbidden, script) == []
    assert re.findall(r"https?://", script) == []


def test_every_published_build_stays_servable() -> None:
    """A page that pinned one by its hash finds it after any upgrade; the file under a hash is that file."""
    published = (RELEASES / "published.txt").read_text().split()
    assert sorted(path.stem for path in RELEASES.glob("*.js")) == sorted(published)
    files = read_sdk_files()
    for digest in published:
        body = (RELEASES / f"{digest}.js").read_bytes()
        assert hashlib.sha256(body).hexdigest()[:HASH_DIGITS] == digest
        assert files.holds(f"/sdk/{digest}.js")


def test_what_was_served_by_the_commit_before_is_still_served() -> None:
    """What was committed may be pinned: `make sdk` keeps it; this turns red where somebody copied the file by hand."""
    git = ["git", "log", "-n", "1", "--format=%H", "HEAD~1", "--", "ingest/sdk.js"]
    found = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False)
    if found.returncode or not found.stdout.strip():
        return  # no history here: the list of what was published has to do
    show = ["git", "show", f"{found.stdout.strip()}:ingest/sdk.js"]
    body = subprocess.run(show, cwd=ROOT, capture_output=True, check=True).stdout
    assert read_sdk_files().holds(sdk_file(body).path)


def test_importing_and_calling_it_on_a_server_does_nothing(node: Node, tmp_path: Path) -> None:
    """Frameworks render in Node first, where there is no page; nothing may throw, and nothing may pile up."""
    node.run("node", "build.mjs", "--out", str(tmp_path))
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "server.js").write_text(
        """import * as unjoin from "./index.js";
        unjoin.init({ key: "k", endpoint: "https://collector.example" });
        for (let n = 0; n < 2000; n += 1) unjoin.label("a", "b");
        unjoin.page(); unjoin.track("used"); unjoin.grant(); unjoin.revoke(); unjoin.init();
        await unjoin.flush(); await unjoin.stop();
        console.log(JSON.stringify([await unjoin.motion(), unjoin.session(), unjoin.counts().pending]));"""
    )
    assert json.loads(node.run("node", "server.js", cwd=tmp_path)) == [False, "", 0]


def test_sources_never_read_which_key_it_was() -> None:
    """`code` pairs a key's way down with its way up; nothing else that names a key is even looked at."""
    signals = (SDK / "src" / "signals.ts").read_text()
    assert re.findall(r"event\.key\b|keyCode|charCode|\.which\b|\.value\b|inputType|\.data\b", signals) == []
    assert re.findall(r"event\.code\b[^)]*", signals) == ["event.code, event.timeStamp"] * 2


def test_pure_parts_pass_their_own_tests(node: Node) -> None:
    """Thinning, batching, waiting and ids, with Node's own test runner."""
    node.run("node", "build.mjs", "--test")
    said = node.run("node", "--test", "test/")
    assert re.search(r"^# pass (1[5-9]|[2-9]\d)$", said, re.M), said
    assert re.search(r"^# fail 0$", said, re.M), said


def test_package_and_lock_depend_on_nothing_at_run_time() -> None:
    """And name no registry: packages come from where the machine is set to fetch them, checked by hash."""
    package = json.loads((SDK / "package.json").read_text())
    assert not {"dependencies", "peerDependencies", "optionalDependencies"} & package.keys()
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in package["devDependencies"].values())
    lock = json.loads((SDK / "package-lock.json").read_text())["packages"]
    others = [entry for path, entry in lock.items() if path]
    assert all("resolved" not in entry and entry["integrity"].startswith("sha512-") for entry in others)


def test_versions_agree() -> None:
    """One release, one number."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert json.loads((SDK / "package.json").read_text())["version"] == version
    assert CURRENT.read_text().startswith(f"/* unjoin {version},")
