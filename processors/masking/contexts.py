"""Pure: the words beside a number that say what it is, and the shapes of numbers that are surely not telephones.

For masking, recall wins: a shape clears a number only where hardly a telephone is written so, and a word only where it
stands directly before the number. A number in the international form (`+`) is never cleared by a word.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

CONTEXT_CHARACTERS = 24

VERSION_WORDS = (
    "version", "versión", "versione", "versão", "versio", "versie", "wersja", "wersji", "verze", "verzia", "sürüm",
    "версия", "версії", "версии", "版本", "バージョン", "버전", "ver", "v", "vers", "release", "rel",
    "firmware", "build", "rev", "revision", "kernel", "update", "chrome", "chromium", "firefox", "safari", "edge",
    "edg", "opera", "opr", "webkit", "applewebkit", "mozilla", "windows", "android", "ios", "macos", "linux", "java",
    "python", "nginx", "openssl",
)  # fmt: skip

VERSION_ENDINGS = ("版本", "バージョン", "버전", "เวอร์ชัน")
COORDINATE_WORDS = (
    "lat", "latitude", "lon", "long", "lng", "longitude", "breite",
    "länge", "latitud", "longitud", "x", "y",
)  # fmt: skip

# Beginnings of the words for what an order, a bill, a parcel or a ticket is numbered by.
NUMBERED_THINGS = (
    "order", "invoice", "ticket", "case", "booking", "reservation", "reference", "ref", "tracking", "parcel", "receipt",
    "article", "item", "sku", "serial", "isbn", "issn", "ean", "barcode", "purchase", "po", "batch", "lot", "part",
    "issue", "job", "model", "bestell", "auftrag", "rechnung", "vorgang", "artikel", "buchung", "sendung", "commande",
    "facture", "colis", "dossier", "pedido", "factura", "orden", "reserva", "ordine", "fattura", "prenotazione",
    "bestelling", "factuur", "beställ", "faktur", "ordre", "tilaus", "lasku", "encomenda", "fatura", "sipariş",
    "objednáv", "objednav", "rendelés", "rendelési", "számla", "zamówien", "comand", "narudž", "naroč", "tellimus",
    "užsakym", "pasūtīj", "заказ", "замовлен", "поръчк", "счет", "счёт", "рахун", "накладн", "παραγγελ", "הזמנה",
    "طلب", "سفارش", "ऑर्डर", "đơn", "pesanan",
)  # fmt: skip
NUMBERED_THINGS_UNSPACED = ("订单", "訂單", "单号", "單號", "注文", "伝票", "주문", "송장", "คำสั่งซื้อ")

PHONE_WORDS = (
    "phone", "tel", "tél", "cell", "mobile", "mobil", "call", "fax", "handy", "whatsapp", "sms", "contact", "reach",
    "móvil", "movil", "telefon", "телефон", "тел", "моб", "هاتف", "טלפון", "फ़ोन", "gsm",
)  # fmt: skip
PHONE_WORDS_UNSPACED = ("电话", "電話", "手机", "手機", "전화", "휴대폰", "携帯", "โทร")
GLUED_PHONE_WORDS = frozenset(
    (
        "tel",
        "tél",
        "phone",
        "telephone",
        "telefon",
        "ph",
        "mob",
        "mobile",
        "cell",
        "call",
        "fax",
        "whatsapp",
        "wa",
        "gsm",
        "tlf",
        "tlf",
        "sms",
        "no",
        "nr",
    )
)

CURRENCY_SIGNS = ("$", "€", "£", "¥", "₹", "₽", "₩", "₺", "₴", "￥")
CURRENCY_BEFORE = (
    "usd", "eur", "gbp", "jpy", "inr", "chf", "cad", "aud", "cny",
    "rub", "brl", "sek", "nok", "dkk", "rs", "kr", "r$",
)  # fmt: skip
CURRENCY_AFTER = (
    "usd", "eur", "gbp", "jpy", "inr", "chf", "cad", "aud", "cny", "rub", "brl", "sek", "nok", "dkk", "pln", "czk",
    "huf", "try", "krw", "kr", "руб", "грн", "zł", "kč", "lei", "лв", "ft", "tl", "元", "円", "원", "rupees", "dollars",
    "euro", "pounds", "yen", "€", "£", "¥", "₽", "₹", "$", "₺", "₴", "%",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Up to `CONTEXT_CHARACTERS` of the answer before and after a number, lower case, cut at what was masked."""

    before: str
    after: str

    def words_before(self) -> list[str]:
        """Words and numbers before, in order. Scripts without case are words of their own: 写真にはorder."""
        parts: list[str] = []
        previous = ""
        for character in self.before:
            if previous.isalpha() and character.isalpha() and _cased(previous) != _cased(character):
                parts.append(" ")
            parts.append(character if character.isalnum() else " ")
            previous = character
        return "".join(parts).split()

    def version_before(self) -> bool:
        """Does a word for a version, or `name/`, end directly before?"""
        if self.before.endswith("/") and self.before[-2:-1].isalpha():
            return True
        word = self.before.rstrip(" :=#-_/.")
        if len(self.before) - len(word) > 3:
            return False
        return _last_word(word) in VERSION_WORDS or word.endswith(VERSION_ENDINGS)

    def numbered_thing_before(self) -> bool:
        """Does a word for an order or the like stand before, with no more than "number", "no." or "#" between?

        The word nearest to the number decides: in "contact: order 48213377" it is an order, in "order by phone
        48213377" a telephone.
        """
        for word in reversed(self.words_before()[-3:]):
            if word.isdecimal() and len(word) > 4:
                break  # the word belongs to the number before this one
            if word.startswith(PHONE_WORDS):
                return False
            if word.startswith(NUMBERED_THINGS):
                return True
        near = self.before[-8:]
        return not any(word in near for word in PHONE_WORDS_UNSPACED) and any(
            word in near for word in NUMBERED_THINGS_UNSPACED
        )

    def hash_before(self) -> bool:
        """`#` glued to the number, and nothing that speaks of calling."""
        return self.before.endswith(("#", "＃")) and not any(
            word.startswith(PHONE_WORDS) for word in self.words_before()
        )

    def currency_beside(self) -> bool:
        """A currency directly before or after, decimals in between or not."""
        before, after = self.before.rstrip(" "), self.after.lstrip(" \u00a0\u202f")
        if after[:1] in (",", ".") and after[1:3].isdecimal():
            after = after[3:].lstrip(" \u00a0\u202f")
        return (
            before.endswith(CURRENCY_SIGNS)
            or _last_word(before.rstrip(".")) in CURRENCY_BEFORE
            or (after.startswith(CURRENCY_AFTER) and not (after[0] in CURRENCY_SIGNS and after[1:2].isdecimal()))
        )

    def decimals_after(self) -> bool:
        """A comma and one or two digits, and no more: 1.234.567,89."""
        decimals = self.after[1:3].rstrip(" ")
        return self.after[:1] == "," and decimals.isdecimal() and not self.after[1 + len(decimals) :][:1].isdecimal()

    def coordinate_beside(self) -> bool:
        """A degree sign after, or a word for latitude or longitude directly before."""
        return self.after.lstrip(" ").startswith("°") or _last_word(self.before.rstrip(" :=-+,")) in COORDINATE_WORDS

    def book_before(self) -> bool:
        """ISBN, ISBN-13 or ISSN directly before."""
        word = self.before.rstrip(" :-#").removesuffix("10").removesuffix("13").rstrip(" -")
        return word.endswith(("isbn", "issn"))

    def says(self, *words: str) -> bool:
        """Does one of `words` stand before?"""
        return any(word in self.before for word in words)


