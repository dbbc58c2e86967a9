"""Groups → examples → optimizer steps: what is learned, the loss pass by pass, the gradient clipped, the
weights moved. An example has the completions that are learned under the prompts of their variants.

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
from strive_rl.policy.logprobs import mask, padded, sampled_logprobs
from strive_rl.policy.lora import adapters_off
from strive_rl.policy.sharding import unsharded
from strive_rl.rollout.groups import encode_groups, learned
from strive_rl.schema import Completion, Group, Prompt, Rewards, View
from strive_rl.train.optimizer import Optimizer

Sums = dict[str, Any]
"""What passes, updates and processes add up to (`added`), by name: the sums of `policy_loss`; `router`, the
load of a mixture of experts; of the first update alone the largest and the sum of the tokens' gaps
|log π in training − log π in sampling|, rounding unless something is wrong. `updates` and the mean
`grad_norm` are the same on all processes. A name is missing where there is nothing to add up."""
# Of these the largest is kept.
LARGEST = ("logprob_gap", "grad_norm", "updates")
FIRST_UPDATE = ("logprob_gap", "logprob_gap_mean", "first_tokens")


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainExample:
    """One question: P prompts, under each the completions that are learned, and float64 [B] the advantages of
    all B completions in their order.

    `old_logprobs` (by the trainer, before the first update) and `reference_logprobs` are float32 [tokens of
    all completions], None where the loss does not use them.
    """

    sample_id: str
    prompts: tuple[Prompt, ...]
    completions: tuple[tuple[Completion, ...], ...]
    advantages: Rewards
    old_logprobs: torch.Tensor | None = None
    reference_logprobs: torch.Tensor | None = None

    @property
    def flat(self) -> tuple[Completion, ...]:
        """All B completions."""
        return tuple(chain.from_iterable(self.completions))

    @property
    def tokens(self) -> int:
        """Number of tokens of all completions."""
        return sum(len(completion.ids) for completion in self.flat)


def make_examples(groups: Sequence[Group], settings: AlgorithmSettings) -> list[TrainExample]:
    """The examples of the groups with advantages, of their completions that are `learned`."""
    made: list[TrainExample] = []
    for group in groups:
        kept_MG = learned(group, settings)
        rows = [tuple(compress(row, keep)) for row, keep in zip(group.completions, kept_MG, strict=True)]
        if any(rows):
            example = TrainExample(
                sample_id=group.question.sample_id,
                prompts=tuple(compress(group.prompts, rows)),
                completions=tuple(filter(None, rows)),
                advantages=group.advantages[kept_MG],
            )
            made.append(example)
    return made


def make_dummy_example(policy: Policy) -> TrainExample:
    """An example of zero advantage for a process that has no question left while others have: one completion
    of two tokens about two small frames, the shortest pass through every weight that a real one uses."""
    unbounded = replace(policy, settings=replace(policy.settings, max_prompt_tokens=1 << 20))
    view = View(frames=np.zeros((2, 64, 64, 3), dtype=np.uint8), times=np.array([0.0, 1.0]), paired=True)
    question = Question(sample_id="dummy", video="", question="", answer="A", problem_type="free-form")
    with unsharded(policy.model):
        (group,), _ = encode_groups(unbounded, [Group(question=question, views=(view,))])
    completion = Completion(ids=policy.end_ids[:1] * 2, logprobs=(0.0, 0.0), text="", finished=True)
    return TrainExample(
        sample_id=question.sample_id,
        prompts=group.prompts,
        completions=((completion,),),
        advantages=np.zeros(1),
    )


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
) -> Sums:
    """All updates of one step over its examples, `policy.groups_per_pass` questions in a pass.

    Every process calls this with its share of the examples and gets the sums of its share. `dummy` is
    computed, without effect, while other processes have more passes. Raises StriveError on every process,
    with the step and the questions, where the loss or the gradient is not finite; the weights are then those
    before that update.
    """
    held = distributed.all_gather(len(examples))
    if not any(held):
        return {}
    fixed = with_fixed_logprobs(policy, examples, settings, reference, temperature)
    minibatches = split(fixed, settings.minibatches, held, distributed.rank()) * settings.epochs_per_rollout
    done: list[Sums] = []
    norms: list[float] = []
    for number, minibatch in enumerate(minibatches, start=1):
        where = f"step {step}" + (f", update {number} of {len(minibatches)}" if len(minibatches) > 1 else "")
        sums = _accumulate(policy, optimizer, minibatch, settings, temperature, where, dummy)
        done.append({name: each for name, each in sums.items() if number == 1 or name not in FIRST_UPDATE})
        norms.append(optimizer.clip())
        # The norm is that of all processes, and the same on each.
        if not math.isfinite(norms[-1]):
            ids = distributed.all_gather_list([each.sample_id for each in minibatch])
            distributed.stop(_not_finite(norms[-1], "gradient", where, ids))
        optimizer.step(learning_rate)
    return added(done) | {"grad_norm": sum(norms) / len(norms), "updates": len(norms)}


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
) -> Sums:
    """Add the gradients of one update to the optimizer, pass by pass."""
    size = policy.settings.groups_per_pass
    parts = [minibatch[start : start + size] for start in range(0, len(minibatch), size)]
    own = sum(each.advantages.size for each in minibatch), sum(each.tokens for each in minibatch), len(parts)
    completions, tokens, passes = zip(*distributed.all_gather(own), strict=True)
    done: list[Sums] = []
    failures: list[str] = []
    take_load(policy.model)
    for number, part in enumerate(parts):
        phase(f"updating, question {number * size + 1} of {len(minibatch)}")
        batch = token_batch(policy, part, settings, temperature)
        loss, values = policy_loss(batch, settings, completions=sum(completions), tokens=sum(tokens))
        loss.backward()  # type: ignore[no-untyped-call]  # torch's annotation is incomplete
        optimizer.add_gradients()
        done.append(values | _gaps(batch))
        if not math.isfinite(values["loss"]):  # reported after the last pass: all take the same number
            ids = [each.sample_id for each in part]
            failures.append(_not_finite(values["loss"], "loss", where, ids))
    load = take_load(policy.model)
    # Every pass of a sharded model gathers its weights from all processes, so all must take equally many.
    for _ in range(max(passes) - len(parts)):
        if dummy is None:
            raise ValueError("other processes have more passes, and there is no dummy example")
        zero = pass_logprobs(policy, [dummy], temperature)[0].sum() * 0.0
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


def token_batch(
    policy: Policy, examples: Sequence[TrainExample], settings: AlgorithmSettings, temperature: float
) -> TokenBatch:
    """Log-probabilities of the completions of these examples, with gradients, beside the fixed ones."""
    new, mask_BL = pass_logprobs(policy, examples, temperature)
    rollout = sampled_logprobs([each for example in examples for each in example.flat]).to(policy.device)
    fixed = _padded([example.old_logprobs for example in examples], mask_BL)
    old = rollout if settings.old_logprobs == "rollout" else fixed
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
    return padded(torch.cat(known), mask_BL) if known else None


def _gaps(batch: TokenBatch) -> Sums:
    """The largest of the gaps of a pass's tokens, their sum and their number."""
    if batch.rollout_logprobs is None:
        return {}
    gaps = (batch.logprobs.detach() - batch.rollout_logprobs).abs()
    made = float(gaps.max()), float(gaps.sum()), float(batch.mask.sum())
    return dict(zip(FIRST_UPDATE, made, strict=True))


