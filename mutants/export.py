"""Mutants of what leaves the house: exports and what a terminal is shown."""

from mutants.mutant import Edit, Mutant

_INCREMENTS = "tests/unjoin/export/test_increments.py"

EXPORT = (
    Mutant(
        name="an increment counts days of before again",
        why="The difference of two files is then the votes of one day, however few say them.",
        edits=(Edit("unjoin/export/increments.py", "min(by_day) if mark is None else mark + DAY", "min(by_day)"),),
        tests=(f"{_INCREMENTS}::test_files_are_the_same_whatever_few_say",),
    ),
    Mutant(
        name="an increment without the rule",
        why="What fewer than k voters say names them.",
        edits=(Edit("unjoin/export/views.py", '"GROUP BY task, kind, answer) WHERE votes >= {k}"', '"GROUP BY ALL)"'),),
        tests=(f"{_INCREMENTS}::test_answer_that_crosses_k_over_two_files_is_in_neither",),
    ),
    Mutant(
        name="a file appears before it is on record",
        why="After a crash its days are written again, perhaps with a vote that came late; both files tell it.",
        edits=(
            Edit("unjoin/export/folder.py", "        self.save()\n        self.finish()\n", "        self.finish()\n"),
        ),
        tests=("tests/unjoin/export/test_folder.py::test_a_crash_at_any_step_leaves_no_file_that_is_written_twice",),
    ),
    Mutant(
        name="files that were changed go unnoticed",
        why="What is added to them would be read with what nobody exported.",
        edits=(Edit("unjoin/export/folder.py", "        folder.check_unchanged()\n", ""),),
        tests=("tests/unjoin/export/test_folder.py::test_file_that_is_not_as_it_was_written_is_named",),
    ),
    Mutant(
        name="a file that is missing goes unnoticed",
        why="Whoever adds up the files of a folder lacks days, and is told that all are in it.",
        edits=(Edit("unjoin/export/folder.py", "if folder.missing and not may_miss:", "if False:"),),
        tests=(f"{_INCREMENTS}::test_file_that_is_missing_is_named",),
    ),
    Mutant(
        name="line feeds in a cell",
        why="Somebody's answer could look like a row of the table, or like many.",
        edits=(Edit("unjoin/output.py", '.replace("\\n", "\\\\n")', ""),),
        tests=("tests/unjoin/test_output.py::test_no_cell_looks_like_a_second_row",),
    ),
    Mutant(
        name="control characters reach the terminal",
        why="A stored URL could write the clipboard of whoever queries it.",
        edits=(
            Edit(
                "unjoin/query.py",
                "sys.stdout.buffer.write(escaper.feed(piece) if escape else piece)",
                "sys.stdout.buffer.write(piece)",
            ),
            Edit("unjoin/output.py", "[escaped(cell).replace(", "[cell.replace("),
        ),
        tests=("tests/unjoin/test_terminal.py::test_query_shows_control_characters_escaped_and_says_so",),
    ),
)