def _last_word(text: str) -> str:
    at = len(text)
    while at > 0 and ((text[at - 1].isalnum() and _cased(text[at - 1])) or text[at - 1] == "$"):
        at -= 1
    return text[at:]


def _cased(character: str) -> bool:
    return character.lower() != character.upper()


def is_progression(groups: list[str]) -> bool:
    """1 2 3 4 5 6 7 8, or 10 20 30 40: five numbers or more with one step between them."""
    if len(groups) < 5 or len(groups) > 64:
        return False
    numbers = [int(group) for group in groups]
    step = numbers[1] - numbers[0]
    return step != 0 and all(right - left == step for left, right in pairwise(numbers))


def is_years(groups: list[str], separators: list[str]) -> bool:
    """1990-1995, 2019 2020 2021: two years with a dash or slash between, or more of them anyhow."""
    years = all(len(group) == 4 and 1000 <= int(group) <= 2199 for group in groups)
    return years and (len(groups) > 2 or (len(groups) == 2 and separators[0].strip() in ("-", "/")))


def is_decimal(groups: list[str], separators: list[str]) -> bool:
    """3.14159265: an integer part of one or two digits that no trunk prefix could be."""
    if len(groups) != 2 or separators != ["."] or len(groups[1]) < 5 or len(groups[0]) > 2:
        return False
    return groups[0] == "0" or not groups[0].startswith("0")


def is_round(groups: list[str]) -> bool:
    """7800000000: one run that ends in five zeros or more, of which no more than two digits are others."""
    return len(groups) == 1 and groups[0][0] != "0" and len(groups[0].rstrip("0")) <= 2


def is_thousands(groups: list[str], separators: list[str]) -> bool:
    """1.234.567 or 12 345 678."""
    if len(groups) < 2 or groups[0].startswith("0") or len(groups[0]) > 3 or len(set(separators)) > 1:
        return False
    return separators[0] in (".", " ", "'") and all(len(group) == 3 for group in groups[1:])


def is_dotted_version(groups: list[str], separators: list[str]) -> bool:
    """109.0.4328.28: only dots, and a part of one digit that is not the first; digits one by one are not meant."""
    if len(groups) < 3 or set(separators) != {"."} or not any(len(group) == 1 for group in groups[1:]):
        return False
    return any(len(group) > 1 for group in groups)


def is_many_small(groups: list[str]) -> bool:
    """More than seven numbers of mixed small size: a list. Digits one by one, or all in pairs, are telephones."""
    sizes = {len(group) for group in groups[1:]}
    return len(groups) > 7 and max(sizes) <= 2 and len(sizes) > 1
