"""What a mutant is, and how it is put into a tree. One that no longer fits fails loudly: it would prove nothing."""

from pathlib import Path

import msgspec

from schemas.outcomes import UnjoinError


class MutantError(UnjoinError):
    """The mutation check itself is broken; the text says where."""


class Edit(msgspec.Struct, frozen=True):
    """One change of one file.

    Attributes:
        file: from the root.
        before, after: exact text; `before` occurs once.
    """

    file: str
    before: str
    after: str


class Mutant(msgspec.Struct, frozen=True):
    """One guard, broken.

    Attributes:
        name: what is broken, in a few words.
        why: what the guard is there for.
        edits: how it is broken.
        tests: pytest's node ids, few and quick; at least one has to turn red.
    """

    name: str
    why: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]


def mutated(mutant: Mutant, root: Path) -> dict[Path, str]:
    """The texts of the files that the mutant changes.

    Raises:
        MutantError: a text to be changed does not occur exactly once, or what comes out is no Python.
    """
    texts: dict[Path, str] = {}
    for edit in mutant.edits:
        path = root / edit.file
        text = texts.get(path) or path.read_text()
        if (times := text.count(edit.before)) != 1:
            raise MutantError(f"{mutant.name}: the text occurs {times} times in {edit.file}, and has to once; mend it")
        texts[path] = text.replace(edit.before, edit.after)
    for path, text in texts.items():
        if path.suffix == ".py":
            try:
                compile(text, str(path), "exec")
            except SyntaxError as error:
                raise MutantError(f"{mutant.name}: {path.name} is no Python any more, line {error.lineno}") from None
    return texts
