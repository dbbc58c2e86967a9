from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from strive_data.config import ScoreSettings
from strive_data.errors import SettingsError
from strive_data.score import make_scorer
from tools.tiny.pool import make_pool
from tools.tiny.recall import as_question, evidence_recall


def test_an_unknown_scorer_is_a_settings_error() -> None:
    with pytest.raises(
        SettingsError,
        match=r"unknown scorer 'clap', did you mean 'clip'\?; known: blip-itm, cascade, clip, demo",
    ):
        make_scorer(ScoreSettings(scorer="clap"))


def test_importing_the_registry_needs_no_torch() -> None:
    code = "import sys, strive_data.score; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_demo_scorer_finds_the_evidence() -> None:
    """On videos it was not trained on; uniform sampling is the control."""
    scorer = make_scorer(ScoreSettings(scorer="demo", device="cpu"), threads=1)
    assert scorer.name == "demo_clip"
    recall = evidence_recall(make_pool(videos=24, seed=4242), scorer, ("comb", "uniform"))
    assert recall["comb"] > 0.94
    assert 0.4 < recall["uniform"] < 0.75


def test_the_demo_scorer_takes_any_text() -> None:
    scorer = make_scorer(ScoreSettings(scorer="demo", device="cpu"), threads=1)
    (video,) = make_pool(videos=1, seed=7)
    question = as_question(video.plan.asked[0], "x")
    strange = replace(question, question="漢字 émoji 🎉 " * 40, options=())
    (scored,) = scorer.score(video.candidates, [strange])
    assert scored.windows > 3
    assert np.isfinite(scored.scores).all()
