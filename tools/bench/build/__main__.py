"""How near a build comes to its slowest stage, how far it leaves the plain script behind, and what it holds.

    python -m tools.bench.build --clips ../shared/data --work /tmp/bench

One run measures, on real clips (repeated) and on a long rendered video: (a) bare decode, (b) bare image-model
forward, (c) bare JPEG encoding, (d) the whole `strive-data build`, (e) the plain script of plain_script.py.
Then builds of 1, 10 and 100 times the work, for memory and linear cost. All in one run, in turn, so that the
ratios bear other load on the machine; `--repeats` takes medians. README.md here says what was measured.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median

from strive_data.config import ScoreSettings
from tools.bench.build.stages import (
    CORES,
    StageCost,
    Workload,
    ask_about,
    choose_model,
    render_long_video,
    repeat_clips,
)
from tools.bench.measure import Cost, cost_line, median_cost, parser, ratio_line, run_measured

TO_STAGE, TO_PLAIN, TO_LINEAR, TO_MEMORY = 1.15, 3.0, 10.5, 1.25


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What is the same for all measurements of one run."""

    work: Path
    model: ScoreSettings
    candidates: int
    batch_sizes: tuple[int, ...]
    repeats: int
    with_plain: bool

    @property
    def log(self) -> Path:
        """Where measured commands write to."""
        return self.work / "log.txt"


def main() -> None:
    arguments = _arguments()
    work: Path = arguments.work
    model = choose_model(arguments.model, arguments.pretrained, arguments.precision, work)
    bench = Bench(
        work=work,
        model=model,
        candidates=arguments.candidates,
        batch_sizes=tuple(arguments.batch_sizes),
        repeats=arguments.repeats,
        with_plain=not arguments.no_plain,
    )
    shutil.rmtree(work / "jobs", ignore_errors=True)
    (work / "jobs").mkdir(parents=True)
    parts = arguments.parts
    if "clips" in parts:
        for questions in arguments.questions:
            root = work / "jobs" / f"clips-{questions}"
            job = repeat_clips(arguments.clips, root, copies=arguments.copies, questions_per_video=questions)
            compare(f"real clips ×{arguments.copies}", job, bench)
    if "long" in parts:
        video = render_long_video(work / "long.mp4", minutes=arguments.long_minutes)
        job = ask_about(video, work / "jobs" / "long", copies=2, questions=4)
        compare(f"rendered video of {arguments.long_minutes:g} min ×2", job, bench)
    if "scale" in parts:
        scale(arguments.clips, arguments.scales, arguments.scale_candidates, bench)


def compare(title: str, job: Workload, bench: Bench) -> None:
    """Stages, build and plain script on one job, and their ratios."""
    each = job.questions / job.videos
    print(
        f"\n{title}: {job.videos} videos, {each:.1f} questions each, {bench.candidates} candidates",
        flush=True,
    )
    start = start_up(job, bench)
    stages: list[list[StageCost]] = []
    builds, plains = list[Cost](), list[Cost]()
    for _ in range(bench.repeats):
        stages.append(bare_stages(job, bench))
        builds.append(build_once(job, bench, candidates=bench.candidates))
        plains += [plain_once(job, bench)] if bench.with_plain else []
    for name, rounds in zip(("decode", "model", "jpeg"), zip(*stages, strict=True), strict=True):
        cost = median_cost([Cost(wall_seconds=s.wall_seconds, cpu_seconds=s.cpu_seconds) for s in rounds])
        print(cost_line(f"  bare {name} of {rounds[0].frames} frames ({rounds[0].how})", cost))
    print(cost_line("  start-up of a build (two frames)", start))
    print(cost_line("  whole build", median_cost(builds)))
    if plains:
        print(cost_line("  plain script", median_cost(plains)))
    _print_ratios(stages, builds, plains, start=start, several=each > 1)
    print(f"  {'load of the machine, mean of 5 minutes':<56} {os.getloadavg()[1]:6.2f}", flush=True)


def bare_stages(job: Workload, bench: Bench) -> list[StageCost]:
    """Decode, model and JPEG, each for as many frames as the job has candidates."""
    decode = run_stage("decode", job, bench)
    frames = decode.frames
    model, jpeg = (
        run_stage(stage, job, bench, frames=frames).for_frames(frames) for stage in ("model", "jpeg")
    )
    return [decode, model, jpeg]


def run_stage(stage: str, job: Workload, bench: Bench, *, frames: int = 0) -> StageCost:
    """One stage in a process of its own."""
    model = bench.model
    command = [sys.executable, "-m", "tools.bench.build.stages", stage, str(job.root)]
    command += ["--candidates", str(bench.candidates), "--precision", model.precision]
    command += ["--model", model.model, "--pretrained", model.pretrained]
    command += ["--frames", str(frames), *(f"--batch-size={size}" for size in bench.batch_sizes)]
    run_measured(command, log=bench.log)
    return StageCost(**json.loads(bench.log.read_text(encoding="utf-8").splitlines()[-1]))


def build_once(job: Workload, bench: Bench, *, candidates: int, sets: Sequence[str] = ()) -> Cost:
    """`strive-data build` as it is typed, from the start of its process to the end."""
    out = job.root.with_name(f"{job.root.name}.shards")
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-c", "from strive_data.cli import main; main()", "build", str(job.annotation)]
    command += ["--data-root", str(job.root), "--out", str(out), "--candidates", str(candidates)]
    for name in ("model", "pretrained", "precision"):
        command += ["--set", f"score.{name}={getattr(bench.model, name)}"]
    cost = run_measured([*command, *sets], log=bench.log)
    shutil.rmtree(out)
    return cost


