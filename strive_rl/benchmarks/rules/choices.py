"""Benchmarks whose answers are letters: of each the authors' rule, what its rows are grouped by, its files.

`official` is the authors' code, quirks included; each function names where it is published. All are
accuracies over questions, but for MLVU's, a mean over tasks.
"""

from __future__ import annotations

import re
from pathlib import Path
from string import ascii_uppercase

from strive_rl.benchmarks.items import (
    LIST,
    Benchmark,
    Item,
    Row,
    Tags,
    Verdict,
    listed_text,
    tags_from,
    text_of,
)
from strive_rl.benchmarks.verdicts import (
    ANSWER,
    UNCHECKED,
    bare_output,
    choice_verdict,
    letter_conventions,
    letter_verdict,
)


def without_phrases(output: str, phrases: tuple[str, ...]) -> str:
    """The stripped output without these phrases, wherever they occur, removed in their order."""
    text = bare_output(output).strip()
    for phrase in phrases:
        text = text.replace(phrase, "")
    return text


# The fifth and sixth are two phrases each: a comma is missing in the authors' script.
VIDEOMME_PHRASES = (
    "The best answer is", "The correct answer is", "The answer is", "The answer",
    "The best option isThe correct option is", "Best answer:Best option:", "Answer:", "Option:",
    "The correct answer", "The correct option",
)  # fmt: skip


def videomme_score(output: str, item: Item) -> Verdict:
    """The first capital letter A–D behind the removed phrases, even inside a word; an output without one is
    left out of the mean (github.com/thanku-all/parse_answer, eval_your_results.py, the script that the
    authors' page names)."""
    found = re.search("[ABCD]", without_phrases(output, VIDEOMME_PHRASES))
    letter = found[0] if found else None
    value = float(letter == item.question.answer)
    return Verdict(value=value, extracted=letter, left_out=letter is None)


# 2,700 questions with four options on 900 videos.
VIDEOMME = Benchmark(
    name="videomme",
    title="VideoMME",
    published=2700,
    files=(("videomme/test-*.parquet", "test-*.parquet", "videomme.parquet", "videomme.json"),),
    tags=tags_from(
        {
            "duration": ("duration", "duration_category"),
            "domain": ("domain", "video_category"),
            "sub-category": ("sub_category", "video_subcategory"),
            "task type": ("task_type", "original_question_type"),
        }
    ),
    breakdowns=(
        "duration",
        "domain",
        "task type",
        "sub-category",
        "duration × domain",
        "duration × task type",
        "duration × sub-category",
    ),
    conventions=letter_conventions(
        videomme_score, "the authors' script: first letter A–D, outputs without one left out of the mean"
    ),
    order=("short", "medium", "long"),
)


LONGVIDEOBENCH_PHRASES = (
    "The best answer is", "The correct answer is", "The answer is", "The answer", "The best option is",
    "The correct option is", "Best answer:", "Best option:",
)  # fmt: skip
# Seconds up to which a group goes, as the annotation names them.
DURATIONS = {"15": "8-15 s", "60": "15-60 s", "600": "3-10 min", "3600": "15-60 min"}


def longvideobench_score(output: str, item: Item) -> Verdict:
    """The first capital letter A–E behind the removed phrases, even inside a word (lmms-eval,
    tasks/longvideobench/utils.py, which says that it is the paper's rule). An output without one gets a
    random option there; here it counts with the mean of that, 1 of the number of options."""
    found = re.search("[ABCDE]", without_phrases(output, LONGVIDEOBENCH_PHRASES))
    if found is None:
        return Verdict(value=1 / len(item.question.options), extracted=None)
    return letter_verdict(found[0], item)


def _longvideobench_tags(row: Row, path: Path) -> dict[str, str]:
    group = text_of(row, "duration_group")
    return {
        "duration": DURATIONS.get(group, group),
        "question category": text_of(row, "question_category"),
        "level": text_of(row, "level"),
        "topic": text_of(row, "topic_category"),
    }


# 1,337 questions (validation) on videos of 8 seconds to one hour.
LONGVIDEOBENCH = Benchmark(
    name="longvideobench",
    title="LongVideoBench",
    published=1337,
    files=(("lvb_val.json", "validation-*.parquet", "data/validation-*.parquet"),),
    tags=_longvideobench_tags,
    breakdowns=("duration", "question category", "level", "topic", "duration × question category"),
    conventions=letter_conventions(
        longvideobench_score,
        "first letter A–E; an output without one counts as a guess, 1 of the number of options",
    ),
    order=tuple(DURATIONS.values()),
    notes=(
        UNCHECKED,
        "Subtitles are not shown to the policy: results of the authors that interleave them are higher.",
    ),
)


def lvbench_score(output: str, item: Item) -> Verdict:
    """The first character of the first word before the first ")" and behind a "(" there
    (github.com/THUDM/LVBench, lvbench/utils/answer_util.py)."""
    text = bare_output(output).strip().split(")")[0].strip()
    if "(" in text:
        text = text.split("(")[1].strip()
    return letter_verdict(text.split(" ")[0][:1], item)


