"""Makers of personal values, one a kind: `(faker, random) -> (category, text)`.

Values come from Faker, from `phonenumbers` example numbers, and from `python-stdnum` where Faker has no valid national
id. Nothing here reads the masker's rules: a category names how a value is written, so that failures can be grouped.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import phonenumbers
from stdnum import ean, luhn, verhoeff
from stdnum.br import cpf
from stdnum.cl import rut
from stdnum.ee import ik
from stdnum.es import dni, nie
from stdnum.iso7064 import mod_11_2, mod_11_10
from stdnum.it import codicefiscale
from stdnum.kr import rrn
from stdnum.mx import curp
from stdnum.no import fodselsnummer
from stdnum.pl import pesel
from stdnum.ro import cnp
from stdnum.tr import tckimlik

Maker = Callable[[Any, Random], tuple[str, str]]

UNMARKED = "\x1f"  # what a maker writes before it is around the value, and not part of it
ZERO_WIDTH = ("\u200b", "\u200d", "\u2060", "\ufeff", "\u00ad")
ARABIC_INDIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
PERSIAN = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")
DEVANAGARI = str.maketrans("0123456789", "०१२३४५६७८९")
FULL_WIDTH = str.maketrans({chr(c): chr(c + 0xFEE0) for c in range(0x21, 0x7F)})


def sprinkle(text: str, random: Random) -> str:
    """`text` with an invisible character between two of its characters, one to three times."""
    for _ in range(random.randint(1, 3)):
        at = random.randint(1, len(text) - 1)
        text = text[:at] + random.choice(ZERO_WIDTH) + text[at:]
    return text


def email(fake: Any, random: Random) -> tuple[str, str]:
    """An address, plainly written in nine of ten, else disguised."""
    address = random.choice((fake.email, fake.free_email, fake.company_email, fake.ascii_safe_email))()
    local, domain = address.split("@")
    match random.randint(0, 19):
        case 0:
            return "plus tag", f"{local}+{fake.word().split()[0]}@{domain}"
        case 1:
            return "upper case", address.upper()
        case 2:
            return "subdomain", f"{local}@mail.{domain}"
        case 3:
            return "mailto", f"mailto:{UNMARKED}{address}"
        case 4:
            return "at and dot in words", f"{local} at {domain.replace('.', ' dot ')}"
        case 5:
            left, right = random.choice(("[]", "()", "{}"))
            return "at and dot in brackets", f"{local} {left}at{right} {domain.replace('.', f' {left}dot{right} ')}"
        case 6:
            return "bracketed at, glued", f"{local}[at]{domain}"
        case 7:
            return "full width", address.translate(FULL_WIDTH)
        case 8:
            return "invisible characters", sprinkle(address, random)
        case 9:
            return "spaces around the at sign", f"{local} @ {domain}"
        case _:
            return "plain", address


def _varied_phone(random: Random) -> tuple[str, str]:
    """A number of a random region's plan, its last digits drawn anew, in one of the plan's own formats."""
    while True:
        region = random.choice(sorted(phonenumbers.SUPPORTED_REGIONS))
        kind = random.choice((phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE))
        example = phonenumbers.example_number_for_type(region, kind)
        if example is None or len(str(example.national_number)) < 7:
            continue
        digits = str(example.national_number)
        example.national_number = int(digits[:-4] + f"{random.randint(0, 9999):04d}")
        name, style = random.choice(
            (
                ("plan, international", phonenumbers.PhoneNumberFormat.INTERNATIONAL),
                ("plan, national", phonenumbers.PhoneNumberFormat.NATIONAL),
                ("plan, E.164", phonenumbers.PhoneNumberFormat.E164),
            )
        )
        return name, phonenumbers.format_number(example, style)


def phone(fake: Any, random: Random) -> tuple[str, str]:
    """A number from Faker's locale or a region's plan, sometimes written another way."""
    category, number = ("faker", fake.phone_number()) if random.random() < 0.5 else _varied_phone(random)
    match random.randint(0, 15):
        case 0:
            return "dots", number.replace(" ", ".").replace("-", ".")
        case 1:
            return "slashes", number.replace(" ", "/", 1)
        case 2:
            extension = f"{random.choice((' ext. ', 'x', ' x', ' ext '))}{random.randint(10, 9999)}"
            return "extension", number.split("x")[0].strip() + extension
        case 3:
            return "full width", number.translate(FULL_WIDTH)
        case 4:
            return "other digits", number.translate(random.choice((ARABIC_INDIC, PERSIAN, DEVANAGARI)))
        case 5:
            return "invisible characters", sprinkle(number, random)
        case 6:
            return "no-break spaces", number.replace(" ", "\u00a0")
        case 7:
            return "typographic dashes", number.replace("-", random.choice("‐‑–—"))
        case 8:
            return "digits one by one", " ".join(c for c in number if c.isdecimal())
        case 9:
            return "digits only", "".join(c for c in number if c.isdecimal())
        case _:
            return category, number


def card(fake: Any, random: Random) -> tuple[str, str]:
    """A card number with a valid check digit, in one of the usual groupings."""
    number = fake.credit_card_number()
    if len(number) == 15 and random.random() < 0.6:
        return "4-6-5", f"{number[:4]} {number[4:10]} {number[10:]}"
    match random.randint(0, 5):
        case 0 | 1:
            return "fours, spaces", " ".join(number[i : i + 4] for i in range(0, len(number), 4))
        case 2:
            return "fours, dashes", "-".join(number[i : i + 4] for i in range(0, len(number), 4))
        case 3 if random.random() < 0.3:
            return "full width", number.translate(FULL_WIDTH)
        case 4 if random.random() < 0.3:
            return "invisible characters", sprinkle(number, random)
        case _:
            return "plain", number


def iban(fake: Any, random: Random) -> tuple[str, str]:
    """An account number of the locale's country."""
    number = fake.iban()
    match random.randint(0, 5):
        case 0 | 1:
            return "fours, spaces", " ".join(number[i : i + 4] for i in range(0, len(number), 4))
        case 2:
            return "lower case", number.lower()
        case 3:
            return "fours, dashes", "-".join(number[i : i + 4] for i in range(0, len(number), 4))
        case _:
            return "plain", number


