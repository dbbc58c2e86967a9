from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from strive_data.config import ScoreSettings
from strive_data.errors import FailureKind, SampleError
from strive_data.score.clip import ClipScorer, identity_of, load_clip
from tests.strive_data.made.samples import a_question
from tests.strive_data.made.threads import torch_threads
from tests.strive_data.score.videos import cosines_by_open_clip, video_of


def settings_of(folder: Path, **changes: object) -> ScoreSettings:
    base = ScoreSettings(model=f"local-dir:{folder}", pretrained="", device="cpu", batch_size=4)
    return replace(base, **changes)  # type: ignore[arg-type]


@pytest.fixture
def other(tiny_clip: Path, tmp_path: Path) -> Path:
    """The same model in a folder of the same name elsewhere, free to be changed."""
    return Path(shutil.copytree(tiny_clip, tmp_path / tiny_clip.name))


def identity(folder: Path, batch_size: int = 4, **changes: object) -> str:
    return identity_of(load_clip(settings_of(folder, **changes)), batch_size=batch_size)


def test_the_same_files_loaded_again_and_from_elsewhere_are_the_same(tiny_clip: Path, other: Path) -> None:
    assert identity(tiny_clip) == identity(tiny_clip) == identity(other)


def test_another_batch_size_precision_weight_or_preprocessing_is_another(
    tiny_clip: Path, other: Path
) -> None:
    seen = [identity(tiny_clip), identity(tiny_clip, 8), identity(tiny_clip, precision="bf16")]
    weights = load_file(other / "open_clip_model.safetensors")
    weights["visual.proj"][0, 0] += 1e-3
    save_file(weights, other / "open_clip_model.safetensors")
    seen.append(identity(other))
    config = json.loads((other / "open_clip_config.json").read_text())
    config["preprocess_cfg"] = {"mean": [0.5, 0.5, 0.5]}
    (other / "open_clip_config.json").write_text(json.dumps(config))
    seen.append(identity(other))
    assert len(set(seen)) == 5


RNG = np.random.default_rng(0)
FRAMES = RNG.integers(0, 256, (7, 40, 60, 3), dtype=np.uint8)
VIDEO = video_of(FRAMES)
ASKED = a_question(question="What colour is the bicycle near the door?", options=("A. red", "B. blue"))
LONG = replace(ASKED, question=" ".join(f"word{number}" for number in range(150)))


def test_the_size_of_a_batch_is_chosen_by_the_device_where_none_is_given(tiny_clip: Path) -> None:
    chosen, sixteen, four = (ClipScorer(settings_of(tiny_clip, batch_size=size)) for size in (0, 16, 4))
    assert chosen.embedding_identity() == sixteen.embedding_identity() != four.embedding_identity()
    with chosen.frame_batcher() as queue:
        queue.put(np.repeat(FRAMES[:1], 15, axis=0))
        assert not queue.is_full()
        one = queue.put(FRAMES[:1])  # the sixteenth fills the batch
        assert one.result().rows.shape[0] == 1


def test_scores_are_cosines_of_open_clip(tiny_clip: Path) -> None:
    expected = cosines_by_open_clip(
        tiny_clip, "What colour is the bicycle near the door? A. red B. blue", FRAMES
    )
    (scored,) = ClipScorer(settings_of(tiny_clip)).score(VIDEO, [ASKED])
    assert scored.scores == pytest.approx(expected, abs=1e-5)
    assert scored.scores.dtype == np.float32
    assert scored.windows == 1
    assert scored.scorer == tiny_clip.name
    assert np.ptp(expected) > 1e-3  # frames do differ


def test_a_frame_has_the_same_bits_wherever_it_stands(tiny_clip: Path) -> None:
    scorer = ClipScorer(settings_of(tiny_clip))
    whole = scorer.embed_frames(FRAMES)
    assert np.linalg.norm(whole, axis=1) == pytest.approx(np.ones(7), abs=1e-6)
    for count in (1, 3, 4, 5):
        assert scorer.embed_frames(FRAMES[:count]).tobytes() == whole[:count].tobytes()


