"""Which numbers a page shows, in its order: the question's outcome, exploration, the policy, the machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Panel:
    """`key` as in METRICS.md; `log` where values of many sizes meet; `smooth` unless it has no noise."""

    title: str
    key: str
    log: bool = False
    smooth: bool = True


PANELS = (
    Panel(title="reward", key="reward"),
    Panel(title="accuracy", key="accuracy"),
    Panel(title="format", key="format"),
    Panel(title="share of questions with zero advantage", key="zero_advantage_share"),
    Panel(title="all wrong, share of questions", key="all_wrong_share"),
    Panel(title="all right, share of questions", key="all_right_share"),
    Panel(title="eta2, share of variance between variants", key="eta2"),
    Panel(title="std of a question's rewards", key="reward_std"),
    Panel(title="entropy, nats a token", key="entropy"),
    Panel(title="KL to the policy before the step", key="kl"),
    Panel(title="KL to the first model", key="reference_kl"),
    Panel(title="share of tokens clipped", key="clipped"),
    Panel(title="completion tokens, mean", key="completion_tokens"),
    Panel(title="share of completions truncated", key="truncated_share"),
    Panel(title="gradient norm", key="grad_norm", log=True),
    Panel(title="log-probability gap, sampling to training", key="logprob_gap", log=True),
    Panel(title="learning rate", key="learning_rate", smooth=False),
    Panel(title="alpha", key="alpha", smooth=False),
    Panel(title="sampled tokens a second", key="per_second.tokens"),
    Panel(title="prompt tokens a second", key="per_second.tokens_read"),
    Panel(title="seconds a step", key="seconds.total"),
)
