"""TempCompass: four tasks on five temporal dimensions, scored by rules on the output, else by a judge.

Official: the authors' rules (github.com/llyx97/TempCompass), in their order and as strict, on the stripped
output. What they do not match goes to a language model there, and waits for a judgement here; only an empty
output is wrong without one. Robust reads options, yes and no wherever the answer states them. Captions are
scored by a judge alone. Results are also broken down by the fine-grained aspects of the authors'
`meta_info.json`, where that file lies beside the annotation or one folder above.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from strive_data.schema import Question
from strive_rl.answers.statements import WRAPPERS
from strive_rl.benchmarks.items import (
    OFFICIAL,
    ROBUST,
    Benchmark,
    Convention,
    Item,
    Row,
    Tags,
    Verdict,
    text_of,
)
from strive_rl.benchmarks.verdicts import VIDEO_R1, bare_output, choice, final_text

TASKS = ("multi-choice", "yes_no", "caption_matching", "captioning")
LETTERS = ("A", "B", "C", "D")
# The request for the form that the rules read.
FORMS = {
    "yes_no": "The final answer is yes or no and nothing else.",
    "caption_matching": (
        "The final answer is the name of one of these descriptions, as written before the colon, and "
        "nothing else."
    ),
    "captioning": "The final answer is the caption and nothing else.",
}
INFORMATION = re.compile(r"^Information ([A-Z]): ", re.MULTILINE)
# "Caption A", "Option 1", "the first caption", "the former": what either description may be called.
NAMES = [
    rf"\b(?:(?:caption|sentence|option|description)\s+{name}\b|(?:the\s+)?(?:{word})"
    r"(?:\s+(?:caption|sentence|option|description|one)\b|(?=\s*[.,;]|\s*$|\s+is\b)))"
    for name, word in (("[A1]", "first|former"), ("[B2]", "second|latter"))
]
JUDGE_TASK = "Say whether the model's answer means the right one, in whatever words."
META_FILE = "meta_info.json"


def official_score(output: str, item: Item) -> Verdict:
    """Verdict of the task's rule; value None where only a judge can decide."""
    bare = bare_output(output).strip()
    if not bare:
        return Verdict(value=0.0, extracted=None)
    answer, task = item.question.answer, item.tags.get("task")
    if task == "yes_no":
        word = yes_or_no(bare)
        return _verdict(word, word == answer.lower())
    if task == "caption_matching":
        return _named(matched_caption(bare, item.question.question), answer)
    if task == "captioning":
        return Verdict(value=None, extracted=bare)
    letter = leading_letter(bare)
    return _verdict(letter, letter == answer[:1])


def robust_score(output: str, item: Item) -> Verdict:
    """Verdict on what the answer states, wherever it does; value None where only a judge can decide."""
    text = final_text(output)
    if not text.strip(WRAPPERS):
        return Verdict(value=0.0, extracted=None)
    answer, task = item.question.answer, item.tags.get("task")
    if task == "yes_no":
        letter = choice(text, ("A. yes", "B. no"))
        word = {"A": "yes", "B": "no"}.get(letter or "")
        return _verdict(word, word == answer.lower())
    if task == "caption_matching":
        return _named(stated_caption(text, item.question.question), answer)
    if task == "captioning":
        return Verdict(value=None, extracted=text)
    letter = choice(output, item.question.options)
    return _verdict(letter, letter == answer[:1])


def stated_caption(text: str, question: str) -> str | None:
    """What the text names: as the official rule, else the one option that it settles on."""
    if named := matched_caption(text.strip(WRAPPERS), question):
        return named
    options = [line for line in question.split("\n")[1:] if ": " in line]
    for letter, name in zip(LETTERS, NAMES, strict=False):
        text = re.sub(name, f"option {letter}", text, flags=re.IGNORECASE)
    read = [f"{letter}. {_sentence(option)}" for letter, option in zip(LETTERS, options, strict=False)]
    found = choice(text, read)
    return options[LETTERS.index(found)] if found else None


def voted_text(output: str, item: Item) -> str:
    """What the output says in a vote: yes or no, or the whole caption that it names, else its final text."""
    text, task, question = final_text(output), item.tags.get("task"), item.question.question
    if task == "yes_no":
        return robust_score(output, item).extracted or text
    named = stated_caption(text, question) if task == "caption_matching" else None
    lines = question.split("\n")[1:] if named else []
    return next((line for line in lines if named in (line, _sentence(line), *_names(line))), text)


def leading_letter(output: str) -> str | None:
    """The letter that is the whole output, or its first character before "." or ")"."""
    if output in LETTERS:
        return output
    leads = output[:1] in LETTERS and output[1:2] in (".", ")")
    return output[0] if leads else None


def yes_or_no(output: str) -> str | None:
    """yes or no if the output starts with it, in any case, even as the start of a longer word ("not")."""
    return next((word for word in ("yes", "no") if output.lower().startswith(word)), None)


