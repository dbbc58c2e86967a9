"""Answers under a frame sampler: which frames, which question, and by what chance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from strive_rl.config import PolicySettings
from strive_rl.eval.answer import Asked, answer, chosen_frames, groups_of, sampling_of
from strive_rl.eval.config import EvalSettings
from strive_rl.policy import Policy
from strive_rl.policy.encode import user_text
from strive_rl.schema import PromptStyle
from tests.strive_rl.made_shards import made_sample

SETTINGS = EvalSettings(policy=PolicySettings(device="cpu"), max_new_tokens=3)


def asked(*numbers: int) -> list[Asked]:
    return [Asked(sample=made_sample(number), position=number) for number in numbers]


def test_questions_on_one_video_with_the_same_frames_have_one_view(tiny_policy: Policy) -> None:
    some = asked(0, 1, 2)
    uniform = groups_of(tiny_policy, some, chosen_frames(some, "uniform"))
    assert uniform[0].views[0] is uniform[1].views[0]
    assert uniform[0].views[0] is not uniform[2].views[0]
    # The same video, other scores: other frames.
    other = replace(some[1], sample=replace(some[1].sample, scores=-some[1].sample.scores))
    both = [some[0], other]
    best = groups_of(tiny_policy, both, chosen_frames(both, "topk"))
    assert best[0].views[0] is not best[1].views[0]


def test_an_answer_says_what_was_shown(tiny_policy: Policy) -> None:
    ((one,), dropped) = answer(tiny_policy, asked(3), "uniform", SETTINGS)
    line = one.line()
    assert dropped == []
    assert (line["sample_id"], line["video_id"], line["video"]) == ("q3", "video1", "1.mp4")
    assert (line["frames"], line["times"]) == ([1, 4, 7, 10], [1.5, 4.5, 7.5, 10.5])
    assert (line["question"], line["options"], line["answer"]) == ("Which?", ["A. red", "B. blue"], "B")
    assert line["output"] == one.completions[0].text
    assert "outputs" not in line


def test_the_wording_reaches_the_prompt(tiny_policy: Policy) -> None:
    plain, worded = asked(0)[0], replace(asked(0)[0], wording=PromptStyle(reason=False, form="Say a colour."))
    (group,) = groups_of(tiny_policy, [worded], chosen_frames([worded], "uniform"))
    text = user_text(group.question, group.style)
    assert text.endswith("Say a colour.")
    assert "<think>" not in text
    limit = replace(tiny_policy, settings=replace(tiny_policy.settings, max_prompt_tokens=200))
    lengths = [answer(limit, [one], "uniform", SETTINGS)[1] for one in (plain, worded)]
    assert "prompt of" in lengths[0][0][1]
    assert lengths[1] == []


def test_sampled_answers_follow_from_seed_and_position_alone(
    tiny_policy: Policy, answering: Callable[[Policy], Policy]
) -> None:
    policy, settings = answering(tiny_policy), replace(SETTINGS, temperature=3.0, answers=6)

    def texts(some: list[Asked], seed: int = 0) -> list[tuple[str, ...]]:
        answers, _ = answer(policy, some, "uniform", replace(settings, seed=seed))
        return [tuple(completion.text for completion in one.completions) for one in answers]

    whole = texts(asked(0, 1, 2))
    assert whole == [texts(asked(number))[0] for number in range(3)]
    assert whole != texts(asked(0, 1, 2), seed=1)
    assert len({text for row in whole for text in row}) > 1


@pytest.mark.parametrize(("temperature", "greedy", "used"), [(0.0, True, 1.0), (0.7, False, 0.7)])
def test_temperature_zero_is_greedy(temperature: float, greedy: bool, used: float) -> None:
    sampling = sampling_of(replace(SETTINGS, temperature=temperature))
    assert (sampling.greedy, sampling.temperature, sampling.completions) == (greedy, used, 1)
