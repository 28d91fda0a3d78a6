"""Presidio's pattern recognizers, asked directly: no NLP engine, no context words, every score counts.

Those for the kinds that are compared; each entity becomes the kind that it answers to. The recognizers of dates, bank
accounts, passports and licences have no kind here and are left out: their widest patterns flag any eight digits.
"""

from __future__ import annotations

import tldextract
from presidio_analyzer import predefined_recognizers as predefined

from .scoring import Found

_RECOGNIZERS = {
    "email": ("EmailRecognizer",),
    "phone": ("PhoneRecognizer", "ZaMobileNumberRecognizer", "ZaTelephoneNumberRecognizer"),
    "card": ("CreditCardRecognizer",),
    "iban": ("IbanRecognizer",),
    "ip": ("IpRecognizer",),
    "url": ("UrlRecognizer",),
    "ssn": ("UsSsnRecognizer",),
    "national_id": (
        "AuMedicareRecognizer", "AuTfnRecognizer", "CaSinRecognizer", "DeSocialSecurityRecognizer", "DeTaxIdRecognizer",
        "EsNieRecognizer", "EsNifRecognizer", "FiPersonalIdentityCodeRecognizer", "InAadhaarRecognizer",
        "InPanRecognizer", "ItFiscalCodeRecognizer", "KrFrnRecognizer", "KrRrnRecognizer", "NgNinRecognizer",
        "NhsRecognizer", "PhTinRecognizer", "PhUmidRecognizer", "PlPeselRecognizer", "SePersonnummerRecognizer",
        "SgFinRecognizer", "ThTninRecognizer", "TrNationalIdRecognizer", "UkNinoRecognizer", "UsItinRecognizer",
        "ZaIdNumberRecognizer",
    ),
}  # fmt: skip


class Presidio:
    """Find like `processors.masking.mask.find`. Presidio's kinds overlap; all of its findings are kept."""

    def __init__(self) -> None:
        # Its e-mail recognizer would fetch the public suffix list; the snapshot that tldextract ships does.
        tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=())
        tldextract.extract = tldextract.tldextract.TLD_EXTRACTOR
        self._recognizers = [
            (kind, getattr(predefined, name)()) for kind, names in _RECOGNIZERS.items() for name in names
        ]

    def find(self, text: str) -> list[Found]:
        return [
            Found(result.start, result.end, kind)
            for kind, recognizer in self._recognizers
            for result in recognizer.analyze(text, recognizer.supported_entities, None)
            if result.score > 0
        ]
