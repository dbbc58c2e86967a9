"""Answers under a frame sampler: which frames, which question, and by what chance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from strive_data.common.settings import as_dict
from strive_data.errors import SettingsError
from strive_rl.config import PolicySettings
from strive_rl.data.views import evidence_seen
from strive_rl.eval.answer import Asked, answer, chosen_frames, cost_of, groups_of, sampling_of
from strive_rl.eval.config import Column, EvalSettings
from strive_rl.eval.on_shards import elect_completion, prediction
from strive_rl.eval.table import vote_lines
from strive_rl.policy import Policy, RngKey, Sampling
from strive_rl.policy.encode import user_text
from strive_rl.schema import Completion, Prompt, PromptStyle
from tests.strive_rl.made.models import answering
from tests.strive_rl.made.shards import made_sample

SETTINGS = EvalSettings(policy=PolicySettings(device="cpu"), max_new_tokens=3)
UNIFORM = SETTINGS.columns[0]


def asked(*numbers: int) -> list[Asked]:
    return [Asked(sample=made_sample(number), position=number) for number in numbers]


def test_questions_on_one_video_with_the_same_frames_have_one_view(tiny_policy: Policy) -> None:
    some = asked(0, 1, 2)
    uniform = groups_of(tiny_policy, some, chosen_frames(some, UNIFORM))
    assert uniform[0].views[0] is uniform[1].views[0]
    assert uniform[0].views[0] is not uniform[2].views[0]
    # The same video, other scores: other frames.
    other = replace(some[1], sample=replace(some[1].sample, scores=-some[1].sample.scores))
    both = [some[0], other]
    best = groups_of(tiny_policy, both, chosen_frames(both, Column(name="topk", sampler="topk")))
    assert best[0].views[0] is not best[1].views[0]


def test_an_answer_says_what_was_shown(tiny_policy: Policy) -> None:
    ((one,), dropped) = answer(tiny_policy, asked(3), UNIFORM, SETTINGS)
    line = one.line()
    assert dropped == []
    assert (line["sample_id"], line["video_id"], line["video"]) == ("q3", "video1", "1.mp4")
    assert (line["frames"], line["times"]) == ([1, 4, 7, 10], [1.5, 4.5, 7.5, 10.5])
    assert (line["question"], line["options"], line["answer"]) == ("Which?", ["A. red", "B. blue"], "B")
    assert line["output"] == one.completions[0].text
    assert "outputs" not in line


def test_the_wording_reaches_the_prompt(tiny_policy: Policy) -> None:
    plain, worded = asked(0)[0], replace(asked(0)[0], wording=PromptStyle(reason=False, form="Say a colour."))
    (group,) = groups_of(tiny_policy, [worded], chosen_frames([worded], UNIFORM))
    text = user_text(group.question, group.style)
    assert text.endswith("Say a colour.")
    assert "<think>" not in text
    limit = replace(tiny_policy, settings=replace(tiny_policy.settings, max_prompt_tokens=200))
    lengths = [answer(limit, [one], UNIFORM, SETTINGS)[1] for one in (plain, worded)]
    assert "prompt of" in lengths[0][0][1]
    assert lengths[1] == []


def test_sampled_answers_follow_from_seed_and_position_alone(tiny_policy: Policy) -> None:
    policy, settings = answering(tiny_policy), replace(SETTINGS, temperature=3.0, completions=6)

    def texts(some: list[Asked], seed: int = 0) -> list[tuple[str, ...]]:
        seeded = replace(settings, seed=seed)
        answers, _ = answer(policy, some, seeded.columns[0], seeded)
        return [tuple(completion.text for completion in one.completions) for one in answers]

    whole = texts(asked(0, 1, 2))
    assert whole == [texts(asked(number))[0] for number in range(3)]
    assert whole != texts(asked(0, 1, 2), seed=1)
    assert len({text for row in whole for text in row}) > 1


@pytest.mark.parametrize(("temperature", "greedy", "used"), [(0.0, True, 1.0), (0.7, False, 0.7)])
def test_temperature_zero_is_greedy(temperature: float, greedy: bool, used: float) -> None:
    settings = replace(SETTINGS, temperature=temperature)
    sampling = sampling_of(settings.columns[0], settings)
    assert (sampling.greedy, sampling.temperature, sampling.completions) == (greedy, used, 1)


class ScriptedEngine:
    """An engine that is not the policy's loop: it says the next letters of a script, each likelier."""

    version = 0

    def __init__(self, letters: str) -> None:
        self.letters = iter(letters)
        self.keys: list[RngKey] = []
        self.calls = 0

    def sync(self, weights: Iterable[object], version: int) -> None: ...

    def sleep(self) -> None: ...

    def wake(self) -> None: ...

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[RngKey] = ()
    ) -> list[list[Completion]]:
        self.keys += keys
        return [[self.completion() for _ in range(sampling.completions)] for _ in prompts]

    def completion(self) -> Completion:
        self.calls += 1
        text = f"<think>x</think><answer>{next(self.letters)}</answer>"
        return Completion(ids=(1, 2), logprobs=(-4 / self.calls, 0.0), text=text, finished=True)


