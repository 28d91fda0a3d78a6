"""The corpus: sentences with marked personal values and marked look-alikes.

`development` and `held_out` share no seed, no locale and no sentence. A sentence has one slot a value; about a third
of the sentences carry a look-alike beside the personal value, and as many again carry look-alikes alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from faker import Faker

from processors.masking.canonical import canonical

from . import lookalikes, personal

LOCALES = {
    "development": (
        "en_US", "de_DE", "fr_FR", "es_ES", "it_IT", "pl_PL", "pt_BR", "ru_RU", "ja_JP", "zh_CN", "ar_AA", "hi_IN",
        "en_IN", "sv_SE", "de_CH", "el_GR", "he_IL", "th_TH", "en_AU", "fr_CA", "hu_HU", "bg_BG", "vi_VN",
    ),
    "held_out": (
        "en_GB", "de_AT", "fr_CH", "es_MX", "it_CH", "cs_CZ", "pt_PT", "uk_UA", "ko_KR", "zh_TW", "fa_IR", "id_ID",
        "en_CA", "da_DK", "no_NO", "fi_FI", "nl_NL", "nl_BE", "tr_TR", "ro_RO", "sk_SK", "hr_HR", "en_NZ", "en_IE",
        "es_CL", "es_AR", "es_CO", "sl_SI", "et_EE", "lt_LT", "lv_LV", "az_AZ", "hy_AM", "ka_GE",
    ),
}  # fmt: skip
IBAN_LOCALES = {
    "development": ("de_DE", "fr_FR", "es_ES", "it_IT", "pl_PL", "sv_SE", "de_CH", "el_GR", "en_US"),
    "held_out": (
        "en_GB", "de_AT", "fr_CH", "cs_CZ", "pt_PT", "da_DK", "no_NO", "fi_FI", "nl_NL", "nl_BE", "ro_RO", "tr_TR",
        "en_IE", "sk_SK", "az_AZ", "uk_UA",
    ),
}  # fmt: skip

SENTENCES = {
    "development": (
        "{0}", "My answer: {0}", "You can reach me under {0}, thanks!", "{0} is what the sign says.",
        "The picture shows \"{0}\" in white letters.", "it says ({0}) I think", "Contact: {0}.", "Is it {0}?",
        "Auf dem Schild steht {0}.", "Meine Antwort lautet: {0}!", "Je crois que c'est {0}, mais pas sûr.",
        "Contactez-moi : {0} ; merci", "El texto dice {0}.", "¿Es {0}?", "Nella foto si legge {0}, credo.",
        "Na zdjęciu widać {0}.", "На фото написано {0}.", "写真には{0}と書いてあります", "图片上写着{0}。",
        "图片 {0} 谢谢",
        "الرقم هو {0} شكرا", "चित्र में {0} लिखा है।", "<b>{0}</b>", "- {0}\n- a brown dog", "a cat;{0};indoors",
        "transcript: hello, this is {0}, call back soon", "*{0}*", "'{0}'", "see {0} / no idea", "#1: {0}",
    ),
    "held_out": (
        "{0}", "I read {0} on the poster", "Please write to {0} or come by.", "({0})", "Label={0}", "{0}?!",
        "The speaker spells out {0}... then stops", "Text in image → {0}", "dog, {0}, cat", "\"{0}\"", "[{0}]",
        "Op de foto staat {0}.", "Mijn antwoord is {0}, denk ik", "På skylten står {0}.", "På billedet ses {0}!",
        "Kuvassa lukee {0}.", "Na obrázku je {0}, asi.", "A képen {0} látható.", "Resimde {0} yazıyor.",
        "Pe afiș scrie {0}.", "Acho que é {0}; obrigado", "Na fotografiji piše {0}.", "На світлині: {0}.",
        "사진에 {0} 라고 적혀 있습니다.", "사진에는 {0}이라고", "圖片裡寫著{0}，謝謝",
        "روی تابلو {0} نوشته شده", "Di foto tertulis {0}.",
        "line one\n{0}\nline three", "\t{0}\t", "answer>{0}<", "~ {0} ~", "hello {0} and goodbye", "1) {0}",
        "Q: who? A: {0}",
    ),
}  # fmt: skip
PAIRS = {
    "development": (
        "{0} and also {1}",
        "{0}, {1}",
        "First {0}; then {1}.",
        "{0}\n{1}",
        "{0} – {1}",
        "{0} | {1}",
        "{1} ({0})",
    ),
    "held_out": (
        "{0} plus {1}",
        "{1}: {0}",
        "I see {0}. Below it says {1}.",
        "{1}\n\n{0}",
        "{0} / {1}",
        "{0}; {1}",
        "<{1}> {0}",
    ),
}


@dataclass(frozen=True, slots=True)
class Marked:
    """`start` and `end` count characters; `kind` is None for a look-alike, `other` for what is not asked for."""

    start: int
    end: int
    kind: str | None
    category: str


@dataclass(frozen=True, slots=True)
class Sentence:
    text: str
    marked: tuple[Marked, ...]


def in_canonical_form(sentence: Sentence) -> Sentence:
    """The sentence as the masker sees it at the door, its marks moved with it."""

    def moved(at: int) -> int:
        return len(canonical(sentence.text[:at] + "x")) - 1

    marked = (
        Marked(moved(mark.start), len(canonical(sentence.text[: mark.end])), mark.kind, mark.category)
        for mark in sentence.marked
    )
    return Sentence(canonical(sentence.text), tuple(marked))


def _fill(template: str, values: list[tuple[str | None, str, str]]) -> Sentence:
    """Put `(kind, category, text)` into the numbered slots and note where each landed."""
    text, marked, rest = "", [], template
    while (at := rest.find("{")) >= 0:
        kind, category, value = values[int(rest[at + 1])]
        lead, _, value = value.rpartition(personal.UNMARKED)
        text += rest[:at] + lead
        marked.append(Marked(len(text), len(text) + len(value), kind, category))
        text, rest = text + value, rest[at + 3 :]
    return Sentence(text + rest, tuple(marked))


def sentences(part: str, per_kind: int, seed: int) -> Iterator[Sentence]:
    """`per_kind` sentences of each personal kind, and half as many as all of them of look-alikes, in a fixed order."""
    random = Random(f"{part} {seed}")
    fakers = {locale: Faker(locale) for locale in {*LOCALES[part], *IBAN_LOCALES[part]}}
    for number, locale in enumerate(sorted(fakers)):
        fakers[locale].seed_instance(seed * 1000 + number)

    def look_alike() -> tuple[None, str, str]:
        category, text = random.choice(lookalikes.MAKERS)(fakers[random.choice(LOCALES[part])], random, part)
        return None, category, text

    for kind, make in personal.MAKERS.items():
        locales = IBAN_LOCALES[part] if kind == "iban" else LOCALES[part]
        for _ in range(per_kind):
            category, text = make(fakers[random.choice(locales)], random)
            value = (kind, category, text)
            if random.random() < 0.3:
                yield _fill(random.choice(PAIRS[part]), [value, look_alike()])
            else:
                yield _fill(random.choice(SENTENCES[part]), [value])
    for _ in range(per_kind * len(personal.MAKERS) // 2):
        yield _fill(random.choice(SENTENCES[part]), [look_alike()])
