"""Examples → optimizer steps: the loss pass by pass, the gradient clipped, the weights moved.

The questions of a step are cut into `minibatches` parts. Each part is one optimizer step, and all parts are
gone through `epochs_per_rollout` times, unshuffled: the order of the data is random already.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from strive_data.errors import StriveError
from strive_rl.algorithm.loss import TokenBatch, policy_loss
from strive_rl.common import distributed
from strive_rl.common.progress import phase
from strive_rl.config import AlgorithmSettings
from strive_rl.policy import Policy, logprobs
from strive_rl.policy.architectures.experts import RouterLoad, summed, take_load
from strive_rl.policy.logprobs import mask, sampled_logprobs
from strive_rl.train.examples import TrainExample, with_fixed_logprobs
from strive_rl.train.optimizer import Optimizer

NAN = float("nan")


@dataclass(frozen=True, kw_only=True)
class UpdateStats:
    """Numbers of the updates of a step; NaN where there is none, as without an informative question.

    Means over tokens: `ratio`, `clipped`, `kl`, `reference_kl`, `importance`, `capped` (algorithm/loss.py).
    Means over the updates: `loss`, `grad_norm`. `tokens` counts a token once for each update that it is in.
    `logprob_gap` is the largest |log π in training − log π in sampling| of a token of the first update:
    rounding, unless something is wrong. `logprob_gap_mean` is the mean over its tokens. `router` is of a
    mixture of experts.
    """

    loss: float = NAN
    ratio: float = NAN
    clipped: float = NAN
    kl: float = NAN
    reference_kl: float = NAN
    importance: float = NAN
    capped: float = NAN
    logprob_gap: float = NAN
    logprob_gap_mean: float = NAN
    grad_norm: float = NAN
    tokens: int = 0
    updates: int = 0
    router: RouterLoad | None = None


Sums = dict[str, float]
"""Sums over tokens, by name; `logprob_gap` is the largest of a token."""


def update(
    policy: Policy,
    optimizer: Optimizer,
    examples: Sequence[TrainExample],
    settings: AlgorithmSettings,
    *,
    temperature: float,
    learning_rate: float,
    step: int,
    reference: Any | None = None,
    dummy: TrainExample | None = None,
) -> UpdateStats:
    """All updates of one step over its examples, `policy.groups_per_pass` questions in a pass.

    Every process calls this with its share of the examples, and the result equals that of one process with
    all of them; the stats are those of this process's share. `dummy` is computed, without effect, while other
    processes have more passes.

    Raises StriveError that names the step and the questions where the loss or the gradient is not finite, on
    every process; the weights are then those before that update.
    """
    held = distributed.all_gather(len(examples))
    if not any(held):
        return UpdateStats()
    fixed = with_fixed_logprobs(policy, examples, settings, reference, temperature)
    minibatches = split(fixed, settings.minibatches, held, distributed.rank()) * settings.epochs_per_rollout
    done: list[tuple[Sums, RouterLoad | None]] = []
    norms: list[float] = []
    for number, minibatch in enumerate(minibatches, start=1):
        where = f"step {step}" + (f", update {number} of {len(minibatches)}" if len(minibatches) > 1 else "")
        done.append(_accumulate(policy, optimizer, minibatch, settings, temperature, where, dummy))
        norms.append(optimizer.clip())
        # The norm is that of all processes, and the same on each.
        if not math.isfinite(norms[-1]):
            ids = distributed.all_gather_list(_ids(minibatch))
            distributed.stop(_not_finite(norms[-1], "gradient", where, ids))
        optimizer.step(learning_rate)
    return _stats(done, norms)


def split(
    examples: Sequence[TrainExample], count: int, held: Sequence[int], rank: int = 0
) -> list[list[TrainExample]]:
    """This process's share of each of `count` minibatches, as equal as can be and in order; fewer minibatches
    where there are fewer questions. The processes hold `held` questions one after the other."""
    total, before = sum(held), sum(held[:rank])
    ends = [total * i // count for i in range(count + 1)]
    return [
        list(examples[max(start - before, 0) : max(end - before, 0)])
        for start, end in pairwise(ends)
        if start < end
    ]


def _accumulate(
    policy: Policy,
    optimizer: Optimizer,
    minibatch: Sequence[TrainExample],
    settings: AlgorithmSettings,
    temperature: float,
    where: str,
    dummy: TrainExample | None,
) -> tuple[Sums, RouterLoad | None]:
    """Add the gradients of one update to the optimizer, pass by pass. A loss that is not finite ends all
    processes."""
    size, sums, failure = policy.settings.groups_per_pass, Sums(), ""
    passes = math.ceil(len(minibatch) / size)
    own = (
        sum(example.advantages.size for example in minibatch),
        sum(each.tokens for each in minibatch),
        passes,
    )
    all_completions, all_tokens, all_passes = zip(*distributed.all_gather(own), strict=True)
    count = {"completions": sum(all_completions), "tokens": sum(all_tokens)}
    take_load(policy.model)
    for start in range(0, len(minibatch), size):
        part = minibatch[start : start + size]
        phase(f"updating, question {start + 1} of {len(minibatch)}")
        batch = token_batch(policy, part, settings, temperature)
        loss, values = policy_loss(batch, settings, **count)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's annotation is incomplete
        if not math.isfinite(values["loss"]):  # reported after the last pass: all take the same number
            failure = failure or _not_finite(values["loss"], "loss", where, _ids(part))
        optimizer.gather()
        _add(sums, values | _gaps(batch))
    router = take_load(policy.model)
    for _ in range(max(all_passes) - passes):
        _dummy_pass(policy, optimizer, dummy, temperature)
    with distributed.propagate_errors():
        if failure:
            raise StriveError(failure)
    distributed.barrier()
    return sums, router


def _add(sums: Sums, values: Sums) -> None:
    for name, value in values.items():
        known = sums.get(name, 0.0)
        sums[name] = max(known, value) if name == "logprob_gap" else known + value


def _dummy_pass(policy: Policy, optimizer: Optimizer, dummy: TrainExample | None, temperature: float) -> None:
    """A pass of gradient 0: every pass of a sharded model gathers its weights from all processes, so all must
    take equally many."""
    if dummy is None:
        raise ValueError("other processes have more passes, and there is no dummy example")
    zero = logprobs(policy, dummy.prompts, dummy.completions, temperature).sum() * 0.0
    zero.backward()  # type: ignore[no-untyped-call]  # torch's annotation is incomplete
    optimizer.gather()


def token_batch(
    policy: Policy, examples: Sequence[TrainExample], settings: AlgorithmSettings, temperature: float
) -> TokenBatch:
    """Log-probabilities of the completions of these examples, with gradients, beside the fixed ones."""
    prompts = [prompt for example in examples for prompt in example.prompts]
    rows = [row for example in examples for row in example.completions]
    flat = [completion for row in rows for completion in row]
    new = logprobs(policy, prompts, rows, temperature)
    mask_BL, rollout = mask(flat).to(policy.device), sampled_logprobs(flat).to(policy.device)
    old = _padded([example.old_logprobs for example in examples], mask_BL)
    if settings.old_logprobs == "rollout":
        old = rollout
    advantages = np.concatenate([example.advantages for example in examples])
    return TokenBatch(
        logprobs=new,
        old_logprobs=new.detach() if old is None else old,
        mask=mask_BL,
        advantages=torch.from_numpy(advantages).to(policy.device, torch.float32),
        reference_logprobs=_padded([example.reference_logprobs for example in examples], mask_BL),
        rollout_logprobs=rollout,
    )


def _padded(vectors: Sequence[torch.Tensor | None], mask_BL: torch.Tensor) -> torch.Tensor | None:
    """Vectors of consecutive tokens at their places in [B, L], 0 elsewhere; None without vectors."""
    known = [vector for vector in vectors if vector is not None]
    if not known:
        return None
    return torch.zeros(mask_BL.shape, device=mask_BL.device).masked_scatter(mask_BL, torch.cat(known))


def _gaps(batch: TokenBatch) -> Sums:
    """The largest of the gaps of a pass's tokens, and their sum."""
    if batch.rollout_logprobs is None:
        return {}
    gaps = (batch.logprobs.detach() - batch.rollout_logprobs).abs()
    return {"logprob_gap": float(gaps.max()), "logprob_gap_mean": float(gaps.sum())}


def _stats(updates: Sequence[tuple[Sums, RouterLoad | None]], norms: Sequence[float]) -> UpdateStats:
    sums, first = Sums(), updates[0][0]
    for each, _ in updates:
        _add(sums, each)
    tokens = sums.pop("tokens", 0.0)
    if not tokens:
        return UpdateStats()
    gap, gaps = (first.get(name, 0.0) for name in ("logprob_gap", "logprob_gap_mean"))
    means = {name: value / tokens for name, value in sums.items()} | {
        "loss": sums["loss"] / len(norms),
        "logprob_gap": gap,
        "logprob_gap_mean": gaps / max(1.0, first.get("tokens", 0.0)),
        "grad_norm": sum(norms) / len(norms),
    }
    router = summed([router for _, router in updates])
    return UpdateStats(**means, tokens=int(tokens), updates=len(norms), router=router)


def _not_finite(value: float, what: str, where: str, ids: Sequence[str]) -> str:
    return f"{where}: the {what} is {value}; questions of this pass: {', '.join(ids)}"


def _ids(examples: Sequence[TrainExample]) -> list[str]:
    return [example.sample_id for example in examples]
