"""Checks of a command's arguments without torch, so that a wrong one is refused within a second or two.

What needs the model itself is checked where the model is loaded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from signal import Signals

import typer

from strive_data.common.console import echo
from strive_data.common.files import AGAIN, near_path, output_folder
from strive_data.common.hub import require_hub
from strive_data.common.settings import require, require_device
from strive_data.common.signals import exit_code, say_now, terminable
from strive_data.errors import Terminated, UsageError
from strive_rl.common import jsonl
from strive_rl.common.model_folder import require_intact
from strive_rl.common.run_settings import RESULTS_FILE
from strive_rl.config import DEMOS, VLLM_MODELS, EngineSettings

CONFIG_FILE = "config.json"
RESUME = "give the same command with --resume"


@contextmanager
def locked(out: Path, again: str = AGAIN, kept: Callable[[], str] = str) -> Iterator[None]:
    """`output_folder` for a command, from before it imports torch to its end. A signal of ENDING is answered
    at once and ends the command; its last line says what is `kept`, and how to go on.

    Under torchrun the first process makes and locks the folder of all, and speaks for all.
    """
    first = first_process()
    try:
        with (
            terminable(say_now if first else lambda _: None),
            output_folder(out, again) if first else nullcontext(),
        ):
            yield
    except (KeyboardInterrupt, Terminated) as stop:
        if first:
            by = f"stopped by {Signals(exit_code(stop) - 128).name}"
            echo("; ".join(filter(None, (by, kept(), f"to go on, {AGAIN}"))), err=True)
        raise typer.Exit(exit_code(stop)) from stop


def first_process() -> bool:
    """Whether this is the process that checks, writes and prints for all, as `distributed.is_first` says once
    they have met."""
    return os.environ.get("RANK", "0") == "0"


def require_one_process(command: str) -> None:
    """Raise UsageError under torchrun."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(f"strive-rl {command} runs in one process: start it without torchrun")


def require_new(file: Path) -> None:
    """Raise UsageError where the file that a command writes is there already."""
    if file.exists():
        raise UsageError(f"{file} is there already: move it, or give another --out")


def require_results(*folders: Path) -> None:
    """Raise UsageError that names all folders that are no finished ones of `strive-rl eval` or `score`."""
    if problems := [problem for folder in dict.fromkeys(folders) if (problem := _no_results(folder))]:
        raise UsageError("\n".join(problems))


def _no_results(folder: Path) -> str:
    if not folder.exists():
        return f"no such folder: {folder}{near_path(folder)}"
    if (folder / RESULTS_FILE).is_file():
        return ""
    inside = [path.parent for path in sorted(folder.glob(f"*/{RESULTS_FILE}"))]
    hint = f", did you mean {inside[0]}?" if inside else ""
    return (
        f"{folder}: no {RESULTS_FILE} in it, expected a finished folder of `strive-rl eval` or "
        f"`strive-rl score`{hint}"
    )


def require_model(name: str, device: str | None = None) -> None:
    """Raise UsageError where `name` is a folder without a model, and DamagedError where the model is damaged.

    With the `device` that it is loaded on, also where that is absent, and for a hub name without a way to it.
    """
    require_model_folder(name)
    if Path(name).is_dir() and first_process():
        require_intact(Path(name))
    if device is not None:
        require_device("policy.device", device)
        if name not in DEMOS and not Path(name).exists():
            require_hub(f"model {name}: no such folder", "give a model folder", repository=name)


def require_model_folder(name: str) -> None:
    """Raise UsageError where `name` means a folder, and is none of a model that can be read safely."""
    folder = Path(name)
    if name in DEMOS:
        return
    if not folder.exists():
        hint = near_path(folder) if folder.parent.is_dir() else ""
        if name.startswith((".", "/", "~")) or name.count("/") > 1 or hint:
            raise UsageError(f"model folder {name}: no such folder{hint}")
        return
    if not folder.is_dir():
        raise UsageError(f"model {name}: a file, expected the name of a model or its folder")
    if not (folder / CONFIG_FILE).is_file():
        inside = sorted(path.parent for path in folder.glob(f"*/{CONFIG_FILE}"))
        # Of a run's folder the finished model, else the one with the last name.
        meant = folder / "model" if folder / "model" in inside else next(reversed(inside), None)
        hint = f", did you mean {meant}?" if meant else ""
        raise UsageError(f"model {name}: not a model folder (no {CONFIG_FILE} in it){hint}")
    names = sorted(path.name for path in folder.iterdir())
    pickles = [each for each in names if each.endswith((".bin", ".pt", ".pth")) and "model" in each]
    if pickles and not any(each.endswith(".safetensors") for each in names):
        raise UsageError(
            f"model {name}: its weights are pickle files ({pickles[0]}), which may run code and are never "
            "read; convert them to safetensors"
        )


def require_extras(engine: EngineSettings, *, lora_rank: int = 0, model: str = "") -> None:
    """Raise UsageError where adapters or vLLM are asked for and their package is missing, and where vLLM is
    not used for the kind of a model folder, or in so many processes."""
    config, kind = Path(model, CONFIG_FILE), None
    if model and config.is_file():
        kind = jsonl.read_json(config).get("model_type", "")
    require_engine(engine, kind, int(os.environ.get("WORLD_SIZE", "1")))
    for wanted, what, package, extra in (
        (lora_rank > 0, f"policy.lora_rank={lora_rank}", "peft", "lora"),
        (engine.engine == "vllm", "engine=vllm", "vllm", "vllm"),
    ):
        if wanted and find_spec(package) is None:
            raise UsageError(f"{what} needs {package}: install this package with its [{extra}] extra")


def require_engine(settings: EngineSettings, kind: str | None, processes: int) -> None:
    """Raise UsageError where the engine is not known to read this architecture (None: unknown) as the policy
    does, and where the processes do not form groups that share a copy of its weights."""
    if settings.engine != "vllm":
        return
    share = settings.tensor_parallel_size
    require(
        processes % share == 0,
        f"tensor_parallel_size: got {share}, expected a divisor of the number of processes, {processes}: so "
        "many share one copy of the weights",
    )
    if kind is not None and kind not in VLLM_MODELS:
        raise UsageError(
            f"rollout.engine=vllm: got a {kind}, expected one of: {', '.join(VLLM_MODELS)}; "
            "use rollout.engine=builtin"
        )
