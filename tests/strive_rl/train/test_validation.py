"""Validation while training: the best checkpoint is kept, a kill changes nothing, a run may end early."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from strive_data.errors import StriveError, UsageError
from strive_data.shards.reader import ShardSet
from strive_rl.common import jsonl, run_folder
from strive_rl.common.model_folder import STATE_FILE, load_state
from strive_rl.config import DataSettings, PolicySettings, TrainSettings, ValidationSettings
from strive_rl.eval.frames import chosen_places, evaluation_settings
from strive_rl.inspect.history import group_arms, read_histories, sparse_curve
from strive_rl.policy import Policy
from strive_rl.train import trainer, validation
from strive_rl.train.state import TrainState
from strive_rl.train.trainer import fit
from strive_rl.train.validation import Best, closing_lines, updated
from tests.strive_rl.made.shards import make_shards
from tests.strive_rl.train.conftest import RunOf, quiet, records
from tests.strive_rl.train.test_trainer import settings

PEAK, END = 4, 12
KEPT = {"best", "checkpoint-000004", "checkpoint-000009", "checkpoint-000012"}


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ShardSet]:
    """Training teaches B; of the held-out answers three of four are A, which the tiny model says before."""
    home = tmp_path_factory.mktemp("validation")
    return {
        "shards": make_shards(home / "shards", answers="B"),
        "heldout": make_shards(home / "heldout", samples=8, answers="AAAB"),
    }


def validated(steps: int = 20, **changes: Any) -> TrainSettings:
    given = {"seed": 1, "save_every": 3, "validation": ValidationSettings(every=2, patience=4)}
    return settings(steps, **(given | changes))


def files(out: Path) -> dict[str, Any]:
    """What a run left behind, without times."""
    weights = load_file(out / "best" / "model.safetensors") | {
        f"last.{name}": each for name, each in load_file(out / "model" / "model.safetensors").items()
    }
    return {
        "metrics": records(out),
        "rollouts": (out / "rollouts.jsonl").read_bytes(),
        "folders": {path.name for path in out.glob("checkpoint-*")} | {(out / "best").resolve().name},
        "best": load_state(out / "best")["best"],
        "weights": {name: each.numpy().tobytes() for name, each in weights.items()},
    }


def killed_before_saving(run: TrainState, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train until this step was evaluated and not yet saved."""
    save = trainer._save

    def stopping(run: TrainState, saver: Any) -> None:
        if run.step == step:
            raise KeyboardInterrupt
        save(run, saver)

    monkeypatch.setattr(trainer, "_save", stopping)
    with pytest.raises(KeyboardInterrupt):
        fit(run, quiet)
    monkeypatch.undo()