def _lvbench_tags(row: Row, path: Path) -> dict[str, str]:
    return {"question type": listed_text(row, "question_type"), "video type": text_of(row, "type")}


# 1,549 questions on 103 videos of 30 minutes to two hours; a question counts under each of its types
# (lvbench/metrics/compute_accuracy.py).
LVBENCH = Benchmark(
    name="lvbench",
    title="LVBench",
    published=1549,
    files=(("video_info.meta.jsonl", "data/video_info.meta.jsonl"),),
    recipe="lvbench",
    tags=_lvbench_tags,
    breakdowns=("question type", "video type"),
    conventions=letter_conventions(
        lvbench_score, "the authors' code: first character, behind '(' and before ')' where there are any"
    ),
    notes=(UNCHECKED,),
)


MLVU_FILES = ("1_plotQA", "2_needle", "3_ego", "4_count", "5_order", "6_anomaly_reco", "7_topic_reasoning")


def mlvu_score(output: str, item: Item) -> Verdict:
    """The character before the first ")", else the whole stripped output (github.com/JUNJIE99/MLVU,
    evaluation/multiple_choice_evaluation/choice_bench.py). The authors' prompt ends with "(", so that an
    output begins "B) …"."""
    text = bare_output(output).strip()
    end = text.find(")")
    return letter_verdict(text if end < 0 else text[max(end - 1, 0) : end], item)


def _mlvu_tags(row: Row, path: Path) -> dict[str, str]:
    kind = text_of(row, "question_type", "task_type")
    return {"task": "needle" if kind == "findNeedle" else kind}


def _by_task(tags: Tags) -> tuple[str, str]:
    """(task, "") for the mean over tasks."""
    return tags.get("task", ""), ""


# 2,175 questions (dev) of seven tasks. The two tasks of descriptions need a judge of the authors'.
MLVU = Benchmark(
    name="mlvu",
    title="MLVU (dev), multiple choice",
    published=2175,
    files=tuple((f"json/{name}.json", f"data/{name}.json", f"{name}.json") for name in MLVU_FILES),
    recipe="mlvu",
    tags=_mlvu_tags,
    breakdowns=("task",),
    conventions=letter_conventions(
        mlvu_score,
        "the authors' code: the character before the first ')', else all of it; mean over tasks",
        strata=_by_task,
    ),
    notes=(
        UNCHECKED,
        "In eight published rows the answer is the text of no option or of several; they cannot be asked.",
        "Sub-scene captioning and video summary, which the authors have a judge rate, are not included.",
    ),
)


MVBENCH_TASKS = (
    "action_sequence", "action_prediction", "action_antonym", "fine_grained_action",
    "unexpected_action", "object_existence", "object_interaction", "object_shuffle", "moving_direction",
    "action_localization", "scene_transition", "action_count", "moving_count", "moving_attribute",
    "state_change", "fine_grained_pose", "character_order", "egocentric_navigation",
    "episodic_reasoning", "counterfactual_inference",
)  # fmt: skip


def mvbench_score(output: str, item: Item) -> Verdict:
    """The first word of the first line behind "(", with which the authors' prompt ends, in small letters and
    without full stops, is a part of "(b)", or "(b)" a part of it (github.com/OpenGVLab/Ask-Anything,
    video_chat2/mvbench.ipynb). So "b", "b)pear" and "(b) pear" are right, and so is an empty output."""
    line, wanted = bare_output(output).strip().split("\n")[0], f"({item.question.answer.lower()})"
    word = line.lower().split(" ")[0]
    right = f"({word}".replace(".", "") in wanted or wanted in f"({word}"
    return Verdict(value=float(right), extracted=word or None)


def _mvbench_tags(row: Row, path: Path) -> dict[str, str]:
    return {"task": path.stem if path.stem in MVBENCH_TASKS else ""}


# 4,000 questions of 20 tasks on short videos.
MVBENCH = Benchmark(
    name="mvbench",
    title="MVBench",
    published=4000,
    files=tuple((f"json/{task}.json", f"{task}.json") for task in MVBENCH_TASKS),
    recipe="mvbench",
    tags=_mvbench_tags,
    breakdowns=("task",),
    conventions=letter_conventions(
        mvbench_score,
        "the authors' notebook: '(' and the first word, a part of '(b)' or the reverse; empty is right",
    ),
    order=MVBENCH_TASKS,
    notes=(UNCHECKED,),
)


NEXT_GQA_TYPES = {
    "CW": "CW (why)",
    "CH": "CH (how)",
    "TN": "TN (before, after)",
    "TP": "TN (before, after)",
    "TC": "TC (when)",
}
NEXT_GQA_GROUPS = {"C": "causal", "T": "temporal", "D": "descriptive"}


