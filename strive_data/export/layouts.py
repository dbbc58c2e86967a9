"""The order of an export: samples of a build → rows → the files of a layout, which appear all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote

from strive_data import __version__
from strive_data.build.progress import Observe
from strive_data.common.files import CHECKSUM_KEY, new_folder, write_json
from strive_data.common.settings import choose
from strive_data.common.storage import LocalFolder
from strive_data.config import ALL_VARIANTS, ExportOptions
from strive_data.errors import UsageError
from strive_data.export.lmms_eval import KeyFrames
from strive_data.export.rows import ExportRow, datasets, easyr1, export_rows, messages, trl, verl
from strive_data.shards.reader import ShardSet

Write = Callable[[Path, Iterable[ExportRow], ExportOptions], str]
"""Writes the rows into a folder; returns the head of its README.md, which may be empty."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A layout: who reads it, how, and its writer.

    In `usage` and the `note` on it, `{path}` is the folder, `{out}` the same for a shell, `{files}` its
    parquet files, `{variant}` the first variant; words in capitals are the user's to fill in. `write` is None
    for key frames, whose writer needs the videos.
    """

    reader: str
    usage: str
    note: str = ""
    write: Write | None = None


LAYOUTS = {
    "easyr1": Layout(
        reader="EasyR1 (https://github.com/hiyouga/EasyR1)",
        usage="python3 -m verl.trainer.main config=CONFIG.yaml worker.actor.model.model_path=MODEL "
        "data.train_files={out}/data data.val_files=HELDOUT data.prompt_key=problem data.answer_key=answer "
        "data.image_key=images data.min_pixels=784 data.format_prompt=null data.max_prompt_length=TOKENS "
        "worker.reward.reward_function=REWARD.py:compute_score",
        note="TOKENS must hold all frames. EasyR1 starts only with a reward_function, which gets the "
        "completion and the answer; strive_data/README.md has one of strive_rl.algorithm.reward_of. "
        "min_pixels keeps frames in their size: its example enlarges each to 262,144 pixels. Its "
        "format_prompt would follow the export's --instruction",
        write=easyr1,
    ),
    "verl": Layout(
        reader="verl (https://github.com/volcengine/verl)",
        usage="python3 -m verl.trainer.main_ppo actor_rollout_ref.model.path=MODEL data.train_files={files} "
        "data.val_files=HELDOUT.parquet data.image_key=images data.max_prompt_length=TOKENS "
        "custom_reward_function.path=REWARD.py",
        note="TOKENS must hold all frames; verl chooses rewards of its own by data_source, so name yours",
        write=verl,
    ),
    "messages": Layout(
        reader="ms-swift (https://github.com/modelscope/ms-swift) and LLaMA-Factory "
        "(https://github.com/hiyouga/LLaMA-Factory)",
        usage="ROOT_IMAGE_DIR={out} swift rlhf --rlhf_type grpo --model MODEL "
        "--external_plugins REWARD.py --reward_funcs NAME --dataset {out}/train.jsonl",
        note="warning: --reward_funcs accuracy, ms-swift's own, reads only numeric answers: letters and "
        "texts all get one reward, from which nothing is learnt. Register a reward of yours as NAME in "
        "REWARD.py; strive_data/README.md has one of strive_rl.algorithm.reward_of. In LLaMA-Factory "
        "dataset_dir: {path}, dataset: strive",
        write=messages,
    ),
    "trl": Layout(
        reader="TRL (https://github.com/huggingface/trl)",
        usage='trl.GRPOTrainer(model="MODEL", reward_funcs=REWARD, '
        'train_dataset=datasets.load_dataset("{path}", split="train"))',
        write=trl,
    ),
    "datasets": Layout(
        reader="Hugging Face datasets (https://github.com/huggingface/datasets)",
        usage='datasets.load_dataset("{path}", split="train")',
        write=datasets,
    ),
    "lmms-eval": Layout(
        reader="lmms-eval with the patch of https://github.com/MAC-AutoML/WFS-SB",
        usage="python -m lmms_eval --model MODEL --model_args pretrained=WEIGHTS,use_keyframe=True "
        """--tasks TASK --data_files '{{"test": "{path}/keyframes-{variant}.json"}}'""",
        note='"validation" in place of "test" for LongVideoBench',
    ),
}


@dataclass(frozen=True, kw_only=True)
class ExportSummary:
    """Rows (variants of samples), samples, frames in all rows; `usage` reads them, `note` says what it needs.

    `left_out` rows of the benchmark's table have no sample in the build.
    """

    rows: int
    samples: int
    frames: int
    usage: str
    note: str = ""
    left_out: int = 0


def export_build(
    build: Path | str,
    layout: str,
    out: Path,
    *,
    options: ExportOptions | None = None,
    data_root: Path | None = None,
    table: Path | None = None,
    observe: Observe | None = None,
) -> ExportSummary:
    """Write the variants of a finished build into the new folder `out`, in the layout of that name.

    Samples are read one by one and their JPEGs are copied unchanged. `out` appears when all of it is there,
    with `export.json` (where it comes from) and `README.md` (how to read it). For lmms-eval
    `data_root` has the videos, which give the frame numbers, and `table` the benchmark's own rows.

    Raises SettingsError for an unknown layout, UsageError for a folder that is no build, an output that
    exists, a variant that a sample lacks, and a question that the layout cannot hold; DamagedError as the
    shard reader.
    """
    chosen, wanted = LAYOUTS[choose(layout, LAYOUTS, "layout")], options or ExportOptions()
    _refuse_unused(layout, wanted, {"--data-root": data_root, "--table": table})
    write = chosen.write or _key_frames(layout, data_root, table)
    shards = ShardSet.open(build)
    if isinstance(shards.folder, LocalFolder) and out.resolve().is_relative_to(shards.folder.path.resolve()):
        raise UsageError(f"--out {out} is inside the build; name a new folder")
    counts = {"rows": 0, "frames": 0}

    def counted() -> Iterator[ExportRow]:
        for row in export_rows(shards, wanted, observe):
            counts["rows"] += 1
            counts["frames"] += len(row.times)
            yield row

    with new_folder(out) as folder:
        head = write(folder, counted(), wanted)
        places = _places(out, folder, wanted)
        usage, note = chosen.usage.format(**places), chosen.note.format(**places)
        record = {
            "layout": layout,
            "package_version": __version__,
            "options": asdict(wanted),
            "counts": {"samples": len(shards), **counts},
            "build": str(build),
            "build_run_sha256": shards.run.get(CHECKSUM_KEY),
            "settings_fingerprint": shards.run.get("settings_fingerprint"),
            "inputs_sha256": shards.run.get("inputs_sha256", {}),
        }
        write_json(folder / "export.json", record)
        card = (
            f"{head}\nFrames chosen by `strive-data`: {counts['rows']} rows, {counts['frames']} frames. Read "
            f"by {chosen.reader}:\n\n    {usage}\n\n{note}\n\n`export.json` says which build it comes from.\n"
        )
        (folder / "README.md").write_text(card, encoding="utf-8")
    left_out = write.left_out(shards.sample_ids) if isinstance(write, KeyFrames) else 0
    return ExportSummary(samples=len(shards), usage=usage, note=note, left_out=left_out, **counts)


def _key_frames(layout: str, data_root: Path | None, table: Path | None) -> Write:
    if data_root is None:
        raise UsageError(
            f"--to {layout} holds numbers of frames, and a build has only their times: name the folder of "
            "the videos with --data-root"
        )
    return KeyFrames(data_root, table)


def _refuse_unused(layout: str, options: ExportOptions, files: Mapping[str, Path | None]) -> None:
    """Raise UsageError for an option that would change nothing."""
    chosen = LAYOUTS[layout]
    unused = {
        **{name: chosen.write is not None and path is not None for name, path in files.items()},
        "--time-stamps": chosen.write is None and options.time_stamps,
        "--instruction": chosen.write is None and bool(options.instruction),
    }
    names = [name for name, given in unused.items() if given]
    if names:
        change, it = ("changes", "it") if len(names) == 1 else ("change", "them")
        raise UsageError(f"{' and '.join(names)} {change} nothing in the layout {layout}: leave {it} out")


def _places(out: Path, folder: Path, options: ExportOptions) -> dict[str, object]:
    """What the usage of a layout names; `folder` is `out` before it has its name."""
    parts = [f"{out}/data/{path.name}" for path in sorted(folder.glob("data/*.parquet"))]
    first = options.variants[0]
    return {
        "path": out,
        "out": quote(str(out)),
        "files": quote(parts[0] if len(parts) == 1 else f"[{','.join(parts)}]"),
        "variant": "0" if first == ALL_VARIANTS else first,
    }