def matched_caption(output: str, question: str) -> str | None:
    """What the output names: a whole option ("Caption A: …"), its sentence, or its name ("Caption A", "A").

    Where several fit, the last of these. A sentence may follow ") "; full stops beside a name do not count.
    """
    options = [line for line in question.split("\n")[1:] if ": " in line]
    after_bracket = output.split(") ")[1] if ") " in output else output
    named = None
    for option in options:
        if option == output:
            named = option
    for option in options:
        if _sentence(option) in (output, after_bracket):
            named = _sentence(option)
    for name in (name for option in options for name in _names(option)):
        if name in (output, output.replace(".", "")):
            named = name
    return named


def judged_letter(answer: str, reference: str) -> float:
    """Value of a caption for which a judge answered the multiple-choice question ("B. ice skating").

    1 where that answer names the right option and no other one.
    """
    named = sum(answer.count(f"{letter}.") for letter in LETTERS)
    return float(named == 1 and answer.strip().split(". ")[0] == reference.split(". ")[0])


def with_judge_questions(items: Sequence[Item]) -> list[Item]:
    """Items whose captions have the question that a judge answers from the caption.

    That is the first multiple-choice question on the same video and dimension, as the authors ask it, where
    that task is among the items; else the pieces of information that the model was to choose from.
    """
    first: dict[tuple[str, str], Question] = {}
    for item in items:
        if item.tags.get("task") == "multi-choice":
            first.setdefault((item.question.video, item.tags.get("dimension", "")), item.question)
    return [
        _with_judge_question(item, first.get((item.question.video, item.tags.get("dimension", ""))))
        if item.tags.get("task") == "captioning"
        else item
        for item in items
    ]


def _with_judge_question(item: Item, choice: Question | None) -> Item:
    if choice is None:
        lines = item.question.question.split("\n")
        pieces = [INFORMATION.sub(r"\1. ", line) for line in lines if INFORMATION.match(line)]
        asked = "\n".join(["Which of these does the caption tell?", *pieces])
        return replace(item, judge_question=asked, judge_reference=item.question.answer)
    right = next(option for option in choice.options if option.startswith(choice.answer))
    asked = "\n".join([choice.question, *choice.options])
    return replace(item, judge_question=asked, judge_reference=right)


def _sentence(option: str) -> str | None:
    parts = option.split(": ")
    return parts[1] if len(parts) > 1 else None


def _names(option: str) -> tuple[str, ...]:
    """ "Caption A: …" is called "Caption A" and "A"."""
    name = option.split(": ")[0]
    return name, *name.split()[1:2]


def _named(named: str | None, answer: str) -> Verdict:
    return _verdict(named, named in (answer, _sentence(answer), *_names(answer)))


def _verdict(named: str | None, right: bool) -> Verdict:
    return Verdict(value=None if named is None else float(right), extracted=named)


def _tags(row: Row, path: Path) -> dict[str, str]:
    task = next((task for task in TASKS if task in path.stem), "")
    dimension = text_of(row, "dimension", "dim")
    video = text_of(row, "video_id").removesuffix(".mp4").removesuffix(".jpg")
    aspect = dimension if dimension == "order" else _aspects(path.parent).get((video, dimension), "")
    return {"task": task or "multi-choice", "dimension": dimension, "aspect": aspect}


@cache
def _aspects(folder: Path) -> dict[tuple[str, str], str]:
    """Fine-grained aspect by (video, dimension), from meta_info.json; empty where there is no such file."""
    file = next((f for f in (folder / META_FILE, folder.parent / META_FILE) if f.is_file()), None)
    try:
        tree = json.loads(file.read_bytes()) if file else {}
    except (OSError, ValueError):
        return {}
    found = {}
    for video, facts in tree.items() if isinstance(tree, Mapping) else ():
        dimensions = facts.get("eval_dim") if isinstance(facts, Mapping) else None
        for dimension, aspect in dimensions.items() if isinstance(dimensions, Mapping) else ():
            if isinstance(aspect, Mapping) and isinstance(aspect.get("type"), str):
                found[video, dimension] = aspect["type"]
    return found


def _is_caption(tags: Tags) -> bool:
    return tags.get("task") == "captioning"


TEMPCOMPASS = Benchmark(
    name="tempcompass",
    title="TempCompass",
    published=7540,
    files=tuple((f"questions/{task}.json", f"{task}.json") for task in TASKS),
    tags=_tags,
    breakdowns=("task", "dimension", "aspect", "task × dimension", "task × aspect"),
    conventions=(
        Convention(
            name=OFFICIAL,
            score=official_score,
            note="the authors' rules on the stripped output, a judge where they do not match",
            judge_only=_is_caption,
        ),
        Convention(
            name=ROBUST,
            score=robust_score,
            note="the option, yes or no that the answer states, a judge where none is found",
            judge_only=_is_caption,
        ),
        VIDEO_R1,
    ),
    notes=(
        "TempCompass is published by task; the total over tasks is a mean over questions.",
        "Captions are scored by a judge alone: they are left out of the total until they are judged.",
    ),
    judge_task=JUDGE_TASK,
    finish=with_judge_questions,
    form=lambda item: FORMS.get(item.tags.get("task", ""), ""),
    voted=voted_text,
)
