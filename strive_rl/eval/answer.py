"""Samples → answers in one column: what every evaluation does, whatever it is made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from strive_data.schema import Indices, Sample
from strive_rl.answers.vote import Election, Voter
from strive_rl.data.views import group_of
from strive_rl.eval.config import Column, EvalSettings
from strive_rl.eval.frames import evaluation_views
from strive_rl.policy import Policy, Sampling
from strive_rl.rollout.groups import RolloutEngine, encode_groups, reward_groups, sample_groups
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
    """The answers to one sample in one column, one a completion, with their rewards.

    `frames` int32 [V, K] are the candidates that were shown, `views` [V] the frames with their times in
    seconds; `frames_from` says in words how they were chosen. `completions` and `rewards` [V·G], variant by
    variant; `election` is the outcome of a vote.
    """

    sample: Sample
    column: str
    frames_from: str
    frames: Indices
    views: tuple[View, ...]
    completions: tuple[Completion, ...]
    rewards: tuple[Reward, ...]
    election: Election | None = None

    @property
    def counted(self) -> tuple[int, ...]:
        """The places of the completions that count: the elected one, or all."""
        return (self.election.index,) if self.election else tuple(range(len(self.completions)))

    @property
    def lead(self) -> int:
        """The place of the completion that is shown as the answer: the elected one, or the first."""
        return self.counted[0]

    def line(self) -> dict[str, Any]:
        """What every line of predictions.jsonl says."""
        question = self.sample.meta.question
        shown = self.lead * len(self.views) // len(self.completions)
        return {
            "sample_id": question.sample_id,
            "video_id": self.sample.meta.info.video_id,
            "video": question.video,
            "sampler": self.column,
            "frames_from": self.frames_from,
            **self._frames_of(shown),
            "problem_type": question.problem_type,
            "source": question.source,
            "question": question.question,
            "options": list(question.options),
            "answer": question.answer,
            "output": self.completions[self.lead].text,
            **self._several(),
            "finished": all(self.completions[place].finished for place in self.counted),
        }

    def _frames_of(self, view: int) -> dict[str, Any]:
        return {
            "frames": [int(frame) for frame in self.frames[view]],
            "times": [round(float(time), 3) for time in self.views[view].times],
        }

    def _several(self) -> dict[str, Any]:
        """All answers and views, where there are several, and the vote."""
        if len(self.completions) == 1:
            return {}
        several: dict[str, Any] = {"outputs": [completion.text for completion in self.completions]}
        if len(self.views) > 1:
            several["views"] = [self._frames_of(view) for view in range(len(self.views))]
        if self.election:
            several |= {
                "elected": self.election.index,
                "agreement": self.election.agreement,
                "logprobs": [round(mean_logprob(completion), 6) for completion in self.completions],
            }
        return several


def mean_logprob(completion: Completion) -> float:
    """Mean log-probability of a token."""
    return sum(completion.logprobs) / max(1, len(completion.logprobs))


def answer(
    policy: Policy,
    asked: Sequence[Asked],
    column: Column,
    settings: EvalSettings,
    engine: RolloutEngine | None = None,
    *,
    vote: Voter | None = None,
) -> tuple[list[Answer], list[Dropped]]:
    """Answers in the order of the samples, and the prompts that cannot be made: (sample id, reason).

    Samples of one video that are shown the same frames share them: they are decoded, made into pixels and
    read by the vision tower once. Raises what `evaluation_views` and `group_of` do.
    """
    chosen = chosen_frames(asked, column)
    by_id = {one.sample.meta.question.sample_id: one for one in asked}
    encoded, skipped = encode_groups(policy, groups_of(policy, asked, chosen))
    sampled = sample_groups(policy, encoded, sampling_of(column, settings), settings.seed, engine)
    rewarded, _, _ = reward_groups(sampled)
    answers = []
    for group in rewarded:
        sample_id = group.question.sample_id
        indices, source = chosen[sample_id]
        completions = tuple(completion for row in group.completions for completion in row)
        election = None
        if vote and len(completions) > 1:
            texts = [completion.text for completion in completions]
            election = vote(texts, group.question, [mean_logprob(each) for each in completions])
        answers.append(
            Answer(
                sample=by_id[sample_id].sample,
                column=column.name,
                frames_from=source,
                frames=indices,
                views=group.views,
                completions=completions,
                rewards=tuple(reward for row in group.rewards for reward in row),
                election=election,
            )
        )
    return answers, [(each.sample_id, each.reason) for each in skipped]


def chosen_frames(asked: Sequence[Asked], column: Column) -> Chosen:
    """What `evaluation_views` takes of each sample, by sample id."""
    return {one.sample.meta.question.sample_id: evaluation_views(one.sample, column) for one in asked}


def groups_of(policy: Policy, asked: Sequence[Asked], chosen: Chosen) -> list[Group]:
    """A group with V views for each sample; those of one video with the same frames share their view."""
    beside = policy.settings.frame_pairs == "neighbours"
    shown: dict[tuple[str, bytes], View] = {}
    groups = []
    for one in asked:
        question = one.sample.meta.question
        views = []
        for indices in chosen[question.sample_id][0]:
            key = (question.video, indices.tobytes())
            if key not in shown:
                shown[key] = group_of(one.sample, [indices], neighbours=beside).views[0]
            views.append(shown[key])
        ref = SampleRef(position=one.position, epoch=0)
        groups.append(Group(question=question, views=tuple(views), ref=ref, style=one.wording))
    return groups


def sampling_of(column: Column, settings: EvalSettings) -> Sampling:
    """Greedy at temperature 0."""
    return Sampling(
        completions=column.completions,
        max_new_tokens=settings.max_new_tokens,
        temperature=column.temperature or 1.0,
        greedy=column.temperature == 0,
    )


def votes(
    settings: EvalSettings,
    lines: Sequence[Mapping[str, Any]],
    seconds: Mapping[str, float],
    gain: Callable[[Column], dict[str, Any] | None],
) -> dict[str, Any]:
    """What each column cost, with its `seconds`, and the paired `gain` of each vote over its controls."""
    costs = {
        column.name: cost_of([line for line in lines if line["sampler"] == column.name], column)
        | {"seconds": seconds[column.name]}
        for column in settings.columns
    }
    controls = [column for column in settings.columns if column.name != column.sampler]
    return {"votes": costs, "vote_gains": {column.name: gain(column) for column in controls}}


def cost_of(lines: Sequence[Mapping[str, Any]], column: Column) -> dict[str, Any]:
    """What the lines of a column cost: prompts and frames that were read, completions; how far they agree.
    `views` counts those of a question that differ: few candidates hold fewer than V."""
    views = [line.get("views", [line]) for line in lines]
    agreements = [line["agreement"] for line in lines if "agreement" in line]
    return {
        "way": column.way,
        "questions": len(lines),
        "prompts": sum(map(len, views)),
        "views": sum(len({tuple(view["frames"]) for view in each}) for each in views),
        "frames": sum(len(view["frames"]) for each in views for view in each),
        "completions": sum(len(line.get("outputs", [line["output"]])) for line in lines),
        "agreement": sum(agreements) / len(agreements) if agreements else None,
    }