@pytest.mark.slow
def test_the_best_checkpoint_is_kept_and_a_kill_between_evaluation_and_saving_changes_nothing(
    tmp_path: Path, builds: dict[str, ShardSet], run_of: RunOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    common: dict[str, Any] = {**builds, "settings": validated()}
    whole = run_of(tmp_path / "whole", **common)
    fit(whole, quiet)
    assert (whole.step, whole.best) == (END, Best(step=PEAK, accuracy=0.75, waited=4))
    best, ended = closing_lines(whole)
    assert "0.750 after step 4" in best
    assert "12 of 20" in ended
    assert "4 evaluations" in ended
    names = {path.name for path in whole.out.iterdir()}
    assert names == KEPT | {"model", "metrics.jsonl", "rollouts.jsonl", "settings.json"}
    held = {r["step"]: r["heldout"] for r in jsonl.read(whole.out / "metrics.jsonl") if "heldout" in r}
    assert list(held) == [2, 4, 6, 8, 10, 12]
    assert held[PEAK]["accuracy"] > held[END]["accuracy"] == 0.25
    assert held[PEAK]["accuracy_low"] < 0.75 < held[PEAK]["accuracy_high"]

    killed = run_of(tmp_path / "killed", **common)
    killed_before_saving(killed, PEAK, monkeypatch)
    assert run_folder.latest(killed.out) == killed.out / "checkpoint-000003"
    resumed = run_of(tmp_path / "killed", resume=True, **common)
    assert (resumed.step, resumed.best) == (3, Best(step=2, accuracy=0.0))
    fit(resumed, quiet)
    assert files(resumed.out) == files(whole.out)

    (arm,) = group_arms(read_histories([whole.out]), group=False)
    curve = sparse_curve(arm, "heldout.accuracy")
    assert curve.steps.tolist() == list(held)
    assert curve.line.tolist() == [each["accuracy"] for each in held.values()]

    again = run_of(tmp_path / "whole", resume=True, **common)
    assert (again.step, again.best) == (END, whole.best)
    fit(again, quiet)
    assert len(jsonl.read(whole.out / "metrics.jsonl")) == END
    with pytest.raises(UsageError, match="heldout_fingerprint was"):
        run_of(tmp_path / "whole", resume=True, **(common | {"heldout": None}))
    # From before the peak the best one is another, whose checkpoint is gone.
    back = run_of(tmp_path / "whole", resume=True, **common, resume_from=Path("checkpoint-000004"))
    assert (back.step, back.best) == (PEAK, Best(step=PEAK, accuracy=0.75))
    assert (whole.out / "best").resolve().name == "checkpoint-000004"


def test_of_equal_accuracies_the_earliest_is_the_best() -> None:
    best = None
    for step, accuracy in ((2, 0.5), (4, 0.5), (6, 0.25), (8, 0.75), (10, 0.5)):
        best = updated(best, step, accuracy)
    assert best == Best(step=8, accuracy=0.75, waited=1)
    assert updated(Best(step=2, accuracy=0.5), 4, 0.5) == Best(step=2, accuracy=0.5, waited=1)


@pytest.mark.parametrize(
    ("samples", "questions", "places"), [(5, None, [0, 1, 2, 3, 4]), (10, 3, [0, 3, 6]), (2, 9, [0, 1])]
)
def test_the_questions_that_are_asked_are_spread_evenly(
    samples: int, questions: int | None, places: list[int]
) -> None:
    assert chosen_places(samples, questions) == places


def test_a_heldout_build_that_cannot_measure_is_refused_before_the_first_step(
    tmp_path: Path, builds: dict[str, ShardSet], run_of: RunOf
) -> None:
    with pytest.raises(UsageError, match="trains on the same samples"):
        run_of(tmp_path / "out", validated(2), shards=builds["shards"], heldout=builds["shards"])
    misspelt = validated(50, validation=ValidationSettings(sampler="unform"))
    with pytest.raises(StriveError, match=r"validation\.sampler.*unform.*uniform"):
        run_of(tmp_path / "out", misspelt, **builds)
    assert not (tmp_path / "out").exists()


def test_nothing_that_can_be_asked_stops_the_run(
    tmp_path: Path, builds: dict[str, ShardSet], tiny_policy: Policy
) -> None:
    """Prompts that never fit are an error, and never an accuracy over nothing."""
    small = replace(tiny_policy, settings=PolicySettings(device="cpu", max_prompt_tokens=50))
    given = evaluation_settings(validated(1))
    ((rows, dropped),) = validation.predict(small, builds["heldout"], given, None, [0, 1])
    with pytest.raises(StriveError, match=r"step 3: none of 2 held-out questions.*max_prompt_tokens"):
        validation.heldout_record(rows, dropped, given, 3)


def test_pruning_spares_the_best(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        folder = run_folder.checkpoint_folder(tmp_path, step)
        folder.mkdir()
        (folder / STATE_FILE).touch()
    run_folder.prune(tmp_path, 1, best=2)
    assert list(run_folder.checkpoints(tmp_path)) == [2, 4]


def test_a_link_follows_the_best_and_goes_with_it(tmp_path: Path) -> None:
    for name in ("checkpoint-000001", "checkpoint-000002"):
        (tmp_path / name).mkdir()
        run_folder.link_best(tmp_path, tmp_path / name)
        assert (tmp_path / "best").resolve() == tmp_path / name
    run_folder.link_best(tmp_path, None)
    assert not (tmp_path / "best").is_symlink()


@pytest.mark.parametrize(
    ("sampler", "drawn", "expected"),
    [("training", None, "importance"), ("training", "comb", "comb"), ("uniform", "comb", "uniform")],
)
def test_the_frames_are_those_of_training(sampler: str, drawn: str | None, expected: str) -> None:
    """Regression: held-out accuracy was that of uniform frames, .45 where those of training gave .71."""
    given = TrainSettings(data=DataSettings(sampler=drawn), validation=ValidationSettings(sampler=sampler))
    assert evaluation_settings(given).samplers == (expected,)


def test_weights_do_not_depend_on_being_evaluated(
    tmp_path: Path, builds: dict[str, ShardSet], run_of: RunOf
) -> None:
    given = validated(3, validation=ValidationSettings(every=2))
    models = []
    for name, heldout in (("with", builds["heldout"]), ("without", None)):
        run = run_of(tmp_path / name, given, shards=builds["shards"], heldout=heldout)
        models.append(load_file(fit(run, quiet) / "model.safetensors"))
    # Evaluated after the last step too, which is no second one.
    held = ["heldout" in each for each in jsonl.read(tmp_path / "with" / "metrics.jsonl")]
    assert held == [False, True, True]
    assert all(torch.equal(each, models[1][name]) for name, each in models[0].items())
