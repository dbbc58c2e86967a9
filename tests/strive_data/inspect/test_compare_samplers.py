from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strive_data.config import SamplerSettings
from strive_data.errors import SettingsError
from strive_data.inspect.cases import Case
from strive_data.inspect.compare_samplers import (
    METRICS,
    STORED,
    VideoBootstrap,
    as_text,
    compare,
    largest_gaps,
    measure,
    sampler_settings,
)
from strive_data.sampling.comb import comb_offset
from strive_data.sampling.samplers import draw

SMALL = {"samplers": ("uniform", "topk", "comb"), "frames": (4,), "variants": (2,), "resamples": 50}


def test_a_row_for_each_sampler_noise_frames_and_variants():
    comparison = {
        "samplers": ("uniform", "comb"),
        "frames": (2, 4),
        "variants": (1, 2),
        "noise": (0, 2),
        "resamples": 99,
    }
    table = compare(peaked_cases(), **comparison)
    assert table.height == 16
    assert table.select("sampler", "noise", "frames", "variants").n_unique() == 16
    assert table["questions"].unique().to_list() == [40]
    for metric in METRICS:
        rows = table.drop_nulls(metric)
        assert (rows[f"{metric}_low"] <= rows[metric] + 1e-12).all()
        assert (rows[metric] <= rows[f"{metric}_high"] + 1e-12).all()
    assert table.filter(variants=1)["overlap"].null_count() == 8


def assert_measured_alone(table, cases, drawn):
    """The table's one row has the means over cases that are drawn and measured one by one."""
    alone = [measure(d[None], [c.moments], len(c.scores)) for d, c in zip(drawn, cases, strict=True)]
    for metric in METRICS:
        assert table[metric].item() == pytest.approx(np.mean([own[metric][0] for own in alone]))


@pytest.mark.parametrize("drawn_offsets", [False, True], ids=["middle", "phases of training"])
def test_equals_drawing_and_measuring_one_by_one(drawn_offsets):
    # Two lengths, so that cases are grouped and put back.
    cases = peaked_cases(6, 30) + peaked_cases(5, 41)
    cases = [cases[i] for i in (3, 9, 0, 10, 5, 6, 1, 2, 7, 4, 8)]
    given = {"frames": (4,), "variants": (3,), "noise": (0,), "resamples": 5, "drawn_offsets": drawn_offsets}
    chosen = SamplerSettings(frames=4, variants=3)
    offsets = [comb_offset(0, c.sample_id, 0) if drawn_offsets else 0.5 for c in cases]
    drawn = [draw("comb", c.scores, chosen, offset=at) for c, at in zip(cases, offsets, strict=True)]
    assert_measured_alone(compare(cases, samplers=("comb",), **given), cases, drawn)


def test_clear_scores_help_and_noise_takes_it_away():
    table = compare(peaked_cases(200), **SMALL)
    recall = {(row["sampler"], row["noise"]): row["moment_recall"] for row in table.rows(named=True)}
    assert recall["topk", 0] == 1
    assert recall["uniform", 0] < 0.5 < recall["comb", 0]
    assert recall["uniform", 1] == recall["uniform", 0]
    blind = compare(peaked_cases(200), samplers=("topk",), frames=(4,), variants=(2,), noise=(1e6,))
    assert blind["moment_recall"].item() < 0.5


def test_the_table_is_the_same_every_time_and_hangs_on_the_seed():
    cases = peaked_cases()
    assert compare(cases, **SMALL).equals(compare(cases, **SMALL))
    first = {"samplers": ("topk",), "frames": (4,), "variants": (2,), "noise": (3.0,), "resamples": 5}
    other = first | {"seed": 1}
    assert compare(cases, **other)["precision"].item() != compare(cases, **first)["precision"].item()


def test_grouping_draws_by_the_embeddings_of_each_case_or_is_refused():
    rng = np.random.default_rng(0)
    plain = peaked_cases(6, 30) + peaked_cases(5, 41)
    cases = [
        replace(case, times=np.arange(n) + 0.5, embeddings=rng.normal(size=(n, 8)).astype(np.float32))
        for case in plain
        for n in [len(case.scores)]
    ]
    for name in ("comb", "peaks"):
        text = f"{name}:grouping=semantic"
        comparison = {
            "samplers": (text, name),
            "frames": (4,),
            "variants": (3,),
            "noise": (0,),
            "resamples": 5,
        }
        table = compare(cases, **comparison)
        chosen = SamplerSettings(frames=4, variants=3, grouping="semantic")
        drawn = [
            draw(name, c.scores, chosen, offset=0.5, embeddings=c.embeddings, times=c.times) for c in cases
        ]
        assert_measured_alone(table.filter(sampler=text), cases, drawn)
        assert table["largest_gap"].n_unique() == 2
        with pytest.raises(SettingsError, match="got no frame embeddings"):
            compare(plain, **comparison)


