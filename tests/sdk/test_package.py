"""The npm package, packed and installed elsewhere, as somebody who finds it would."""

import json
from pathlib import Path

import pytest

from tests.sdk.conftest import SDK, Node

PAGE = """import { init, label, page, track, flush, motion, stop, session, counts, grant, revoke } from "unjoin";
import type { Options, Outcome } from "unjoin";

const options: Options = {
  key: "ub_key",
  endpoint: "https://collector.example",
  collect: ["pointer", "key"],
  onOutcome(outcome: Outcome) { if (outcome.fate === "rejected") console.log(outcome.event.id, outcome.reason); },
};
init(options);
label("dogs-0017", "beagle");
label("clip-1", "hello", "audio_transcript");
page({ plan: "free" });
track("opened");
interface Order { id: number; lines: { sku: string }[] }
const order: Order = { id: 7, lines: [{ sku: "a" }] };
track("ordered", order);
grant();
revoke();
export const done: Promise<void> = flush().then(() => stop());
export const asked: Promise<boolean> = motion();
export const text: string = session() + counts().accepted;
"""
MISUSE = """import { init, label } from "unjoin";
// @ts-expect-error a key is needed
init({});
// @ts-expect-error there is no such kind
label("dogs-0017", "beagle", "opinion");
"""


@pytest.fixture(scope="module")
def project(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of somebody else's that has installed the package from its tarball."""
    folder = tmp_path_factory.mktemp("project")
    node.run("node", "build.mjs", "--dist")  # checks the types of the sources too
    packed = json.loads(node.run("npm", "pack", "--ignore-scripts", "--json", "--pack-destination", str(folder)))
    (folder / "package.json").write_text('{"name": "elsewhere", "private": true, "type": "module"}')
    tarball = "./" + packed[0]["filename"]
    node.run("npm", "install", "--offline", "--no-audit", "--no-fund", "--ignore-scripts", tarball, cwd=folder)
    return folder


@pytest.mark.slow
def test_package_holds_what_is_needed_and_nothing_else(project: Path) -> None:
    """No sources of tests, no locks, no modules."""
    installed = project / "node_modules" / "unjoin"
    files = {str(path.relative_to(installed)) for path in installed.rglob("*") if path.is_file()}
    assert {file for file in files if not file.startswith("examples/")} == {
        "README.md", "LICENSE", "package.json", "dist/index.js", "dist/index.d.ts", "dist/types.d.ts", "dist/unjoin.js",
        "dist/stub.js",
    }  # fmt: skip
    assert not [
        path for path in (project / "node_modules").iterdir() if path.name not in ("unjoin", ".package-lock.json")
    ]


def test_import_works_where_there_is_no_page(node: Node, project: Path) -> None:
    """Servers that render pages import it too; nothing happens before `init`."""
    script = "import('unjoin').then((unjoin) => console.log(Object.keys(unjoin).sort().join()))"
    names = node.run("node", "--input-type=module", "--eval", script, cwd=project).strip()
    assert names == "counts,flush,grant,init,label,motion,page,revoke,session,stop,track"


@pytest.mark.parametrize("resolution", [("bundler", "es2022"), ("nodenext", "nodenext")])
def test_types_resolve_and_refuse_misuse(node: Node, project: Path, resolution: tuple[str, str]) -> None:
    """With both resolutions that are in use."""
    (project / "page.ts").write_text(PAGE)
    (project / "misuse.ts").write_text(MISUSE)
    way, module = resolution
    flags = [
        "--noEmit",
        "--strict",
        "--skipLibCheck",
        "--target",
        "es2022",
        "--moduleResolution",
        way,
        "--module",
        module,
    ]
    node.tsc(*flags, "--lib", "es2022,dom", "page.ts", "misuse.ts", cwd=project)


def test_script_of_the_package_is_the_one_that_collectors_serve(project: Path) -> None:
    """Who hosts it beside the page runs the same bytes."""
    assert (project / "node_modules" / "unjoin" / "dist" / "unjoin.js").read_bytes() == (
        SDK.parent / "ingest" / "sdk.js"
    ).read_bytes()
