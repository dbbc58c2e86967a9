"""Numbers as people and models write them. Shared by the annotation reader and the reward: one reading."""

from __future__ import annotations

import re
from fractions import Fraction

MAX_CHARACTERS = 64
PLAIN = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+"
NUMBER = re.compile(rf"([+-]?(?:{PLAIN})(?:[eE][+-]?\d{{1,3}})?)\s?(%?)", re.ASCII)
FRACTION = re.compile(rf"([+-]?(?:{PLAIN}))\s?/\s?({PLAIN})", re.ASCII)


def parse_number(text: str) -> Fraction | None:
    """The number that the whole of `text` is, exactly: "1,234.5", "-2", "3e-4", "50%" (½), "3/4".

    None for anything else: words or units beside it, two numbers, digits of other scripts, a zero
    denominator, nan, inf, an exponent of more than three digits, more than 64 characters.
    """
    text = text.strip().replace("\N{MINUS SIGN}", "-")
    if len(text) > MAX_CHARACTERS:
        return None
    if match := NUMBER.fullmatch(text):
        value = Fraction(match[1].replace(",", ""))
        return value / 100 if match[2] else value
    if match := FRACTION.fullmatch(text):
        above, below = (Fraction(part.replace(",", "")) for part in match.groups())
        return above / below if below else None
    return None
