"""Videos, images and folders of frames, all problem types, from one table: build, verify, report, train each
architecture, export to each layout, read back."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from strive_data.build.pipeline import build
from strive_data.build.verify import verify_build
from strive_data.config import (
    BuildSettings,
    DecodeSettings,
    SamplerSettings,
    ScoreSettings,
    ShardSettings,
    ViewSettings,
)
from strive_data.demo.draw import write_world
from strive_data.export.layouts import export_build
from strive_data.inspect.report import Selection, write_report
from strive_data.schema import PROBLEM_TYPES
from strive_data.shards.reader import ShardSet
from strive_rl.common import jsonl
from strive_rl.config import DataSettings, OptimSettings, PolicySettings, RolloutSettings, TrainSettings
from strive_rl.data.views import plan_views, training_group
from strive_rl.train import state
from strive_rl.train.state import open_run
from strive_rl.train.trainer import fit
from tests.strive_data.export.test_export import READERS, check_key_frames, expected
from tests.strive_data.made.engine import Notes
from tests.strive_rl.made.models import TINY_MODELS, answering

SETTINGS = BuildSettings(
    decode=DecodeSettings(candidates=8, max_pixels=4 * 784),
    score=ScoreSettings(scorer="demo", batch_size=8),
    sampler=SamplerSettings(frames=4, variants=2),
    shard=ShardSettings(frames="all"),
)
CHOICE = {"problem_type": "multiple choice", "problem": "What colour is it?"}
CHOICE |= {"options": ["A. red", "B. blue"], "solution": "A"}
WHEN = {"problem_type": "temporal grounding", "problem": "When is it red?", "solution": [[1.5, 4.0]]}
EXTRA: dict[str, dict[str, object]] = {
    "still": {"path": "still.png"} | CHOICE,
    "big": {"path": "big.jpg"} | CHOICE,
    "folder": {"path": "clip/%05d.jpg", "fps": 2} | CHOICE,
    "timed": {"path": "timed", "frame_times": [0, 0.4, 1.1, 3.0]} | CHOICE,
    "when": {"path": "videos/world3-0000.mp4"} | WHEN,
    "ocr": {"path": "still.png", "problem_type": "OCR", "problem": "What?", "solution": "red"},
    "n": {"path": "still.png", "problem_type": "numerical", "problem": "Count?", "solution": "2"},
    "r": {"path": "big.jpg", "problem_type": "regression", "problem": "Size?", "solution": 2.5},
    "f": {"path": "big.jpg", "problem_type": "free-form", "problem": "What?", "solution": "red"},
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mixed")
    table = write_world(root / "world", videos=1, questions_per_video=2, seed=3)
    Image.new("RGB", (60, 40), (200, 0, 0)).save(root / "world" / "still.png")
    Image.effect_noise((400, 300), 90).convert("RGB").save(root / "world" / "big.jpg")
    for name, count in (("clip", 6), ("timed", 4)):
        (root / "world" / name).mkdir()
        for number in range(count):
            Image.new("RGB", (64, 48), (40 * number, 0, 0)).save(root / "world" / name / f"{number:05d}.jpg")
    with table.open("a") as file:
        file.writelines(json.dumps({"problem_id": name} | row) + "\n" for name, row in EXTRA.items())
    out = root / "built"
    summary = build([table], data_root=table.parent, out=out, settings=SETTINGS, observer=Notes(), workers=1)
    assert (summary.counts["samples"], summary.failures) == (2 + len(EXTRA), ())
    return out


def test_an_image_is_a_sample_of_one_frame(built: Path) -> None:
    rows = pl.read_parquet(built / "samples.parquet").filter(reader="image")
    assert set(rows["sample_id"]) == {"still", "big", "ocr", "n", "r", "f"}
    assert rows.select("candidates", "frames", "variants", "stored").unique().row(0) == (1, 1, 2, 1)
    assert rows["duration_seconds"].unique().to_list() == [0]
    types = pl.read_parquet(built / "samples.parquet")["problem_type"]
    assert set(types) == set(PROBLEM_TYPES)
    assert not verify_build(built).problems
    shards = ShardSet.open(built)
    sample = shards.read(shards.sample_ids.index("still"))
    assert (sample.variants.tolist(), sample.uniform.tolist()) == ([[0], [0]], [0])
    assert sample.meta.info.is_image


def test_a_folder_of_frames_keeps_the_times_of_its_column(built: Path) -> None:
    shards = ShardSet.open(built)
    sample = shards.read(shards.sample_ids.index("folder"))
    assert (sample.meta.question.video, sample.meta.info.reader) == ("clip", "frames")
    assert sample.times.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    assert sample.meta.info.duration_seconds == 3.0
    assert sample.meta.question.fps == 2.0
    timed = shards.read(shards.sample_ids.index("timed"))
    assert timed.times.tolist() == [0.0, 0.4, 1.1, 3.0] == list(timed.meta.question.frame_times)


def test_the_report_shows_images_without_a_time_line(built: Path) -> None:
    write_report(built, built.parent / "page.html", Selection(limit=11))
    page = (built.parent / "page.html").read_text()
    still = page[page.index('id="sample-still"') :].partition("</section>")[0]
    assert "image" in still
    assert 'class="chart"' not in still
    assert still.count('class="frame"') == 1
    assert page.count('aria-label="time line"') == 5


def test_spatial_views_are_the_variants_of_an_image(built: Path) -> None:
    """Without them all variants show the same picture; a crop or a tier changes all but the first."""
    shards = ShardSet.open(built)
    sample = shards.read(shards.sample_ids.index("big"))
    whole = json.loads((built / "run.json").read_text())["settings"]
    plain = training_group(sample, plan_views(whole, DataSettings()), seed=0, epoch=0)
    assert plain.still
    np.testing.assert_array_equal(plain.views[0].frames, plain.views[1].frames)
    seen = set()
    for views in (ViewSettings(crop=True), ViewSettings(tiers=("coarse",))):
        plan = plan_views(whole, DataSettings(views=views))
        for epoch in range(12):
            first, second = training_group(sample, plan, seed=0, epoch=epoch).views
            np.testing.assert_array_equal(first.frames, plain.views[0].frames)
            assert len(second.frames) == 1
            seen.add(second.spatial.split(" at ")[0].split(" 0.")[0])
            if second.spatial.startswith("crop"):
                assert second.frames.shape == first.frames.shape
                assert (second.frames != first.frames).any()
            elif second.spatial == "tier coarse":
                assert second.frames[0].size <= first.frames[0].size / 2
    assert seen == {"whole", "crop", "tier coarse"}


@pytest.mark.parametrize("layout", [*READERS, "lmms-eval"])
def test_each_export_has_the_questions_pixels_and_times_that_were_trained_on(
    built: Path, tmp_path: Path, layout: str
) -> None:
    root = built.parent / "world" if layout == "lmms-eval" else None
    assert export_build(built, layout, tmp_path / "out", data_root=root).rows == 2 * (2 + len(EXTRA))
    if layout == "lmms-eval":
        check_key_frames(tmp_path / "out", built, built.parent / "world")
        return
    rows = READERS[layout](tmp_path / "out")
    assert rows == expected(built)
    shards = ShardSet.open(built)
    whole = json.loads((built / "run.json").read_text())["settings"]
    for row in rows:
        sample = shards.read(shards.sample_ids.index(row.sample_id))
        group = training_group(sample, plan_views(whole, DataSettings()), seed=0, epoch=0)
        if group.still:
            (image,) = row.images
            np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(image))), group.views[0].frames[0])


@pytest.mark.slow
@pytest.mark.parametrize("model_type", sorted(TINY_MODELS))
def test_three_steps_of_training_on_mixed_batches(built: Path, tmp_path: Path, model_type: str) -> None:
    folder = TINY_MODELS[model_type](tmp_path / "model")
    settings = TrainSettings(
        data=DataSettings(questions_per_step=5),
        policy=PolicySettings(device="cpu"),
        rollout=RolloutSettings(completions=4, max_new_tokens=5, temperature=4.0),
        optim=OptimSettings(lr=1e-3),
        steps=3,
    )
    run = open_run(tmp_path / "run", shards=ShardSet.open(built), model=str(folder), settings=settings)
    run.policy = answering(run.policy)
    before = {name: weight.detach().clone() for name, weight in run.policy.trainable()}
    fit(run, lambda *_: None)
    records = jsonl.read(tmp_path / "run" / state.METRICS_FILE)
    assert [record["step"] for record in records] == [1, 2, 3]
    assert all(record["questions"] == 5 for record in records)
    assert any((weight != before[name]).any() for name, weight in run.policy.trainable())
