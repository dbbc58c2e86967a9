"""What a run would do and need, from its settings, its shards and its model's config (`train --dry-run`).

It loads the config and the index of the shards alone. It does not estimate the time. Then it says which
common GPUs the plan fits, and what each change of a setting would bring: planned again, not guessed. A change
is offered only where the setting is not there yet and the peak falls.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from strive_data.common.settings import as_toml
from strive_data.common.text import plural
from strive_data.shards.reader import ShardSet
from strive_rl.config import TrainSettings
from strive_rl.data import Builds
from strive_rl.data.dataset import multiples_of
from strive_rl.dry_run.memory import EDITION, Estimate, ModelShape, estimate, published_sizes, read_shape
from strive_rl.policy.load import resized_frames

GIB = 1024**3
TEXT_TOKENS = 200  # of a long question with its options and how to answer
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


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run before its start. `frames` and `frame_pixels` of a view: the most of any build. `heldout` is the
    build to evaluate on, `heldout_questions` are those that each evaluation asks. `resized` warns of frames
    that the processor resizes."""

    model: str
    settings: TrainSettings
    shape: ModelShape
    questions: int
    shards: str
    frames: int
    frame_pixels: int
    processes: int
    heldout: str = ""
    heldout_questions: int = 0
    resized: str = ""

    @property
    def on_cpu(self) -> bool:
        """Whether the settings name the CPU: the planning machine may be another than the training one."""
        return self.settings.policy.device == "cpu"

    @property
    def bytes_a_weight(self) -> int:
        """As a GPU holds them, unless the settings name the CPU."""
        dtype = self.settings.policy.dtype
        return 4 if dtype == "float32" or (dtype == "auto" and self.on_cpu) else 2

    @property
    def need(self) -> Estimate:
        """Tokens and bytes of one process."""
        return estimate(
            self.shape,
            self.settings,
            frames=self.frames,
            frame_pixels=self.frame_pixels,
            bytes_a_weight=self.bytes_a_weight,
            text_tokens=TEXT_TOKENS,
            processes=self.processes,
            on_cpu=self.on_cpu,
        )


def plan(
    shards: Sequence[ShardSet],
    *,
    model: str,
    settings: TrainSettings,
    processes: int = 1,
    heldout: ShardSet | None = None,
) -> Plan:
    """The plan of a run on `processes` processes, each with a device.

    Raises UsageError where a run could not start: for an unsupported model, and for builds that lack what the
    settings need.
    """
    builds = Builds(shards)
    builds.plans(settings.data, neighbours=settings.policy.frame_pairs == "neighbours")
    shape = read_shape(model, settings.rollout, processes)
    multiples = multiples_of(*builds.parts, *([heldout] if heldout else []))
    return Plan(
        model=model,
        settings=settings,
        shape=shape,
        questions=len(builds),
        shards=builds.folder,
        frames=max(part.settings["sampler"]["frames"] for part in builds.parts),
        frame_pixels=max(part.settings["decode"]["max_pixels"] for part in builds.parts),
        processes=processes,
        heldout=str(heldout.folder) if heldout else "",
        heldout_questions=min(len(heldout), settings.validation.questions or len(heldout)) if heldout else 0,
        resized=resized_frames(math.isqrt(shape.token_pixels), multiples),
    )


def plan_text(made: Plan) -> str:
    """Resolved settings as TOML, then their amounts as comments: the whole text can be a --config."""
    lines = [*_work(made, made.need), "", *_memory(made, made.need), "", *advice(made)]
    return as_toml(made.settings) + "\n" + "\n".join(f"# {line}".rstrip() for line in lines)