def _not_finite(value: float, what: str, where: str, ids: Sequence[str]) -> str:
    return f"{where}: the {what} is {value}; questions of this pass: {', '.join(ids)}"


def with_fixed_logprobs(
    policy: Policy,
    examples: Sequence[TrainExample],
    settings: AlgorithmSettings,
    reference: Any | None,
    temperature: float,
) -> list[TrainExample]:
    """The examples with the old and the reference log-probabilities that the loss uses; all processes must
    call it. A single update needs no old ones: the policy itself is the old policy."""
    old: Sequence[torch.Tensor | None] = [None] * len(examples)
    references = old
    if settings.epochs_per_rollout * settings.minibatches > 1 and settings.old_logprobs == "trainer":
        old = fixed_logprobs(policy, examples, temperature)
    if settings.kl_beta:
        if reference is None:
            raise ValueError("kl_beta without a reference")
        with adapters_off(reference):
            references = fixed_logprobs(replace(policy, model=reference), examples, temperature)
    return [
        replace(example, old_logprobs=before, reference_logprobs=by_reference)
        for example, before, by_reference in zip(examples, old, references, strict=True)
    ]


def fixed_logprobs(
    policy: Policy, examples: Sequence[TrainExample], temperature: float
) -> list[torch.Tensor]:
    """Log-probabilities of all tokens of each example, without gradients."""
    size = policy.settings.groups_per_pass
    vectors: list[torch.Tensor] = []
    with unsharded(policy.model), torch.no_grad():
        for start in range(0, len(examples), size):
            part = examples[start : start + size]
            made, mask_BL = pass_logprobs(policy, part, temperature)
            vectors += torch.split(made[mask_BL], [example.tokens for example in part])
    return vectors


def pass_logprobs(
    policy: Policy, examples: Sequence[TrainExample], temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities [B, L] of all completions of these examples in one forward pass, and their mask."""
    prompts = [prompt for example in examples for prompt in example.prompts]
    rows = [row for example in examples for row in example.completions]
    flat = [completion for example in examples for completion in example.flat]
    return logprobs(policy, prompts, rows, temperature), mask(flat).to(policy.device)


def load_reference(name: str, policy: Policy) -> Any:
    """The reference of a policy loaded as `name`: with adapters the policy's own model, whose adapters are
    off in its passes; otherwise a frozen copy."""
    if policy.settings.lora_rank:
        return policy.model
    settings = replace(policy.settings, train_vision=False, gradient_checkpointing=False)
    return load_policy(name, settings, to_shard=True).model.requires_grad_(False)
