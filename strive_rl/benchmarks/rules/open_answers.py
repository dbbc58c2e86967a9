"""Benchmarks with open answers beside options: MMVU, VideoMMMU, and an annotation of the user's own.

MMVU (validation) has 1,000 questions of experts, 625 with options; accuracy over questions. Official: a
language model judges every answer (github.com/yale-nlp/MMVU, utils/eval_utils.py). A judgement that is given,
such as the `correct` of the authors' processed outputs, therefore decides; without one the rules decide where
they are sure: letters, and open answers equal to the truth.

VideoMMMU has 300 lecture videos, each with a question of perception, comprehension and adaptation; the total
is over all 900. Official follows the authors' code (github.com/EvolvingLMMs-Lab/VideoMMMU,
lmms_eval/tasks/videommmu/utils.py, which lmms-eval has since changed): it leaves empty outputs and
"API Error" out of the mean, takes the last option letter that an output marks, and for an open answer
compares every conclusion and number of the output with the truth. Robust reads the final answer, and asks a
judge where the rule is unsure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from strive_rl.answers.accuracy import accuracy_of, final_answer, outside_thoughts
from strive_rl.answers.statements import read_number
from strive_rl.benchmarks.items import (
    OFFICIAL,
    ROBUST,
    Benchmark,
    Convention,
    Item,
    Row,
    Verdict,
    tags_from,
    text_of,
)
from strive_rl.benchmarks.verdicts import (
    OPEN_FORM,
    VIDEO_R1,
    bare_output,
    choice_verdict,
    final_text,
    letter_or_open,
)
from strive_rl.schema import ANSWER_FORM

MMVU_DISCIPLINES = {
    "Science": (
        "Biology", "Chemistry", "Modern Physics", "Astronomy", "Geography", "Materials Science",
        "Neurobiology", "Electromagnetism", "Thermodynamics", "Mechanics",
    ),
    "Engineering": (
        "Civil Engineering", "Electrical Engineering", "Mechanical Engineering", "Biomedical Engineering",
        "Electronics and Communication", "Computer Science",
    ),
    "Healthcare": ("Clinical Medicine", "Basic Medicine", "Preventive Medicine", "Pharmacy", "Dentistry"),
    "Humanities and Social Science": ("Art", "Literature", "History", "Law", "Economics", "Management"),
}  # fmt: skip
MMVU_DISCIPLINE_OF = {subject: name for name, subjects in MMVU_DISCIPLINES.items() for subject in subjects}


def _mmvu_form(item: Item) -> str:
    return "" if item.question.problem_type == "multiple choice" else OPEN_FORM


def _mmvu_tags(row: Row, path: Path) -> dict[str, str]:
    folders = text_of(row, "video", "path").split("/")
    subject = text_of(row, "metadata.subject") or (folders[-2] if len(folders) > 1 else "")
    subject = subject.replace("_", " ")
    return {
        "question type": text_of(row, "question_type", "original_question_type"),
        "discipline": MMVU_DISCIPLINE_OF.get(subject, ""),
        "subject": subject,
    }


MMVU = Benchmark(
    name="mmvu",
    title="MMVU",
    published=1000,
    files=(("validation.json", "data/validation.json"),),
    tags=_mmvu_tags,
    breakdowns=("question type", "discipline", "subject"),
    conventions=(
        Convention(
            name=OFFICIAL,
            score=letter_or_open,
            judge_overrides=True,
            note="a judge's verdict where there is one, as the authors judge every answer; else by rule",
        ),
        Convention(name=ROBUST, score=letter_or_open, note="by rule; a judge only where the rule is unsure"),
        VIDEO_R1,
    ),
    notes=("Video-R1 evaluates on the 625 questions with options only.",),
    judge_task=(
        "Say whether the model's answer is the same thing as the reference, in whatever words; a part of it, "
        "or something broader, is not."
    ),
    form=_mmvu_form,
)


# The videos of two tracks end with a quiz that is not the question; that of the third ends with the
# question's picture.
NO_QUIZ = "A quiz may be shown at the end of the video: leave it aside and answer the question above."
TRACK_TEXTS = {
    "Perception": NO_QUIZ,
    "Comprehension": NO_QUIZ,
    "Adaptation": "Apply what the video teaches to the question above; its picture is at the video's end.",
}
TRACKS = ("Perception", "Comprehension", "Adaptation")
# Video-R1's file holds the tracks one after another, 300 rows each, and does not name them. Only Adaptation
# has open questions, and they are in its first 300 rows; questions on the video's own example are in the last
# 300.
VIDEO_R1_TRACKS = ("Adaptation", "Comprehension", "Perception")
ROWS_A_TRACK = 300
VIDEO_ID = re.compile(r"(?:^|/)[a-z]+_(.+)_\d+(?:\.mp4)?$")
VIDEOMMMU_DISCIPLINES = {
    "Art": ("Art", "Art_Theory", "Design", "Music"),
    "Business": ("Accounting", "Economics", "Finance", "Manage", "Marketing"),
    "Science": ("Biology", "Chemistry", "Geography", "Math", "Physics"),
    "Medicine": (
        "Basic_Medical_Science", "Clinical_Medicine", "Diagnostics_and_Laboratory_Medicine", "Pharmacy",
        "Public_Health",
    ),
    "Humanities": ("History", "Literature", "Sociology", "Psychology"),
    "Engineering": (
        "Agriculture", "Architecture_and_Engineering", "Computer_Science", "Electronics",
        "Energy_and_Power", "Materials", "Mechanical_Engineering",
    ),
}  # fmt: skip
VIDEOMMMU_DISCIPLINE_OF = {
    subject: name for name, subjects in VIDEOMMMU_DISCIPLINES.items() for subject in subjects
}


# Words after which the authors expect a conclusion, and "=" in the last line.
INDICATORS = (
    "could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ", "are ",
    "in total ", "total ", "identify ", "recognize ", "calculated as ", "counted as ", "measured as ",
    "observed as ", "concluded as ", "found to be ", "equals ", "determined to be ", "number of ",
    "value is ", "adds up to ", "have ", "has ",
)  # fmt: skip
TRIVIAL = (":", ",", ".", "!", "?", ";", "'")
NUMBERS = tuple(
    re.compile(pattern)
    for pattern in (
        r"-?\b\d{1,3}(?:,\d{3})+\b",
        r"-?\d+(?:\.\d+)?[eE][+-]?\d+",
        r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])",
    )
)


def videommmu_score(output: str, item: Item) -> Verdict:
    """The authors' rule for choices or open answers; an empty output and a failed call are left out."""
    bare = bare_output(output)
    if bare in ("", "API Error"):
        return Verdict(value=0.0, extracted=None, left_out=True)
    if item.question.problem_type == "multiple choice":
        letter = marked_letter(bare, item.question.options)
        return Verdict(value=float(letter == item.question.answer), extracted=letter)
    found = [form for text in _conclusions(bare) for form in _forms(text)]
    right = any(_matches(form, truth) for form in found for truth in _forms(item.question.answer))
    return Verdict(value=float(right), extracted=" | ".join(map(str, found)) or None)


