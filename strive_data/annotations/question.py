"""One row of an annotation in the Video-R1 layout → a Question, or the reason why not.

Rows of other layouts are brought into this one first (apply_recipe.py); `labels` has the names that those
use, so that a message names the fields of the row as it was written. Nothing is repaired: a row that does not
say clearly what it asks, about which video, and what is right is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import NoReturn, cast

from strive_data.annotations.choices import LETTER, lettered
from strive_data.annotations.numbers import is_number, parse_number, read_spans, spans_text
from strive_data.annotations.videos import VideoFolder, is_image
from strive_data.common.files import IMAGE_SUFFIXES
from strive_data.common.settings import choose
from strive_data.common.text import is_finite_number, short_repr
from strive_data.errors import FailureKind, SampleError, SettingsError
from strive_data.schema import GROUNDING, PROBLEM_TYPES, ProblemType, Question, Span

Row = dict[str, object]

WRAPPED = re.compile(r"<answer>(.*)</answer>", re.DOTALL)
# How tables write that there is no value.
NO_ANSWER = ("nan", "none", "null", "n/a")
DATA_TYPES = ("video", "image")
WITH_ARTICLE = {"video": "a video", "image": "an image"}
TIMING = ("fps", "frame_times")
BY_NUMBER = 'a recipe with rules.answer = "index" reads those from 0, "number" those from 1'
NO_LABELS: Mapping[str, str] = {}


class FieldError(Exception):
    """What is wrong with which field of the layout; the message calls it by the name that the row uses."""

    def __init__(self, field: str, what: str) -> None:
        super().__init__(field + what)
        self.field, self.what = field, what


def sample_id_of(row: object) -> str:
    """`problem_id` as text, "" where the row has none that can be used."""
    value = row.get("problem_id") if isinstance(row, dict) else None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value.isprintable() else ""


def video_of(row: object) -> str:
    """`path` as written, for the failure table; "" where it is no printable text."""
    value = row.get("path") if isinstance(row, dict) else None
    return value if isinstance(value, str) and value.isprintable() else ""


def question_of(row: object, videos: VideoFolder, *, labels: Mapping[str, str] = NO_LABELS) -> Question:
    """The question of one row; raises SampleError (bad_row, outside_root, missing).

    `labels` are the names of the layout's fields in messages, where they differ.

    Options come out as "A. text" whichever of "A. ", "A) ", "(A) " or "A: " the file uses, the answer without
    its `<answer>` wrapper, for multiple choice as the bare letter, for temporal grounding as "start to end;
    …", which is also the evidence where the row has none. A path that ends as pictures do is an image; a
    `data_type` must agree.
    """
    if not isinstance(row, dict):
        raise SampleError(FailureKind.BAD_ROW, f"the row is {_kind(row)}, expected a JSON object")
    try:
        return _question_of(row, videos, labels)
    except FieldError as error:
        name = labels.get(error.field, error.field)
        raise SampleError(FailureKind.BAD_ROW, f"{name}{error.what}") from error


def _question_of(row: Row, videos: VideoFolder, labels: Mapping[str, str]) -> Question:
    sample_id = sample_id_of(row)
    if not sample_id:
        _bad("problem_id", f": got {short_repr(row.get('problem_id'))}, expected a whole number or a text")
    _check_data_type(row)
    problem_type = _problem_type(row)
    options = _options(row, problem_type)
    if problem_type == GROUNDING and is_image(_text(row, "path")):
        _bad("problem_type", f": got {GROUNDING!r} for an image, expected a video")
    answer = _answer(row, problem_type, options)
    fps, times = _timing(row, videos)
    video = videos.find(_text(row, "path"), label=labels.get("path", "path"), timed=bool(fps or times))
    if times:
        videos.gaps.pop(video, None)
    if unread := [] if fps or times else [name for name in TIMING if row.get(name) is not None]:
        names = " and ".join(labels.get(name, name) for name in unread)
        videos.guesses.add(f"{names} not read for videos and images, which have their own times")
    evidence = spans_of(row.get("evidence_spans"))
    if problem_type == GROUNDING and not evidence:
        evidence = read_spans(answer) or ()
    return Question(
        sample_id=sample_id,
        question=_text(row, "problem"),
        problem_type=problem_type,
        options=options,
        answer=answer,
        source=_text(row, "data_source") if row.get("data_source") else "",
        evidence_spans=evidence,
        video=video,
        fps=fps,
        frame_times=times,
    )


def _timing(row: Row, videos: VideoFolder) -> tuple[float, tuple[float, ...]]:
    """Rate and times of a folder of pictures, where the row gives them; other videos have their own."""
    fps, times = row.get("fps"), row.get("frame_times")
    if (fps is None and times is None) or not videos.is_folder(_text(row, "path")):
        return 0.0, ()
    number = parse_number(str(fps)) if isinstance(fps, int | float | str) else None
    if fps is not None and (number is None or not 0 < number < 1e6):
        _bad("fps", f": got {short_repr(fps)}, expected frames a second, a positive number")
    if times is not None and not (isinstance(times, list) and times and all(map(is_finite_number, times))):
        _bad("frame_times", f": got {short_repr(times)}, expected a list of seconds, one a picture")
    return float(number or 0), tuple(map(float, times)) if isinstance(times, list) else ()


def _check_data_type(row: Row) -> None:
    """Refuse a `data_type` other than that of the path's name."""
    path, given = row.get("path"), row.get("data_type")
    if "data_type" not in row or not isinstance(path, str):
        return
    found = "image" if is_image(path.strip()) else "video"
    if given not in DATA_TYPES:
        _bad("data_type", f": got {short_repr(given)}, expected {' or '.join(DATA_TYPES)}")
    if given != found:
        named = f"images are files that end in {', '.join(sorted(IMAGE_SUFFIXES))}"
        _bad("data_type", f": got {given!r}, but {short_repr(path)} names {WITH_ARTICLE[found]}: {named}")


