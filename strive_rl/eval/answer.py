"""Samples → answers under one frame sampler: what every evaluation does, whatever it is made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from strive_data.schema import Indices, Sample
from strive_rl.algorithm.reward import reward_of
from strive_rl.data.views import evaluation_indices, group_of
from strive_rl.eval.config import EvalSettings
from strive_rl.policy import Policy, Sampling
from strive_rl.rollout.engine import BuiltinEngine, RolloutEngine
from strive_rl.rollout.groups import encode_groups, reward_groups, sample_groups
from strive_rl.schema import Completion, Group, PromptStyle, Reward, SampleRef, View

Dropped = tuple[str, str]
Chosen = dict[str, tuple[Indices, str]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """A sample and how its question is put; `position`, its number among all, keys what is sampled."""

    sample: Sample
    position: int
    wording: PromptStyle = field(default_factory=PromptStyle)


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """The answers to one sample under one frame sampler, one a completion, with their rewards.

    `frames` int32 [K] are the candidates that were shown, `times` those of all frames in seconds;
    `frames_from` says in words how they were chosen.
    """

    sample: Sample
    sampler: str
    frames_from: str
    frames: Indices
    view: View
    completions: tuple[Completion, ...]
    rewards: tuple[Reward, ...]

    def line(self) -> dict[str, Any]:
        """What every line of predictions.jsonl says."""
        question = self.sample.meta.question
        texts = [completion.text for completion in self.completions]
        line = {
            "sample_id": question.sample_id,
            "video_id": self.sample.meta.info.video_id,
            "video": question.video,
            "sampler": self.sampler,
            "frames_from": self.frames_from,
            "frames": [int(frame) for frame in self.frames],
            "times": [round(float(time), 3) for time in self.view.times],
            "problem_type": question.problem_type,
            "source": question.source,
            "question": question.question,
            "options": list(question.options),
            "answer": question.answer,
            "output": texts[0],
        }
        several = {"outputs": texts} if len(texts) > 1 else {}
        return line | several | {"finished": all(completion.finished for completion in self.completions)}


def answer(
    policy: Policy,
    asked: Sequence[Asked],
    sampler: str,
    settings: EvalSettings,
    engine: RolloutEngine | None = None,
) -> tuple[list[Answer], list[Dropped]]:
    """Answers in the order of the samples, and the prompts that cannot be made: (sample id, reason).

    Samples of one video that are shown the same frames share them: they are decoded, made into pixels and
    read by the vision tower once. Raises what `evaluation_indices` and `group_of` do.
    """
    chosen = chosen_frames(asked, sampler)
    by_id = {one.sample.meta.question.sample_id: one for one in asked}
    groups = groups_of(policy, asked, chosen)
    encoded, skipped = encode_groups(policy, groups)
    sampled = sample_groups(engine or BuiltinEngine(policy), encoded, sampling_of(settings), settings.seed)
    reward = partial(reward_of, reason=all(one.wording.reason for one in asked))
    answers = []
    for group in reward_groups(sampled, reward):
        sample_id = group.question.sample_id
        indices, source = chosen[sample_id]
        answers.append(
            Answer(
                sample=by_id[sample_id].sample,
                sampler=sampler,
                frames_from=source,
                frames=indices,
                view=group.views[0],
                completions=group.completions[0],
                rewards=group.rewards[0],
            )
        )
    return answers, [(each.sample_id, each.reason) for each in skipped]


def chosen_frames(asked: Sequence[Asked], sampler: str) -> Chosen:
    """What `evaluation_indices` takes of each sample, by sample id."""
    return {one.sample.meta.question.sample_id: evaluation_indices(one.sample, sampler) for one in asked}


def groups_of(policy: Policy, asked: Sequence[Asked], chosen: Chosen) -> list[Group]:
    """A group with one view for each sample; those of one video with the same frames have the same view."""
    beside = policy.settings.frame_pairs == "neighbours"
    shown: dict[tuple[str, bytes], View] = {}
    groups = []
    for one in asked:
        question = one.sample.meta.question
        indices, _ = chosen[question.sample_id]
        key = (question.video, indices.tobytes())
        if key not in shown:
            shown[key] = group_of(one.sample, [indices], neighbours=beside).views[0]
        ref = SampleRef(position=one.position, epoch=0)
        groups.append(Group(question=question, views=(shown[key],), ref=ref, style=one.wording))
    return groups


def sampling_of(settings: EvalSettings) -> Sampling:
    """Greedy at temperature 0."""
    return Sampling(
        completions=settings.answers,
        max_new_tokens=settings.max_new_tokens,
        temperature=settings.temperature or 1.0,
        greedy=settings.temperature == 0,
    )
