"""The record of a step, by hand; METRICS.md names exactly its metrics; the completions kept to be read."""

from __future__ import annotations

import json
import pickle
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from typing import Any

import numpy as np
import torch

from strive_data.schema import Question
from strive_rl.config import AlgorithmSettings
from strive_rl.eval.config import EvalSettings
from strive_rl.policy.encode import user_text
from strive_rl.schema import Completion, Group, Prompt, Reward, SkippedQuestion, View
from strive_rl.train.launch import never_updated
from strive_rl.train.metrics import (
    StepStats,
    log_rows,
    step_record,
    to_send,
)
from strive_rl.train.validation import heldout_record
from tests.strive_rl.made.groups import make_group
from tests.strive_rl.made.rollouts import completion, rewarded

TWO_VIEWS = ((0.5, 1.0), (0.0, 2.12345))
RIGHT_ONE, WRONG_ONE = (
    completion("<answer>A</answer>", entropy=0.5),
    completion("<answer>B</answer>", 3, entropy=0.5),
)
ROWS = ((RIGHT_ONE, WRONG_ONE), (WRONG_ONE, completion("<answer>", 4, finished=False, entropy=0.25)))
ADVANTAGES = ((2.0, -1.0), (-0.5, -0.50001))

JOINT = AlgorithmSettings()

Grid = tuple[tuple[float, ...], ...]


def question(accuracy: Grid, **changes: Any) -> Group:
    """A question of these accuracies: reward, format and advantages as accuracy but for `parts`,
    completions of 2 tokens without entropies, prompts of 10. `seen`: which variants show the evidence."""
    given = {"parts": {}, "lengths": np.full_like(accuracy, 2, dtype=int), "entropies": (), "seen": ()}
    given |= {"finished": np.full_like(accuracy, True, dtype=bool), "prompts": (10,) * len(accuracy)}
    given |= {"problem_type": "multiple choice"} | changes
    grids = {"total": accuracy, "format": accuracy} | given["parts"]

    def reward(m: int, g: int) -> Reward:
        own = {name: grid[m][g] for name, grid in grids.items()}
        total, formed = own.pop("total"), own.pop("format")
        return Reward(accuracy=accuracy[m][g], total=total, format=formed, custom=own)

    def completed(m: int, g: int) -> Completion:
        made = completion("", int(given["lengths"][m][g]), bool(given["finished"][m][g]))
        return replace(made, entropies=given["entropies"] if (m, g) == (0, 0) else ())

    places = [[(m, g) for g in range(len(row))] for m, row in enumerate(accuracy)]
    spans = ((1.0, 2.0),) if given["seen"] else ()
    times = [1.5 if each else 5.0 for each in given["seen"] or [False] * len(accuracy)]
    return Group(
        question=Question(
            sample_id="q",
            video="",
            question="",
            answer="A",
            problem_type=given["problem_type"],
            evidence_spans=spans,
        ),
        views=tuple(View(frames=np.zeros((1, 2, 2, 3), np.uint8), times=np.array([time])) for time in times),
        prompts=tuple(prompt(tokens) for tokens in given["prompts"]),
        completions=tuple(tuple(completed(*place) for place in row) for row in places),
        rewards=tuple(tuple(reward(*place) for place in row) for row in places),
        advantages=np.array(accuracy),
    )


def prompt(tokens: int) -> Prompt:
    nothing = np.zeros((3, tokens), dtype=np.int64)
    return Prompt(
        ids=nothing[0], positions=nothing, is_video=nothing[0] > 0, pixels=torch.ones(8, 4), grid=(1, 2, 2)
    )


def part(*groups: Group, batch: dict[str, Any] | None = None, **changes: Any) -> StepStats:
    """One process's part of a step with these questions."""
    made = {
        "groups": groups,
        "update": {},
        "seconds": {"rollout": 1.5, "total": 2.0},
        "memory_bytes": {"process": 100},
    }
    return StepStats(**(made | (batch or {}) | changes))


def record(*parts: StepStats, settings: AlgorithmSettings = JOINT, **more: Any) -> dict[str, Any]:
    given = {"step": 1, "learning_rate": 0.0} | more
    return step_record(given["step"], parts, settings, learning_rate=given["learning_rate"])