def test_a_question_scores_the_same_alone_and_among_others(tiny_clip: Path) -> None:
    scorer = ClipScorer(settings_of(tiny_clip))
    together = scorer.score(VIDEO, [LONG, ASKED, LONG])
    alone = scorer.score(VIDEO, [ASKED])
    assert together[1].scores.tobytes() == alone[0].scores.tobytes()
    assert together[0].scores.tobytes() == together[2].scores.tobytes()
    assert together[0].scores.tobytes() != together[1].scores.tobytes()


def test_no_question_changes_the_bits_of_another_however_many_there_are(tiny_clip: Path) -> None:
    scorer = ClipScorer(settings_of(tiny_clip))
    asked = [replace(ASKED, question=f"Is there a {word}?") for word in ("bus", "taxi", "tree", "dog", "cat")]
    asked = [*asked, LONG, *asked[::-1]]  # more windows than a batch, at other places of it
    assert len({scored.scores.tobytes() for scored in scorer.score(VIDEO, asked)}) == 6
    for question, scored in zip(asked, scorer.score(VIDEO, asked), strict=True):
        (alone,) = scorer.score(VIDEO, [question])
        assert scored.scores.tobytes() == alone.scores.tobytes()
        assert scored.windows == alone.windows


def test_the_bits_do_not_depend_on_the_number_of_threads(tiny_clip: Path) -> None:
    asked = [ASKED, LONG, replace(ASKED, question="Is there a bus?")]
    with torch_threads(1):
        one = ClipScorer(settings_of(tiny_clip))
    with torch_threads(3):
        three = ClipScorer(settings_of(tiny_clip))
    for few, many in zip(one.score(VIDEO, asked), three.score(VIDEO, asked), strict=True):
        assert few.scores.tobytes() == many.scores.tobytes()
        assert few.embeddings.tobytes() == many.embeddings.tobytes()


def test_a_text_costs_one_pass_of_its_own(tiny_clip: Path) -> None:
    scorer = ClipScorer(settings_of(tiny_clip))
    runs: list[int] = []
    scorer._clip.model.transformer.register_forward_hook(lambda *_: runs.append(1))
    scorer.score(VIDEO, [ASKED] * 3)
    assert len(runs) == 3


def test_a_query_that_fits_in_no_window_costs_no_other_question(tiny_clip: Path) -> None:
    scorer = ClipScorer(settings_of(tiny_clip))
    scorer._clip = replace(scorer._clip, capacity=1)
    strange = replace(ASKED, question="🧿", options=())
    short = replace(ASKED, question="dog", options=())
    first, failed, last = scorer.score(VIDEO, [short, strange, short])
    assert failed.kind is FailureKind.SCORE_FAILED
    assert first.scores.tobytes() == last.scores.tobytes()
    (alone,) = scorer.score(VIDEO, [strange])
    assert isinstance(alone, SampleError)


def test_every_window_of_a_long_query_counts(tiny_clip: Path) -> None:
    changed = replace(LONG, question=LONG.question.replace("word149", "zebra"))
    long, other = ClipScorer(settings_of(tiny_clip, windows="mean")).score(VIDEO, [LONG, changed])
    assert long.windows > 5
    assert long.scores.tolist() != other.scores.tolist()
    mean = long.scores
    most = ClipScorer(settings_of(tiny_clip, windows="max")).score(VIDEO, [LONG])[0].scores
    assert mean.tolist() != most.tolist()


def test_the_query_form_changes_the_query(tiny_clip: Path) -> None:
    with_options = ClipScorer(settings_of(tiny_clip, query="question+options")).score(VIDEO, [ASKED])
    without = ClipScorer(settings_of(tiny_clip, query="question")).score(VIDEO, [ASKED])
    assert with_options[0].scores.tolist() != without[0].scores.tolist()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_is_near(tiny_clip: Path, precision: str) -> None:
    exact = ClipScorer(settings_of(tiny_clip)).score(VIDEO, [ASKED])[0].scores
    near = ClipScorer(settings_of(tiny_clip, precision=precision)).score(VIDEO, [ASKED])[0].scores
    assert near == pytest.approx(exact, abs=0.03)
    assert near.tolist() != exact.tolist()
