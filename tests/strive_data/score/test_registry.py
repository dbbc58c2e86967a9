from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from strive_data.config import SamplerSettings, ScoreSettings
from strive_data.errors import FailureKind, SampleError, SettingsError, UsageError
from strive_data.sampling.samplers import draw
from strive_data.schema import Candidates, Question
from strive_data.score import FrameScores, make_scorer
from strive_data.score.registry import CascadeScorer, best_share, join
from strive_data.score.scorer import FrameEmbedder
from tests.strive_data.made.samples import a_question
from tests.strive_data.score.videos import video_of
from tools.tiny.pool import as_question, make_pool


def test_importing_the_registry_needs_no_torch() -> None:
    code = "import sys, strive_data.score; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_demo_scorer_finds_the_evidence() -> None:
    """On videos it was not trained on; uniform sampling is the control."""
    scorer = make_scorer(ScoreSettings(scorer="demo", device="cpu"))
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
    scorer = make_scorer(ScoreSettings(scorer="demo", device="cpu"))
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
    assert good.scores.tolist() == [0, 9, 18]
    assert isinstance(dark, SampleError)


def test_nothing_is_imported_for_a_scorer_of_this_package(module: str) -> None:
    """An entry point that takes the name of one of ours does not replace it."""
    assert make_scorer(ScoreSettings(scorer="demo", device="cpu")).name == "demo_clip"
    with pytest.raises(UsageError, match="open_clip does not know"):
        make_scorer(ScoreSettings(scorer="clip", model="none"))
    assert module not in sys.modules


def test_an_unknown_name_lists_the_entry_points_too(module: str) -> None:
    for name, meant in (("brigth", "bright"), ("clap", "clip")):
        known = rf"'{name}', did you mean '{meant}'\?; known: blip-itm, bright, cascade, clip, demo"
        with pytest.raises(SettingsError, match=known):
            make_scorer(ScoreSettings(scorer=name))


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
        ("own_scorers:Lonely", "class Lonely raised TypeError: .*1 positional argument but 2 were given"),
        ("own_scorers:Picky", r"class Picky raised ValueError: .* \(.*own_scorers.py, line 48\)"),
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


# Frame i is i·20 bright.
DARK_TO_LIGHT = video_of(
    np.arange(8, dtype=np.uint8)[:, None, None, None] * np.full((1, 2, 2, 3), 20, np.uint8)
)


class Brightness:
    """Scores the brightness times `sign`, remembers what it saw, and fails questions named so."""

    def __init__(self, name: str, sign: float) -> None:
        self.name, self.sign = name, sign
        self.seen: list[list[float]] = []

    def score(self, candidates: Candidates, questions: Sequence[Question]) -> list[FrameScores | SampleError]:
        scores = (self.sign * candidates.frames.mean(axis=(1, 2, 3)) / 20).astype(np.float32)
        self.seen.append(candidates.times.tolist())
        if any(question.sample_id == f"raise {self.name}" for question in questions):
            raise SampleError(FailureKind.SCORE_FAILED, f"raised by {self.name}")
        return [
            SampleError(FailureKind.SCORE_FAILED, f"failed by {self.name}")
            if question.sample_id == f"fail {self.name}"
            else FrameScores(scores=scores, windows=2, scorer=self.name)
            for question in questions
        ]


def test_a_hand_worked_cascade() -> None:
    """First: 0..7. The best quarter, 6 and 7, get -6 and -7 (std .5); the first's std over 0..7 is √5.25.
    Candidate 5 is 1 below the last refined: -7 - 1·.5/√5.25."""
    first, second = Brightness("first", 1), Brightness("second", -1)
    (scored,) = CascadeScorer(first, second, share=0.25).score(DARK_TO_LIGHT, [a_question("a")])
    slope = 0.5 / np.sqrt(5.25)
    expected = [-7 - slope * (6 - i) for i in range(6)] + [-6, -7]
    assert scored.scores == pytest.approx(expected, abs=1e-6)
    assert scored.scores.dtype == np.float32
    assert second.seen == [[6.5, 7.5]]
    assert (scored.scorer, scored.windows) == ("first > 0.25 second", 2)


def test_a_share_of_one_is_the_second_scorer() -> None:
    cascade = CascadeScorer(Brightness("first", 1), Brightness("second", -1), share=1)
    (scored,) = cascade.score(DARK_TO_LIGHT, [a_question("a")])
    assert scored.scores.tolist() == [-float(i) for i in range(8)]


SCORES = hnp.arrays(
    np.float32, st.integers(1, 40), elements=st.floats(-100, 100, width=32, allow_subnormal=False)
)


