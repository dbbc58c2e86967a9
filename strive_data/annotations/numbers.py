"""Numbers and spans of time as people, data sets and models write them: read exactly, or not at all.

The annotation reader, the rewards and the benchmarks share this one reading.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from strive_data.common.text import short_repr

if TYPE_CHECKING:
    from strive_data.schema import Span

MAX_CHARACTERS = 64
LARGEST, SMALLEST = Fraction(10) ** 300, Fraction(1, 10**300)
"""Bounds of a magnitude other than 0, so that every number has a finite float."""

DIGITS = r"(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+)"
POWER = r"\s?(?:\^|\*\*)\s?\(?(?P<{}>[+-]?\d{{1,3}})\)?"
SCALES: dict[str, int | Fraction] = {
    "%": Fraction(1, 100), "percent": Fraction(1, 100), "per cent": Fraction(1, 100),
    "dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
    "k": 10**3, "m": 10**6, "mln": 10**6, "b": 10**9, "bn": 10**9, "t": 10**12,
    "百": 100, "千": 10**3, "万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8,
}  # fmt: skip
# A single letter is a scale behind a currency; elsewhere only "5k" is, since 5 m and 300 K have units.
NUMBER = re.compile(
    rf"""(?:(?P<sign>[+-]|\b(?:minus|negative|plus)\b|[负負])\s*)?
    (?P<currency>[$€£¥]\s?(?P<inner>[+-])?)?
    (?P<mantissa>{DIGITS})
    (?:\s(?P<above>\d{{1,3}})/(?P<parts>\d{{1,3}})(?![\d/.,])
      |e(?P<exponent>[+-]?\d{{1,3}})(?!\w)
      |\s?[×x*·]\s?10{POWER.format("ten")}
      |{POWER.format("power")}
      |\s?/\s?(?P<below>{DIGITS}))?
    (?P<scale>\s?%|\s?(?:percent|per\ cent|mln|bn)\b|\s(?:dozen|hundred|thousand|million|billion|trillion)s?\b
      |\s?[百千万萬亿億]|(?(currency)[kmbt](?!\w)|(?-i:k)(?!\w)))?""",
    re.ASCII | re.VERBOSE | re.IGNORECASE,
)
# Most answers: read without folding other forms.
PLAIN = re.compile(r"-?\d{1,15}(?:\.\d{1,15})?", re.ASCII)
# Every number has a figure; beyond ASCII there are more of them than 0 to 9.
FIGURE = re.compile(r"[0-9]|[^\x00-\x7f]")
SIGNS = str.maketrans(dict.fromkeys("\u2212\u2013\u2012\u2010\u2011\u2796\ufe63\uff0d", "-"))
SUPERSCRIPTS = re.compile("[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
VULGAR = re.compile("[¼½¾⅐-⅞]")
LATEX = (
    (re.compile(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}"), r" \1/\2"),
    (re.compile(r"\\(?:text|mathrm|mathbf|textbf)\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\(?:times|cdot)(?![A-Za-z])"), "×"),
    (re.compile(r"\\pm(?![A-Za-z])"), "±"),
    (re.compile(r"\\(?:approx|sim|left|right|quad|qquad)(?![A-Za-z])"), " "),
    (re.compile(r"\\([%$])"), r"\1"),
    (re.compile(r"\\[,;:! ]"), " "),
    (re.compile(r"<sup>([^<]*)</sup>", re.IGNORECASE), r"^(\1)"),
    (re.compile(r"<sub>[^<]*</sub>", re.IGNORECASE), ""),
    (re.compile(r"(?<=[\d)])\*\*(?=[\d(+-])"), "^"),
    (re.compile(r"\{([,+-])\}"), r"\1"),
    (re.compile(r"(?<=[+-])~"), " "),
    (re.compile(r"\^\{([^{}]*)\}"), r"^(\1)"),
    (re.compile(r"_\{[^{}]*\}"), ""),
    (re.compile(r"\^?\(?\\circ(?![A-Za-z])\)?"), "°"),
)


def parse_number(text: str) -> Fraction | None:
    """The number that the whole of `text` is, exactly.

    Read: "1,234.5", "-2", "minus 2", "- 2", "$-2", "3e-4", "10³", "2 × 10^3", "3/4", "1 1/2", "½", "50%" and
    "50 percent" (½), "5 million", "5k", "5万", "$$3$$". None for anything else: units or words beside it, two
    numbers, a zero denominator, nan, inf, a magnitude that no float holds, more than 64 characters.
    """
    if PLAIN.fullmatch(text):
        return Fraction(text)
    if not FIGURE.search(text):
        return None
    plain = fold_number_text(text[: 2 * MAX_CHARACTERS]).strip()
    if plain[:1] == plain[-1:] == "$":  # a formula
        plain = plain.strip("$").strip()
    match = NUMBER.fullmatch(plain) if len(text.strip()) <= MAX_CHARACTERS else None
    return _value(match) if match else None


def is_number(text: str) -> bool:
    """Whether `parse_number` reads the text."""
    return bool(PLAIN.fullmatch(text)) or parse_number(text) is not None


SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
SPELLED = {word: number for number, word in enumerate(SMALL)}
SPELLED |= {ten: 10 * number for number, ten in enumerate(TENS, 2)}
SPELLED |= {f"{ten}-{one}": SPELLED[ten] + SPELLED[one] for ten in TENS for one in SMALL[1:10]}
# A number in words; its own words may be apart: "twenty five".
IN_WORDS = rf"(?:{'|'.join(TENS)})[-\s](?:{'|'.join(SMALL[1:10])})|{'|'.join(SPELLED)}"
# "2 people", "twenty-five red balls": not "2 or 3", "two thirds", "two hundred", "3 more".
COUNT = re.compile(rf"(?P<figures>{DIGITS})(?!\S)|(?P<word>{IN_WORDS})\b", re.ASCII | re.IGNORECASE)
# Words that make another number of the one before: "seven eighths", "three lakh", "one two three".
MAKES_ANOTHER = "|".join((
    *SMALL, *TENS, "or|per|percent|point|squared|cubed|odd|something|first|second",
    "k|m|b|mn|bn|tn|[mb]ln|lakhs?|crores?|dozens?|scores?|gross|pairs?|couples?|hundreds?|thousands?",
    "[mbtr]+illion(?:s|ths?)?|half|halves|thirds?|quarters?|(?:four|fif|six|seven|eigh|nin|ten|hundred|thousand)ths?",
))  # fmt: skip
COUNTED = re.compile(
    rf"(?:\s+(?!(?:{MAKES_ANOTHER}|and|to|plus|minus|over|more|less|fewer|than)(?![^\W\d_]))"
    r"[^\W\d_]+(?:[-'’][^\W\d_]+)*){0,2}\s*\.?",
    re.IGNORECASE,
)


HOW_MANY = re.compile(r"\bhow\s+many\b", re.IGNORECASE)
COUNTING = re.compile(
    rf"\d|\b(?:{'|'.join(SPELLED)}|(?:dozen|hundred|thousand|million|billion)s?)\b", re.IGNORECASE
)


def count_text(answer: str) -> str:
    """The number that answers "How many …?" in figures: "2" of "2 people", "25" of "Twenty-five."; "" where
    the answer is not one number, with at most two words for what is counted."""
    text = answer.strip()
    if is_number(text):
        return text
    match = COUNT.match(text)
    if not match or not COUNTED.fullmatch(text, match.end()):
        return ""
    return match["figures"] or str(spelled_number(match["word"]))


def spelled_number(words: str) -> int:
    """The number of words that IN_WORDS matches."""
    return SPELLED["-".join(words.lower().split())]


def find_numbers(text: str) -> list[Fraction | None]:
    """The numbers of a running text in their order, units aside; None for one that cannot be read exactly or
    has more than 64 characters.

    A figure within a name (H2O, COVID-19, x_0) or the power of a unit (m²) is no number. What stands in
    parentheses behind a number explains it: "3.5 meters (11 feet)" is 3.5.
    """
    plain = CLOCK.sub(" ", fold_number_text(text))
    found: list[Fraction | None] = []
    explained = 0
    for match in NUMBER.finditer(plain):
        start, before = match.start(), plain[max(match.start() - 40, 0) : match.start()]
        if start < explained or _is_in_a_name(before, match[0]):
            continue
        after = plain[match.end() : match.end() + 200]
        found.append(None if _is_cut(before, match, after) else _value(match))
        if gloss := EXPLAINED.match(after):
            explained = match.end() + gloss.end()
    return found


def fold_number_text(text: str) -> str:
    """Signs, digits, powers and fractions of every form as ASCII, and LaTeX as plain text."""
    text = SUPERSCRIPTS.sub(lambda run: f"^({unicodedata.normalize('NFKC', run[0])})", text)
    text = VULGAR.sub(lambda one: f" {unicodedata.normalize('NFKC', one[0])}", text).replace("\u2044", "/")
    text = unicodedata.normalize("NFKC", text).translate(SIGNS)
    for pattern, plain in (*LATEX, *LATEX):  # twice: one may hold another
        text = pattern.sub(plain, text)
    return text


CLOCK = re.compile(
    r"\b(?:at|from|to|until|by|around)\s\d{1,2}(?::\d{2}){1,2}(?![\w:]|\.\d)", re.ASCII | re.IGNORECASE
)
# The figure is a unit's power, counts nothing but names, or is denied: "m^2", "in frame 3", "not 5".
ASIDE = re.compile(
    r"[^\W\d_]\)?\s?\^\(?\Z|(?:\bnot|n['’]t)\s(?:be\s)?\Z"
    r"|(?<!\beach)(?<!\bevery)(?<!\bthis)(?<!\bthe)\s(?:frame|step|figure|image|scene|clip|shot|question|page)\s\Z",
    re.IGNORECASE,
)
# The figure is a part of another number: "±5", "√5", "<5", "3·5", "12:5", "v1.2", "half of 5", "百分之5".
CUT_BEFORE = re.compile(
    r"(?:[±∓√<>≤≥≠%/]\s?\{?|\A\s*—\s?|\b(?:minus|negative)\s?\(?\s?|[\d^.,]|[+-]\s?\(?\s?|\d[:'*×·]\s?|\\[a-z]+[{\s]?|(?:百分之|零下)\s?"
    r"|\b(?:half|twice|double|quarter|third|root|square|cube)\s(?:of\s)?"
    r"|\b(?:log|ln|exp|sqrt|sin|cos|tan|(?:more|less|fewer|greater)\sthan|at\s(?:least|most)|up\sto)\s?\(?)\Z",
    re.IGNORECASE,
)
CUT_AFTER = re.compile(
    r"\d|/|\s?\+(?!\s?\d)|[.,:'^_٫]\d|\s\d{3}(?!\d)|\s?-\s*\Z|\s?[x×*·]\s?\d|\s?\^|\s?[√π‰]|\s?\\(?:pi|sqrt)"
    r"|\s+and\s+an?\s+(?:half|quarter|third)\b|!|\s?(?:mn|tn)\b|\s(?:lakh|crore|factorial|per\sthousand|half|halves|quarters?|thirds?|fifths"
    r"|(?:ten|hundred|thousand|million)ths)\b|\s(?:point|over|plus|minus|times|divided\sby|to\sthe\spower\sof)\s[+-]?\d"
    r"|e(?![^\W\d_])|(?-i:[KMBTxyzin])(?!\w)|h\d|m\d(?:\d|\s?s)|\s(?:squared|cubed)\b|\s?[成折]"
    r"|[\s-]*(?:°|degrees?)?\s?[CF]?\s?below\b",
    re.IGNORECASE,
)
EXPLAINED = re.compile(
    r"(?:\s?[^\W\d_][^\s()]*){0,3}\s*\((?![^()]*\b(?:or|not?|actually|maybe|perhaps)\b)[^()]*\)",
    re.IGNORECASE,
)
# A dash that stands apart is a sign behind a link ("= - 5", "is - 5") or where it begins the whole text.
APART = re.compile(r"[+-]\s")
LINKED = re.compile(r"(?:[:=(≈是为]|\b(?:is|be|about|approximately|to|of|at))\s*\Z", re.IGNORECASE)


def _is_in_a_name(before: str, figure: str) -> bool:
    latin = before[-1:] == "_" or (before[-1:].isalpha() and before[-1:] < "\u3040")
    return (latin and figure[0] in "+-.0123456789") or bool(ASIDE.search(before))


def _is_cut(before: str, match: re.Match[str], after: str) -> bool:
    """Whether the figure is but a part of a number, or its sign may be a dash of the sentence."""
    alone = not before.strip() and not after.strip(" .\n")
    if APART.match(match[0]) and not (alone or LINKED.search(before)):
        return True
    return bool(CUT_BEFORE.search(before) or CUT_AFTER.match(after))


def _value(match: re.Match[str]) -> Fraction | None:
    if (match["sign"] and match["inner"]) or len(match[0]) > MAX_CHARACTERS:
        return None
    exact = _with_power(match, Fraction(match["mantissa"].replace(",", "")))
    if exact is None:
        return None
    scale = (match["scale"] or "").strip().casefold()
    value = exact * (SCALES[scale if scale in SCALES else scale.removesuffix("s")] if scale else 1)
    if value and not SMALLEST < abs(value) < LARGEST:
        return None
    negative = (match["sign"] or match["inner"] or "+").casefold() in ("-", "minus", "negative", "负", "負")
    return -value if negative else value


def _with_power(match: re.Match[str], mantissa: Fraction) -> Fraction | None:
    """The mantissa with what follows it: a fraction, an exponent of ten or a power."""
    if match["parts"]:
        above, parts = int(match["above"]), int(match["parts"])
        return mantissa + Fraction(above, parts) if mantissa.denominator == 1 and above < parts else None
    if match["below"]:
        below = Fraction(match["below"].replace(",", ""))
        return mantissa / below if below else None
    if tens := match["exponent"] or match["ten"]:
        return mantissa * Fraction(10) ** int(tens)
    if not match["power"]:
        return mantissa
    power = int(match["power"])
    too_long = abs(power) * len(match["mantissa"]) > 1000
    return None if too_long or (not mantissa and power <= 0) else mantissa**power


def count_in(question: object, answer: object) -> str:
    """The number that answers a question "How many …?", in figures; "" of other questions and answers."""
    counts = isinstance(question, str) and isinstance(answer, str) and HOW_MANY.search(question)
    return count_text(answer) if counts and isinstance(answer, str) else ""


def read_count(layout: dict[str, object]) -> str:
    """Write the answer to "How many …?" in figures; how it was read, "'2 people' as 2", "" where it is so."""
    answer = layout.get("solution")
    count = count_in(layout.get("problem"), answer)
    if not count or answer == count or is_number(str(answer)):
        return ""
    layout["solution"] = count
    return f"{short_repr(answer)} as {count}"


LONGEST_SECONDS = 1e7

_TIME = r"(?:(?:\d{1,3}:)?\d{1,3}:\d{2}(?:\.\d+)?|\d{1,7}(?:\.\d+)?)"
_UNIT = r"(?:\s*(?:seconds?|secs?|s)\b)?"
_OPEN, _CLOSE = r"[<(\[\"'*`]*", r"[>)\]\"'*`]*"
# "12.3s": a letter may follow as a unit alone; "-5", "1.2.3" and "v1" are no times, minutes no seconds.
_BEFORE = r"(?<![\w.:,-])"
_AFTER = r"(?![\w:]|[.,]\d|\s*(?:m|min|mins|minutes?|h|hours?|frames?|%|percent)\b|%)"
_BETWEEN = r"(?:to|and|until|till|through|[-–—~−]|到|至)"
_RANGE = re.compile(
    rf"{_BEFORE}(?P<start>{_TIME}){_UNIT}{_CLOSE}\s*{_BETWEEN}\s*{_OPEN}(?P<end>{_TIME}){_UNIT}{_AFTER}"
    rf"|[\[(]\s*(?P<first>{_TIME}){_UNIT}\s*,\s*(?P<second>{_TIME}){_UNIT}\s*[\])]",
    re.IGNORECASE,
)
# "<t>12.3</t>", as some data sets write a time.
_TAG = re.compile(r"</?[A-Za-z]+>")
_PAIR = re.compile(rf"\s*({_TIME}){_UNIT}\s*[,;\s]\s*({_TIME}){_UNIT}\s*\.?\s*", re.IGNORECASE)


def find_spans(text: str) -> tuple[Span, ...]:
    """The spans in a text, in its order: "12.3 to 15.8", "<12.3> - <15.8>", "00:12 - 00:15", "[12.3, 15.8]",
    "between 12 and 15 seconds"; or a text of two times alone.

    Clock times are m:ss or h:mm:ss. What ends before it starts is no span.
    """
    text = _TAG.sub("", text) if "</" in text else text
    found = [
        (match["start"] or match["first"], match["end"] or match["second"]) for match in _RANGE.finditer(text)
    ]
    if not found and (pair := _PAIR.fullmatch(text)):
        found = [(pair[1], pair[2])]
    times = [(_seconds(start), _seconds(end)) for start, end in found]
    return tuple((start, end) for start, end in times if start <= end)


def read_spans(value: object) -> tuple[Span, ...] | None:
    """The spans that the whole value is; None where it is no spans, or some of them are empty or reversed.

    Read: [start, end], [[start, end], …], {"time": …}, {"start": …, "end": …}, and texts as `find_spans`
    (JSON among them), of which all numbers must belong to spans.
    """
    if isinstance(value, Mapping):
        inner = value.get("time", [value.get("start"), value.get("end")])
        return read_spans(inner)
    if isinstance(value, str):
        spans = find_spans(value)
        numbers = re.findall(_TIME, value)
        return spans if spans and len(numbers) == 2 * len(spans) and all(map(_is_span, spans)) else None
    if not isinstance(value, Sequence) or not value:
        return None
    pairs = value if isinstance(value[0], Sequence) and not isinstance(value[0], str) else [value]
    return tuple((float(a), float(b)) for a, b in pairs) if all(map(_is_span, pairs)) else None


def spans_text(spans: Sequence[Span]) -> str:
    """The spans as an answer: "12.3 to 15.8; 20 to 22.5". `read_spans` is the inverse."""
    return "; ".join(f"{_plain(start)} to {_plain(end)}" for start, end in spans)


def _is_span(pair: object) -> bool:
    if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
        return False
    numbers = all(type(end) in (int, float) for end in pair)
    return numbers and bool(0 <= pair[0] < pair[1] < LONGEST_SECONDS)


def _seconds(time: str) -> float:
    total = Decimal(0)
    for part in time.split(":"):
        total = 60 * total + Decimal(part)
    return float(total)


def _plain(seconds: float) -> str:
    return format(Decimal(repr(seconds)).normalize(), "f")
