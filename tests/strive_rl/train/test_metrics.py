"""Records of a step, by hand; and that METRICS.md names exactly what they hold."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.resources import files
from typing import Any

import numpy as np

from strive_rl.data import Batch, Cursor
from strive_rl.rollout.builtin import Encoded, rewarded
from strive_rl.schema import Completion, Group
from strive_rl.train.collect import COUNTS
from strive_rl.train.metrics import by_variant, question_facts, step_facts, step_record, together
from strive_rl.train.update import UpdateStats
from tests.strive_rl.made_facts import part, question

TWO_VIEWS = ((0.5, 1.0), (0.0, 9.0))


def said(text: str, length: int = 1, finished: bool = True, entropy: float = 0.5) -> Completion:
    return Completion(
        ids=(1,) * length,
        logprobs=(-1.0,) * length,
        text=text,
        finished=finished,
        entropies=(entropy,) * length,
    )


ANSWERS = (
    (said("<answer>A</answer>"), said("<answer>B</answer>", 3)),
    (said("<answer>B</answer>", 2), said("<answer>", 4, False, 0.25)),
)


def test_facts_of_a_question(make_group: Callable[..., Group]) -> None:
    group = make_group("q7", TWO_VIEWS)
    group = replace(group, question=replace(group.question, evidence_spans=((1.0, 2.0), (20.0, 30.0))))
    made = question_facts(rewarded(group, ANSWERS), np.array([[2.0, -1.0], [-0.5, -0.5]]), [11, 12])
    assert (made.sample_id, made.problem_type) == ("q7", "multiple choice")
    assert made.rewards == {
        "total": ((0.9, 0.0), (0.0, 0.0)),
        "accuracy": ((1.0, 0.0), (0.0, 0.0)),
        "format": ((0.0, 0.0), (0.0, 0.0)),
    }
    assert made.advantages == ((2.0, -1.0), (-0.5, -0.5))
    assert (made.lengths, made.prompt_tokens) == (((1, 3), (2, 4)), (11, 12))
    assert made.finished == ((True, True), (True, False))
    assert (made.entropy_nats, made.entropy_tokens) == (6 * 0.5 + 4 * 0.25, 10)
    assert made.evidence_seen == (True, False)


def test_nothing_is_said_of_evidence_that_is_not_known(make_group: Callable[..., Group]) -> None:
    made = question_facts(rewarded(make_group("q", TWO_VIEWS), ANSWERS), np.zeros((2, 2)), [11, 12])
    assert made.evidence_seen == ()


def test_facts_of_a_step_are_plain_and_can_be_sent() -> None:
    encoded = Encoded(groups=(), prompts=(), dropped=(("long", "too long"),))
    batch = Batch(groups=(), picks=(), broken=(), after=Cursor())
    made = step_facts([], [], encoded, batch, UpdateStats(tokens=3, loss=1.0), seconds={}, memory_bytes={})
    assert made.dropped == ("long",)
    sent = pickle.loads(pickle.dumps(made))
    assert (sent.stats.tokens, sent.questions) == (3, ())


MIXED, RIGHT, WRONG = ((1.0, 1.0), (0.0, 0.0)), ((1.0, 1.0), (1.0, 1.0)), ((0.0, 0.0), (0.0, 0.0))
STATS = UpdateStats(
    loss=0.5,
    ratio=1.0,
    clipped=0.0,
    kl=0.0,
    reference_kl=0.2,
    importance=1.0,
    capped=0.0,
    logprob_gap=1e-5,
    grad_norm=2.0,
    tokens=8,
    updates=1,
)


def test_the_record_by_hand() -> None:
    cut = question(
        WRONG, finished=((True, True), (True, False)), lengths=((2, 2), (2, 6)), prompt_tokens=(10, 14)
    )
    facts = part(question(MIXED), question(RIGHT), question(WRONG), cut, dropped=("long",), stats=STATS)
    made = step_record(4, [facts], learning_rate=1e-6)
    assert (made["step"], made["questions"], made["dropped"], made["broken"]) == (4, 4, ["long"], [])
    assert made["reward"] == made["accuracy"] == made["format"] == 6 / 16
    assert made["own"] == {}
    assert made["by_problem_type"]["multiple choice"]["accuracy"] == 6 / 16
    shares = [made[f"{name}_share"] for name in ("zero_advantage", "all_right", "all_wrong", "truncated")]
    assert shares == [3 / 4, 1 / 4, 2 / 4, 1 / 16]
    assert made["reward_std"] == 0.5 / 4
    assert made["eta2"] == 1.0
    assert made["reward_by_variant"] == made["advantage_by_variant"] == [0.5, 0.25]
    assert (made["completion_tokens"], made["completion_tokens_max"]) == ((15 * 2 + 6) / 16, 6)
    assert (made["prompt_tokens"], made["prompt_tokens_max"]) == ((7 * 10 + 14) / 8, 14)
    counts = [made[name] for name in ("prompts", "rollouts", "tokens", "tokens_read")]
    assert counts == [8, 16, 36, 84]
    assert (made["loss"], made["grad_norm"], made["update_tokens"], made["learning_rate"]) == (
        0.5,
        2,
        8,
        1e-6,
    )
    assert made["per_second"] == {
        "questions": 2.0,
        "rollouts": 8.0,
        "tokens": 18.0,
        "tokens_read": 42.0,
        "update_tokens": 4.0,
    }
    assert made["seconds"] == {"rollout": 1.5, "total": 2.0}
    json.dumps(made, allow_nan=False)


def test_a_step_in_which_every_question_was_dropped() -> None:
    made = step_record(4, [part()], learning_rate=0.0)
    for name in ("reward", "zero_advantage_share", "eta2", "entropy", "completion_tokens_max", "loss"):
        assert made[name] is None
    assert made["reward_by_variant"] == made["advantage_by_variant"] == []
    json.dumps(made, allow_nan=False)


def test_the_mean_entropy_is_over_tokens_not_over_questions() -> None:
    one = question(MIXED, entropy_nats=3.0, entropy_tokens=10)
    other = question(MIXED, entropy_nats=3.0, entropy_tokens=2)
    assert step_record(1, [part(one, other)], learning_rate=0.0)["entropy"] == 0.5


def test_types_are_apart_and_a_users_parts_are_told() -> None:
    rewards = {"total": MIXED, "accuracy": MIXED, "format": RIGHT, "brief": WRONG}
    number = question(WRONG, problem_type="numerical")
    choice = question(MIXED, rewards=rewards)
    made = step_record(1, [part(choice, number)], learning_rate=0.0)
    assert made["own"] == {"brief": 0.0}
    kinds = made["by_problem_type"]
    assert [kinds[kind]["accuracy"] for kind in ("multiple choice", "numerical")] == [0.5, 0.0]
    assert (kinds["multiple choice"]["own"], kinds["multiple choice"]["format"]) == ({"brief": 0.0}, 1.0)
    assert kinds["numerical"]["questions"] == 1


def test_accuracy_apart_by_whether_the_evidence_was_shown() -> None:
    told = question(MIXED, evidence_seen=(True, False))
    also = question(((1.0, 0.0), (1.0, 0.0)), evidence_seen=(True, True))
    made = step_record(1, [part(told, also, question(RIGHT))], learning_rate=0.0)
    assert made["evidence_seen_share"] == 3 / 4
    assert (made["accuracy_evidence_seen"], made["accuracy_evidence_unseen"]) == (2 / 3, 0.0)


def test_questions_may_have_unequal_numbers_of_variants() -> None:
    few, many = ((1.0, 1.0),), ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0))
    assert by_variant([few, many]) == [0.5, 0.5, 1.0]
    made = step_record(1, [part(question(few), question(many))], learning_rate=0.0)
    assert made["accuracy"] == (1.0 + 0.5) / 2
    assert (made["prompts"], made["rollouts"]) == (4, 8)


def test_processes_add_up_to_one_with_all_questions() -> None:
    """Unequal parts, one of which learned nothing: means are over questions and tokens."""
    ids = [replace(question(grid), sample_id=str(i)) for i, grid in enumerate((MIXED, RIGHT, WRONG))]
    slow = {"rollout": 2.0, "total": 2.0}
    halves = [
        part(*ids[:2], stats=replace(STATS, tokens=6, loss=0.1, kl=1.0, logprob_gap=1e-6)),
        part(ids[2], stats=replace(STATS, tokens=2, loss=0.4, kl=3.0), seconds=slow),
        part(seconds={"total": 1.0}, memory_bytes={"process": 300}),
    ]
    whole = part(*ids, stats=replace(STATS, kl=1.5), seconds=slow, memory_bytes={"process": 300})
    apart = step_record(1, halves, learning_rate=1.0)
    assert apart == step_record(1, [whole], learning_rate=1.0)
    assert together([]) == together([UpdateStats()])
    assert together([STATS]) == STATS


def names_of(record: dict[str, Any], free: tuple[str, ...]) -> Iterator[str]:
    """Dotted names of a record; those below a section of `free` are told as `*`."""
    for name, value in record.items():
        if not isinstance(value, dict):
            yield name
            continue
        for inner in names_of(value, free):
            first, _, rest = inner.partition(".")
            shown = "*" if name in free else first
            yield ".".join(filter(None, [name, shown, rest]))


def test_every_name_of_a_record_is_in_the_table_and_the_reverse() -> None:
    rewards = {"total": MIXED, "accuracy": MIXED, "format": RIGHT, "brief": WRONG}
    made = step_record(1, [part(question(MIXED, rewards=rewards), stats=STATS)], learning_rate=0.0)
    made |= dict.fromkeys((*COUNTS, "alpha"), 1)
    table = files("strive_rl").joinpath("METRICS.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(.+?)` \| (.+) \| (.+) \|$", table, flags=re.MULTILINE)
    documented = [name for name, *_ in rows]
    assert len(documented) == len(set(documented))
    free = ("own", "by_problem_type", "seconds", "memory_bytes")
    assert set(documented) == set(names_of(made, free))


def test_numbers_that_are_not_finite_are_none() -> None:
    facts = part(question(MIXED), stats=replace(STATS, importance=float("nan")))
    assert step_record(1, [facts], learning_rate=0.0)["importance"] is None
    assert step_record(1, [part()], learning_rate=0.0)["grad_norm"] is None
