"""Pure: numbers that a state gives a person, told by their form and their check digits.

Only forms whose check (or date, or letters) rules out nearly every telephone number are named by form alone; the weak
ones need a word beside them, and without it they are masked as the phone-shaped runs that they are. All share one kind,
`national_id`: a placeholder that named the country would leave a nationality behind. A US social security number is
`ssn`.
"""

from __future__ import annotations

from collections.abc import Callable

from stdnum import ean, luhn, verhoeff
from stdnum.au import tfn
from stdnum.bg import egn
from stdnum.br import cpf
from stdnum.ca import sin
from stdnum.ch import ssn as ahv
from stdnum.cl import rut
from stdnum.cz import rc
from stdnum.de import idnr
from stdnum.ee import ik
from stdnum.es import dni, nie
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.hr import oib
from stdnum.ie import pps
from stdnum.il import idnr as teudat_zehut
from stdnum.iso7064 import mod_11_2
from stdnum.it import codicefiscale
from stdnum.mx import curp
from stdnum.nl import bsn
from stdnum.pl import pesel
from stdnum.ro import cnp
from stdnum.th import pin
from stdnum.tr import tckimlik
from stdnum.us import itin

from processors.masking.patterns import compile_pattern

# Letters and digits. Group names are what `VALIDATORS` is asked by.
LETTERED = compile_pattern(
    r"\b(?:(?P<nino>[A-Za-z]{2}[ \-]?[0-9]{2}[ \-]?[0-9]{2}[ \-]?[0-9]{2}[ \-]?[A-Da-d])"
    r"|(?P<codicefiscale>[A-Za-z]{6}[0-9A-Za-z]{2}[A-Za-z][0-9A-Za-z]{2}[A-Za-z][0-9A-Za-z]{3}[A-Za-z])"
    r"|(?P<curp>[A-Za-z]{4}[0-9]{6}[HMXhmx][A-Za-z]{5}[0-9A-Za-z][0-9])"
    r"|(?P<pan>[A-Z]{3}[ABCFGHLJPTK][A-Z][0-9]{4}[A-Z])"
    r"|(?P<nie>[XYZxyz][ \-]?[0-9]{7}[ \-]?[A-Za-z])"
    r"|(?P<nric>[STFGMstfgm][0-9]{7}[A-Za-z])"
    r"|(?P<ric>[0-9]{17}[Xx])"
    r"|(?P<hetu>[0-9]{6}[\-+A-FU-Ya-fu-y][0-9]{3}[0-9A-Ya-y])"
    r"|(?P<nir>[12] ?[0-9]{2} ?[0-9]{2} ?2[ABab] ?[0-9]{3} ?[0-9]{3} ?[0-9]{2})"
    r"|(?P<rut>[0-9]{1,2}\.?[0-9]{3}\.?[0-9]{3}-[Kk])"
    r"|(?P<dni>[0-9]{1,2}\.?[0-9]{3}\.?[0-9]{3}[ \-]?[A-Za-z]{1,2}))\b"
)

# Digits alone, in the forms that states print.
NUMERIC = compile_pattern(
    r"\b(?:(?P<rrn>[0-9]{6}-[0-9]{7})"
    r"|(?P<pk>[0-9]{6}-[0-9]{5})"
    r"|(?P<pnr>(?:19|20)?[0-9]{6}[\-+][0-9]{4})"
    r"|(?P<rc>[0-9]{6}/[0-9]{3,4})"
    r"|(?P<nn>[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2})"
    r"|(?P<ahv>756\.[0-9]{4}\.[0-9]{4}\.[0-9]{2})"
    r"|(?P<cpf>[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2})"
    r"|(?P<rut>[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}-[0-9]|[0-9]{7,8}-[0-9])"
    r"|(?P<pin>[0-9]-[0-9]{4}-[0-9]{5}-[0-9]{2}-[0-9])"
    r"|(?P<nir>[12] [0-9]{2} [0-9]{2} [0-9]{2} [0-9]{3} [0-9]{3} [0-9]{2})"
    r"|(?P<idnr>[0-9]{2} [0-9]{3} [0-9]{3} [0-9]{3})"
    r"|(?P<aadhaar>[2-9][0-9]{3}[ \-][0-9]{4}[ \-][0-9]{4})"
    r"|(?P<ssn>[0-9]{3}[ \-.][0-9]{2}[ \-.][0-9]{4})"
    r"|(?P<weak>[0-9]{3}[ \-][0-9]{3}[ \-][0-9]{3,4})"
    r"|(?P<plain>[0-9]{9,18}))\b"
)


def _dated(number: str, century: bool = False) -> bool:
    """Does `number` start with a date, year first, of two digits or four?"""
    at = 4 if century else 2
    return 1 <= int(number[at : at + 2]) <= 12 and 1 <= int(number[at + 2 : at + 4]) <= 31


