"""Spans of time as people, data sets and models write them, in seconds.

The annotation reader and the reward of temporal grounding share this one reading.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

from strive_data.schema import Span

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