def _work(made: Plan, need: Estimate) -> Iterator[str]:
    """The work of a step, as lines."""
    settings, shape = made.settings, made.shape
    data, rollout = settings.data, settings.rollout
    prompts = data.questions_per_step * data.variants
    rollouts = prompts * rollout.completions
    taken = settings.steps * data.questions_per_step
    weights, trained = _count(shape.parameters), _count(need.trainable_parameters)
    yield f"model       {made.model}: {weights} weights, {trained} trained"
    yield f"shards      {made.shards}: {plural(made.questions, 'question', ',')}"
    yield (
        f"run         {plural(settings.steps, 'step', ',')} of "
        f"{plural(data.questions_per_step, 'question')}: {plural(taken, 'question', ',')}, "
        f"{taken / made.questions:,.2f} epochs"
    )
    yield (
        f"prompt      {need.prompt_tokens:,} tokens at most: {need.video_tokens:,} of {made.frames} frames, "
        f"{TEXT_TOKENS} of text, the rest around the patches"
    )
    read = plural(prompts, "prompt", ",")
    yield f"each step   {read} read: {prompts * need.prompt_tokens:,} tokens at most"
    yield (
        f"            {plural(rollouts, 'rollout', ',')}: {rollouts * rollout.max_new_tokens:,} tokens at "
        f"most ({rollout.max_new_tokens} each)"
    )
    yield f"            {_updates(settings)}"
    if rounds := rollout.dynamic_sampling_rounds:
        yield f"            up to {rounds + 1} times as many prompts and rollouts by dynamic sampling"
    if made.heldout:
        yield from _validation(made, prompts, rollouts)


def _validation(made: Plan, prompts: int, rollouts: int) -> Iterator[str]:
    """What evaluating costs beside the prompts and rollouts of a step."""
    steps, wanted, count = made.settings.steps, made.settings.validation, made.heldout_questions
    times = -(-steps // wanted.every)  # after the last step too
    fewer = f"; fewer by validation.patience={wanted.patience}" if wanted.patience else ""
    yield (
        f"validation  {made.heldout}: {plural(count, 'question', ',')}, {plural(times, 'time', ',')} (every "
        f"{plural(wanted.every, 'step')} and after the last{fewer})"
    )
    of_prompts, of_rollouts = (_share(times * count, steps * each) for each in (prompts, rollouts))
    yield (
        f"            each time {plural(count, 'prompt', ',')} read, {plural(count, 'completion', ',')}: in "
        f"all {times * count:,}, {of_prompts} of the steps' prompts and {of_rollouts} of their rollouts"
    )


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2g} %" if part < whole else f"{part / whole:.1f} times"


def _updates(settings: TrainSettings) -> str:
    algorithm = settings.algorithm
    count = algorithm.epochs_per_rollout * algorithm.minibatches
    forward = algorithm.epochs_per_rollout
    if count > 1 and algorithm.old_logprobs == "trainer":
        forward += 1
    if algorithm.kl_beta:
        forward += 1
    return f"{plural(count, 'update')}, each completion read {plural(forward, 'time')} after sampling"


def _memory(made: Plan, need: Estimate) -> Iterator[str]:
    """The memory that a step takes, as lines."""
    which = "the process" if made.processes == 1 else f"each of {made.processes} processes"
    form = "bfloat16" if made.bytes_a_weight == 2 else "float32"
    yield f"memory of {which}, GiB (an estimate; weights in {form})"
    yield f"{'':18}{'sampling':>10}{'update':>10}"
    for name in dict.fromkeys([*need.sampling, *need.update]):
        columns = [gib(parts.get(name, 0)) for parts in (need.sampling, need.update)]
        if any(text != "-" for text in columns):
            yield f"{name:18}{columns[0]:>10}{columns[1]:>10}"
    yield f"{'together':18}{gib(need.sampling_bytes):>10}{gib(need.update_bytes):>10}"
    where = "at most" if made.on_cpu else "main memory of the first process"
    yield f"saving a checkpoint: {gib(need.saving_bytes)} GiB, {where}"
    if made.settings.policy.train_vision:
        yield "and the activations of the vision tower (policy.train_vision), which the estimate leaves out"


def _count(number: int) -> str:
    for size, name in ((1e9, "billion"), (1e6, "million")):
        if number >= size:
            return f"{number / size:.3g} {name}"
    return f"{number:,}"


def gib(size: int) -> str:
    """One decimal from 1 GiB, three below."""
    if not size:
        return "-"
    return f"{size / GIB:.1f}" if size >= GIB else f"{max(size / GIB, 0.001):.3f}"


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
    if made.resized:
        yield made.resized
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