@given(coarse=SCORES, share=st.floats(0.01, 1), data=st.data())
def test_order_is_kept_below_and_nothing_unrefined_is_above(
    coarse: np.ndarray, share: float, data: st.DataObject
) -> None:
    best = best_share(coarse, share)
    elements = st.floats(-100, 100, width=32, allow_subnormal=False)
    fine = data.draw(hnp.arrays(np.float32, len(best), elements=elements))
    scores = join(coarse, fine, best)
    assert np.isfinite(scores).all()
    assert (scores[best] == fine).all()
    rest = np.setdiff1d(np.arange(len(coarse)), best)
    assert (scores[rest] <= fine.min()).all()
    ordered = rest[np.argsort(coarse[rest], kind="stable")]
    assert (np.diff(scores[ordered]) >= 0).all()
    assert len(best) == max(1, int(np.ceil(share * len(coarse) - 1e-9)))
    assert coarse[best].min() >= max(coarse[rest], default=-np.inf)


def test_equal_scores_stay_equal_and_one_refined_keeps_the_distances() -> None:
    flat = np.zeros(4, dtype=np.float32)
    assert best_share(flat, 0.5).tolist() == [0, 1]
    assert join(flat, np.array([3, 1], np.float32), best_share(flat, 0.5)).tolist() == [3, 1, 1, 1]
    steps = np.array([0, 1, 5, 3], dtype=np.float32)
    assert join(steps, np.array([2], np.float32), best_share(steps, 0.25)).tolist() == [-3, -2, 2, 0]


def test_the_scale_of_the_first_scorer_does_not_matter() -> None:
    coarse = np.random.default_rng(0).normal(size=30).astype(np.float32)
    best = best_share(coarse, 0.3)
    fine = np.random.default_rng(1).normal(size=len(best)).astype(np.float32)
    assert join(7 * coarse + 3, fine, best) == pytest.approx(join(coarse, fine, best), abs=1e-4)
    assert join(coarse, 7 * fine + 3, best) == pytest.approx(7 * join(coarse, fine, best) + 3, abs=1e-4)


def test_a_question_that_either_cannot_score_fails_alone() -> None:
    cascade = CascadeScorer(Brightness("first", 1), Brightness("second", -1), share=0.5)
    names = ["fail first", "fail second", "raise second", "a"]
    *failed, kept = cascade.score(DARK_TO_LIGHT, [a_question(name) for name in names])
    messages = [result.message for result in failed if isinstance(result, SampleError)]
    assert messages == ["failed by first", "failed by second", "raised by second"]
    assert isinstance(kept, FrameScores)
    with pytest.raises(SampleError, match="raised by first"):
        cascade.score(DARK_TO_LIGHT, [a_question("raise first")])


def test_clip_first_then_a_language_model(tiny_clip: Path, tiny_vlms: Path) -> None:
    """By name: the refined candidates have the margins of the model alone, and embeddings are passed on."""
    video = video_of(np.random.default_rng(0).integers(0, 256, (8, 28, 56, 3), dtype=np.uint8))
    settings = ScoreSettings(
        scorer="cascade",
        model=f"local-dir:{tiny_clip}",
        cascade_model=str(tiny_vlms / "llava"),
        cascade_share=0.3,
        device="cpu",
        batch_size=4,
    )
    scorer = make_scorer(settings)
    alone = [
        make_scorer(replace(settings, scorer="clip")),
        make_scorer(replace(settings, scorer="vlm", model=settings.cascade_model)),
    ]
    (scored,), (coarse,), (fine,) = (one.score(video, [a_question("a")]) for one in (scorer, *alone))
    best = best_share(coarse.scores, 0.3)
    assert len(best) == 3
    assert scored.scores[best] == pytest.approx(fine.scores[best], abs=1e-4)
    assert (scored.scores.argsort()[:5] == coarse.scores.argsort()[:5]).all()
    assert isinstance(scorer, FrameEmbedder)
    assert scored.embeddings.tobytes() == scorer.embed_frames(video.frames).tobytes()
    assert not isinstance(CascadeScorer(Brightness("a", 1), Brightness("b", 1), share=1), FrameEmbedder)


@pytest.mark.parametrize("part", ["cascade_first", "cascade_second"])
def test_a_cascade_of_cascades_is_refused(part: str) -> None:
    with pytest.raises(SettingsError, match=f"score.{part}: a cascade cannot be a part of a cascade"):
        make_scorer(ScoreSettings(scorer="cascade", **{part: "cascade"}))


def test_looked_up_scores_refine_nothing() -> None:
    with pytest.raises(SettingsError, match="precomputed scores cost nothing"):
        make_scorer(ScoreSettings(scorer="cascade", cascade_second="precomputed"))


@pytest.mark.parametrize("share", [0, -0.1, 1.1])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(SettingsError, match="cascade_share"):
        ScoreSettings(cascade_share=share)