def ip(fake: Any, random: Random) -> tuple[str, str]:
    """An address of version 4 or 6."""
    match random.randint(0, 5):
        case 0 | 1:
            return "version 6, full", fake.ipv6()
        case 2:
            groups = fake.ipv6().split(":")
            at = random.randint(1, 5)
            return "version 6, compressed", ":".join(groups[:at]) + "::" + ":".join(groups[at + 2 :])
        case 3:
            return "version 4, private", fake.ipv4_private()
        case _:
            return "version 4", fake.ipv4()


def url(fake: Any, random: Random) -> tuple[str, str]:
    """A URL that carries a user, with or without password, path and port."""
    scheme = random.choice(("https", "http", "ftp", "ssh", "postgresql", "redis"))
    user = fake.user_name() if random.random() < 0.3 else f"{fake.user_name()}:{fake.password(special_chars=False)}"
    host = random.choice((fake.domain_name, fake.hostname, fake.ipv4))()
    tail = random.choice(("", "/", f"/{fake.uri_path()}", f":{random.randint(1000, 9999)}/{fake.uri_path()}?a=1&b=2"))
    return ("user" if ":" not in user else "user and password"), f"{scheme}://{user}@{host}{tail}"


def ssn(fake: Any, random: Random) -> tuple[str, str]:
    """A US social security number; without separators only next to the words that name it."""
    area = random.choice([*range(1, 666), *range(667, 900)])
    number = f"{area:03d}-{random.randint(1, 99):02d}-{random.randint(1, 9999):04d}"
    match random.randint(0, 9):
        case 0:
            return "spaces", number.replace("-", " ")
        case 1:
            return "digits only, named", f"SSN {UNMARKED}{number.replace('-', '')}"
        case 2:
            return "typographic dashes", number.replace("-", "–")
        case _:
            return "dashes", number


def _date(random: Random) -> tuple[int, int, int]:
    return random.randint(1940, 2009), random.randint(1, 12), random.randint(1, 28)


def _cpf(fake: Any, random: Random) -> str:
    body = "".join(random.choices("0123456789", k=9))
    number = body + cpf._calc_check_digits(body)
    return cpf.format(number) if random.random() < 0.7 else number


def _dni(fake: Any, random: Random) -> str:
    body = f"{random.randint(1_000_000, 99_999_999):08d}"
    return body + random.choice(("", "", "-")) + dni.calc_check_digit(body)


def _nie(fake: Any, random: Random) -> str:
    body = random.choice("XYZ") + f"{random.randint(0, 9_999_999):07d}"
    return body + nie.calc_check_digit(body)


