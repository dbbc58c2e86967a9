"""How often the evidence is among the sampled frames, by sampler."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from strive_data.config import SamplerSettings
from strive_data.demo.world import Asked
from strive_data.sampling.registry import draw
from strive_data.schema import Question
from strive_data.score import Scorer
from tools.tiny.pool import PoolVideo


def as_question(asked: Asked, sample_id: str) -> Question:
    """The question as the annotation reader would give it."""
    return Question(
        sample_id=sample_id,
        video="none.mp4",
        question=asked.text,
        answer=asked.letter,
        problem_type="multiple choice",
        options=asked.options,
        evidence_spans=asked.spans,
    )


def evidence_recall(pool: Sequence[PoolVideo], scorer: Scorer, samplers: Sequence[str]) -> dict[str, float]:
    """Share of questions with at least one frame of the evidence among 8, phase ½, one variant."""
    settings = SamplerSettings(frames=8, variants=1)
    hits: dict[str, list[bool]] = {name: [] for name in samplers}
    for video in pool:
        asked = video.plan.asked
        scored = scorer.score(video.candidates, [as_question(one, "x") for one in asked])
        for one, scores in zip(asked, scored, strict=True):
            start, stop = one.spans[0]
            for name in samplers:
                times = video.times[draw(name, scores.scores, settings, offset=0.5)[0]]
                hits[name].append(bool(((times >= start) & (times < stop)).any()))
    return {name: float(np.mean(found)) for name, found in hits.items()}
