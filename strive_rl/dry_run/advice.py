"""Which common GPUs a plan fits, and what each change of a setting would bring: planned again, not guessed.

A change is offered only where the setting is not there yet and the peak falls.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from strive_rl.dry_run.shape import EDITION, published_sizes, read_shape
from strive_rl.dry_run.train_plan import GIB, Plan, gib

# Memory that CUDA reports, GiB.
GPUS = {
    "RTX 4090 24 GB": 23.5,
    "A100 40 GB": 39.4,
    "L40S 48 GB": 44.5,
    "A100/H100 80 GB": 79.1,
    "H200 141 GB": 139.8,
    "B200 180 GB": 178.3,
}
# Of a GPU: the rest is for CUDA's context, kernels and fragments.
USABLE = 0.9
# A change that lowers the peak by less is not worth a line.
NOTABLE = 0.02
MANY_EPOCHS = 20
ADAPTER_RANK = 64
SMALL_CHUNK = 256
TOGETHER = "all of policy.* together"
# The size in a hub name, in billions of weights.
SIZE = re.compile(r"-([\d.]+)B")


def fitting(made: Plan) -> list[str]:
    """The GPUs that hold what one process needs; beside vLLM none is known to."""
    if made.settings.rollout.engine == "vllm":
        return []
    return [name for name, size in GPUS.items() if made.need.peak_bytes <= USABLE * size * GIB]


def _beside_vllm(made: Plan) -> Iterator[str]:
    """What vLLM takes beside the estimate, and the GPUs that cannot hold both: the least that it needs."""
    engine, need = made.settings.rollout, made.need
    weights = made.shape.parameters * made.bytes_a_weight // engine.tensor_parallel_size
    if made.on_cpu:
        yield f"rollout.engine=vllm: vLLM's own {gib(weights)} GiB of weights and its cache come on top"
        return
    share, always = engine.gpu_memory_utilization, not engine.sleep
    yield (
        f"rollout.engine=vllm: beside this, vLLM takes rollout.gpu_memory_utilization={share:g} of each GPU "
        f"{'all the time (rollout.sleep=false)' if always else 'while completions are sampled'}, for its own "
        f"{gib(weights)} GiB of weights and its cache; what both need together was not measured"
    )
    rest = 1 - share
    short = [
        name
        for name, size in GPUS.items()
        if need.sampling_bytes > rest * size * GIB
        or need.update_bytes > (rest if always else 1) * size * GIB
        or weights > share * size * GIB
    ]
    yield f"too small for both: {', '.join(short) or 'none'}; of the others it is not known"


def _smaller_model(made: Plan) -> Iterator[str]:
    """The largest smaller model of the family that fits a GPU which this one does not."""
    found = SIZE.search(made.model)
    if made.on_cpu or not found or EDITION.sub("", made.model) not in published_sizes():
        return
    family, size = made.model[: found.start()], float(found[1])
    sizes = {name: SIZE.search(name) for name in published_sizes() if name.startswith(f"{family}-")}
    smaller = {name: float(each[1]) for name, each in sizes.items() if each and float(each[1]) < size}
    edition = EDITION.search(made.model)
    for name in sorted(smaller, key=lambda each: -smaller[each]):
        model = name + (edition[0] if edition else "")
        other = replace(made, model=model, shape=read_shape(model))
        if gained := [gpu for gpu in fitting(other) if gpu not in fitting(made)]:
            yield f"a smaller model, --model {model}: {gib(other.need.peak_bytes)} GiB, then fits {gained[0]}"
            return


def advice(made: Plan) -> Iterator[str]:
    """What would drop every question, what repeats them absurdly often, which devices fit, what to change."""
    need, limit = made.need, made.settings.policy.max_prompt_tokens
    if need.prompt_tokens > limit:
        yield (
            f"prompts of {need.prompt_tokens:,} tokens are longer than policy.max_prompt_tokens, {limit:,}: "
            "raise it, or give fewer or smaller frames"
        )
    each = made.settings.data.questions_per_step
    epochs = made.settings.steps * each / made.questions
    if epochs > MANY_EPOCHS:
        fewer = max(1, MANY_EPOCHS * made.questions // each)
        yield (
            f"warning: {epochs:,.0f} epochs: the policy learns {made.questions:,} questions by heart. "
            f"Set steps={fewer} for {MANY_EPOCHS} epochs, or build more questions"
        )
    if made.settings.rollout.engine == "vllm":
        yield from _beside_vllm(made)
    elif not made.on_cpu:
        fits, short = fitting(made), [name for name in GPUS if name not in fitting(made)]
        yield f"fits: {', '.join(fits) or 'none of these'}; too small: {', '.join(short) or 'none'}"
    yield from _offers(made)
    yield from _smaller_model(made)


def _offers(made: Plan) -> Iterator[str]:
    """What each change of a setting, and all of the policy's together, would bring."""
    need = made.need
    offers = sorted(
        (offer for offer in changes(made) if offer[1].need.peak_bytes < (1 - NOTABLE) * need.peak_bytes),
        key=lambda offer: offer[1].need.peak_bytes,
    )
    if not offers:
        yield "no setting lowers the peak: take fewer or smaller frames, shorter completions, a smaller model"
        return
    without = " without vLLM" if made.settings.rollout.engine == "vllm" else ""
    yield f"peak {gib(need.peak_bytes)} GiB{without}; one change at a time:"
    shown = " ".join(text for text, _ in offers)
    several = {name: value for name, value in _wanted(made).items() if f"policy.{name}=" in shown}
    together = _with(made, policy=replace(made.settings.policy, **several))
    if together.need.peak_bytes < (1 - NOTABLE) * offers[0][1].need.peak_bytes:
        offers.append((TOGETHER, together))
    width = max(len(text) for text, _ in offers)
    for text, other in offers:
        yield f"  {text:{width}}  {gib(other.need.peak_bytes):>6}{_gained(made, other)}"


