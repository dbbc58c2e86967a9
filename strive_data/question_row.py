"""One row of an annotation in the Video-R1 layout → a Question, or the reason why not (REFERENCE.md).

The only place that knows the layout's field names. Nothing is repaired: a row that does not say clearly
what it asks, of which video and what is right is refused.
"""

from __future__ import annotations

import math
import os
import posixpath
import re
import reprlib
import stat
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import NoReturn, cast

from strive_data.errors import FailureKind, SampleError, SettingsError
from strive_data.number import number
from strive_data.schema import PROBLEM_TYPES, ProblemType, Question, Span
from strive_data.settings import choose

Row = Mapping[str, object]

# The text may be empty: "Which of the arrows A to D ...", the arrows being labelled in the video (VideoMMMU).
OPTION = re.compile(r"\(?([A-Z])[.):]+\s*(.*)", re.DOTALL)
LETTER = re.compile(r"\(?([A-Z])\)?[.:]?")
WRAPPED = re.compile(r"<answer>(.*)</answer>", re.DOTALL)


def sample_id_of(row: object) -> str:
    """`problem_id` as text, "" where the row has none that can be used."""
    value = row.get("problem_id") if isinstance(row, Mapping) else None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value.isprintable() else ""


def video_of(row: object) -> str:
    """`path` as written, for the failure table; "" where it is no printable text."""
    value = row.get("path") if isinstance(row, Mapping) else None
    return value if isinstance(value, str) and value.isprintable() else ""


def question_of(row: object, data_root: Path) -> Question:
    """The question of one row; raises SampleError (bad_row, outside_root, missing).

    Options come out as "A. text" whichever of "A. ", "A) ", "(A) " or "A: " the file uses, the answer without
    its `<answer>` wrapper, for multiple choice as the bare letter. Absent `data_type` counts as video.
    """
    if not isinstance(row, Mapping):
        _bad(f"the row is {_kind(row)}, expected a JSON object")
    sample_id = sample_id_of(row)
    if not sample_id:
        _bad(f"problem_id: got {_short(row.get('problem_id'))}, expected a whole number or a text")
    if row.get("data_type", "video") != "video":
        _bad(f"data_type: got {_short(row['data_type'])}; only video is supported")
    problem_type = _problem_type(row)
    options = _options(row, problem_type)
    return Question(
        sample_id=sample_id,
        question=_text(row, "problem"),
        problem_type=problem_type,
        options=options,
        answer=_answer(row, problem_type, options),
        source=_text(row, "data_source") if row.get("data_source") else "",
        evidence_spans=_spans(row.get("evidence_spans")),
        video=_video(_text(row, "path"), data_root),
    )


def _problem_type(row: Row) -> ProblemType:
    try:
        return cast(ProblemType, choose(_text(row, "problem_type"), PROBLEM_TYPES, "problem_type"))
    except SettingsError as error:
        _bad(str(error))


def _options(row: Row, problem_type: ProblemType) -> tuple[str, ...]:
    options = row.get("options")
    if options is None:
        options = []
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        _bad(f"options: got {_short(options)}, expected a list of texts")
    for option in options:
        _check_text("options", option)
    if problem_type != "multiple choice":
        return tuple(option.strip() for option in options)
    matches = [OPTION.fullmatch(option.strip()) for option in options]
    lettered = [(match[1], match[2]) for match in matches if match]
    if len(lettered) < len(options) or len(options) < 2:
        _bad(f"options: got {_short(options)}, expected two or more of the form 'A. text'")
    if len({letter for letter, _ in lettered}) < len(lettered):
        _bad(f"options: got {_short(options)}, a letter stands twice")
    return tuple(f"{letter}. {text}".rstrip() for letter, text in lettered)


