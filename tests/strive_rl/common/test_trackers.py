"""What TensorBoard can read back, and the three calls that W&B gets."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from threading import Event
from types import ModuleType
from typing import Any

import pytest

from strive_data.common.settings import load
from strive_data.errors import SettingsError, UsageError
from strive_rl.common.trackers import numbers, require_trackers, tracking
from strive_rl.config import TrainSettings


def test_numbers_by_dotted_name() -> None:
    record = {
        "step": 3,
        "reward": None,
        "seconds": {"total": 1.5},
        "by": {"multiple choice": {"own": {"brief": 0.5}}},
        "reward_by_variant": [0.5, 0.25],
        "advantage_by_variant": [],
        "dropped": ["a", "b"],
        "broken": [],
        "flag": True,
        "text": "x",
    }
    assert numbers(record) == {
        "step": 3.0,
        "seconds.total": 1.5,
        "by.multiple choice.own.brief": 0.5,
        "reward_by_variant.0": 0.5,
        "reward_by_variant.1": 0.25,
        "dropped": 2.0,
        "broken": 0.0,
    }


RECORD = {"step": 3, "reward": 0.5, "eta2": None, "seconds": {"total": 2.0}, "dropped": ["a"]}


def logged(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of each scalar that TensorBoard shows of these event files."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    shown = EventAccumulator(str(folder)).Reload()
    return {tag: [(each.step, each.value) for each in shown.Scalars(tag)] for tag in shown.Tags()["scalars"]}


def test_tensorboard_shows_every_number_and_hides_what_a_resume_does_again(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    with tracking(["tensorboard"], tmp_path, {}, 2) as tell:
        tell(RECORD)
        tell(RECORD | {"step": 4, "reward": 0.75})
    folder = tmp_path / "tensorboard"
    assert logged(folder) == {
        "reward": [(3, 0.5), (4, 0.75)],
        "seconds/total": [(3, 2.0), (4, 2.0)],
        "dropped": [(3, 1.0), (4, 1.0)],
    }
    with tracking(["tensorboard"], tmp_path, {}, 3) as tell:
        tell(RECORD | {"step": 4, "reward": 0.25})
    assert logged(folder)["reward"] == [(3, 0.5), (4, 0.25)]


class FakeWandb(ModuleType):
    """A module with the three calls that are made of the real one, each noted."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.calls: list[tuple[str, Any]] = []

    def init(self, **given: Any) -> FakeWandb:
        self.calls.append(("init", given))
        return self

    def log(self, values: dict[str, float], *, step: int) -> None:
        self.calls.append(("log", (step, values)))

    def finish(self) -> None:
        self.calls.append(("finish", None))


def test_weights_and_biases_gets_one_run_for_one_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, out = FakeWandb(), tmp_path / "run"
    out.mkdir()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    for _ in range(2):
        with tracking(["wandb"], out, {"steps": 7}, 2) as tell:
            tell(RECORD)
    (_, first), log, finish, (_, second) = fake.calls[:4]
    assert first == second
    assert len(first.pop("id")) == 32
    assert first == {
        "project": "strive-video",
        "name": "run",
        "resume": "allow",
        "dir": str(out),
        "config": {"steps": 7},
    }
    assert log == ("log", (3, {"reward": 0.5, "seconds/total": 2.0, "dropped": 1.0}))
    assert finish == ("finish", None)


@pytest.mark.parametrize("where", ["init", "log", "finish"])
def test_a_tracker_that_fails_warns_once_and_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    class CommError(Exception):
        """As W&B's own: of no common base."""

    def fails(*_: object, **__: object) -> None:
        raise CommError("network\nbroke")

    fake = FakeWandb()
    monkeypatch.setattr(fake, where, fails)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    done = []
    with tracking(["wandb"], tmp_path, {}, 0) as track:
        for step in (1, 2, 3):
            track(RECORD | {"step": step})
            done.append(step)
    assert done == [1, 2, 3]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: log=wandb failed: CommError: network; training goes on")


def test_a_server_that_never_takes_the_rest_does_not_keep_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake, never = FakeWandb(), Event()
    monkeypatch.setattr(fake, "finish", never.wait)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.setattr("strive_rl.common.trackers.FINISH_SECONDS", 0.05)
    with tracking(["wandb"], tmp_path, {}, 0) as track:
        track(RECORD)
    never.set()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: log=wandb failed: not all was sent within 0.05 s; `wandb sync`")


def test_weights_and_biases_needs_a_key_and_a_network_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr("strive_rl.common.trackers.find_spec", lambda name: name)
        for name in ("WANDB_API_KEY", "WANDB_MODE", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        with pytest.raises(UsageError, match=r"no key for 127\.0\.0\.1.*WANDB_API_KEY"):
            require_trackers(["wandb"])
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password key\n")
        require_trackers(["wandb"])
    with pytest.raises(UsageError, match=r"cannot reach 127\.0\.0\.1.*WANDB_MODE=offline"):
        require_trackers(["wandb"])
    monkeypatch.setenv("WANDB_MODE", "offline")
    require_trackers(["wandb"])


def test_a_run_that_fails_is_closed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    with pytest.raises(ZeroDivisionError), tracking(["wandb"], tmp_path, {}, 0):
        _ = 1 / 0
    assert [name for name, _ in fake.calls] == ["init", "finish"]


def test_nothing_is_reported_where_nothing_is_asked_for(tmp_path: Path) -> None:
    with tracking([], tmp_path, {}, 0) as tell:
        tell(RECORD)
    assert list(tmp_path.iterdir()) == []


def test_names_and_missing_packages_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(TrainSettings, assignments=['log=["tensorboard", "wandb"]'])
    assert settings.log == ("tensorboard", "wandb")
    with pytest.raises(SettingsError, match="expected one of tensorboard, wandb"):
        load(TrainSettings, assignments=['log=["tensorbored"]'])
    with pytest.raises(SettingsError, match="each once"):
        TrainSettings(log=("wandb", "wandb"))
    monkeypatch.setattr("strive_rl.common.trackers.find_spec", lambda name: None)
    with pytest.raises(
        UsageError, match=r"log=wandb: it is not installed; pip install 'strive-video\[wandb\]'"
    ):
        require_trackers(["wandb"])
    require_trackers([])
