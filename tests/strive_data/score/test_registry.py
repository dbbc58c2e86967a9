from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from strive_data.config import SamplerSettings, ScoreSettings
from strive_data.errors import SampleError, SettingsError, UsageError
from strive_data.sampling.registry import draw
from strive_data.score import FrameScores, make_scorer
from tests.strive_data.made.samples import a_question
from tests.strive_data.score.videos import video_of
from tools.tiny.pool import as_question, make_pool


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
    settings, hits = SamplerSettings(frames=8, variants=1), {"comb": list[bool](), "uniform": list[bool]()}
    for video in make_pool(videos=24, seed=4242):
        asked = video.plan.asked
        scored = scorer.score(video.candidates, [as_question(one, "x") for one in asked])
        for one, result in zip(asked, scored, strict=True):
            ((start, stop),) = one.spans
            for name, found in hits.items():
                times = video.times[draw(name, result.scores, settings, offset=0.5)[0]]
                found.append(bool(((times >= start) & (times < stop)).any()))
    assert np.mean(hits["comb"]) > 0.94
    assert 0.4 < np.mean(hits["uniform"]) < 0.75


def test_the_demo_scorer_takes_any_text() -> None:
    scorer = make_scorer(ScoreSettings(scorer="demo", device="cpu"), threads=1)
    (video,) = make_pool(videos=1, seed=7)
    question = as_question(video.plan.asked[0], "x")
    strange = replace(question, question="漢字 émoji 🎉 " * 40, options=())
    (scored,) = scorer.score(video.candidates, [strange])
    assert scored.windows > 3
    assert np.isfinite(scored.scores).all()


SOURCE = '''
import numpy as np
from strive_data.errors import FailureKind, SampleError
from strive_data.score import FrameScores

class Brightness:
    """The mean of each frame; one question it cannot score."""

    name = "brightness"

    def __init__(self, settings):
        self.batch_size = settings.batch_size

    def score(self, candidates, questions):
        scores = candidates.frames.mean(axis=(1, 2, 3)).astype(np.float32)
        return [
            SampleError(FailureKind.SCORE_FAILED, "dark") if question.sample_id == "dark"
            else FrameScores(scores=scores)
            for question in questions
        ]

class Short(Brightness):
    def score(self, candidates, questions):
        return super().score(candidates, questions)[1:]

class Wide(Brightness):
    def score(self, candidates, questions):
        return [FrameScores(scores=np.ones(2)) for _ in questions]

class Bare(Brightness):
    def score(self, candidates, questions):
        return [[1.0, 2.0] for _ in questions]

class Nothing(Brightness):
    def score(self, candidates, questions):
        pass

class Nameless:
    def __init__(self, settings):
        pass

class Lonely(Brightness):
    def __init__(self):
        pass

class Picky(Brightness):
    def __init__(self, settings):
        raise ValueError("batches of 4 only\\nand more of it")

class Broken(Brightness):
    def __init__(self, settings):
        raise KeyError("a bug of its own")

number = 3
'''
VIDEO = video_of(np.arange(3, dtype=np.uint8)[:, None, None, None] * np.full((1, 2, 2, 3), 9, np.uint8))


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An importable module, and an installed package that offers it as an entry point."""
    (tmp_path / "own_scorers.py").write_text(SOURCE)
    info = tmp_path / "own-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own\nVersion: 1.0\n")
    points = "bright = own_scorers:Brightness\ngone = own_scorers:Gone\nclip = own_scorers:Brightness\n"
    (info / "entry_points.txt").write_text(f"[strive_data.scorers]\n{points}")
    monkeypatch.syspath_prepend(tmp_path)
    yield "own_scorers"
    sys.modules.pop("own_scorers", None)


@pytest.mark.parametrize("name", ["own_scorers:Brightness", "bright"])
def test_a_scorer_by_import_path_and_by_entry_point(module: str, name: str) -> None:
    scorer = make_scorer(ScoreSettings(scorer=name))
    assert scorer.name == "brightness"
    good, dark = scorer.score(VIDEO, [a_question("a"), a_question("dark")])
    assert isinstance(good, FrameScores)
    assert good.scores.tolist() == [0, 9, 18]
    assert isinstance(dark, SampleError)


def test_nothing_is_imported_for_a_scorer_of_this_package(module: str) -> None:
    """An entry point that takes the name of one of ours does not replace it."""
    assert make_scorer(ScoreSettings(scorer="demo", device="cpu")).name == "demo_clip"
    with pytest.raises(UsageError, match="open_clip does not know"):
        make_scorer(ScoreSettings(scorer="clip", model="none"))
    assert module not in sys.modules


def test_an_unknown_name_lists_the_entry_points_too(module: str) -> None:
    with pytest.raises(
        SettingsError, match=r"'brigth', did you mean 'bright'\?; known: .*bright, cascade, clip, demo"
    ):
        make_scorer(ScoreSettings(scorer="brigth"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:X", r"cannot import no_such_module: .*; is no_such_module installed, or its folder"),
        ("own_scorers:Missing", "own_scorers has no class Missing"),
        ("own_scorers:number", "own_scorers has no class number"),
        ("own_scorers:", "expected package.module:ClassName"),
        (":X", "expected package.module:ClassName"),
        ("own_scorers:Nameless", r"Nameless has no `name` \(str\) and `score"),
        ("gone", "scorer gone, entry point own_scorers:Gone: own_scorers has no class Gone"),
    ],
)
def test_what_cannot_be_imported_is_said(module: str, name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_scorer(ScoreSettings(scorer=name))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("os:system", "builtin_function_or_method, no class, raised TypeError: expected str, .*"),
        (
            "own_scorers:Lonely",
            "class Lonely raised TypeError: .*takes 1 positional argument but 2 were given",
        ),
        (
            "own_scorers:Picky",
            r"class Picky raised ValueError: batches of 4 only \(.*own_scorers.py, line 48\)",
        ),
    ],
)
def test_a_scorer_that_does_not_take_the_settings_is_one_line(module: str, name: str, message: str) -> None:
    """Regression: each was a traceback."""
    with pytest.raises(UsageError) as raised:
        make_scorer(ScoreSettings(scorer=name))
    expected = f"^scorer {name}: {message}; expected a class that is made with the ScoreSettings"
    assert re.match(expected, str(raised.value))
    assert len(str(raised.value).splitlines()) == 1
    assert isinstance(raised.value.__cause__, TypeError | ValueError)


def test_a_bug_in_a_scorers_constructor_is_raised_as_it_is(module: str) -> None:
    with pytest.raises(KeyError, match="a bug of its own"):
        make_scorer(ScoreSettings(scorer="own_scorers:Broken"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Short", r"score\(\) gave 1 results, expected a list of 2"),
        ("Wide", r"gave scores float64 \[2\], expected float32 \[3\]"),
        ("Bare", "gave a list, expected FrameScores or SampleError"),
        ("Nothing", "gave NoneType, expected a list of 2"),
    ],
)
def test_answers_out_of_the_contract_are_said(module: str, name: str, message: str) -> None:
    scorer = make_scorer(ScoreSettings(scorer=f"{module}:{name}"))
    with pytest.raises(UsageError, match=message):
        scorer.score(VIDEO, [a_question("a"), a_question("b")])
