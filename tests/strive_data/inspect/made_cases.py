"""Cases made by hand, and a QVHighlights folder in small."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from strive_data.inspect.cases import Case


def a_case(scores, moments, sample_id="1", video_id="v", stored=None):
    return Case(
        sample_id=sample_id,
        video_id=video_id,
        scores=np.array(scores, np.float32),
        moments=tuple(moments),
        stored=None if stored is None else np.array(stored, np.int32),
    )


def peaked_cases(count=40, length=30):
    """Each with one moment of three candidates, which score 1 above noise of .1; two questions a video."""
    rng = np.random.default_rng(0)
    cases = []
    for i in range(count):
        start = int(rng.integers(length - 3))
        scores = rng.normal(0, 0.1, length)
        scores[start : start + 3] += 1
        cases.append(a_case(scores, [(start, start + 3)], f"q{i}", f"v{i // 2}"))
    return cases


def qvhighlights_folder(folder: Path, truths, scores) -> Path:
    folder.mkdir()
    for name, rows in (("highlight_val_release", truths), ("moment_detr_val_preds", scores)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder
