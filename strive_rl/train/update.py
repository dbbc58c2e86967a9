"""Groups → passes → optimizer steps: what is learned, the loss pass by pass, the gradient clipped, the
weights moved. All groups here are cut to the completions that are learned, and the prompts of their variants.

The questions of a step are cut into `minibatches` parts. Each part is one optimizer step, and all parts are
gone through `epochs_per_rollout` times, unshuffled: the order of the data is random already.

Two log-probabilities stay fixed meanwhile: those of the policy before the first update, and those of the
reference of `algorithm.kl_beta`, the policy before its first step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, compress, pairwise
from typing import Any

import numpy as np
import torch

from strive_data.schema import Question
from strive_rl.algorithm.loss import TokenBatch, policy_loss
from strive_rl.common import distributed
from strive_rl.common.progress import phase
from strive_rl.config import AlgorithmSettings
from strive_rl.policy import Policy, load_policy, logprobs
from strive_rl.policy.architectures.experts import take_load
from strive_rl.policy.logprobs import mask, sampled_logprobs
from strive_rl.policy.lora import adapters_off
from strive_rl.policy.sharding import unsharded
from strive_rl.rollout.groups import encode_groups, learned
from strive_rl.schema import Completion, Group, View
from strive_rl.train.optimizer import Optimizer

Sums = dict[str, Any]
"""What passes, updates and processes add up to (`added`), by name: the sums of `policy_loss`; `router`, the
load of a mixture of experts; of the first update alone the largest and the sum of the tokens' gaps
|log π in training − log π in sampling|, rounding unless something is wrong. `updates` and the mean
`grad_norm` are the same on all processes. A name is missing where there is nothing to add up."""
# Of these the largest is kept.
LARGEST = ("logprob_gap", "grad_norm", "updates")
FIRST_UPDATE = ("logprob_gap", "logprob_gap_mean", "first_tokens")


@dataclass(kw_only=True, eq=False)
class Pass:
    """Groups whose completions go through the policy together, and what stays fixed: float32 [B, L] by the
    trainer before the first update and by the reference, None where the loss does not use them."""

    groups: Sequence[Group]
    old_logprobs: torch.Tensor | None = None
    reference_logprobs: torch.Tensor | None = None

    @property
    def completions(self) -> list[Completion]:
        """All B completions."""
        return [completion for group in self.groups for completion in group.flat]

    @property
    def ids(self) -> list[str]:
        """Ids of the questions."""
        return [group.question.sample_id for group in self.groups]


def learned_part(groups: Sequence[Group], settings: AlgorithmSettings) -> list[Group]:
    """The groups with advantages, cut to their completions that are `learned`, those without left out."""
    made: list[Group] = []
    for group in groups:
        kept_MG = learned(group, settings)
        rows = [tuple(compress(row, keep)) for row, keep in zip(group.completions, kept_MG, strict=True)]
        if any(rows):
            cut = replace(
                group,
                views=tuple(compress(group.views, rows)),
                prompts=tuple(compress(group.prompts, rows)),
                completions=tuple(filter(None, rows)),
                rewards=(),
                advantages=group.advantages[kept_MG],
            )
            made.append(cut)
    return made


def make_dummy(policy: Policy) -> Group:
    """A group of zero advantage for a process that has no question left while others have: one completion of
    two tokens about two small frames, the shortest pass through every weight that a real one uses."""
    unbounded = replace(policy, settings=replace(policy.settings, max_prompt_tokens=1 << 20))
    view = View(frames=np.zeros((2, 64, 64, 3), dtype=np.uint8), times=np.array([0.0, 1.0]), paired=True)
    question = Question(sample_id="dummy", video="", question="", answer="A", problem_type="free-form")
    with unsharded(policy.model):
        (group,), _ = encode_groups(unbounded, [Group(question=question, views=(view,))])
    completion = Completion(ids=policy.end_ids[:1] * 2, logprobs=(0.0, 0.0), text="", finished=True)
    return replace(group, completions=((completion,),), advantages=np.zeros(1))


def update(
    policy: Policy,
    optimizer: Optimizer,
    groups: Sequence[Group],
    settings: AlgorithmSettings,
    *,
    temperature: float,
    learning_rate: float,
    step: int,
    reference: Any | None = None,
    dummy: Group | None = None,
) -> Sums:
    """All updates of one step over its groups, `policy.groups_per_pass` of them in a pass.

    Every process calls this with its share of the groups and gets the sums of its share. `dummy` is
    computed, without effect, while other processes have more passes. Raises StriveError on every process,
    with the step and the questions, where the loss or the gradient is not finite; the weights are then those
    before that update.
    """
    held = distributed.all_gather(len(groups))
    if not any(held):
        return {}
    size = policy.settings.groups_per_pass
    updates = [
        [Pass(groups=minibatch[start : start + size]) for start in range(0, len(minibatch), size)]
        for minibatch in split(groups, settings.minibatches, held, distributed.rank())
    ]
    fix_logprobs(policy, [each for passes in updates for each in passes], settings, reference, temperature)
    updates *= settings.epochs_per_rollout
    done: list[Sums] = []
    norms: list[float] = []
    for number, passes in enumerate(updates, start=1):
        where = f"step {step}" + (f", update {number} of {len(updates)}" if len(updates) > 1 else "")
        sums = _accumulate(policy, optimizer, passes, settings, temperature, where, dummy)
        done.append({name: each for name, each in sums.items() if number == 1 or name not in FIRST_UPDATE})
        norms.append(optimizer.clip())
        # The norm is that of all processes, and the same on each.
        if not math.isfinite(norms[-1]):
            ids = distributed.all_gather_list([name for each in passes for name in each.ids])
            distributed.stop(_not_finite(norms[-1], "gradient", where, ids))
        optimizer.step(learning_rate)
    return added(done) | {"grad_norm": sum(norms) / len(norms), "updates": len(norms)}


def split(groups: Sequence[Group], count: int, held: Sequence[int], rank: int = 0) -> list[list[Group]]:
    """This process's share of each of `count` minibatches, as equal as can be and in order; fewer minibatches
    where there are fewer questions. The processes hold `held` questions one after the other."""
    total, before = sum(held), sum(held[:rank])
    ends = [total * i // count for i in range(count + 1)]
    return [
        list(groups[max(start - before, 0) : max(end - before, 0)])
        for start, end in pairwise(ends)
        if start < end
    ]


def _accumulate(
    policy: Policy,
    optimizer: Optimizer,
    passes: Sequence[Pass],
    settings: AlgorithmSettings,
    temperature: float,
    where: str,
    dummy: Group | None,
) -> Sums:
    """Add the gradients of one update to the optimizer, pass by pass."""
    groups = [group for each in passes for group in each.groups]
    own = sum(each.advantages.size for each in groups), sum(each.tokens for each in groups), len(passes)
    completions, tokens, counts = zip(*distributed.all_gather(own), strict=True)
    done: list[Sums] = []
    failures: list[str] = []
    take_load(policy.model)
    for number, each in enumerate(passes):
        first = number * policy.settings.groups_per_pass + 1
        phase(f"updating, question {first} of {len(groups)}")
        batch = token_batch(policy, each, settings, temperature)
        loss, values = policy_loss(batch, settings, completions=sum(completions), tokens=sum(tokens))
        loss.backward()  # type: ignore[no-untyped-call]  # torch's annotation is incomplete
        optimizer.add_gradients()
        done.append(values | _gaps(batch))
        if not math.isfinite(values["loss"]):  # reported after the last pass: all take the same number
            failures.append(_not_finite(values["loss"], "loss", where, each.ids))
    load = take_load(policy.model)
    # Every pass of a sharded model gathers its weights from all processes, so all must take equally many.
    for _ in range(max(counts) - len(passes)):
        if dummy is None:
            raise ValueError("other processes have more passes, and there is no dummy group")
        zero = pass_logprobs(policy, [dummy], temperature).sum() * 0.0
        zero.backward()  # type: ignore[no-untyped-call]  # torch's annotation is incomplete
        optimizer.add_gradients()
    failures = distributed.all_gather_list(failures)
    if failures:
        distributed.stop(failures[0])
    return added(done) | ({} if load is None else {"router": load})


def added(parts: Sequence[Sums]) -> Sums:
    """The sums of several passes, updates or processes together."""
    made: Sums = {}
    for name, value in chain.from_iterable(part.items() for part in parts):
        known = made.get(name, 0)
        made[name] = max(known, value) if name in LARGEST else known + value
    return made


def token_batch(policy: Policy, each: Pass, settings: AlgorithmSettings, temperature: float) -> TokenBatch:
    """Log-probabilities of the completions of a pass, with gradients, beside the fixed ones."""
    new = pass_logprobs(policy, each.groups, temperature)
    rollout = sampled_logprobs(each.completions).to(policy.device)
    old = rollout if settings.old_logprobs == "rollout" else each.old_logprobs
    advantages = np.concatenate([group.advantages for group in each.groups])
    return TokenBatch(
        logprobs=new,
        old_logprobs=new.detach() if old is None else old,
        mask=mask(each.completions).to(policy.device),
        advantages=torch.from_numpy(advantages).to(policy.device, torch.float32),
        reference_logprobs=each.reference_logprobs,
        rollout_logprobs=rollout,
    )


def _gaps(batch: TokenBatch) -> Sums:
    """The largest of the gaps of a pass's tokens, their sum and their number."""
    if batch.rollout_logprobs is None:
        return {}
    gaps = (batch.logprobs.detach() - batch.rollout_logprobs).abs()
    made = float(gaps.max()), float(gaps.sum()), float(batch.mask.sum())
    return dict(zip(FIRST_UPDATE, made, strict=True))


def _not_finite(value: float, what: str, where: str, ids: Sequence[str]) -> str:
    return f"{where}: the {what} is {value}; questions of this pass: {', '.join(ids)}"


def fix_logprobs(
    policy: Policy,
    passes: Sequence[Pass],
    settings: AlgorithmSettings,
    reference: Any | None,
    temperature: float,
) -> None:
    """Give the passes the old and the reference log-probabilities that the loss uses, without gradients; all
    processes must call it. A single update needs no old ones: the policy itself is the old policy."""
    if settings.epochs_per_rollout * settings.minibatches > 1 and settings.old_logprobs == "trainer":
        with unsharded(policy.model), torch.no_grad():
            for each in passes:
                each.old_logprobs = pass_logprobs(policy, each.groups, temperature)
    if settings.kl_beta:
        if reference is None:
            raise ValueError("kl_beta without a reference")
        first = replace(policy, model=reference)
        with adapters_off(reference), unsharded(reference), torch.no_grad():
            for each in passes:
                each.reference_logprobs = pass_logprobs(first, each.groups, temperature)


def pass_logprobs(policy: Policy, groups: Sequence[Group], temperature: float) -> torch.Tensor:
    """Log-probabilities float32 [B, L] of all completions of these groups in one forward pass."""
    prompts = [prompt for group in groups for prompt in group.prompts]
    rows = [row for group in groups for row in group.completions]
    return logprobs(policy, prompts, rows, temperature)


def load_reference(name: str, policy: Policy) -> Any:
    """The reference of a policy loaded as `name`: with adapters the policy's own model, whose adapters are
    off in its passes; otherwise a frozen copy."""
    if policy.settings.lora_rank:
        return policy.model
    settings = replace(policy.settings, train_vision=False, gradient_checkpointing=False)
    return load_policy(name, settings, to_shard=True).model.requires_grad_(False)