def _answer(row: Row, problem_type: ProblemType, options: tuple[str, ...]) -> str:
    solution = _text(row, "solution")
    wrapped = WRAPPED.fullmatch(solution)
    answer = wrapped[1].strip() if wrapped else solution
    if not answer:
        _bad("solution: the answer is empty")
    if "<answer>" in answer or "</answer>" in answer:
        _bad(f"solution: got {_short(solution)}, expected one <answer>…</answer>")
    if problem_type == "multiple choice":
        return _letter(answer, options)
    if problem_type in ("numerical", "regression") and number(answer) is None:
        _bad(f"solution: got {_short(answer)}, expected a finite number for problem_type {problem_type!r}")
    if problem_type == "free-form" and not any(character.isalnum() for character in answer):
        _bad(f"solution: got {_short(answer)}, expected some words")
    return answer


def _letter(answer: str, options: tuple[str, ...]) -> str:
    letters = [option[0] for option in options]
    match = LETTER.fullmatch(answer)
    if match is None or match[1] not in letters:
        _bad(f"solution: got {_short(answer)}, not among the options {', '.join(letters)}")
    return match[1]


def _spans(spans: object) -> tuple[Span, ...]:
    if spans is None:
        return ()
    if not isinstance(spans, list):
        _bad(f"evidence_spans: got {_short(spans)}, expected a list of [start, end] in seconds")
    return tuple(_span(span) for span in spans)


def _span(span: object) -> Span:
    if isinstance(span, list) and len(span) == 2 and all(type(end) in (int, float) for end in span):
        # An integer too large for a float is no time either.
        start, end = (float(x) if abs(x) < 1e15 else math.inf for x in span)
        if 0 <= start <= end < math.inf:
            return start, end
    return _bad(
        f"evidence_spans: got {_short(span)}, expected [start, end] with 0 <= start <= end in seconds"
    )


def _video(path: str, data_root: Path) -> str:
    """`path` normalised to "videos/x.mp4"; neither it nor what its links lead to may leave the data root."""
    if "\\" in path or path.startswith("/") or PureWindowsPath(path).drive:
        _outside(f"path {_short(path)}: expected a path relative to the data root, with forward slashes")
    video = posixpath.normpath(path)
    # realpath and not Path.resolve: a loop of links is a missing video, not a RuntimeError.
    real_root = os.path.realpath(data_root)
    real = Path(os.path.realpath(Path(real_root, video)))
    if video.split("/")[0] == ".." or not real.is_relative_to(real_root):
        _outside(f"path {_short(path)} leaves the data root {data_root}")
    if problem := _missing(real):
        raise SampleError(FailureKind.MISSING, f"video {_short(video)} under {data_root}: {problem}")
    return video


def _missing(path: Path) -> str:
    """Why `path` is no file, "" if it is one."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return str(error.strerror).lower()
    return "" if stat.S_ISREG(mode) else "not a regular file"


def _text(row: Row, name: str) -> str:
    """A text field that must be there and not be blank, stripped."""
    value = row.get(name)
    if value is None:
        _bad(f"{name} is missing")
    if not isinstance(value, str):
        _bad(f"{name}: got {_short(value)}, expected a text")
    if not value.strip():
        _bad(f"{name} is empty")
    _check_text(name, value)
    return value.strip()


def _check_text(name: str, value: str) -> None:
    """JSON can hold what no file name and no UTF-8 can: NUL, and half of a surrogate pair."""
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        _bad(f"{name}: got {_short(value)}, which holds NUL or a lone surrogate")


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "null"}
    return kinds.get(type(value), "a number")


def _short(value: object) -> str:
    """The value as a message shows it: one line, cut to 80 characters, pure enough for UTF-8."""
    if isinstance(value, list | dict):
        shown = reprlib.repr(value)  # bounded in depth too
    else:
        shown = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    shown = shown.encode("utf-8", "backslashreplace").decode()
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def _bad(message: str) -> NoReturn:
    raise SampleError(FailureKind.BAD_ROW, message)


def _outside(message: str) -> NoReturn:
    raise SampleError(FailureKind.OUTSIDE_ROOT, message)
