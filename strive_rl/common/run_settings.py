"""The record of a run: settings, model, shards and versions, and whether another call may resume it."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from strive_data.common.settings import as_dict, differences
from strive_data.errors import UsageError
from strive_rl.common import jsonl
from strive_rl.config import DEMOS, TrainSettings

SETTINGS_FILE = "settings.json"
METRICS_FILE = "metrics.jsonl"
ROLLOUTS_FILE = "rollouts.jsonl"
RESULTS_FILE = "results.json"
"""Written last: a folder with it is finished."""
PROGRESS_FILE = "progress.jsonl"
RECORD_KEYS = ("settings", "model", "shards_fingerprint", "versions")
# Results that a folder may hold beside its settings: of training or of an evaluation.
WORK = ("*.jsonl", RESULTS_FILE, "checkpoint-*", "model")
# Settings that may change when a run is resumed: when it ends and saves, how much memory its backward pass
# takes, how its data is fetched, and which trackers it has.
FREE = frozenset(
    {
        "settings.steps",
        "settings.save_every",
        "settings.keep",
        "settings.validation.patience",
        "settings.timeout_minutes",
        "settings.log",
        "settings.policy.groups_per_pass",
        "settings.policy.gradient_checkpointing",
        "settings.policy.logits_chunk_tokens",
        "settings.data.cache",
        "settings.data.prefetch",
        "settings.data.threads",
    }
)

# Settings that are gone, with the value under which a run of an earlier version is one of today's.
GONE = {
    "algorithm.baseline": "mean",
    "algorithm.logprob_condition": "own",
    "data.alpha_final": None,
    "data.alpha_gain": 0.2,
    "data.alpha_least": 0.1,
    "data.alpha_schedule": "constant",
    "data.alpha_steps": None,
}


class Source(Protocol):
    """What is trained or evaluated on: one build, or several."""

    @property
    def folder(self) -> object:
        """Where it lies, in words."""

    @property
    def fingerprint(self) -> str:
        """Hash of its content."""


def run_record(
    settings: dict[str, Any], *, model: str, shards: Source, heldout: Source | None = None
) -> dict[str, Any]:
    """The record of a run: `run_identity` and the versions of libraries."""
    return run_identity(settings, model=model, shards=shards, heldout=heldout) | {
        "versions": library_versions()
    }


def run_identity(
    settings: dict[str, Any], *, model: str, shards: Source, heldout: Source | None = None
) -> dict[str, Any]:
    """What a run that is resumed must share; known without torch."""
    held = {"heldout": str(heldout.folder), "heldout_fingerprint": heldout.fingerprint} if heldout else {}
    return {
        "settings": settings,
        "model": model_identity(model),
        "shards": str(shards.folder),
        "shards_fingerprint": shards.fingerprint,
        **held,
    }


def library_versions() -> dict[str, str]:
    """Versions that a run's numbers may depend on."""
    from importlib.metadata import version  # Here: it takes long to import.

    import torch  # Here: the checks of a command line run without it.

    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "transformers": version("transformers"),
    }


