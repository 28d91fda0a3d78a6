"""Makers of what must stay: `(faker, random) -> (category, text)`.

Each looks like something personal to a careless pattern. Where only its surroundings tell what a number is (an order
number of eight digits), the maker writes those surroundings too, in the language of the part of the corpus.
"""

from __future__ import annotations

from random import Random
from typing import Any

ORDER_WORDS = {
    "development": (
        "order", "order number", "Order #", "order no.", "invoice", "ticket", "case number", "Bestellung",
        "Bestellnummer", "Auftragsnummer", "Rechnung Nr.", "commande n°", "numéro de commande", "pedido", "factura",
        "ordine", "fattura n.", "заказ №", "zamówienie nr", "订单号", "注文番号",
    ),
    "held_out": (
        "order", "purchase order", "order ID", "tracking number", "reference", "booking", "Order no:", "PO",
        "bestelling", "ordernummer", "beställning", "ordre", "tilausnumero", "encomenda", "sipariş no", "objednávka č.",
        "rendelés", "номер заказа", "注文", "주문번호", "número de pedido", "facture",
    ),
}  # fmt: skip


def order_number(fake: Any, random: Random, part: str) -> tuple[str, str]:
    word = random.choice(ORDER_WORDS[part])
    digits = "".join(random.choices("123456789", k=random.randint(5, 10)))
    match random.randint(0, 6):
        case 6:
            return "tracking number, long", f"{word} {''.join(random.choices('0123456789', k=random.randint(16, 22)))}"
        case 0:
            return "order number, letters", f"{random.choice(('ORD', 'INV', 'PO', 'RMA', 'SO', 'TKT'))}-{digits}"
        case 1:
            return "order number, letters", f"{fake.random_uppercase_letter()}{fake.random_uppercase_letter()}{digits}"
        case 2:
            return "order number, year", f"{word} {random.randint(2015, 2026)}-{random.randint(1, 99999):05d}"
        case 3:
            return "order number, hash", f"#{digits}"
        case 4:
            return "order number, 6 digits", digits[:6].rjust(6, "7")
        case _:
            return "order number, named", f"{word} {digits}"


def date(fake: Any, random: Random, part: str) -> tuple[str, str]:
    pattern = random.choice(
        (
            "%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%y", "%m/%d/%y",
            "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S", "%d/%m/%Y %H:%M", "%d %B %Y", "%B %d, %Y", "%H:%M:%S",
            "%Y-%m-%dT%H:%M:%S.123456+00:00", "%Y年%m月%d日",
        )
    )  # fmt: skip
    return "date or time", fake.date_time_between("-80y", "+5y").strftime(pattern)


def date_range(fake: Any, random: Random, part: str) -> tuple[str, str]:
    year = random.randint(1900, 2020)
    other = year + random.randint(1, 40)
    return "years", random.choice(
        (f"{year}-{other}", f"{year}–{other}", f"{year} - {other}", f"{year}/{other}", str(year))
    )


def version(fake: Any, random: Random, part: str) -> tuple[str, str]:
    parts = [random.randint(0, 40) for _ in range(4)]
    return random.choice(
        (
            ("version, three parts", ".".join(map(str, parts[:3]))),
            ("version, three parts", "v" + ".".join(map(str, parts[:3]))),
            ("version, four parts", "version " + ".".join(map(str, parts))),
            ("version, four parts", "v" + ".".join(map(str, parts))),
            (
                "version, browser",
                f"Chrome/{random.randint(90, 140)}.0.{random.randint(4000, 7000)}.{random.randint(10, 250)}",
            ),
            ("version, package", f"{fake.word()}@{parts[0]}.{parts[1]}.{parts[2]}"),
        )
    )


def coordinates(fake: Any, random: Random, part: str) -> tuple[str, str]:
    places = random.choice((4, 5, 6))
    latitude, longitude = random.uniform(-90, 90), random.uniform(-180, 180)
    north, east = "N" if latitude > 0 else "S", "E" if longitude > 0 else "W"
    return "coordinates", random.choice(
        (
            f"{latitude:.{places}f}, {longitude:.{places}f}",
            f"{latitude:.{places}f},{longitude:.{places}f}",
            f"({latitude:.{places}f}, {longitude:.{places}f})",
            f"{abs(latitude):.{places}f}° {north}, {abs(longitude):.{places}f}° {east}",
            f"lat {latitude:.{places}f} lon {longitude:.{places}f}",
            f"{abs(int(latitude))}°{random.randint(0, 59)}'{random.randint(0, 59)}\"N",
        )
    )


def price(fake: Any, random: Random, part: str) -> tuple[str, str]:
    units, cents = random.randint(1, 99_999_999), random.randint(0, 99)
    comma, dot = f"{units:,}", f"{units:,}".replace(",", ".")
    return "price", random.choice(
        (
            f"${comma}.{cents:02d}", f"€{dot},{cents:02d}", f"{dot},{cents:02d} €", f"{comma.replace(',', ' ')} kr",
            f"USD {comma}", f"£{comma}", f"{comma} JPY", f"{dot} EUR", f"¥{units}", f"Rs. {units}", f"{units} руб.",
        )
    )  # fmt: skip


def count(fake: Any, random: Random, part: str) -> tuple[str, str]:
    return "count", random.choice(
        (
            f"{random.randint(1_000_000, 999_999_999):,}", f"{random.randint(1, 99)}0000000",
            f"{random.uniform(0, 100):.7f}",
            f"{random.randint(1, 999)}%", f"{random.randint(10_000, 999_999)}",
            f"{random.randint(1, 9)}.{random.randint(10, 99)}e{random.randint(1, 20)}",
        )
    )  # fmt: skip


def isbn(fake: Any, random: Random, part: str) -> tuple[str, str]:
    return random.choice((("ISBN-13", fake.isbn13()), ("ISBN-10, named", f"ISBN {fake.isbn10()}")))


def hexadecimal(fake: Any, random: Random, part: str) -> tuple[str, str]:
    return random.choice(
        (
            ("UUID", fake.uuid4()),
            ("hash", fake.sha1()),
            ("hash", fake.md5()),
            ("hash", fake.sha1()[:8]),
            ("colour", fake.hex_color()),
        )
    )


def social(fake: Any, random: Random, part: str) -> tuple[str, str]:
    return random.choice(
        (
            ("mention", f"@{fake.user_name()}"),
            ("hashtag", f"#{fake.word()}{random.randint(2000, 2026)}"),
            ("file name", f"icon@{random.choice('23')}x.png"),
            ("plain URL", fake.url()),
            ("plain URL", f"https://{fake.domain_name()}/{fake.uri_path()}"),
            ("plain domain", fake.domain_name()),
        )
    )


def labels(fake: Any, random: Random, part: str) -> tuple[str, str]:
    """What annotators answer with: boxes, lists, scores, names of code."""
    box = [random.randint(0, 1920) for _ in range(4)]
    return random.choice(
        (
            ("box", "[" + ", ".join(map(str, box)) + "]"),
            ("box", ",".join(map(str, box))),
            ("box", f"{box[0]}x{box[1]}"),
            ("list", " ".join(map(str, range(1, random.randint(8, 13))))),
            ("list", ", ".join(str(random.randint(1, 99)) for _ in range(6))),
            ("score", f"{random.randint(0, 9)}-{random.randint(0, 9)}"),
            (
                "code",
                random.choice(("std::vector", "a::b", "Foo::Bar", "meet at noon", "lunch at the dot", "10:30:59")),
            ),
        )
    )


MAKERS = (order_number, date, date_range, version, coordinates, price, count, isbn, hexadecimal, social, labels)
