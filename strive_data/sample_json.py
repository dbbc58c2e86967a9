"""The `KEY.json` member: bytes → SampleMeta. A stranger's bytes: each value is checked for its type."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from strive_data.errors import DamagedError
from strive_data.schema import PROBLEM_TYPES, SCHEMA_VERSION, SampleMeta

MAX_JSON_BYTES = 1 << 24
TEXTS = (
    *("sample_id", "video", "question", "answer", "problem_type", "source"),
    *("video_id", "reader", "reader_version", "scorer"),
)
COUNTS = ("width", "height", "decode_errors", "query_windows")


def read_meta(content: bytes) -> SampleMeta:
    """The member's content. Raises DamagedError for another schema, and for what is no such member."""
    if len(content) > MAX_JSON_BYTES:
        raise DamagedError(f"json: {len(content)} bytes, more than the limit of {MAX_JSON_BYTES}")
    try:
        body = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"json: not JSON: {error}") from error
    if not isinstance(body, dict):
        raise DamagedError("json: not one JSON object")
    version = body.get("schema_version")
    if version != SCHEMA_VERSION:
        raise DamagedError(
            f"sample has schema version {version}, this package reads {SCHEMA_VERSION}: "
            "build the shards again, or use the version that made them"
        )
    for name in (*TEXTS, *COUNTS, "duration_seconds", "options", "views", "evidence_spans", "sampler"):
        if name not in body:
            raise DamagedError(f"json: {name} is missing")
        if not _fits(name, body[name]):
            raise DamagedError(f"json: {name} is {str(body[name])[:80]!r}, of another type than the schema's")
    if body["problem_type"] not in PROBLEM_TYPES:
        raise DamagedError(f"json: problem_type {body['problem_type'][:80]!r} is none of the schema's")
    return SampleMeta.from_json(body)


def _fits(name: str, value: object) -> bool:
    if name in TEXTS:
        return isinstance(value, str)
    if name in COUNTS:
        return type(value) is int and 0 <= value < 1 << 31
    if name == "duration_seconds":
        return _is_number(value)
    if name == "sampler":
        return isinstance(value, Mapping)
    if name == "evidence_spans":
        return isinstance(value, list) and all(_is_span(span) for span in value)
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _is_span(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(_is_number(end) for end in value)


def _is_number(value: object) -> bool:
    """Finite: Python's JSON also reads NaN, Infinity and integers that no float holds."""
    return type(value) in (int, float) and -1e15 < value < 1e15  # type: ignore[operator]  # a number