def test_stored_variants_are_judged_as_they_are():
    cases = [
        a_case(range(8), [(0, 2)], "1", stored=[[0, 7], [5, 7]]),
        a_case(range(9), [(3, 4)], "2", stored=[[0, 1], [2, 3]]),
    ]
    table = compare(cases, samplers=("uniform",), frames=(2,), variants=(2,), noise=(0,))
    row = table.filter(sampler=STORED).row(0, named=True)
    assert (row["frames"], row["variants"], row["questions"]) == (2, 2, 2)
    assert (row["moment_recall"], row["worst_recall"], row["union_recall"]) == (0.5, 0, 1)
    assert row["overlap"] == pytest.approx(0.25)


def test_settings_after_the_name():
    assert sampler_settings("comb:alpha=0.6,kappa=0.5") == SamplerSettings(name="comb", alpha=0.6, kappa=0.5)
    base = SamplerSettings(name="comb", frames=4, alpha=0.2, epsilon=0.7)
    given = sampler_settings("comb:alpha=0.6", base)
    assert given == SamplerSettings(name="comb", frames=4, alpha=0.6, epsilon=0.7)
    assert sampler_settings("topk", base).name == "topk"
    with pytest.raises(SettingsError, match="unknown sampler 'kombi'"):
        sampler_settings("kombi:alpha=1")
    with pytest.raises(SettingsError, match="unknown setting 'alhpa', did you mean 'alpha'"):
        sampler_settings("comb:alhpa=1")
    with pytest.raises(SettingsError, match="changes nothing for the sampler 'aks'"):
        sampler_settings("aks:grouping=semantic")
    with pytest.raises(SettingsError, match="noise: got"):
        compare(peaked_cases(), noise=(-1.0,))


# K = 8, M = 2: recall of a variant / largest gap / recall of the worst / of the union.
PUBLISHED = {
    "uniform": (0.833, 0.133, 0.759, 0.925),
    "topk": (0.720, 0.655, 0.720, 0.720),
    "aks:aks_threshold=0.8": (0.877, 0.205, 0.877, 0.877),
    "bolt:bolt_power=3": (0.826, 0.510, 0.826, 0.826),
    "comb:alpha=0.3,epsilon=0.5,kappa=1": (0.862, 0.235, 0.812, 0.928),
    "comb:alpha=0.6,epsilon=0.5,kappa=1": (0.870, 0.201, 0.820, 0.938),
}
PUBLISHED_GUMBEL = (0.821, 0.440, 0.763, 0.888)
COLUMNS = ("moment_recall", "largest_gap", "worst_recall", "union_recall")


def judged(cases, samplers):
    comparison = {"samplers": samplers, "frames": (8,), "variants": (2,), "noise": (0,), "resamples": 1}
    return compare(cases, **comparison).select("sampler", *COLUMNS)


def test_the_table_of_the_method_is_reproduced(qvhighlights):
    for name, *measured in judged(qvhighlights, tuple(PUBLISHED)).rows():
        np.testing.assert_allclose(measured, PUBLISHED[name], atol=0.01, err_msg=name)


def test_the_gumbel_row_of_the_method_is_reproduced(qvhighlights):
    # One draw of the noise moves the worst variant's recall by .01: the mean of five is compared.
    table = judged(qvhighlights, tuple(f"gumbel:gumbel_tau=1,seed={seed}" for seed in range(5)))
    np.testing.assert_allclose(table.select(pl.mean(*COLUMNS)).row(0), PUBLISHED_GUMBEL, atol=0.01)


@pytest.fixture(scope="module")
def table():
    comparison = {
        "samplers": ("uniform", "comb"),
        "frames": (4, 2),
        "variants": (1, 2),
        "noise": (0,),
        "resamples": 20,
    }
    return compare(peaked_cases(), **comparison)


def test_the_screen_shows_the_mean_and_half_the_interval(table):
    text = as_text(table)
    rows = [[cell.strip() for cell in line.strip("│").split("┆")] for line in text.splitlines()[3:-1]]
    assert len(rows) == 8
    # Ordered by frames and variants, so that samplers stand beside each other.
    assert [row[1:4] for row in rows[:3]] == [
        ["2", "1", "uniform"],
        ["2", "1", "comb"],
        ["2", "2", "uniform"],
    ]
    first = table.filter(sampler="uniform", frames=2, variants=1).row(0, named=True)
    half = (first["moment_recall_high"] - first["moment_recall_low"]) / 2
    assert rows[0][4] == f"{first['moment_recall']:.3f}±{half:.3f}".replace("±0", "±")
    assert rows[0][-1] == "–"


def test_the_interval_is_the_normal_one_for_many_videos():
    values = np.random.default_rng(1).normal(0.5, 0.2, 900)
    low, high = VideoBootstrap([str(i) for i in range(900)], resamples=4000).interval(values)
    half = 1.96 * values.std() / 30
    assert low == pytest.approx(values.mean() - half, abs=0.05 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.05 * half)


