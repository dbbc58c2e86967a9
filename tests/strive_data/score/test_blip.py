from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, BlipForImageTextRetrieval

from strive_data.config import ScoreSettings
from strive_data.errors import FailureKind, SampleError, UsageError
from strive_data.score import FrameScores, make_scorer
from strive_data.score.vlm import BlipScorer
from tests.strive_data.made.samples import a_question
from tests.strive_data.score.videos import video_of

FRAMES = np.random.default_rng(0).integers(0, 256, (5, 28, 56, 3), dtype=np.uint8)
VIDEO = video_of(FRAMES)
CAT = replace(a_question("cat"), question="Where does the cat sit?", options=("A. door", "B. bed"))
DOG = replace(a_question("dog"), question="Who calls the brown dog?", options=())


def scorer_of(folder: Path, **changes: object) -> BlipScorer:
    base = ScoreSettings(scorer="blip-itm", model=str(folder), device="cpu", batch_size=3)
    scorer = make_scorer(replace(base, **changes))
    assert isinstance(scorer, BlipScorer)
    return scorer


def scores_of(result: FrameScores | SampleError) -> np.ndarray:
    assert isinstance(result, FrameScores)
    return result.scores


def test_scores_are_the_match_probabilities_of_transformers(tiny_blip: Path) -> None:
    """Oracle: the model's own forward pass, one frame and one text."""
    model: Any = BlipForImageTextRetrieval.from_pretrained(tiny_blip).eval()
    processor: Any = AutoProcessor.from_pretrained(tiny_blip)
    results = scorer_of(tiny_blip).score(VIDEO, [CAT, DOG])
    queries = ("Where does the cat sit? A. door B. bed", "Who calls the brown dog?")
    for result, query in zip(results, queries, strict=True):
        expected = []
        for frame in FRAMES:
            inputs = processor(images=Image.fromarray(frame), text=query, return_tensors="pt")
            with torch.no_grad():
                expected.append(float(model(**inputs).itm_score.softmax(1)[0, 1]))
        assert scores_of(result) == pytest.approx(expected, abs=1e-5)
        assert np.ptp(expected) > 0.001
        assert scores_of(result).dtype == np.float32
    assert np.abs(scores_of(results[0]) - scores_of(results[1])).max() > 0.001
    (alone,) = scorer_of(tiny_blip).score(VIDEO, [DOG])
    assert scores_of(alone).tobytes() == scores_of(results[1]).tobytes()


def test_questions_that_cannot_be_read_cost_only_themselves(tiny_blip: Path) -> None:
    mark = replace(CAT, question="What does [SEP] mean?")
    long = replace(CAT, question="why " * 60)
    results = scorer_of(tiny_blip).score(VIDEO, [mark, CAT, long])
    assert isinstance(results[1], FrameScores)
    for result, part in ((results[0], "holds '[SEP]', a mark"), (results[2], "the model takes 96")):
        assert result.kind == FailureKind.SCORE_FAILED
        assert part in result.message


def test_the_vision_tower_sees_a_frame_once(tiny_blip: Path) -> None:
    scorer = scorer_of(tiny_blip)
    calls: list[int] = []
    scorer.model.vision_model.register_forward_pre_hook(
        lambda _, args, kwargs: calls.append(len(kwargs["pixel_values"])), with_kwargs=True
    )
    scorer.score(VIDEO, [CAT, DOG])
    assert calls == [3, 2]


def test_another_model_is_refused(tiny_vlms: Path) -> None:
    with pytest.raises(UsageError, match=r"is a model of type llava_onevision; .*BLIP"):
        scorer_of(tiny_vlms / "llava")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_is_near(tiny_blip: Path, precision: str) -> None:
    (exact,) = scorer_of(tiny_blip).score(VIDEO, [CAT])
    (near,) = scorer_of(tiny_blip, precision=precision).score(VIDEO, [CAT])
    assert scores_of(near) == pytest.approx(scores_of(exact), abs=0.02)
    assert scores_of(near).tolist() != scores_of(exact).tolist()
