"""What a run would do and need, from its settings, its shards and its model's config (`train --dry-run`).

It loads the config and the index of the shards alone. It does not estimate the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from strive_data.common.text import plural
from strive_data.shards.reader import ShardSet
from strive_rl.config import TrainSettings
from strive_rl.data import Builds
from strive_rl.dry_run.memory import Estimate, estimate
from strive_rl.dry_run.shape import ModelShape, read_shape

GIB = 1024**3
TEXT_TOKENS = 200  # of a long question with its options and how to answer


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run before its start. `frames` and `frame_pixels` of a view: the most of any build. `heldout` is the
    build to evaluate on, `heldout_questions` are those that each evaluation asks."""

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
    return Plan(
        model=model,
        settings=settings,
        shape=read_shape(model, settings.rollout.engine),
        questions=len(builds),
        shards=builds.folder,
        frames=max(part.settings["sampler"]["frames"] for part in builds.parts),
        frame_pixels=max(part.settings["decode"]["max_pixels"] for part in builds.parts),
        processes=processes,
        heldout=str(heldout.folder) if heldout else "",
        heldout_questions=min(len(heldout), settings.validation.questions or len(heldout)) if heldout else 0,
    )


def amounts(made: Plan) -> Iterator[str]:
    """The work of a step and the memory that it takes, as lines."""
    yield from _work(made, made.need)
    yield ""
    yield from _memory(made, made.need)


def _work(made: Plan, need: Estimate) -> Iterator[str]:
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
    which = "the process" if made.processes == 1 else f"each of {made.processes} processes"
    form = "bfloat16" if made.bytes_a_weight == 2 else "float32"
    yield f"memory of {which}, GiB (an estimate; weights in {form})"
    yield f"{'':18}{'sampling':>10}{'update':>10}"
    for name in dict.fromkeys([*need.sampling_parts, *need.update_parts]):
        columns = [gib(parts.get(name, 0)) for parts in (need.sampling_parts, need.update_parts)]
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