def _problem_type(row: Row) -> ProblemType:
    word = row.get("problem_type")
    if isinstance(word, str) and word in PROBLEM_TYPES:
        return cast(ProblemType, word)
    try:
        return cast(ProblemType, choose(_text(row, "problem_type"), PROBLEM_TYPES, "problem_type"))
    except SettingsError as error:
        # The settings' own sentence, which names the field within.
        raise SampleError(FailureKind.BAD_ROW, str(error)) from error


def _options(row: Row, problem_type: ProblemType) -> tuple[str, ...]:
    options = row.get("options")
    if options is None:
        options = []
    joined = _joined(options)
    if not isinstance(options, list) or joined is None:
        _bad("options", f": got {short_repr(options)}, expected a list of texts")
    _check_text("options", joined)
    if problem_type != "multiple choice":
        return tuple([option.strip() for option in options])
    with_letters = lettered(options)
    if len(with_letters) < max(len(options), 2):
        written = ", in a cell of a table with | between them: red | blue" * (len(options) == 1)
        _bad("options", f": got {short_repr(options)}, expected two or more of the form 'A. text'{written}")
    if len({option[0] for option in with_letters}) < len(with_letters):
        _bad("options", f": got {short_repr(options)}, expected each letter once")
    return tuple(with_letters)


def _joined(options: object) -> str | None:
    """All texts of a list as one; None for what is no list of texts."""
    try:
        return "".join(options) if isinstance(options, list) else None
    except TypeError:
        return None


def _answer(row: Row, problem_type: ProblemType, options: tuple[str, ...]) -> str:
    value = row.get("solution")
    if problem_type == GROUNDING and isinstance(value, list | dict):
        return _time_spans(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        row = {"solution": str(value)}
    solution = _text(row, "solution")
    wrapped = WRAPPED.fullmatch(solution) if solution.startswith("<answer>") else None
    answer = wrapped[1].strip() if wrapped else solution
    if not answer:
        _bad("solution", ": the answer is empty")
    if answer.lower() in NO_ANSWER:
        what = "how tables write that there is no value; expected an answer"
        _bad("solution", f": got {short_repr(value)}, {what}")
    if "<answer>" in answer or "</answer>" in answer:
        _bad("solution", f": got {short_repr(solution)}, expected one <answer>…</answer>")
    if problem_type == "multiple choice":
        return _letter(answer, options)
    if problem_type == GROUNDING:
        return _time_spans(answer)
    if problem_type in ("numerical", "regression") and not is_number(answer):
        what = f"expected a finite number for problem_type {problem_type!r}"
        _bad("solution", f": got {short_repr(answer)}, {what}")
    if problem_type == "free-form" and not any(character.isalnum() for character in answer):
        _bad("solution", f": got {short_repr(answer)}, expected some words")
    return answer


def _time_spans(value: object) -> str:
    spans = read_spans(value)
    if spans is None:
        expected = "seconds with start < end: '12.3 to 15.8', [12.3, 15.8] or a list of these"
        _bad("solution", f": got {short_repr(value)}, expected {expected} for problem_type {GROUNDING!r}")
    return spans_text(spans)


def _letter(answer: str, options: tuple[str, ...]) -> str:
    letters = [option[0] for option in options]
    if answer in letters:
        return answer
    match = LETTER.fullmatch(answer)
    if match is None or match[1] not in letters:
        hint = f"; numbers of options: {BY_NUMBER}" if answer.isdigit() else ""
        _bad("solution", f": got {short_repr(answer)}, not among the options {', '.join(letters)}{hint}")
    return match[1]


def spans_of(spans: object) -> tuple[Span, ...]:
    """Evidence as [start, end] in seconds. Raises FieldError for anything else."""
    if spans is None:
        return ()
    if not isinstance(spans, list) or (spans and {*map(type, spans)} <= {int, float}):
        expected = "a list of spans [start, end] in seconds: [[1.2, 2.0]]"
        _bad("evidence_spans", f": got {short_repr(spans)}, expected {expected}")
    return tuple(_span(span) for span in spans)


def _span(span: object) -> Span:
    if isinstance(span, list) and len(span) == 2 and all(type(end) in (int, float) for end in span):
        # An integer too large for a float is no time either.
        start, end = (float(x) if abs(x) < 1e15 else math.inf for x in span)
        if 0 <= start <= end < math.inf:
            return start, end
    expected = "[start, end] with 0 <= start <= end in seconds"
    return _bad("evidence_spans", f": got {short_repr(span)}, expected {expected}")


def _text(row: Row, name: str) -> str:
    """A text field that must be there and not be blank, stripped."""
    value = row.get(name)
    if not isinstance(value, str):
        _bad(name, " is missing" if value is None else f": got {short_repr(value)}, expected a text")
    stripped = value.strip()
    if not stripped:
        _bad(name, " is empty")
    _check_text(name, stripped)
    return stripped


def is_writable(value: str) -> bool:
    """Whether a text can be a file name and UTF-8: no NUL, no half of a surrogate pair, as JSON can hold."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in value


def _check_text(name: str, value: str) -> None:
    if not is_writable(value):
        _bad(name, f": got {short_repr(value)}, which holds NUL or a lone surrogate")


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "null"}
    return kinds.get(type(value), "a number")


def _bad(field: str, what: str) -> NoReturn:
    raise FieldError(field, what)
