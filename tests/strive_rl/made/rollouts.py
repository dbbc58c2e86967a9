"""Groups with completions: of the tiny model, and made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from strive_rl.config import AlgorithmSettings
from strive_rl.policy import Policy, Sampling
from strive_rl.rollout.groups import encode_groups, reward_groups, sample_groups
from strive_rl.schema import Completion, Group, SampleRef
from strive_rl.train.trainer import with_advantages
from strive_rl.train.update import learned_part
from tests.strive_rl.made.groups import make_group

TWO_VIEWS = ((0.5, 1.0, 4.0, 9.5), (0.0, 2.0, 3.0, 5.0))
TEMPERATURE = 4.0


def completion(text: str, tokens: int = 1, finished: bool = True, entropy: float | None = None) -> Completion:
    return Completion(
        ids=(1,) * tokens,
        logprobs=(-1.0,) * tokens,
        text=text,
        finished=finished,
        entropies=() if entropy is None else (entropy,) * tokens,
    )


def rewarded(
    group: Group, completions: Sequence[Sequence[Completion]], advantages: Sequence[Sequence[float]] = ()
) -> Group:
    """The group with these completions [M][G], their rewards, and advantages (default: 0)."""
    rows = tuple(map(tuple, completions))
    grid = np.array(advantages, dtype=np.float64) if advantages else np.zeros((len(rows), len(rows[0])))
    (done,), _, _ = reward_groups([replace(group, completions=rows, advantages=grid)])
    return done


def rolled_out(policy: Policy, questions: int = 4) -> list[Group]:
    """Two variants and four completions of each question."""
    groups = [
        replace(make_group(f"q{i}", TWO_VIEWS, seed=i), ref=SampleRef(position=i, epoch=0))
        for i in range(questions)
    ]
    encoded, _ = encode_groups(policy, groups)
    sampling = Sampling(completions=4, max_new_tokens=5, temperature=TEMPERATURE)
    done, _, _ = reward_groups(sample_groups(policy, encoded, sampling, seed=1))
    return done


def learned_of(groups: Sequence[Group], settings: AlgorithmSettings) -> list[Group]:
    return learned_part(with_advantages(groups, settings), settings)