def _gained(made: Plan, other: Plan) -> str:
    """The smallest GPU that a change adds."""
    if made.on_cpu:
        return ""
    more = [name for name in fitting(other) if name not in fitting(made)]
    return f" GiB, then fits {more[0]}" if more else " GiB"


def _wanted(made: Plan) -> dict[str, Any]:
    """Settings of the policy that may lower the peak, with other values than the plan's."""
    policy, settings = made.settings.policy, made.settings
    questions = -(-settings.data.questions_per_step // made.processes)
    wanted: dict[str, Any] = {
        "gradient_checkpointing": True,
        "logits_chunk_tokens": min(policy.logits_chunk_tokens, SMALL_CHUNK),
    }
    if min(policy.groups_per_pass, questions) > 1:
        wanted["groups_per_pass"] = 1
    sampled = min(policy.prompts_per_pass, questions * settings.data.variants)
    if sampled > 1:
        wanted["prompts_per_pass"] = max(1, sampled // 4)
    if not policy.lora_rank and not policy.train_vision:
        wanted["lora_rank"] = ADAPTER_RANK
    if made.bytes_a_weight != 2:
        wanted["dtype"] = "bfloat16"
    return {name: value for name, value in wanted.items() if getattr(policy, name) != value}


def changes(made: Plan) -> Iterator[tuple[str, Plan]]:
    """(a setting with its value, the plan with it), for each that differs from the plan's."""
    policy, settings = made.settings.policy, made.settings
    for name, value in _wanted(made).items():
        shown = str(value).lower() if isinstance(value, bool) else value
        yield f"policy.{name}={shown}", _with(made, policy=replace(policy, **{name: value}))
    if settings.algorithm.kl_beta and not policy.lora_rank:
        yield "algorithm.kl_beta=0", _with(made, algorithm=replace(settings.algorithm, kl_beta=0.0))
    if not made.on_cpu:
        more = 2 * made.processes
        yield f"{more} devices (--nproc {more})", replace(made, processes=more)


def _with(made: Plan, **sections: Any) -> Plan:
    return replace(made, settings=replace(made.settings, **sections))