def start_up(job: Workload, bench: Bench) -> Cost:
    """A build of two frames, in batches of one: torch and the model are loaded, and little else is done."""
    root = job.root.with_name(f"{job.root.name}.start")
    video = next(path for path in sorted(job.root.iterdir()) if path != job.annotation)
    one = ask_about(video, root, copies=1, questions=1)
    sets = ["--frames", "2", "--set", "score.batch_size=1"]
    return build_once(one, bench, candidates=2, sets=sets)


def plain_once(job: Workload, bench: Bench) -> Cost:
    """The plain script on the same questions."""
    out = job.root.with_name("plain.tar")
    model = bench.model
    command = [sys.executable, "-m", "tools.bench.build.plain_script", str(job.annotation), str(out)]
    command += ["--model", model.model, "--pretrained", model.pretrained, "--precision", model.precision]
    cost = run_measured([*command, "--candidates", str(bench.candidates)], log=bench.log)
    out.unlink()
    return cost


def scale(clips: Path, scales: Sequence[int], candidates: int, bench: Bench) -> None:
    """Builds of growing work with the package's tiny model: their peak memory, and whether cost is linear."""
    tiny = replace(bench, model=choose_model("demo", "", "fp32", bench.work))
    print(f"\ngrowing work, tiny model, {candidates} candidates", flush=True)
    sets = ["--frames", str(min(32, candidates // 2 // 2 * 2)), "--set", "shard.max_samples=64"]
    costs: list[tuple[int, Cost]] = []
    for times in scales:
        job = repeat_clips(clips, bench.work / "jobs" / f"scale-{times}", copies=times)
        cost = build_once(job, tiny, candidates=candidates, sets=sets)
        costs.append((job.videos, cost))
        print(cost_line(f"  {job.videos} videos", cost), flush=True)
        shutil.rmtree(job.root)
    for (few, less), (many, more) in pairwise(costs):
        name = f"  {many} / {few} videos"
        target = TO_LINEAR / 10 * many / few
        print(ratio_line(f"{name}, wall", more.wall_seconds / less.wall_seconds, target=target, at_most=True))
        print(ratio_line(f"{name}, CPU", more.cpu_seconds / less.cpu_seconds, target=target, at_most=True))
        memory = more.peak_bytes / less.peak_bytes
        print(ratio_line(f"{name}, peak memory", memory, target=TO_MEMORY, at_most=True))


def _print_ratios(
    stages: Sequence[Sequence[StageCost]],
    builds: Sequence[Cost],
    plains: Sequence[Cost],
    *,
    start: Cost,
    several: bool,
) -> None:
    """Medians of the ratios of each round, by the wall clock and by CPU seconds.

    Against the longest stage twice: with what a build spends before its first frame, and without, since the
    stage was warmed up before it was measured.
    """
    longest = [max(rounds, key=lambda stage: stage.wall_seconds) for rounds in stages]
    for what in ("wall_seconds", "cpu_seconds"):
        unit = what.partition("_")[0]
        for less, said in ((0.0, ""), (getattr(start, what), " less start-up")):
            ratios = [
                (getattr(b, what) - less) / getattr(s, what) for b, s in zip(builds, longest, strict=True)
            ]
            label = f"  build{said} / bare {longest[0].stage}, {unit}"
            print(ratio_line(label, median(ratios), target=TO_STAGE, at_most=True))
    busy = [build.cpu_seconds / build.wall_seconds / CORES for build in builds]
    print(f"  {'share of the cores that the build had':<56} {median(busy):6.2f}")
    target = TO_PLAIN if several else 1.0
    for what in ("wall_seconds", "cpu_seconds") if plains else ():
        ratios = [getattr(p, what) / getattr(b, what) for p, b in zip(plains, builds, strict=True)]
        label = f"  plain script / build, {what.partition('_')[0]}"
        print(ratio_line(label, median(ratios), target=target, at_most=False))
    sys.stdout.flush()


def _arguments() -> argparse.Namespace:
    options = parser(__doc__)
    add = options.add_argument
    add("--clips", type=Path, default=Path("../shared/data"), help="folder with videos and questions.jsonl")
    add("--work", type=Path, default=Path("bench"), help="scratch folder; weights and the long video stay")
    add("--parts", nargs="+", default=["clips", "long", "scale"], choices=["clips", "long", "scale"])
    add("--model", default="ViT-B-32", help="a model of open_clip, or demo for the package's tiny one")
    add("--pretrained", default="random", help="tag or file; random: drawn weights, as fast as trained ones")
    add("--precision", default="fp32", help="of build, bare forward and plain script")
    add("--batch-sizes", type=int, nargs="+", default=[16, 64], help="tried in the bare forward")
    add("--candidates", type=int, default=128)
    add("--copies", type=int, default=1, help="times each clip")
    add("--questions", type=int, nargs="+", default=[0, 1, 4], help="on a clip; 0: its own, 2.4 on average")
    add("--long-minutes", type=float, default=10.0)
    add("--scales", type=int, nargs="+", default=[1, 10, 100], help="times the clips")
    add("--scale-candidates", type=int, default=8)
    add("--repeats", type=int, default=1)
    add("--no-plain", action="store_true", help="without the plain script, which takes longest")
    return options.parse_args()


if __name__ == "__main__":
    main()