def marked_letter(output: str, options: Sequence[str]) -> str | None:
    """The letter of the option that the output marks last.

    The first of these marks that some letter has decides: "X." or "X:", "(X)", "X ", the option's text in an
    output of more than five words.
    """
    for sign in (",", ".", "!", "?", ";", ":", "'"):
        output = output.strip(sign)
    text = f" {output} "
    letters = [option[0] for option in options]
    dotted, spelled = [[x for x in letters if x + sign in text] for sign in ".:"]
    if dotted or spelled:
        return _last([*dotted, *spelled], text, "{}." if dotted else "{}:")
    if bracketed := [x for x in letters if f"({x})" in text]:
        return _last(bracketed, text, "({})")
    if spaced := [x for x in letters if f"{x} " in text]:
        return _last(spaced, text, " {} ")
    texts = {option[0]: option[2:].strip().lower() for option in options}
    held = [x for x in letters if texts[x] in text.lower()] if len(text.split()) > 5 else []
    return max(held, key=lambda x: text.lower().rfind(texts[x])) if held else None


def _last(letters: Sequence[str], text: str, mark: str) -> str:
    """The letter whose mark comes last; the first one of those without the mark."""
    return max(letters, key=lambda letter: text.rfind(mark.format(letter)))


def _conclusions(output: str) -> list[str]:
    """Of each line the shortest text behind an indicator, else the whole output; then all numbers in them."""
    text = output.strip().strip(".").lower()
    lines = text.split("\n")
    found = []
    for number, line in enumerate(lines):
        indicators = (*INDICATORS, "=") if number == len(lines) - 1 else INDICATORS
        tails = [line.split(word)[-1].strip() for word in indicators if word in line]
        shortest = ""
        for tail in tails:  # an empty tail is forgotten by the next one
            if not shortest or len(tail) < len(shortest):
                shortest = tail
        if shortest and shortest not in TRIVIAL:
            found.append(shortest)
    found = found or [text]
    return found + [number for one in found for pattern in NUMBERS for number in pattern.findall(one)]