def require_folder(out: Path) -> None:
    """Raise UsageError where `out` is there and is no folder."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file, expected a folder or a new name")


def require_run(out: Path, *, resume: bool) -> None:
    """Raise UsageError where `out` holds a run and none is resumed, or holds none to resume."""
    if resume and not (out / SETTINGS_FILE).is_file():
        raise UsageError(
            f"{out} holds no run to resume (no {SETTINGS_FILE}); leave out --resume to start one"
        )
    if not resume and (out / SETTINGS_FILE).exists() and holds_work(out):
        raise UsageError(f"{out} already holds a run: resume it with --resume, or give another --out")


def holds_work(out: Path) -> bool:
    """Whether there are steps, weights or predictions."""
    return any(next(out.glob(name), None) for name in WORK)


def model_identity(model: str) -> str:
    """A model folder by its full path, so that two ways to write it are one; other names as they are."""
    return str(Path(model).resolve()) if model not in DEMOS and Path(model).is_dir() else model


def require_resumable(
    out: Path, settings: TrainSettings, *, model: str, shards: Source, heldout: Source | None
) -> dict[str, Any]:
    """The saved record of the run that is resumed. Raises UsageError as `require_same`."""
    saved = jsonl.read_json(out / SETTINGS_FILE, RECORD_KEYS)
    now = run_identity(as_dict(settings), model=model, shards=shards, heldout=heldout)
    require_same(saved, now, out)
    return saved


def require_same(saved: Mapping[str, Any], now: Mapping[str, Any], out: Path) -> None:
    """Raise UsageError that names each difference which would make another run of it."""
    names = ("settings", "model", "shards_fingerprint", "heldout_fingerprint")
    saved = {**saved, "settings": with_defaults(saved["settings"])}
    before, after = (dict(flat({name: record.get(name) for name in names})) for record in (saved, now))
    optim = now["settings"]["optim"]
    # Whether the learning rate of a step does not depend on how many steps there are.
    fixed = optim["schedule"] == "constant" or optim["decay_steps"] is not None
    free = FREE if fixed else FREE - {"settings.steps"}
    held = any(record.get("heldout_fingerprint") for record in (saved, now))
    changed = [
        f"{name.removeprefix('settings.')} was {before.get(name)}, now {after.get(name)}"
        for name in sorted(before.keys() | after.keys())
        if name not in free and before.get(name) != after.get(name)
        if held or not name.startswith("settings.validation.")
    ]
    if changed:
        grown = "; a build that was added to is another one: train it in a new --out" * any(
            "fingerprint" in each for each in changed
        )
        raise UsageError(f"cannot resume {out} with other settings or shards: {'; '.join(changed)}{grown}")


def with_defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Saved settings of training, with the defaults of those that came later and without those that are gone:
    a run of an earlier version may be resumed."""
    filled = _filled(settings, as_dict(TrainSettings()))
    for name, value in GONE.items():
        section, key = name.split(".")
        if filled[section].get(key) == value:
            filled[section].pop(key, None)
    return filled


def _filled(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    inner = {
        name: _filled(value, defaults[name])
        for name, value in given.items()
        if isinstance(value, Mapping) and isinstance(defaults.get(name), Mapping)
    }
    return {**defaults, **given, **inner}


def evaluation_settings(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of an evaluation by their names of today, without that of the backward pass."""
    named = {"completions" if name == "answers" else name: value for name, value in saved.items()}
    if isinstance(policy := named.get("policy"), Mapping):
        named["policy"] = {name: value for name, value in policy.items() if name != "groups_per_pass"}
    return named


def require_finished(results: Mapping[str, Any], now: Mapping[str, Any], out: Path) -> None:
    """Raise UsageError that names where the record of an evaluation is not that of `now`."""
    if now.keys() - results.keys():
        raise UsageError(f"{out} already holds results of something else: give another --out")
    made, wanted = (
        {name: evaluation_settings(record[name]) if name == "settings" else record[name] for name in now}
        for record in (results, now)
    )
    changed = differences(made, wanted)
    if changed:
        raise UsageError(
            f"{out} holds an evaluation, made otherwise ({'; '.join(changed)}): restore that, or "
            "give another --out"
        )


def require_evaluation(out: Path, settings: dict[str, Any], *, model: str, shards: Source) -> None:
    """Raise UsageError where `out` holds a run, or an evaluation of other settings, model or shards, finished
    or not, and name the difference."""
    finished = (out / RESULTS_FILE).is_file()
    before = [jsonl.read_json(out / RESULTS_FILE)] if finished else jsonl.read(out / PROGRESS_FILE)[:1]
    if before:
        now = run_identity(settings, model=model, shards=shards)
        named = {name: now[name] for name in ("settings", "model", "shards_fingerprint")}
        require_finished(before[0], named, out)
    elif (out / SETTINGS_FILE).exists():
        raise UsageError(
            f"{out} holds a run of training, or an evaluation on a benchmark: give another --out"
        )


def require_same_prompts(saved: Mapping[str, Any], prompt_form: str, out: Path) -> None:
    """Raise UsageError where the run's prompts had another form: it depends on the library's version."""
    before = saved.get("prompt_form", prompt_form)
    if before != prompt_form:
        from importlib.metadata import version

        old = saved["versions"]["transformers"]
        raise UsageError(
            f"cannot resume {out}: transformers {version('transformers')} makes prompts as {prompt_form!r}, "
            f"in this run it was {before!r}; resume with transformers {old}"
        )


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings by their dotted names."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