def test_the_record_of_one_question() -> None:
    group = make_group("q7", TWO_VIEWS)
    group = replace(group, question=replace(group.question, evidence_spans=((1.0, 2.0), (20.0, 30.0))))
    made = record(part(rewarded(group, ROWS, ADVANTAGES)))
    assert list(made["by_problem_type"]) == ["multiple choice"]
    assert (made["informative"], made["zero_advantage_share"], made["masked"]) == (1, 0, 0)
    assert (made["reward"], made["accuracy"], made["format"]) == (0.9 / 4, 1 / 4, 0)
    assert made["reward_by_variant"] == [0.45, 0]
    assert made["advantage_by_variant"] == [0.5, -0.500005]
    assert (made["tokens"], made["completion_tokens_max"], made["truncated_share"]) == (11, 4, 1 / 4)
    assert made["entropy"] == (7 * 0.5 + 4 * 0.25) / 11
    shown = [
        made[name] for name in ("evidence_seen_share", "accuracy_evidence_seen", "accuracy_evidence_unseen")
    ]
    assert shown == [1 / 2, 1 / 2, 0]
    assert record(part(rewarded(make_group("q", TWO_VIEWS), ROWS)))["evidence_seen_share"] is None


def test_what_is_counted_is_what_is_learned() -> None:
    apart, cut = replace(JOINT, normalise="per_variant"), replace(JOINT, mask_truncated=True)
    halves = ((RIGHT_ONE, RIGHT_ONE), (WRONG_ONE, WRONG_ONE))
    ended = replace(RIGHT_ONE, finished=False)
    for rows, settings, counts in (
        (halves, JOINT, (False, True, 0)),
        (halves, apart, (True, False, 0)),
        (ROWS, cut, (False, True, 1)),
        (((ended, ROWS[1][1]),) * 2, cut, (False, False, 4)),
        (((ended, ended),) * 2, cut, (True, False, 0)),
    ):
        made = record(part(rewarded(make_group("q", TWO_VIEWS), rows)), settings=settings)
        assert [made[name] for name in ("zero_advantage_share", "informative", "masked")] == list(counts)
    made = record(part(rewarded(make_group("q", TWO_VIEWS), halves)), settings=apart)
    shares = ("zero_advantage_share", "all_right_share", "all_wrong_share", "informative")
    assert [made[name] for name in shares] == [1, 0, 0, 0]


BAD, LONG = (
    SkippedQuestion(sample_id="bad", reason="shard-000001.tar"),
    SkippedQuestion(sample_id="long", reason="too long"),
)


def test_stats_of_a_step_can_be_sent_and_name_what_was_left_out() -> None:
    batch = {"broken": [BAD], "dropped": [LONG], "rounds": 2}
    group = question(MIXED, seen=(True, False))
    sums = {"tokens": 3.0, "loss": 1.0, "updates": 1}
    sent = pickle.loads(pickle.dumps(part(to_send(group), batch=batch, update=sums)))
    made = record(sent)
    assert made == record(part(group, batch=batch, update=sums))
    assert sum(view.frames.size for view in sent.groups[0].views) == 0
    assert sum(each.pixels.nelement() for each in sent.groups[0].prompts) == 0
    assert (made["update_tokens"], made["questions"], made["dynamic_sampling_rounds"]) == (3, 1, 2)
    assert made["dropped"] == ["long"]
    assert made["broken"] == [{"sample_id": "bad", "reason": "shard-000001.tar"}]


MIXED, RIGHT, WRONG = ((1.0, 1.0), (0.0, 0.0)), ((1.0, 1.0), (1.0, 1.0)), ((0.0, 0.0), (0.0, 0.0))
# One update: sums over eight tokens.
STATS = dict.fromkeys(("ratio", "importance", "tokens", "first_tokens"), 8.0) | {
    "loss": 0.5,
    **dict.fromkeys(("clipped", "kl", "capped"), 0.0),
    "reference_kl": 1.6,
    "logprob_gap": 1e-5,
    "logprob_gap_mean": 8e-6,
    "grad_norm": 2.0,
    "updates": 1,
}


# Two layers of four experts, two for each of eight tokens: even, and one expert idle.
LOAD = np.array([[4, 4, 4, 4, 8.0, 8], [8, 4, 4, 0, 4.0, 8]])


