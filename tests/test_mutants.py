"""The mutation check can be run: every mutant fits the code as it is, and names tests that exist."""

import ast
from pathlib import Path

import pytest

from mutants.__main__ import MUTANTS
from mutants.mutant import Edit, Mutant, MutantError, mutated
from mutants.tree import Tree

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_fits_the_code_and_names_tests_that_exist(mutant: Mutant) -> None:
    """A guard that was rewritten needs its mutant rewritten: `make mutants` would fail, and only then."""
    mutated(mutant, ROOT)
    for test in mutant.tests:
        file, _, name = test.partition("::")
        functions = {node.name for node in ast.walk(ast.parse((ROOT / file).read_text())) if hasattr(node, "name")}
        assert not name or name.partition("[")[0] in functions, test


def test_mutant_whose_text_is_gone_or_twice_is_an_error(tmp_path: Path) -> None:
    """Silently unchanged code would pass its tests, and the mutant for a survivor or, worse, for a proof."""
    (tmp_path / "a.py").write_text("x = 1\ny = 1\n")
    for before, after, error in (("= 2", "= 3", "0 times"), ("= 1", "= 2", "2 times"), ("x = 1", "x = (", "no Python")):
        with pytest.raises(MutantError, match=error):
            mutated(Mutant("m", "w", (Edit("a.py", before, after),), ()), tmp_path)


@pytest.mark.slow
def test_broken_copy_turns_its_tests_red_and_is_whole_again_afterwards(tmp_path: Path) -> None:
    """The installed package points at the original: were that what the copy imports, every mutant would survive."""
    tree = Tree(tmp_path)
    tree.check()
    tests = ("tests/processors/door/test_deidentify.py::test_answer_of_every_kind_is_masked",)
    masking_off = next(mutant for mutant in MUTANTS if mutant.name == "masking off for one kind")
    whole = (tree.root / masking_off.edits[0].file).read_text()
    with tree.with_mutant(masking_off):
        outcome = tree.run(tests)
    assert outcome.failed == (f"{tests[0]}[audio_transcript]",)
    assert (tree.root / masking_off.edits[0].file).read_text() == whole
