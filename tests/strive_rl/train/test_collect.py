"""Schedules, waves and refills inside of a run: what the record tells of them, and exact resume with each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from strive_data.errors import SettingsError, StriveError, UsageError
from strive_data.shards.reader import ShardSet
from strive_rl.common import jsonl
from strive_rl.config import (
    AlgorithmSettings,
    DataSettings,
    OptimSettings,
    PolicySettings,
    RolloutSettings,
    TrainSettings,
)
from strive_rl.data import Cursor, Stream, next_batch, rank_slice
from strive_rl.policy import Policy
from strive_rl.train.collect import Gathered, alone, ask_once, gather, teaching
from strive_rl.train.state import TrainState, resume, start
from strive_rl.train.trainer import fit, train_step
from tests.strive_rl.asked_questions import FakePolicy, made_batch, taker
from tests.strive_rl.made_shards import SAMPLED, make_shards


def test_every_question_has_its_variants_asked_at_once() -> None:
    policy = FakePolicy(chance=lambda p, alpha: float(p == 1), completions=3, unreadable={2: 0})
    asked = ask_once(made_batch([0, 1, 2], variants=2), policy.stages)
    assert policy.calls == [(0, [0, 1])]
    assert asked.waves == 1
    assert asked.encoded.dropped == (("q2", "too long"),)
    shapes = [[len(row) for row in rollout.completions] for rollout in asked.rollouts]
    assert shapes == [[3, 3], [3, 3]]
    assert [rollout.rewards[0][0].accuracy for rollout in asked.rollouts] == [0, 1]


def test_one_process_is_everyone() -> None:
    assert alone([3, 4]) == [3, 4]


START = Cursor()
STREAM = Stream(blocks=(7, 5), seed=3, batch_size=4)
ORDER = [pick.position for pick in next_batch(Cursor(), STREAM, 24)[0]]


def gathered(
    teach: Sequence[int], cursor: Cursor = START, rounds: int = 0, broken: Sequence[int] = ()
) -> tuple[Gathered, list[list[int]]]:
    """A step of four questions, of which those at `teach` are mixed, all others right; and who was asked."""
    policy = FakePolicy(chance=lambda p, alpha: 0.5 if p in teach else 1.0, completions=16)
    made = gather(
        taker(STREAM, broken=broken),
        lambda batch: ask_once(batch, policy.stages),
        cursor,
        questions=4,
        rounds=rounds,
    )
    return made, [positions for _, positions in policy.calls]


def test_without_rounds_a_step_is_one_batch() -> None:
    made, asked = gathered(ORDER[:1])
    assert asked == [ORDER[:4]]
    assert made.counts(masked=True) == {"drawn": 4, "taught": 1, "refills": 0, "waves": 1, "masked": 0}
    assert made.batch.after == Cursor(epoch=0, taken=4)


def test_each_round_asks_as_many_as_are_missing() -> None:
    teach = [ORDER[i] for i in (0, 2, 5, 6)]
    made, asked = gathered(teach, rounds=5)
    assert asked == [ORDER[:4], ORDER[4:6], ORDER[6:7]]
    assert made.counts(masked=False) == {"drawn": 7, "taught": 4, "refills": 2, "waves": 3, "masked": 0}
    assert made.batch.after == Cursor(epoch=0, taken=7)
    assert [group.question.sample_id for group in made.encoded.groups] == [f"q{i}" for i in ORDER[:7]]
    assert [rollout.group for rollout in made.rollouts] == list(made.encoded.groups)
    assert teaching(made.rollouts) == 4


def test_the_limit_ends_it_and_the_step_goes_on_with_what_it_has() -> None:
    made, asked = gathered([], rounds=2)
    assert [len(positions) for positions in asked] == [4, 4, 4]
    assert (made.drawn, made.taught, made.refills) == (12, 0, 2)


def test_what_is_damaged_or_cannot_be_encoded_is_made_up_for_too() -> None:
    made, asked = gathered(ORDER, rounds=1, broken=ORDER[1:3])
    assert asked == [[ORDER[0], ORDER[3]], ORDER[4:6]]
    assert [each.sample_id for each in made.batch.broken] == [f"q{i}" for i in ORDER[1:3]]
    assert (made.drawn, made.taught) == (6, 4)


@given(teach=st.sets(st.integers(0, 11)), rounds=st.integers(0, 4), steps=st.integers(1, 6))
def test_the_steps_together_ask_the_stream_as_it_is(teach: set[int], rounds: int, steps: int) -> None:
    cursor, asked = Cursor(), []
    for _ in range(steps):
        made, positions = gathered(sorted(teach), cursor, rounds)
        asked += [position for each in positions for position in each]
        cursor = made.batch.after
    picks, after = next_batch(Cursor(), STREAM, len(asked))
    assert asked == [pick.position for pick in picks]
    assert cursor == after


def test_ranks_agree_on_when_it_is_enough() -> None:
    """The one with questions enough goes on drawing for the one without."""
    teach = {ORDER[0], ORDER[1], ORDER[5]}
    said: list[list[Any]] = []

    def part(rank: int, size: int, everyone: Any) -> Gathered:
        policy = FakePolicy(chance=lambda p, alpha: 0.5 if p in teach else 1.0, completions=16)

        def take(cursor: Cursor, wanted: int) -> Any:
            picks, after = next_batch(cursor, STREAM, wanted)
            mine = [pick.position for pick in rank_slice(picks, rank, size)]
            batch = made_batch(mine, variants=2)
            return type(batch)(groups=batch.groups, picks=batch.picks, broken=(), after=after)

        return gather(
            take,
            lambda batch: ask_once(batch, policy.stages),
            Cursor(),
            questions=4,
            rounds=3,
            everyone=everyone,
        )

    def sums(mine: list[Any]) -> list[Any]:
        said.append(mine)
        return mine

    whole = part(0, 1, sums)
    for rank in (0, 1):
        turn = count()
        other = part(rank, 2, lambda mine, turn=turn: said[next(turn)])
        assert other.counts(masked=True) == whole.counts(masked=True)
        assert other.batch.after == whole.batch.after
        assert next(turn) == len(said)


def test_settings() -> None:
    with pytest.raises(SettingsError, match="expected at least 0"):
        RolloutSettings(refill_rounds=-1)


Answering = Callable[[Policy], Policy]
ALPHA = 0.3  # of the shards


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    return make_shards(tmp_path_factory.mktemp("collect") / "shards", samples=10)


def settings(steps: int, **changes: Any) -> TrainSettings:
    """Sections as dictionaries over the small defaults of these tests."""
    sections: dict[str, Any] = {
        "data": {"questions_per_step": 3},
        "policy": {"device": "cpu"},
        "rollout": {"completions": 3, "max_new_tokens": 4, "temperature": 4.0},
        "algorithm": {},
    }
    kinds: dict[str, Any] = {
        "data": DataSettings,
        "policy": PolicySettings,
        "rollout": RolloutSettings,
        "algorithm": AlgorithmSettings,
    }
    made = {name: kinds[name](**values | changes.get(name, {})) for name, values in sections.items()}
    return TrainSettings(**made, optim=OptimSettings(lr=1e-3), steps=steps, save_every=2)


def trained(run: TrainState, answering: Answering) -> list[dict[str, Any]]:
    run.policy = answering(run.policy)
    fit(run, lambda record, steps: None)
    return jsonl.read(run.out / "metrics.jsonl")


LINEAR = {"alpha_schedule": "linear", "alpha_final": 1.0, "alpha_steps": 3}
COSINE = {"alpha_schedule": "cosine", "alpha_final": 0.9, "alpha_steps": 3}
DRIVEN = {"alpha_schedule": "zero_advantage", "alpha_gain": 2.0}
WAVES = {"adaptive": True, "max_variants": 3}
RUNS: dict[str, dict[str, Any]] = {
    "linear": {"data": LINEAR},
    "cosine, clean": {"data": COSINE, "algorithm": {"logprob_condition": "clean"}},
    "driven, lora": {"data": DRIVEN, "policy": {"lora_rank": 4}},
    "waves, pooled": {"rollout": WAVES, "algorithm": {"baseline": "empirical_bayes", "minibatches": 2}},
    "refills, dapo": {"rollout": {"refill_rounds": 2}, "algorithm": {"loss": "dapo", "mask_truncated": True}},
    "all": {
        "data": DRIVEN,
        "policy": {"lora_rank": 4},
        "rollout": WAVES | {"refill_rounds": 2},
        "algorithm": {"logprob_condition": "clean", "normalise": "both", "kl_beta": 0.1},
    },
}


@pytest.mark.parametrize("changes", RUNS.values(), ids=RUNS)
def test_four_steps_are_two_and_two_more_bit_for_bit(
    tmp_path: Path, shards: ShardSet, tiny_folder: Path, answering: Answering, changes: dict[str, Any]
) -> None:
    model = str(tiny_folder)
    begin = {"shards": shards, "model": model}
    whole = trained(start(tmp_path / "whole", **begin, settings=settings(4, **changes)), answering)
    trained(start(tmp_path / "parts", **begin, settings=settings(2, **changes)), answering)
    run = resume(tmp_path / "parts", **begin, settings=settings(4, **changes))
    parts = trained(run, answering)
    one, other = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    for record in (*whole, *parts):
        for name in ("seconds", "per_second", "memory_bytes"):
            del record[name]
    assert whole == parts
    assert any(record["update_tokens"] for record in whole)
    check_counts(whole, changes)


def check_counts(records: list[dict[str, Any]], changes: dict[str, Any]) -> None:
    """What the records of four steps of three questions tell, whatever was switched on."""
    rollout = changes.get("rollout", {})
    for record in records:
        assert record["drawn"] == record["questions"]
        assert record["prompts"] == 2 * record["questions"]
        assert record["rollouts"] == 3 * record["prompts"]
        assert record["taught"] == round(record["questions"] * (1 - record["zero_advantage_share"]))
        if not rollout.get("refill_rounds"):
            assert (record["drawn"], record["refills"]) == (3, 0)
        elif record["taught"] < 3:
            assert record["refills"] == 2
        waves = 1 + record["refills"]
        assert waves < record["waves"] <= 4 * waves if rollout.get("adaptive") else record["waves"] == waves
        assert bool(record["masked"]) <= bool(changes.get("algorithm", {}).get("mask_truncated"))
    alphas = [record["alpha"] for record in records]
    schedule = changes.get("data", {}).get("alpha_schedule", "constant")
    if schedule == "constant":
        assert alphas == [ALPHA] * 4
    elif schedule == "linear":
        assert alphas == pytest.approx([ALPHA, 0.3 + 0.7 / 3, 0.3 + 1.4 / 3, 1.0])
    elif schedule == "cosine":
        assert alphas == pytest.approx([ALPHA, 0.45, 0.75, 0.9])
    else:
        assert len(set(alphas)) > 1


def test_a_refill_moves_the_cursor_over_all_that_it_asked(
    tmp_path: Path, shards: ShardSet, tiny_folder: Path, answering: Answering
) -> None:
    greedy = {"refill_rounds": 3, "completions": 2, "temperature": 1e-6}
    changed = settings(3, rollout=greedy, data={"variants": 1})
    run = start(tmp_path / "out", shards=shards, model=str(tiny_folder), settings=changed)
    records = trained(run, answering)
    # Two equal answers are never mixed: each step asks four times three questions and learns nothing.
    assert [(record["drawn"], record["taught"], record["updates"]) for record in records] == [(12, 0, 0)] * 3
    assert 10 * run.cursor.epoch + run.cursor.taken == 36


@pytest.mark.parametrize(
    ("changes", "name"),
    [({"data": DRIVEN}, r"data\.alpha_schedule=zero_advantage"), ({"rollout": WAVES}, r"rollout\.adaptive")],
)
def test_shards_that_cannot_give_other_variants_are_refused_before_the_first_step(
    tmp_path: Path, shards: ShardSet, tiny_folder: Path, changes: dict[str, Any], name: str
) -> None:
    changed = settings(
        1,
        data={**changes.get("data", {}), "sampler": "uniform"},
        **{part: values for part, values in changes.items() if part != "data"},
    )
    with pytest.raises(
        UsageError, match=name + " draws variants with another alpha .* sampler comb or peaks"
    ):
        start(tmp_path / "out", shards=shards, model=str(tiny_folder), settings=changed)
    few = make_shards(tmp_path / "few", samples=3, settings=SAMPLED)
    with pytest.raises(UsageError, match=r"shard\.frames=all"):
        start(tmp_path / "out", shards=few, model=str(tiny_folder), settings=settings(1, **changes))
    assert not (tmp_path / "out").exists()


def test_stored_variants_have_no_alpha(
    tmp_path: Path, shards: ShardSet, tiny_folder: Path, answering: Answering
) -> None:
    run = start(
        tmp_path / "out",
        shards=shards,
        model=str(tiny_folder),
        settings=settings(1, data={"draw": "stored"}),
    )
    (record,) = trained(run, answering)
    assert record["alpha"] is None


def test_probabilities_that_are_no_numbers_stop_the_run_with_step_and_questions(
    tmp_path: Path, shards: ShardSet, tiny_folder: Path
) -> None:
    """What a learning rate far too large leaves behind: the update of the step before broke the weights."""
    run = start(tmp_path / "out", shards=shards, model=str(tiny_folder), settings=settings(4))
    run.step = 2
    with torch.no_grad():
        next(run.policy.model.lm_head.parameters()).fill_(float("nan"))
    says = r"^step 3: .* not finite .*: q\d+, q\d+, q\d+; train again with a lower optim\.lr$"
    with pytest.raises(StriveError, match=says):
        train_step(run)
    assert run.step == 2
    assert not (run.out / "metrics.jsonl").exists()
