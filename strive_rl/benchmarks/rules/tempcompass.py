"""TempCompass: four tasks on five temporal dimensions, scored by rules on the bare output, else by a judge.

The rules are the authors' (github.com/llyx97/TempCompass), in their order and as strict: what they cannot
match goes to a language model there, and waits for a judgement here. Differs: an output in the answer form is
read from its `<answer>` (theirs has no such form), and an empty output is wrong without asking anybody.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from strive_data.schema import Question
from strive_rl.benchmarks.item import Benchmark, Convention, Item, Row, Verdict, text_of
from strive_rl.benchmarks.parsing import END_TOKENS, final_text
from strive_rl.benchmarks.rules.video_r1 import VIDEO_R1

TASKS = ("multi-choice", "yes_no", "caption_matching", "captioning")
LETTERS = ("A", "B", "C", "D")
# What the rules read, asked for in this project's own words.
FORMS = {
    "yes_no": "The final answer is yes or no and nothing else.",
    "caption_matching": (
        "The final answer is the name of one of these descriptions, as it stands before the colon, and "
        "nothing else."
    ),
    "captioning": "The final answer is the caption and nothing else.",
}
INFORMATION = re.compile(r"^Information ([A-Z]): ", re.MULTILINE)
JUDGE_TASK = "Say whether the model's answer means the right one, however it says so."


def tempcompass_score(output: str, item: Item) -> Verdict:
    """Verdict of the task's rule; value None where only a judge can tell."""
    bare = bare_answer(output)
    if not bare.strip():
        return Verdict(value=0.0, extracted=None)
    answer, question = item.question.answer, item.question.question
    task = item.tags.get("task")
    if task == "yes_no":
        said = yes_or_no(bare)
        return _verdict(said, said == answer.lower())
    if task == "caption_matching":
        named = matched_caption(bare.strip(), question)
        return _verdict(named, named in (answer, _sentence(answer), *_names(answer)))
    if task == "captioning":
        return Verdict(value=None, extracted=bare.strip())
    letter = leading_letter(bare)
    return _verdict(letter, letter == answer[:1])


def bare_answer(output: str) -> str:
    """The output without end tokens, not stripped; of one in the answer form, the content of `<answer>`."""
    if any(tag in output for tag in ("<answer>", "<think>", "</think>")):
        return final_text(output)
    for token in END_TOKENS:
        output = output.replace(token, "")
    return output


def leading_letter(output: str) -> str | None:
    """The letter that is the whole output, or that it begins with before "." or ")"."""
    if output in LETTERS:
        return output
    begins = output[:1] in LETTERS and output[1:2] in (".", ")")
    return output[0] if begins else None


def yes_or_no(output: str) -> str | None:
    """The word that the output begins with, in any case; as the authors do, without a look at its end."""
    begin = output.lower()
    return next((word for word in ("yes", "no") if begin.startswith(word)), None)


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


def _verdict(named: str | None, right: bool) -> Verdict:
    return Verdict(value=None if named is None else float(right), extracted=named)


def _tags(row: Row, path: Path) -> dict[str, str]:
    task = next((task for task in TASKS if task in path.stem), "")
    dimension = text_of(row, "dimension", "dim")
    return {"task": task or "multi-choice", "dimension": dimension}


TEMPCOMPASS = Benchmark(
    name="tempcompass",
    title="TempCompass",
    published=7540,
    files=tuple((f"questions/{task}.json", f"{task}.json") for task in TASKS),
    tags=_tags,
    breakdowns=("task", "dimension", "task × dimension"),
    conventions=(Convention(name="official", score=tempcompass_score), VIDEO_R1),
    notes=(
        "TempCompass is published by task; the total over tasks is a mean over questions.",
        "Captions are scored by a judge alone.",
    ),
    judge_task=JUDGE_TASK,
    finish=with_judge_questions,
    form=lambda item: FORMS.get(item.tags.get("task", ""), ""),
)
