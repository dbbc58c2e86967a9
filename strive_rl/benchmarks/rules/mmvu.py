"""MMVU (validation): 1,000 questions of experts, 625 with options; accuracy over questions.

Official: a language model judges every answer (github.com/yale-nlp/MMVU, utils/eval_utils.py). A judgement
that is given, such as the `correct` of the authors' processed outputs, therefore decides; without one the
rules decide where they are sure: letters, and open answers equal to the truth.
"""

from __future__ import annotations

from pathlib import Path

from strive_rl.benchmarks.item import OFFICIAL, ROBUST, Benchmark, Convention, Item, Row, text_of
from strive_rl.benchmarks.open_answer import OPEN_FORM, letter_or_open
from strive_rl.benchmarks.rules.video_r1 import VIDEO_R1

DISCIPLINES = {
    "Science": (
        "Biology",
        "Chemistry",
        "Modern Physics",
        "Astronomy",
        "Geography",
        "Materials Science",
        "Neurobiology",
        "Electromagnetism",
        "Thermodynamics",
        "Mechanics",
    ),
    "Engineering": (
        "Civil Engineering",
        "Electrical Engineering",
        "Mechanical Engineering",
        "Biomedical Engineering",
        "Electronics and Communication",
        "Computer Science",
    ),
    "Healthcare": ("Clinical Medicine", "Basic Medicine", "Preventive Medicine", "Pharmacy", "Dentistry"),
    "Humanities and Social Science": ("Art", "Literature", "History", "Law", "Economics", "Management"),
}
DISCIPLINE_OF = {subject: name for name, subjects in DISCIPLINES.items() for subject in subjects}


def _form(item: Item) -> str:
    return "" if item.question.problem_type == "multiple choice" else OPEN_FORM


def _tags(row: Row, path: Path) -> dict[str, str]:
    folders = text_of(row, "video", "path").split("/")
    subject = text_of(row, "metadata.subject") or (folders[-2] if len(folders) > 1 else "")
    subject = subject.replace("_", " ")
    return {
        "question type": text_of(row, "question_type", "original_question_type"),
        "discipline": DISCIPLINE_OF.get(subject, ""),
        "subject": subject,
    }


MMVU = Benchmark(
    name="mmvu",
    title="MMVU",
    published=1000,
    files=(("validation.json", "data/validation.json"),),
    tags=_tags,
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
    form=_form,
)