def test_variants_elect_one_answer_with_any_engine(tiny_policy: Policy) -> None:
    settings = replace(SETTINGS, samplers=("importance",), variants=3, vote=True)
    engine = ScriptedEngine("AAB" + "BAB")
    some = asked(0, 3)
    made, dropped = answer(tiny_policy, some, settings.columns[0], settings, engine, vote=elect_completion)
    lines = [prediction(one) for one in made]
    assert (dropped, engine.calls, engine.keys) == ([], 6, [])
    # q0 is right by A, q3 by B; of equal answers the likelier one stands for them.
    assert [(line["elected"], line["extracted"], line["accuracy"]) for line in lines] == [
        (1, "A", 1.0),
        (2, "B", 1.0),
    ]
    assert lines[0]["accuracies"] == [1.0, 1.0, 0.0]
    assert lines[0]["agreement"] == pytest.approx(2 / 3)
    assert lines[0]["logprobs"] == [-2.0, -1.0, -0.666667]
    assert [view["frames"] for view in lines[0]["views"]] == made[0].frames.tolist()
    assert lines[0]["frames"] == lines[0]["views"][1]["frames"] != lines[0]["views"][0]["frames"]
    shown = [view["times"] for view in lines[0]["views"]]
    spans = some[0].sample.meta.question.evidence_spans
    assert lines[0]["evidence_by_view"] == [evidence_seen(times, spans) for times in shown]
    assert lines[0]["evidence_seen"] == any(lines[0]["evidence_by_view"])
    cost = cost_of(lines, settings.columns[0])
    assert {name: cost[name] for name in ("prompts", "frames", "completions")} == {
        "prompts": 6,
        "frames": 24,
        "completions": 6,
    }
    assert (cost["way"], cost["agreement"]) == ("3 variants", pytest.approx(2 / 3))
    assert cost["views"] == 6
    alike = [line | {"views": [line["views"][0]] * 3} for line in lines]
    repeated = cost_of(alike, settings.columns[0]) | {"seconds": 1.0}
    assert repeated["views"] == 2
    shown = list(vote_lines({"votes": {"importance": repeated}}, {"importance": None}))
    assert shown[-1].startswith("importance: 2 of 6 views differ")


def test_sampled_variants_have_chances_of_their_own_and_without_a_vote_their_mean_counts(
    tiny_policy: Policy,
) -> None:
    settings = replace(SETTINGS, variants=2, temperature=1.0, completions=2)
    engine = ScriptedEngine("AABA")
    ((one,), _) = answer(tiny_policy, asked(0), settings.columns[0], settings, engine)
    assert [key.variant for key in engine.keys] == [0, 1]
    line = prediction(one)
    assert (line["accuracy"], line["output"], len(line["outputs"])) == (0.75, line["outputs"][0], 4)
    assert "elected" not in line


def test_a_vote_stands_beside_its_controls() -> None:
    settings = replace(
        SETTINGS, samplers=("peaks",), variants=4, vote=True, controls=("single", "samples", "frames")
    )
    shapes = [
        (c.name, c.sampler, c.variants, c.frames_factor, c.completions, c.temperature, c.way)
        for c in settings.columns
    ]
    assert shapes == [
        ("peaks", "peaks", 4, 1, 1, 0.0, "4 variants"),
        ("peaks-single", "peaks", 1, 1, 1, 0.0, "one view"),
        ("peaks-samples", "peaks", 1, 1, 4, 1.0, "one view, 4 samples each"),
        ("peaks-frames", "peaks", 1, 4, 1, 0.0, "one view of 4·K frames"),
    ]
    assert replace(settings, policy=PolicySettings(prompts_per_pass=10)).questions_per_pass == 2
    assert as_dict(replace(settings, variants=1, vote=False, controls=())).keys() == as_dict(SETTINGS).keys()
    assert not {"variants", "vote", "controls"} & as_dict(SETTINGS).keys()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"vote": True}, "vote: got one answer"),
        ({"variants": 0}, "variants: got 0"),
        ({"variants": 2, "controls": ("single",)}, "vote=false"),
        ({"variants": 2, "vote": True, "controls": ("single", "single")}, "expected each once"),
        ({"completions": 2, "temperature": 1.0, "vote": True, "controls": ("single",)}, "variants=1"),
    ],
)
def test_votes_of_nothing_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        replace(SETTINGS, **given)
