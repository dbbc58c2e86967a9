"""VideoMMMU: 300 lecture videos, each with a question of perception, comprehension and adaptation.

Letters by rule; open answers by normalised match. The total is over all 900 questions.
"""

from __future__ import annotations

import re
from pathlib import Path

from strive_rl.benchmarks.item import Benchmark, Convention, Item, Row, text_of
from strive_rl.benchmarks.open_answer import OPEN_FORM, letter_or_open
from strive_rl.benchmarks.rules.video_r1 import VIDEO_R1
from strive_rl.policy.encode import ANSWER_FORM

# The videos of two tracks end in a quiz that is not asked; that of the third ends in what is asked about.
NO_QUIZ = "A quiz may be shown at the end of the video: leave it aside and answer the question above."
TRACK_TEXTS = {
    "Perception": NO_QUIZ,
    "Comprehension": NO_QUIZ,
    "Adaptation": "Apply what the video teaches to the question above; its picture is at the video's end.",
}
TRACKS = ("Perception", "Comprehension", "Adaptation")
# Video-R1's file holds the tracks one after another, 300 rows each, and does not name them. Open questions,
# which Adaptation alone has, stand in its first 300; what is asked of the video's own example is in the last.
VIDEO_R1_TRACKS = ("Adaptation", "Comprehension", "Perception")
ROWS_A_TRACK = 300
VIDEO_ID = re.compile(r"(?:^|/)[a-z]+_(.+)_\d+(?:\.mp4)?$")
DISCIPLINES = {
    "Art": ("Art", "Art_Theory", "Design", "Music"),
    "Business": ("Accounting", "Economics", "Finance", "Manage", "Marketing"),
    "Science": ("Biology", "Chemistry", "Geography", "Math", "Physics"),
    "Medicine": (
        "Basic_Medical_Science",
        "Clinical_Medicine",
        "Diagnostics_and_Laboratory_Medicine",
        "Pharmacy",
        "Public_Health",
    ),
    "Humanities": ("History", "Literature", "Sociology", "Psychology"),
    "Engineering": (
        "Agriculture",
        "Architecture_and_Engineering",
        "Computer_Science",
        "Electronics",
        "Energy_and_Power",
        "Materials",
        "Mechanical_Engineering",
    ),
}
DISCIPLINE_OF = {subject: name for name, subjects in DISCIPLINES.items() for subject in subjects}


def _form(item: Item) -> str:
    """What the track asks for, then the form of the answer."""
    many = item.question.problem_type == "multiple choice"
    told = TRACK_TEXTS.get(item.tags.get("track", ""), "")
    return f"{told} {ANSWER_FORM['multiple choice'] if many else OPEN_FORM}".strip()


def _tags(row: Row, path: Path) -> dict[str, str]:
    video = VIDEO_ID.search(text_of(row, "id", "path"))
    subject = video[1] if video else ""
    return {
        "track": _track(row, path),
        "discipline": DISCIPLINE_OF.get(subject, ""),
        "subject": subject.replace("_", " "),
        "question type": "multiple choice" if row.get("options") else "open",
    }


def _track(row: Row, path: Path) -> str:
    number = row.get("problem_id")
    if isinstance(number, int) and 1 <= number <= ROWS_A_TRACK * len(TRACKS):
        return VIDEO_R1_TRACKS[(number - 1) // ROWS_A_TRACK]
    places = f"{path.absolute().parent.name} {path.stem}".casefold()
    return next((track for track in TRACKS if track.casefold() in places), "")


VIDEOMMMU = Benchmark(
    name="videommmu",
    title="VideoMMMU",
    published=900,
    files=tuple((f"{track}/test-*.parquet", f"{track}/*.parquet", f"{track}/*.json") for track in TRACKS),
    tags=_tags,
    breakdowns=("track", "discipline", "question type", "subject"),
    conventions=(Convention(name="official", score=letter_or_open), VIDEO_R1),
    order=TRACKS,
    judge_task="Say whether the model's answer is the same as the reference, number and unit included.",
    form=_form,
    notes=(
        "Adaptation asks about a picture in the last seconds of a video: only frames from there show it.",
    ),
)