def test_questions_of_one_video_are_drawn_together():
    # 100 videos of 9 equal questions: the interval of 100 values, three times that of 900.
    values = np.random.default_rng(1).normal(0.5, 0.2, 100)
    once = VideoBootstrap([str(i) for i in range(100)], resamples=500).interval(values)
    repeated = VideoBootstrap([str(i // 9) for i in range(900)], resamples=500).interval(np.repeat(values, 9))
    assert repeated[1] - repeated[0] > 0.9 * (once[1] - once[0])


def test_the_mean_is_over_questions_and_not_over_videos():
    low, high = VideoBootstrap(["a"] * 4, resamples=10).interval(np.array([1.0, 0, 0, 0]))
    assert (low, high) == (0.25, 0.25)


def test_deterministic_and_nan_stays_nan():
    ids = [str(i) for i in range(30)]
    values = np.random.default_rng(0).random(30)
    first, second = (VideoBootstrap(ids, resamples=50, seed=3).interval(values) for _ in range(2))
    assert first == second
    assert first != VideoBootstrap(ids, resamples=50, seed=4).interval(values)
    assert np.isnan(VideoBootstrap(ids, resamples=5).interval(np.full(30, np.nan))).all()


COUNT = 20
RANGES = st.tuples(st.integers(0, COUNT), st.integers(0, COUNT)).map(lambda pair: tuple(sorted(pair)))


def test_by_hand():
    drawn_QMK = np.array([[[1, 4], [0, 9]]], np.int32)
    measured = measure(drawn_QMK, [[(0, 2), (4, 5), (6, 8)]], 10)
    # Variant 0 meets moments 0 and 1; variant 1 moment 0. Gaps: 4→10 is 6; 0→9 is 9.
    expected = {
        "moment_recall": 1 / 2,
        "hit_rate": 1,
        "precision": 3 / 4,
        "largest_gap": 0.75,
        "worst_recall": 1 / 3,
        "union_recall": 2 / 3,
        "overlap": 0,
    }
    assert {name: values.item() for name, values in measured.items()} == pytest.approx(expected)
    assert tuple(measured) == METRICS


def test_the_ends_of_the_video_count_as_gaps():
    assert largest_gaps(np.array([[[7, 8, 9], [0, 1, 2], [1, 5, 8]]], np.int32), 10).tolist() == [[8, 8, 4]]


def test_overlap_is_shared_frames_over_pairs():
    drawn_QMK = np.array([[[0, 1], [0, 2], [0, 1]], [[0, 1], [0, 1], [0, 1]]], np.int32)
    assert measure(drawn_QMK, [[(0, 1)], [(0, 1)]], 4)["overlap"].tolist() == pytest.approx([4 / 6, 1])
    assert np.isnan(measure(drawn_QMK[:, :1], [[(0, 1)], [(0, 1)]], 4)["overlap"]).all()


def test_a_moment_between_candidates_is_missed():
    everything_QMK = np.arange(5, dtype=np.int32)[None, None]
    measured = measure(everything_QMK, [[(2, 2), (0, 1)]], 5)
    assert measured["moment_recall"].tolist() == [0.5]
    assert measured["precision"].tolist() == [0.2]


@given(
    st.lists(st.lists(RANGES, min_size=1, max_size=4), min_size=1, max_size=3),
    st.integers(1, 4),
    st.integers(1, 8),
    st.integers(0, 99),
)
def test_against_sets(moments, variants, frames, seed):
    rng = np.random.default_rng(seed)
    drawn_QMK = np.array(
        [
            [sorted(rng.choice(COUNT, frames, replace=False)) for _ in range(variants)]
            for _ in range(len(moments))
        ],
        dtype=np.int32,
    )
    measured = measure(drawn_QMK, moments, COUNT)
    for q, own in enumerate(moments):
        truth = [set(range(a, b)) for a, b in own]
        views = [set(row.tolist()) for row in drawn_QMK[q]]
        recalls = [np.mean([bool(view & moment) for moment in truth]) for view in views]
        union = np.mean([bool(set.union(*views) & moment) for moment in truth])
        assert measured["moment_recall"][q] == pytest.approx(np.mean(recalls))
        assert measured["worst_recall"][q] == pytest.approx(min(recalls))
        assert measured["union_recall"][q] == pytest.approx(union)
        assert measured["hit_rate"][q] == pytest.approx(np.mean([r > 0 for r in recalls]))
        inside = [len(view & set.union(*truth)) / frames for view in views]
        assert measured["precision"][q] == pytest.approx(np.mean(inside))
        if variants > 1:
            shared = [len(a & b) / frames for a, b in combinations(views, 2)]
            assert measured["overlap"][q] == pytest.approx(np.mean(shared))


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
