"""Where the time of an evaluation goes, and what sharing frames between questions on one video saves.

    python -m tools.bench.evaluate ROOT questions.jsonl --model MODEL [--frames 8] [--tokens 32] [--rounds 3]

Stages of one pass over all questions: decode (videos → JPEGs, one worker), pixels (JPEGs → the processor's
patches), vision (the tower), prefill (prompts → first token), decoding (the further tokens; no end token is
taken). Then pixels and vision again with each question's frames made and looked at by themselves. Ways take
turns within a round; medians of rounds. On a busy machine only the ratios say anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TypeVar

import typer

from strive_data.common.text import plural
from strive_data.config import DecodeSettings, SamplerSettings
from strive_data.engines.engine import find_videos, make_engine
from strive_data.schema import Sample
from strive_rl.benchmarks.items import read_items
from strive_rl.benchmarks.rules.open_answers import CUSTOM
from strive_rl.common.progress import quiet_libraries
from strive_rl.config import PolicySettings
from strive_rl.eval.answer import Asked, chosen_frames, groups_of
from strive_rl.eval.config import BenchmarkSettings
from strive_rl.eval.on_benchmark import frame_settings
from strive_rl.policy import Patches, Policy, Prompt, Sampling, encode, load_policy, sample, with_features
from strive_rl.schema import Completion, Group

T = TypeVar("T")


@dataclass(frozen=True)
class Stages:
    """Seconds of one pass; `alone` are pixels and vision without sharing."""

    pixels: float
    vision: float
    prefill: float
    decoding: float
    alone_pixels: float
    alone_vision: float


def main(
    root: Path,
    annotation: Path,
    model: str = "demo",
    frames: int = 8,
    candidates: int = 32,
    pixels: int = 128 * 28 * 28,
    tokens: int = 32,
    rounds: int = 3,
) -> None:
    """Print the share of each stage in one pass over the questions of an annotation."""
    quiet_libraries()
    settings = BenchmarkSettings(
        policy=PolicySettings(device="auto", max_pixels=pixels),
        decode=DecodeSettings(candidates=candidates, max_pixels=pixels),
        sampler=SamplerSettings(frames=frames),
    )
    samples, decode_seconds = decoded(root, annotation, settings)
    policy = endless(load_policy(model, settings.policy))
    asked = [Asked(sample=one, position=place) for place, one in enumerate(samples)]
    groups = groups_of(policy, asked, chosen_frames(asked, settings.columns[0]))
    passes = [stages(policy, groups, tokens) for _ in range(rounds)]
    for line in report(passes, decode_seconds, samples):
        print(line)


def decoded(root: Path, annotation: Path, settings: BenchmarkSettings) -> tuple[list[Sample], float]:
    """Samples of all usable questions, and the seconds of decoding in its process."""
    items = read_items([annotation], CUSTOM)
    jobs, _ = find_videos([(row, item.question) for row, item in enumerate(items.items)], root)
    videos = list(make_engine("local", frame_settings(settings), workers=1).run(jobs))
    samples = [result for video in videos for result in video.results if isinstance(result, Sample)]
    return samples, sum(video.seconds["decode"] for video in videos)


def endless(policy: Policy) -> Policy:
    """The policy without end tokens: every answer has all its tokens, whatever the model."""
    suppressed = policy.suppressed.clone()
    suppressed[list(policy.end_ids)] = True
    return replace(policy, suppressed=suppressed)


def stages(policy: Policy, groups: Sequence[Group], tokens: int) -> Stages:
    """One pass over these groups, shared and not."""
    shared, pixels = timed(lambda: prompts_of(policy, groups, share=True))
    alone, alone_pixels = timed(lambda: prompts_of(policy, groups, share=False))
    read, vision = timed(lambda: with_features(policy, shared))
    _, alone_vision = timed(lambda: with_features(policy, alone))
    _, prefill = timed(lambda: greedy(policy, read, 1))
    _, whole = timed(lambda: greedy(policy, read, tokens))
    return Stages(pixels, vision, prefill, max(whole - prefill, 0.0), alone_pixels, alone_vision)


def prompts_of(policy: Policy, groups: Sequence[Group], *, share: bool) -> list[Prompt]:
    """One prompt a group; without sharing each makes its own pixels."""
    seen: Patches = {}
    return [encode(policy, group, seen if share else None)[0] for group in groups]


def greedy(policy: Policy, prompts: Sequence[Prompt], tokens: int) -> list[list[Completion]]:
    return sample(policy, prompts, Sampling(completions=1, max_new_tokens=tokens, greedy=True))


def timed(work: Callable[[], T]) -> tuple[T, float]:
    started = time.perf_counter()
    return work(), time.perf_counter() - started


def report(rounds: Sequence[Stages], decode_seconds: float, samples: Sequence[Sample]) -> list[str]:
    """Shares of a pass, and the ratios of sharing."""
    middle = {name: median(getattr(one, name) for one in rounds) for name in Stages.__dataclass_fields__}
    passed = {"decode": decode_seconds} | {
        name: middle[name] for name in ("pixels", "vision", "prefill", "decoding")
    }
    whole = sum(passed.values())
    videos = len({one.meta.question.video for one in samples})
    lines = [f"{plural(len(samples), 'question')} on {plural(videos, 'video')}, {whole:.2f} s"]
    lines += [
        f"  {name:<9} {seconds:7.3f} s  {100 * seconds / whole:5.1f} %" for name, seconds in passed.items()
    ]
    lines.append(f"questions a video: {len(samples) / videos:.2f}")
    for name in ("pixels", "vision"):
        ratio = middle[f"alone_{name}"] / middle[name]
        lines.append(f"  {name}: each question by itself takes {ratio:.2f} times as long as shared")
    return lines


if __name__ == "__main__":
    typer.run(main)