def _codice_fiscale(fake: Any, random: Random) -> str:
    consonants = "BCDFGLMNPRSTVZ"
    year, _, day = _date(random)
    body = "".join(random.choices(consonants, k=6)) + f"{year % 100:02d}" + random.choice("ABCDEHLMPRST")
    body += f"{day + random.choice((0, 40)):02d}" + random.choice("ABCDEFGHIL") + f"{random.randint(1, 999):03d}"
    return body + codicefiscale.calc_check_digit(body)


def _nir(fake: Any, random: Random) -> str:
    year, month, _ = _date(random)
    body = f"{random.choice('12')}{year % 100:02d}{month:02d}{random.randint(1, 95):02d}{random.randint(1, 990):03d}"
    body += f"{random.randint(1, 999):03d}"
    number = body + f"{97 - int(body) % 97:02d}"
    if random.random() < 0.5:
        return number
    return " ".join((number[0], number[1:3], number[3:5], number[5:7], number[7:10], number[10:13], number[13:]))


def _pesel(fake: Any, random: Random) -> str:
    year, month, day = _date(random)
    body = f"{year % 100:02d}{month + (20 if year >= 2000 else 0):02d}{day:02d}{random.randint(0, 9999):04d}"
    return body + pesel.calc_check_digit(body)


def _personnummer(fake: Any, random: Random) -> str:
    year, month, day = _date(random)
    body = f"{year % 100:02d}{month:02d}{day:02d}{random.randint(1, 999):03d}"
    tail = body[6:] + luhn.calc_check_digit(body)
    return f"{body[:6]}-{tail}" if random.random() < 0.5 else f"{year // 100}{body[:6]}-{tail}"


def _hetu(fake: Any, random: Random) -> str:
    year, month, day = _date(random)
    date, serial = f"{day:02d}{month:02d}{year % 100:02d}", f"{random.randint(2, 899):03d}"
    check = "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(date + serial) % 31]
    return f"{date}{'A' if year >= 2000 else '-'}{serial}{check}"


def _ahv(fake: Any, random: Random) -> str:
    body = "756" + "".join(random.choices("0123456789", k=9))
    number = body + ean.calc_check_digit(body)
    return f"{number[:3]}.{number[3:7]}.{number[7:11]}.{number[11:]}" if random.random() < 0.7 else number


def _be(fake: Any, random: Random) -> str:
    year, month, day = _date(random)
    body = f"{year % 100:02d}{month:02d}{day:02d}{random.randint(1, 997):03d}"
    check = 97 - int(("2" if year >= 2000 else "") + body) % 97
    return f"{body[:2]}.{body[2:4]}.{body[4:6]}-{body[6:]}.{check:02d}"


def _steuer_id(fake: Any, random: Random) -> str:
    while True:
        digits = random.sample("0123456789", 9)
        digits.insert(random.randint(0, 8), random.choice(digits))
        body = "".join(digits)
        if body[0] != "0":
            break
    number = body + mod_11_10.calc_check_digit(body)
    return number if random.random() < 0.5 else f"{number[:2]} {number[2:5]} {number[5:8]} {number[8:]}"


def _aadhaar(fake: Any, random: Random) -> str:
    body = random.choice("23456789") + "".join(random.choices("0123456789", k=10))
    number = body + verhoeff.calc_check_digit(body)
    return f"{number[:4]} {number[4:8]} {number[8:]}"


def _ric(fake: Any, random: Random) -> str:
    year, month, day = _date(random)
    place = random.choice(("110101", "310104", "440305", "510104", "330106", "420111"))
    body = f"{place}{year}{month:02d}{day:02d}{random.randint(1, 999):03d}"
    return body + mod_11_2.calc_check_digit(body)


def _tckimlik(fake: Any, random: Random) -> str:
    body = random.choice("123456789") + "".join(random.choices("0123456789", k=8))
    return body + tckimlik.calc_check_digits(body)


def _curp(fake: Any, random: Random) -> str:
    year, month, day = _date(random)
    letters = random.choice("BCDFGHLMNPRST") + "E" + "".join(random.choices("BCDFGHLMNPRSTVZ", k=2))
    body = (
        f"{letters}{year % 100:02d}{month:02d}{day:02d}{random.choice('HM')}{random.choice(('DF', 'JC', 'NL', 'PL'))}"
    )
    body += "".join(random.choices("BCDFGLMNPRST", k=3)) + ("0" if year < 2000 else "A")
    return body + curp.calc_check_digit(body)