def _forms(text: str) -> list[str | float]:
    """A number rounded to 2 decimals; else the text in small letters, a single letter beside a space."""
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        small = text.lower()
        return [f" {small}", f"{small} "] if len(small) == 1 else [small]


def _matches(form: str | float, truth: str | float) -> bool:
    """Equal numbers, or a text that contains the truth."""
    if isinstance(form, str):
        return isinstance(truth, str) and truth in form
    return form == truth


def _videommmu_form(item: Item) -> str:
    """What the track asks for, then the form of the answer."""
    many = item.question.problem_type == "multiple choice"
    text = TRACK_TEXTS.get(item.tags.get("track", ""), "")
    return f"{text} {ANSWER_FORM['multiple choice'] if many else OPEN_FORM}".strip()


def _videommmu_tags(row: Row, path: Path) -> dict[str, str]:
    video = VIDEO_ID.search(text_of(row, "id", "path"))
    subject = video[1] if video else ""
    return {
        "track": _track(row, path),
        "discipline": VIDEOMMMU_DISCIPLINE_OF.get(subject, ""),
        "subject": subject.replace("_", " "),
        "question type": "multiple choice" if row.get("options") else "open",
    }


def _track(row: Row, path: Path) -> str:
    if (track := row.get("track")) in TRACKS:
        return str(track)
    number = row.get("problem_id")
    if isinstance(number, int) and 1 <= number <= ROWS_A_TRACK * len(TRACKS):
        return VIDEO_R1_TRACKS[(number - 1) // ROWS_A_TRACK]
    places = f"{path.absolute().parent.name} {path.stem}".casefold()
    return next((track for track in TRACKS if track.casefold() in places), "")


VIDEOMMMU = Benchmark(
    name="videommmu",
    title="VideoMMMU",
    published=900,
    files=tuple(
        (f"{track}/test-*.parquet", f"{track}/*.parquet", f"{track}/*.json", f"{track.lower()}_video.json")
        for track in TRACKS
    ),
    tags=_videommmu_tags,
    breakdowns=("track", "discipline", "question type", "subject"),
    conventions=(
        Convention(
            name=OFFICIAL,
            score=videommmu_score,
            note="the authors' code: last marked letter, any conclusion or number of an open answer, empty "
            "outputs left out of the mean",
        ),
        Convention(
            name=ROBUST, score=letter_or_open, note="the final answer; a judge where the rule is unsure"
        ),
        VIDEO_R1,
    ),
    knowledge=("track", "Adaptation"),
    order=TRACKS,
    judge_task="Say whether the model's answer is the same as the reference, number and unit included.",
    form=_videommmu_form,
    notes=(
        "Adaptation asks about a picture in the last seconds of a video: only frames from there show it.",
    ),
)


def custom_answer(output: str, item: Item) -> str:
    """The answer that the output settles on; "" where there is none.

    As in training and in an evaluation on shards, an `<answer>` that is never closed was cut off, and is
    none. Outputs without the tag are read as a whole, since other tools do not ask for it.
    """
    cut_off = "<answer>" in outside_thoughts(output) and final_answer(output) is None
    return "" if cut_off else final_text(output)


def custom_score(output: str, item: Item) -> Verdict:
    """The accuracy that training rewards, in [0, 1], of the answer that the output settles on."""
    question, answer = item.question, custom_answer(output, item)
    if not answer:
        return Verdict(value=0.0, extracted=None)
    if question.problem_type == "multiple choice":
        return choice_verdict(output, item)
    read = read_number(answer) if question.problem_type in ("numerical", "regression") else answer
    return Verdict(value=accuracy_of(answer, question), extracted=None if read is None else str(read))


CUSTOM = Benchmark(
    name="own",
    title="own annotation",
    published=0,
    tags=tags_from(
        {
            "source": ("data_source", "source"),
            "question type": ("original_question_type", "question_type", "problem_type"),
        }
    ),
    breakdowns=("source", "question type"),
    conventions=(Convention(name="accuracy", score=custom_score), VIDEO_R1),
    voted=custom_answer,
)
