"""JSON text of strangers → values, fast, and strict where a reader would pass over damage."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import orjson

from strive_data.errors import FailureKind, SampleError

BLANKS = (b" ", b"\t", b"\n", b"\r")
KEY = re.compile(rb'"\s*:')
BETWEEN_OBJECTS = re.compile(rb"\}\s*,\s*\{")
# A row is split at every "}, {" inside of it and joined again; what has more of them is read as one piece.
MOST_JOINS = 200
# The fast reader turns larger integers into floats.
LARGEST_EXACT = 2.0**53
TEXTS = {str}


class UnsplittableError(Exception):
    """A list that does not split into its objects: its rest must be read in one piece."""


def json_value(raw: bytes) -> object:
    """JSON value of `raw`. Raises SampleError (bad_row) for anything that is none, however it fails.

    An object that has a key twice becomes a SampleError in its place: readers would keep the last value and
    drop the first one in silence.
    """
    try:
        return _fast(raw)
    except orjson.JSONDecodeError:
        return _strict(raw)


def or_error(read: Callable[..., object], *arguments: object) -> object:
    """What `read` makes of the arguments, or its SampleError."""
    try:
        return read(*arguments)
    except SampleError as error:
        # Without its traceback, whose frames would hold the open file in a cycle until a collection.
        return SampleError(error.kind, error.message)


def quick_values(raws: Sequence[bytes]) -> list[object]:
    """`json_value` or the error of each, but a whole number beyond 2^53 in an object may be a float."""
    try:
        values = [*map(orjson.loads, raws)]
    except orjson.JSONDecodeError:
        return [or_error(json_value, raw) for raw in raws]
    # No row has fewer colons than keys: equal sums are equal in each row.
    if {*map(type, values)} == {dict} and _block_names_each_key_once(b"".join(raws), sum(map(len, values))):
        return values
    return [
        value
        if type(value) is dict and _names_each_key_once(raw, len(value))
        else or_error(_checked, raw, value)
        for raw, value in zip(raws, values, strict=True)
    ]


def list_values(blocks: Iterable[bytes]) -> Iterator[list[object]]:
    """The values of one JSON list, which `blocks` hold from its [ on, in the memory of a block and a row.

    An object parses only if it is whole, so a cut inside of a text or of a nested list shows, and the next
    piece is joined to it. Raises UnsplittableError behind the values that could be read.
    """
    rest = b""
    opened = False
    for block in blocks:
        rest += block
        if not opened:
            if not rest.strip():
                continue
            rest, opened = rest.lstrip()[1:], True
        start, joins, values = 0, 0, list[object]()
        for between in BETWEEN_OBJECTS.finditer(rest):
            try:
                value = _fast(rest[start : between.start() + 1])
            except orjson.JSONDecodeError:
                joins += 1
                if joins > MOST_JOINS:
                    yield values
                    raise UnsplittableError from None
                continue
            values.append(value)
            start, joins = between.end() - 1, 0
        rest = rest[start:]
        yield values
    yield _last_values(rest)


def _last_values(rest: bytes) -> list[object]:
    """What follows the last "}, {": mostly one object and the end of the list."""
    try:
        values = _fast(b"[" + rest)
    except orjson.JSONDecodeError:
        raise UnsplittableError from None
    if not isinstance(values, list):
        raise UnsplittableError
    return values


def _fast(raw: bytes) -> object:
    """By orjson where that is exact, else by the standard library. Raises orjson.JSONDecodeError."""
    return _checked(raw, orjson.loads(raw))


def _checked(raw: bytes, value: object) -> object:
    keys = _keys(value)
    if _names_each_key_once(raw, keys):
        return value
    written = len(KEY.findall(raw))
    return value if written == keys else _strict(raw)


def _names_each_key_once(raw: bytes, keys: int) -> bool:
    """Whether a text that was parsed to so many keys has no more.

    It has a colon once for each, behind a quote, and more where a key is there twice or a text holds them; no
    JSON writer of note puts a blank before it.
    """
    if raw.count(b":") == keys:
        return True
    return raw.count(b'":') == keys and not any(blank in raw and blank + b":" in raw for blank in BLANKS)


def _block_names_each_key_once(raw: bytes, keys: int) -> bool:
    """The same of many rows, where numpy is faster and some text may well have a blank before a colon."""
    if raw.count(b":") == keys:
        return True
    text = np.frombuffer(raw, np.uint8)
    before = text[np.flatnonzero(text == ord(":")) - 1]
    if (before <= ord(" ")).any():
        return raw.translate(None, b"".join(BLANKS)).count(b'":') == keys
    return bool(np.count_nonzero(before == ord('"')) == keys)


def _keys(value: object) -> int:
    """How many keys all objects of a value have; negative where some number may not be exact."""
    if type(value) is dict:
        count, values = len(value), [*value.values()]
    elif type(value) is list:
        count, values = 0, value
    else:
        return -(1 << 40) if type(value) is float and not -LARGEST_EXACT < value < LARGEST_EXACT else 0
    for below in values:
        kind = type(below)
        if kind is list and {*map(type, below)} == TEXTS:
            continue
        if kind is not str and kind is not int and below:
            count += _keys(below)
    return count


def _strict(raw: bytes) -> object:
    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise _bad(f"not UTF-8 at byte {error.start}") from error
    except (ValueError, RecursionError) as error:
        raise _bad(f"broken JSON: {error}") from error


def _object(pairs: list[tuple[str, object]]) -> dict[str, object] | SampleError:
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    names = [name for name, _ in pairs]
    twice = next(name for name in names if names.count(name) > 1)
    return _bad(f"the key {twice[:40]!r} appears twice in one object")


def _bad(message: str) -> SampleError:
    return SampleError(FailureKind.BAD_ROW, message)