def _rut(fake: Any, random: Random) -> str:
    body = str(random.randint(5_000_000, 25_000_000))
    return rut.format(body + rut.calc_check_digit(body))


def _cnp(fake: Any, random: Random) -> str:
    year, month, day = _date(random)
    body = f"{random.choice('12') if year < 2000 else random.choice('56')}{year % 100:02d}{month:02d}{day:02d}"
    body += f"{random.randint(1, 46):02d}{random.randint(1, 999):03d}"
    return body + cnp.calc_check_digit(body)


def _fodselsnummer(fake: Any, random: Random) -> str:
    while True:
        year, month, day = _date(random)
        serial = random.randint(0, 499) if year < 2000 else random.randint(500, 999)
        body = f"{day:02d}{month:02d}{year % 100:02d}{serial:03d}"
        first = fodselsnummer.calc_check_digit1(body)
        second = fodselsnummer.calc_check_digit2(body + first)
        if "-" not in first + second and len(first + second) == 2:
            return body + first + second


def _isikukood(fake: Any, random: Random) -> str:
    year, month, day = _date(random)
    body = f"{random.choice('34') if year < 2000 else random.choice('56')}{year % 100:02d}{month:02d}{day:02d}"
    body += f"{random.randint(1, 999):03d}"
    return body + ik.calc_check_digit(body + "0")


def _rodne_cislo(fake: Any, random: Random) -> str:
    while True:
        year, month, day = random.randint(1955, 2009), random.randint(1, 12), random.randint(1, 28)
        body = f"{year % 100:02d}{month + random.choice((0, 50)):02d}{day:02d}{random.randint(1, 999):03d}"
        check = int(body) % 11
        if check < 10:
            return f"{body[:6]}/{body[6:]}{check}"


def _idnr_za(fake: Any, random: Random) -> str:
    year, month, day = _date(random)
    body = f"{year % 100:02d}{month:02d}{day:02d}{random.randint(0, 9999):04d}0{random.choice('89')}"
    return body + luhn.calc_check_digit(body)


def _nino(fake: Any, random: Random) -> str:
    prefix = random.choice("ABCEGHJKLMNPRSTWXYZ") + random.choice("ACEGHJLMPRSTWXYZ")
    if prefix in {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"}:
        prefix = "AB"
    digits, suffix = f"{random.randint(0, 999_999):06d}", random.choice("ABCD")
    if random.random() < 0.5:
        return prefix + digits + suffix
    return f"{prefix} {digits[:2]} {digits[2:4]} {digits[4:]} {suffix}"


def _pan(fake: Any, random: Random) -> str:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return (
        "".join(random.choices(letters, k=3)) + "P" + random.choice(letters)
        + f"{random.randint(1, 9999):04d}" + random.choice(letters)
    )  # fmt: skip


def _rrn(fake: Any, random: Random) -> str:
    year, month, day = _date(random)
    body = f"{year % 100:02d}{month:02d}{day:02d}{random.choice('12') if year < 2000 else random.choice('34')}"
    body += f"{random.randint(0, 90):02d}{random.randint(0, 999):03d}"
    return f"{body[:6]}-{body[6:]}{rrn.calc_check_digit(body)}"


NATIONAL_IDS: dict[str, Callable[[Any, Random], str]] = {
    "BE": _be, "BR": _cpf, "CH": _ahv, "CL": _rut, "CN": _ric, "CZ": _rodne_cislo, "DE": _steuer_id, "EE": _isikukood,
    "ES DNI": _dni, "ES NIE": _nie, "FI": _hetu, "FR": _nir, "GB NINO": _nino, "IN Aadhaar": _aadhaar, "IN PAN": _pan,
    "IT": _codice_fiscale, "KR": _rrn, "MX": _curp, "NO": _fodselsnummer, "PL": _pesel, "RO": _cnp, "SE": _personnummer,
    "TR": _tckimlik, "ZA": _idnr_za,
}  # fmt: skip


def national_id(fake: Any, random: Random) -> tuple[str, str]:
    """A number that one of 22 countries gives a person; all but NINO and PAN have a checksum."""
    country = random.choice(list(NATIONAL_IDS))
    return country, NATIONAL_IDS[country](fake, random)


MAKERS: dict[str, Maker] = {
    "email": email, "phone": phone, "card": card, "iban": iban, "ip": ip, "url": url, "ssn": ssn,
    "national_id": national_id,
}  # fmt: skip