def test_routers_by_hand_and_over_processes() -> None:
    """Even loads of two processes; of unequal ones the sum counts: 3 choices more of 16 + 16."""
    made = record(part(update=STATS | {"router": LOAD}), part(update=STATS | {"router": LOAD}))
    assert made["router"] == {"entropy": 0.75, "imbalance": 0.5, "unused_share": 0.125}
    other = LOAD[:, [3, 2, 1, 0, 4, 5]]
    made = record(part(update=STATS | {"router": LOAD}), part(update=STATS | {"router": other}))
    assert made["router"] == {"entropy": 0.75, "imbalance": 0.0, "unused_share": 0.0}


def test_the_record_by_hand() -> None:
    cut = question(WRONG, finished=((True, True), (True, False)), lengths=((2, 2), (2, 6)), prompts=(10, 14))
    stats = part(
        question(MIXED), question(RIGHT), question(WRONG), cut, batch={"dropped": [LONG]}, update=STATS
    )
    made = record(stats, step=4, learning_rate=1e-6)
    assert (made["step"], made["questions"], made["dropped"], made["broken"]) == (4, 4, ["long"], [])
    assert made["reward"] == made["accuracy"] == made["format"] == 6 / 16
    assert made["custom"] == {}
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
    made = record(part(), step=4)
    for name in ("reward", "zero_advantage_share", "eta2", "entropy", "completion_tokens_max", "loss"):
        assert made[name] is None
    assert made["reward_by_variant"] == made["advantage_by_variant"] == []
    json.dumps(made, allow_nan=False)


def test_the_mean_entropy_is_over_tokens_not_over_questions() -> None:
    one = question(MIXED, entropies=(0.25,) * 8 + (0.5,) * 2)
    other = question(MIXED, entropies=(1.5, 1.5))
    assert record(part(one, other))["entropy"] == 0.5


def test_types_and_custom_parts_are_recorded_apart() -> None:
    parts = {"format": RIGHT, "brief": WRONG}
    number = question(WRONG, problem_type="numerical")
    choice = question(MIXED, parts=parts)
    made = record(part(choice, number))
    assert made["custom"] == {"brief": 0.0}
    kinds = made["by_problem_type"]
    assert [kinds[kind]["accuracy"] for kind in ("multiple choice", "numerical")] == [0.5, 0.0]
    assert (kinds["multiple choice"]["custom"], kinds["multiple choice"]["format"]) == ({"brief": 0.0}, 1.0)
    assert kinds["numerical"]["questions"] == 1


def test_accuracy_apart_by_whether_the_evidence_was_shown() -> None:
    split = question(MIXED, seen=(True, False))
    also = question(((1.0, 0.0), (1.0, 0.0)), seen=(True, True))
    made = record(part(split, also, question(RIGHT)))
    assert made["evidence_seen_share"] == 3 / 4
    assert (made["accuracy_evidence_seen"], made["accuracy_evidence_unseen"]) == (2 / 3, 0.0)


def test_processes_add_up_to_one_with_all_questions() -> None:
    """Unequal parts, one of which has nothing to learn: means are over questions and tokens."""
    ids = [question(grid) for grid in (MIXED, RIGHT, WRONG)]
    slow = {"rollout": 2.0, "total": 2.0}
    counts = ("tokens", "first_tokens", "ratio")
    six = STATS | dict.fromkeys(counts, 6.0) | dict.fromkeys(("importance", "reference_kl"), 0.0)
    two = STATS | dict.fromkeys(counts, 2.0) | {"loss": 0.4, "kl": 6.0}
    halves = [
        part(*ids[:2], update=six | {"loss": 0.1, "kl": 6.0, "logprob_gap": 1e-6, "logprob_gap_mean": 0.0}),
        part(ids[2], update=two, seconds=slow),
        part(update={"updates": 1, "grad_norm": 2.0}, seconds={"total": 1.0}, memory_bytes={"process": 300}),
    ]
    whole = part(*ids, update=STATS | {"kl": 12.0}, seconds=slow, memory_bytes={"process": 300})
    assert record(*halves) == record(whole)


