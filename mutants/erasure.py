"""Guards of erasures, each broken."""

from mutants.mutant import Edit, Mutant

_ERASER = "tests/sinks/erasure/test_eraser.py"

ERASURE = (
    Mutant(
        name="letters that the engine's Unicode knows and Python's does not are folded",
        why="A row would stay of somebody whose request was said to be done.",
        edits=(
            Edit(
                "schemas/subjects/canonical.py",
                "concat({_FOLDED.format('g[1]')}, g[2])",
                "{_FOLDED.format('concat(g[1], g[2])')}",
            ),
        ),
        tests=("tests/schemas/subjects/test_canonical.py::test_engine_and_python_have_one_form_of_every_character",),
    ),
    Mutant(
        name="erasure that does not wait for what sinks have still to store",
        why="Records of before the request would make rows after it was said to be done.",
        edits=(Edit("sinks/erasure/progress.py", "    if not passed:\n", "    if False:\n"),),
        tests=(f"{_ERASER}::test_request_is_done_only_once_its_topics_are_past",),
    ),
    Mutant(
        name="erasure that does not wait for what a replay puts back",
        why="Garbage of theirs would lie behind the offsets that it waited for.",
        edits=(
            Edit(
                "sinks/erasure/eraser.py", "        if one.is_open and at.put_back", "        if False and at.put_back"
            ),
        ),
        tests=(f"{_ERASER}::test_request_waits_for_what_is_put_back_behind_its_ends",),
    ),
    Mutant(
        name="verify whose id is empty erases",
        why="An unset variable of a script would delete somebody.",
        edits=(
            Edit("unjoin/cli.py", "    if options.verify is not None:\n", "    if options.verify:\n"),
            Edit(
                "unjoin/subjects/erase_arguments.py",
                "    elif options.verify is not None:\n",
                "    elif options.verify:\n",
            ),
        ),
        tests=("tests/unjoin/subjects/test_erase.py::test_verify_with_any_value_never_asks_for_an_erasure",),
    ),
    Mutant(
        name="records put back longer than was said",
        why="A request could be done before the last of them is written.",
        edits=(
            Edit(
                "unjoin/subjects/put_back.py",
                "        if self._until_ms - self._now_ms() < RENEWED_MS:\n",
                "        if not self._until_ms:\n",
            ),
        ),
        tests=("tests/unjoin/subjects/test_put_back.py",),
    ),
    Mutant(
        name="erasure that is over once rows were gone",
        why="A spool, a rewind or a backup would bring somebody back for good.",
        edits=(
            Edit(
                "sinks/erasure/eraser.py",
                "        others = [one for one in kept if one.id not in whole]\n",
                "        others = []\n",
            ),
        ),
        tests=(f"{_ERASER}::test_rows_that_come_back_are_deleted_again_and_the_state_begins_anew",),
    ),
    Mutant(
        name="rows are deleted before anybody knows how many",
        why="After a crash the request would say that nothing of the person had been there.",
        edits=(
            Edit(
                "sinks/erasure/eraser.py",
                "        await self._keep([new for old, new in zip(kept, after, strict=True) if new != old])\n",
                "        await self._delete([new for new in after if new.found])\n"
                "        await self._keep([new for old, new in zip(kept, after, strict=True) if new != old])\n",
            ),
        ),
        tests=(f"{_ERASER}::test_every_crash_leads_to_the_same_end",),
    ),
    Mutant(
        name="event of somebody who is gone is taken",
        why="They would be back a second after they were deleted.",
        edits=(
            Edit(
                "ingest/access/erased.py", "        if any(seen[selector] for selector in of):\n", "        if False:\n"
            ),
        ),
        tests=("tests/ingest/access/test_erased.py",),
    ),
)