def _nino(number: str) -> bool:
    prefix = number[:2].upper()
    first, second = prefix[0], prefix[1]
    return (
        first not in "DFIQUV" and second not in "DFIOQUV" and prefix not in {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"}
    )  # fmt: skip


def _nric(number: str) -> bool:
    """Singapore: weights 2765432, an offset and a letter row by the first letter."""
    first, body, last = number[0].upper(), number[1:8], number[8].upper()
    total = sum(int(digit) * weight for digit, weight in zip(body, (2, 7, 6, 5, 4, 3, 2), strict=True))
    total += {"T": 4, "G": 4, "M": 3}.get(first, 0)
    row = {"S": "JZIHGFEDCBA", "T": "JZIHGFEDCBA", "F": "XWUTRQPNMLK", "G": "XWUTRQPNMLK", "M": "KLJNPQRTUWX"}[first]
    return row[total % 11] == last


def _ric(number: str) -> bool:
    """China: place, date of birth, serial, check by ISO 7064 mod 11-2."""
    return number[0] in "12345678" and _dated(number[6:], century=True) and bool(mod_11_2.is_valid(number.upper()))


def _pnr(number: str) -> bool:
    """Sweden: Luhn over ten digits; Denmark: a date, day first, since its check digit is no longer kept."""
    digits = number.replace("-", "").replace("+", "")
    if len(digits) == 12:
        return _dated(digits, century=True) and bool(luhn.is_valid(digits[2:]))
    month, day = int(digits[2:4]), int(digits[4:6])
    swedish = 1 <= month <= 12 and (1 <= day <= 31 or 61 <= day <= 91) and bool(luhn.is_valid(digits))
    return swedish or (1 <= int(digits[:2]) <= 31 and 1 <= month <= 12)


def _pk(number: str) -> bool:
    """Latvia: a date, day first, or 32 for a number without one."""
    return number.startswith("32") or (1 <= int(number[:2]) <= 31 and 1 <= int(number[2:4]) <= 12)


def _norwegian(number: str) -> bool:
    """Two check digits, weights of fødselsnummer; its date, day first (day + 40 for a D-number)."""
    if not (1 <= int(number[:2]) % 40 <= 31 and 1 <= int(number[2:4]) % 40 <= 12):
        return False
    digits = [int(digit) for digit in number]
    first = sum(map(int.__mul__, digits, (3, 7, 6, 1, 8, 9, 4, 5, 2, 1)))
    second = sum(map(int.__mul__, digits, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1)))
    return first % 11 == 0 and second % 11 == 0


def _belgian(number: str) -> bool:
    body, check = int(number[:9]), int(number[9:])
    return _dated(number) and check in (97 - body % 97, 97 - (2_000_000_000 + body) % 97)


def _south_african(number: str) -> bool:
    return number[10] in "012" and number[11] in "89" and _dated(number) and bool(luhn.is_valid(number))


def _plain(number: str) -> bool:
    """Digits without separators: only numbers with a date or two check digits."""
    match len(number):
        case 11:
            return (
                _norwegian(number) or _belgian(number) or pesel.is_valid(number) or cpf.is_valid(number)
                or tckimlik.is_valid(number) or ik.is_valid(number) or idnr.is_valid(number)
            )  # fmt: skip
        case 13:
            return (
                _south_african(number) or cnp.is_valid(number) or (number.startswith("756") and ean.is_valid(number))
            )  # fmt: skip
        case 15:
            return bool(nir.is_valid(number))
        case 18:
            return _ric(number)
        case _:
            return False


def _dni(number: str) -> bool:
    compact = number.replace(".", "").replace(" ", "").replace("-", "")
    return bool(dni.is_valid(compact.zfill(9)) or pps.is_valid(compact))


def _rrn(number: str) -> bool:
    """South Korea: a date and the century; numbers given since October 2020 have no check digit."""
    return _dated(number) and number[7] in "12345678"


def _aadhaar(number: str) -> bool:
    return bool(verhoeff.is_valid(number.replace(" ", "").replace("-", "")))


def _rut(number: str) -> bool:
    """Chile, or a Spanish number that ends in K as Chile's may."""
    return bool(rut.is_valid(number)) or _dni(number)


VALIDATORS: dict[str, Callable[[str], bool]] = {
    "nino": _nino, "codicefiscale": codicefiscale.is_valid, "curp": curp.is_valid, "pan": lambda _: True,
    "nie": nie.is_valid, "nric": _nric, "ric": _ric, "hetu": hetu.is_valid, "nir": nir.is_valid, "rut": _rut,
    "dni": _dni, "pnr": _pnr, "rrn": _rrn, "pk": _pk, "rc": rc.is_valid,
    "nn": lambda number: _belgian(number.replace(".", "").replace("-", "")), "ahv": ahv.is_valid, "cpf": cpf.is_valid,
    "pin": pin.is_valid, "idnr": idnr.is_valid, "aadhaar": _aadhaar, "weak": lambda _: False, "plain": _plain,
}  # fmt: skip

# Next to one of these words a number with a weak check digit is named too.
WEAK_WORDS = (
    "national id", "id number", "identity", "nhs", "bsn", "burgerservice", "sofi", "sin ", "sin:", "social insurance",
    "tfn", "tax file", "tax id", "steuer", "aadhaar", "oib", "egn", "егн", "teudat", "תעודת", "personnummer", "pesel",
    "身份证", "주민", "dni", "cpf", "nino",
)  # fmt: skip
_WEAK = (nhs, bsn, sin, tfn, oib, egn, teudat_zehut, idnr, verhoeff, pin)


# What asking costs, in steps (`search.py`): one form, digits without separators, all the weak ones.
STEPS_OF_ONE, STEPS_OF_PLAIN, STEPS_OF_WEAK = 8, 40, 50


def weak_is_valid(number: str) -> bool:
    """Digits that a weak check accepts; to be asked only next to one of `WEAK_WORDS`."""
    return any(check.is_valid(number) for check in _WEAK)


def is_ssn(number: str) -> bool:
    """Nine digits with an area, group and serial that are or were given out (SSA, 2011), so 078-05-1120 too."""
    area, group, serial = number[:3], number[-6:-4], number[-4:]
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def is_itin(number: str) -> bool:
    """Nine digits in the form that the US tax office gives those who have no SSN."""
    return bool(itin.is_valid(number))