def next_gqa_score(output: str, item: Item) -> Verdict:
    """The prediction is one of the options (github.com/doc-doc/NExT-GQA, code/TempGQA/eval_next.py). The
    authors read no text: an output that is an option's whole text is that option, any other one is read as
    its letter."""
    text = bare_output(output).strip()
    named = [option[0] for option in item.question.options if option[3:] == text]
    return letter_verdict(named[0], item) if len(named) == 1 else choice_verdict(output, item)


def next_gqa_tags(row: Row, path: Path) -> dict[str, str]:
    """Cause or time, and the question type as the authors' tables name it."""
    kind = text_of(row, "type")
    return {"group": NEXT_GQA_GROUPS.get(kind[:1], ""), "question type": NEXT_GQA_TYPES.get(kind, kind)}


# 5,553 questions (test) with five options: Acc@QA.
NEXT_GQA = Benchmark(
    name="next-gqa",
    title="NExT-GQA",
    published=5553,
    files=(("test.csv", "datasets/nextgqa/test.csv"),),
    tags=next_gqa_tags,
    breakdowns=("group", "question type"),
    conventions=letter_conventions(next_gqa_score, "the option's text or its letter"),
    notes=(
        UNCHECKED,
        "Only the accuracy of answers. Acc@GQA, IoP and IoU: --benchmark next-gqa-grounded.",
    ),
)


INDICES = {str(index): ascii_uppercase[index] for index in range(3)}


def perceptiontest_score(output: str, item: Item) -> Verdict:
    """The prediction is an index counted from 0. The authors read no text: any other output is read as its
    letter."""
    letter = INDICES.get(bare_output(output).strip())
    return letter_verdict(letter, item) if letter else choice_verdict(output, item)


# The authors' TAG_AREA (github.com/google-deepmind/perception_test, baselines/mc_vqa.ipynb).
PERCEPTIONTEST_AREAS = {
    "memory": ("change detection", "event recall", "sequencing", "visual discrimination"),
    "abstraction": (
        "action counting", "event counting", "feature matching", "object counting", "pattern breaking",
        "pattern discovery",
    ),
    "physics": (
        "collision", "conservation", "containment", "material", "motion", "occlusion", "object attributes",
        "object permanence", "quantity", "solidity", "spatial relations", "stability",
    ),
    "semantics": (
        "action recognition", "adversarial action", "colour recognition", "distractor action",
        "distractor object", "general knowledge", "language", "object recognition", "part recognition",
        "place recognition", "state recognition", "task completion",
    ),
}  # fmt: skip


def _perceptiontest_tags(row: Row, path: Path) -> dict[str, str]:
    tag = listed_text(row, "tag")
    areas = (area for area, tags in PERCEPTIONTEST_AREAS.items() if {*tags} & {*tag.split(LIST)})
    area = LIST.join(areas) or text_of(row, "area")
    return {"area": area, "reasoning": text_of(row, "reasoning"), "tag": tag}


# 19,140 questions (validation) with three options; a question counts under each of its tags, and once in each
# area of them (`calc_top1_by_cat` there). Published answers are indices, which the recipe turns into letters.
PERCEPTIONTEST = Benchmark(
    name="perceptiontest",
    title="PerceptionTest",
    published=19140,
    files=(("mc_question_val.json", "mc_question_valid.json", "mc_question_val/*.parquet"),),
    tags=_perceptiontest_tags,
    breakdowns=("area", "reasoning", "tag"),
    conventions=letter_conventions(perceptiontest_score, "index of the option from 0, or its letter"),
    notes=(
        "Video-R1's training data contains PerceptionTest's training videos: a policy trained on it has seen "
        "this kind of video and question, so its accuracy here does not measure transfer.",
    ),
)


def video_holmes_score(output: str, item: Item) -> Verdict:
    """Of the last `<answer>`, else of the whole output, the first letter of A to F, in this order, that a
    blank or colon follows or a "[" precedes; else the first of them that occurs at all, even inside a word
    (github.com/TencentARC/Video-Holmes, evaluate.py)."""
    answers = ANSWER.findall(output)
    text = answers[-1].strip() if answers else output
    marked = (x for x in "ABCDEF" if f"{x} " in text or f"{x}:" in text or f"[{x}" in text)
    return letter_verdict(next(marked, None) or next((x for x in "ABCDEF" if x in text), None), item)


# 1,837 questions with six options on 270 suspense short films.
VIDEO_HOLMES = Benchmark(
    name="video-holmes",
    title="Video-Holmes",
    published=1837,
    files=(("test_Video-Holmes.json", "Benchmark/test_Video-Holmes.json"),),
    tags=tags_from({"question type": ("Question Type", "original_question_type")}),
    breakdowns=("question type",),
    conventions=letter_conventions(
        video_holmes_score,
        "the authors' script: first of A to F that is marked in the last <answer>, or else occurs",
    ),
    # Seven types, by the authors' short names.
    order=("SR", "IMC", "TCI", "TA", "MHR", "PAR", "CTI"),
    notes=(UNCHECKED,),
)