def names_of(record: dict[str, Any], free: tuple[str, ...]) -> Iterator[str]:
    """Dotted names of a record; those below a section of `free` are shown as `*`."""
    for name, value in record.items():
        if not isinstance(value, dict):
            yield name
            continue
        for inner in names_of(value, free):
            first, _, rest = inner.partition(".")
            shown = "*" if name in free else first
            yield ".".join(filter(None, [name, shown, rest]))


def test_every_name_of_a_record_is_in_the_table_and_the_reverse() -> None:
    parts = {"format": RIGHT, "brief": WRONG}
    calls = {"made": 4, "retried": 1, "failed": 0}
    batch = {"calls": Counter(calls)}
    made = record(part(question(MIXED, parts=parts), batch=batch, update=STATS | {"router": LOAD}))
    assert made["reward_calls"] == calls
    assert "router" not in record(part(question(MIXED), update=STATS))
    answered = {"sample_id": "q", "video_id": "v", "sampler": "uniform", "frames_from": "", "finished": True}
    answered |= {"accuracy": 1.0, "format": 1.0, "reward": 1.0, "evidence_seen": None}
    made["heldout"] = heldout_record([answered], [], EvalSettings(samplers=("uniform",)), 1)
    table = files("strive_rl").joinpath("train/METRICS.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(.+?)` \| (.+) \| (.+) \|$", table, flags=re.MULTILINE)
    documented = [name for name, *_ in rows]
    assert len(documented) == len(set(documented))
    free = ("custom", "by_problem_type", "seconds", "memory_bytes")
    assert set(documented) == set(names_of(made, free))


def test_numbers_that_are_not_finite_are_none() -> None:
    stats = part(question(MIXED), update=STATS | {"importance": float("nan")})
    assert record(stats)["importance"] is None
    assert record(part())["grad_norm"] is None


def test_counts_of_dynamic_sampling() -> None:
    """Over all processes: questions drawn, informative ones, rounds, and their truncated completions."""
    cut = question(MIXED, finished=((True, False), (False, True)))
    parts = [
        part(cut, question(RIGHT), batch={"rounds": 2, "dropped": [LONG]}),
        part(question(MIXED), batch={"rounds": 2, "broken": [BAD]}),
    ]
    made = record(*parts, settings=replace(JOINT, mask_truncated=True))
    names = ("drawn", "informative", "dynamic_sampling_rounds", "masked")
    assert [made[name] for name in names] == [5, 2, 2, 2]


def test_the_rollout_log_keeps_the_best_and_the_worst_of_each_variant() -> None:
    wrong, right = completion("<answer>B</answer>", 2), completion("<answer>A</answer>", 2)
    advantages = ((-0.5, 1.00001, -0.5), (0.0, 0.0, 0.0))
    rows = ((wrong, right, wrong), (wrong, wrong, wrong))
    group = rewarded(make_group("mixed", TWO_VIEWS), rows, advantages)
    logged = log_rows(4, [group], JOINT)
    assert [(row["variant"], row["place"], row["completion"]) for row in logged] == [
        (0, 1, "<answer>A</answer>"),
        (0, 0, "<answer>B</answer>"),
        (1, 0, "<answer>B</answer>"),
    ]
    assert [(row["reward"], row["accuracy"], row["advantage"]) for row in logged] == [
        (0.9, 1, 1.0),
        (0, 0, -0.5),
        (0, 0, 0.0),
    ]
    same = {(row["step"], row["sample_id"], row["tokens"], row["finished"]) for row in logged}
    assert same == {(4, "mixed", 2, True)}
    assert all(row["informative"] for row in logged)
    equal = rewarded(make_group("equal", TWO_VIEWS), ((wrong, wrong, wrong),) * 2, advantages)
    assert not any(row["informative"] for row in log_rows(4, [equal], JOINT))
    assert logged[2]["times"] == [0.0, 2.123]
    assert logged[0]["view"] == "whole"
    assert logged[0]["prompt"] == user_text(group.question)


def test_a_run_that_changed_no_weight_says_so() -> None:
    """Regression: three steps of zero advantage ended as a success, without a word."""
    still = [{"updates": 0, "truncated_share": share} for share in (0.5, 1.0)]
    assert "the weights did not change; in none of 2 steps" in never_updated(still)
    assert "75% of completions reached rollout.max_new_tokens" in never_updated(still)
    assert never_updated([*still, {"updates": 1, "truncated_share": 0.0}]) == ""
