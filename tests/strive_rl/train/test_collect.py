"""Dynamic sampling inside of a run: what is sampled, what the record says, exact resume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from strive_data.common.settings import load
from strive_data.errors import SettingsError, StriveError
from strive_rl.algorithm.reward import Rules
from strive_rl.common import jsonl
from strive_rl.common.profiling import Stopwatch
from strive_rl.config import (
    AlgorithmSettings,
    DataSettings,
    PolicySettings,
    RolloutSettings,
    TrainSettings,
)
from strive_rl.data import Cursor, Stream, next_batch
from strive_rl.policy import Sampling
from strive_rl.rollout.groups import learned
from strive_rl.schema import Group, SampleRef, SkippedQuestion
from strive_rl.train import collect
from strive_rl.train.state import TrainState
from strive_rl.train.trainer import fit, train_step
from tests.strive_rl.made.groups import make_group
from tests.strive_rl.made.rollouts import TWO_VIEWS, completion
from tests.strive_rl.made.shards import make_shards
from tests.strive_rl.train.conftest import RunOf, quiet

START = Cursor()
STREAM = Stream(blocks=(7, 5), seed=3, batch_size=4)
ORDER = [ref.position for ref in next_batch(START, STREAM, 24)[0]]


@dataclass
class FakeLoader:
    """The next questions of a stream, without shards; those at `damaged` are broken."""

    damaged: Sequence[int] = ()

    def take(self, cursor: Cursor, size: int) -> tuple[list[Group], list[SkippedQuestion], Cursor]:
        refs, after = next_batch(cursor, STREAM, size)
        kept = [ref for ref in refs if ref.position not in self.damaged]
        broken = [
            SkippedQuestion(sample_id=f"q{ref.position}", reason="damaged")
            for ref in refs
            if ref.position in self.damaged
        ]
        return [replace(make_group(f"q{ref.position}", TWO_VIEWS), ref=ref) for ref in kept], broken, after


@dataclass
class FakePolicy:
    """Stands in for encoding and sampling: completions of the questions at `mixed` differ, those at `apart`
    between their variants alone, all others are right; those at `unreadable` cannot be encoded. Keeps the
    positions of each call."""

    mixed: Sequence[int]
    apart: Sequence[int]
    unreadable: Sequence[int]
    calls: list[list[int]]

    def encode_groups(
        self, policy: Any, groups: Sequence[Group]
    ) -> tuple[list[Group], list[SkippedQuestion]]:
        names = {f"q{position}" for position in self.unreadable}
        kept = [each for each in groups if each.question.sample_id not in names]
        skipped = [each.question.sample_id for each in groups if each.question.sample_id in names]
        return kept, [SkippedQuestion(sample_id=name, reason="too long") for name in skipped]

    def sample_groups(
        self, policy: Any, groups: Sequence[Group], sampling: Sampling, seed: int, engine: None
    ) -> list[Group]:
        positions = [cast(SampleRef, each.ref).position for each in groups]
        self.calls.append(positions)
        right, wrong = completion("<answer>A</answer>"), completion("<answer>B</answer>")
        rows = dict.fromkeys(positions, ((right, right), (right, right)))
        rows |= dict.fromkeys(self.mixed, ((right, right), (right, wrong)))
        rows |= dict.fromkeys(self.apart, ((right, right), (wrong, wrong)))
        return [
            replace(each, completions=rows[position])
            for each, position in zip(groups, positions, strict=True)
        ]


def collected(
    mixed: Sequence[int],
    cursor: Cursor = START,
    rounds: int = 0,
    *,
    damaged: Sequence[int] = (),
    unreadable: Sequence[int] = (),
    apart: Sequence[int] = (),
    **algorithm: Any,
) -> tuple[SimpleNamespace, list[list[int]]]:
    """The batch of a step of four questions, and the positions sampled in each round."""
    fake = FakePolicy(mixed, apart, unreadable, [])
    settings = TrainSettings(
        data=DataSettings(questions_per_step=4),
        rollout=RolloutSettings(dynamic_sampling_rounds=rounds),
        algorithm=AlgorithmSettings(**algorithm),
    )
    run = SimpleNamespace(
        policy=SimpleNamespace(model=torch.nn.Identity()),
        engine=None,
        step=0,
        loader=FakeLoader(damaged),
        settings=settings,
        cursor=cursor,
        rules=Rules(),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collect, "encode_groups", fake.encode_groups)
        patch.setattr(collect, "sample_groups", fake.sample_groups)
        groups, stats, after = collect.collect(cast(TrainState, run), Stopwatch())
    return SimpleNamespace(**(vars(stats) | {"groups": groups, "after": after})), fake.calls


def test_without_rounds_a_step_is_one_batch() -> None:
    batch, sampled = collected(ORDER[:1])
    assert sampled == [ORDER[:4]]
    assert batch.rounds == 0
    assert batch.after == Cursor(epoch=0, taken=4)
    assert informative(batch) == [True, False, False, False]


def test_each_round_samples_as_many_as_are_missing() -> None:
    mixed = [ORDER[i] for i in (0, 2, 5, 6)]
    batch, sampled = collected(mixed, rounds=5)
    assert sampled == [ORDER[:4], ORDER[4:6], ORDER[6:7]]
    assert batch.rounds == 2
    assert batch.after == Cursor(epoch=0, taken=7)
    assert [group.question.sample_id for group in batch.groups] == [f"q{i}" for i in ORDER[:7]]
    assert sum(informative(batch)) == 4


def informative(batch: SimpleNamespace, **algorithm: Any) -> list[bool]:
    return [bool(learned(group, AlgorithmSettings(**algorithm)).any()) for group in batch.groups]


def test_a_question_whose_variants_alone_differ_is_replaced_per_variant() -> None:
    """Regression: it made no example, and was counted as informative."""
    mixed, apart = [ORDER[i] for i in (0, 4)], [ORDER[i] for i in (1, 2, 3)]
    _, sampled = collected(mixed, rounds=1, apart=apart)
    assert sampled == [ORDER[:4]]
    batch, sampled = collected(mixed, rounds=1, apart=apart, normalise="per_variant")
    assert sampled == [ORDER[:4], ORDER[4:7]]
    assert informative(batch, normalise="per_variant") == [True, False, False, False, True, False, False]


def test_the_limit_of_rounds_ends_it() -> None:
    batch, sampled = collected([], rounds=2)
    assert [len(positions) for positions in sampled] == [4, 4, 4]
    assert batch.rounds == 2


def test_damaged_and_unreadable_questions_are_replaced_too() -> None:
    batch, sampled = collected(ORDER, rounds=1, damaged=ORDER[1:3], unreadable=ORDER[3:4])
    assert sampled == [ORDER[:1], ORDER[4:7]]
    assert [each.sample_id for each in batch.broken] == [f"q{i}" for i in ORDER[1:3]]
    assert [each.sample_id for each in batch.dropped] == [f"q{ORDER[3]}"]


@given(mixed=st.sets(st.integers(0, 11)), rounds=st.integers(0, 4), steps=st.integers(1, 6))
def test_the_steps_together_take_the_stream_in_its_order(mixed: set[int], rounds: int, steps: int) -> None:
    cursor, sampled = START, []
    for _ in range(steps):
        batch, positions = collected(sorted(mixed), cursor, rounds)
        sampled += [position for each in positions for position in each]
        cursor = batch.after
    refs, after = next_batch(START, STREAM, len(sampled))
    assert sampled == [ref.position for ref in refs]
    assert cursor == after


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("rollout.refill_rounds=2", "rollout.dynamic_sampling_rounds"),
        ("rollout.adaptive=true", "removed"),
        ("rollout.max_variants=3", "removed"),
        ("rollout.focus=0.5", "removed"),
        ("algorithm.baseline=leave_one_out", "leave-one-out scored .8 ± .7"),
        ("algorithm.normalise=both", "1.1 ± .9 points below"),
        ("algorithm.normalise=bth", "joint, per_variant"),
        ("data.alpha_schedule=linear", "1.8 ± .4 points below"),
        ("data.alpha_final=1", "removed with data.alpha_schedule"),
        ("data.alpha_least=0.5", "removed with data.alpha_schedule"),
        ("algorithm.logprob_condition=clean", "5.3 ± .7 points below"),
        ("data.selection=variance", "2.9 ± .6 points below"),
        ("data.selection_floor=0.5", "removed with data.selection"),
        ("data.pass_rates=a.parquet", "removed with data.selection"),
        ("rollout.dynamic_sampling_rounds=-1", "at least 0"),
    ],
)
def test_renamed_removed_and_impossible_settings_are_refused(assignment: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says) as refused:
        load(TrainSettings, assignments=[assignment])
    assert assignment.partition("=")[0] in str(refused.value)


def settings(**rollout: Any) -> TrainSettings:
    """Three steps of three questions, each with one variant and two completions."""
    return TrainSettings(
        data=DataSettings(questions_per_step=3, variants=1),
        policy=PolicySettings(device="cpu"),
        rollout=RolloutSettings(completions=2, max_new_tokens=4, **rollout),
        steps=3,
    )


def test_dynamic_sampling_moves_the_cursor_over_every_question(tmp_path: Path, run_of: RunOf) -> None:
    greedy = settings(dynamic_sampling_rounds=3, temperature=1e-6)
    run = run_of(tmp_path / "out", greedy, shards=make_shards(tmp_path / "shards", samples=10))
    fit(run, quiet)
    records = jsonl.read(run.out / "metrics.jsonl")
    # Two equal completions never differ: each step samples four times three questions and learns nothing.
    assert [(record["drawn"], record["informative"], record["updates"]) for record in records] == [
        (12, 0, 0)
    ] * 3
    assert 10 * run.cursor.epoch + run.cursor.taken == 36


def test_probabilities_that_are_no_numbers_stop_the_run_with_step_and_questions(
    tmp_path: Path, run_of: RunOf
) -> None:
    """What a learning rate far too large leaves behind: the update of the step before broke the weights."""
    run = run_of(tmp_path / "out", settings())
    run.step = 2
    with torch.no_grad():
        next(run.policy.model.lm_head.parameters()).fill_(float("nan"))
    says = r"^step 3: .* not finite .*: q\d+, q\d+, q\d+; train again with a lower optim\.lr$"
    with pytest.raises(StriveError, match=says):
        train_step(run)
    assert run.step == 2
    assert not (run.out / "metrics.jsonl").exists()
