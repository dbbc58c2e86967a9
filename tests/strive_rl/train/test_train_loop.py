"""The example loop trains as the trainer does, and writes a folder that loads."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
import torch

from strive_rl.config import DataSettings, OptimSettings, PolicySettings, RolloutSettings, TrainSettings
from strive_rl.policy import Sampling, load_policy
from strive_rl.train.state import open_run
from strive_rl.train.trainer import train_step
from tests.strive_rl.made.models import answering
from tests.strive_rl.made.shards import make_shards
from tools.examples import train_loop

CPU = PolicySettings(device="cpu", groups_per_pass=8)  # the loop has one pass


def test_the_loop_takes_the_steps_of_the_trainer(
    tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reward, informative questions, loss and gradient are the trainer's to the last bit."""
    shards = make_shards(tmp_path / "shards")
    model = str(tiny_folder)
    monkeypatch.setattr(train_loop, "load_policy", lambda name, given: answering(load_policy(name, given)))
    data, optim = DataSettings(questions_per_step=4), OptimSettings(lr=1e-3)
    rollout = RolloutSettings(completions=4, max_new_tokens=5, temperature=4.0)
    loop = train_loop.Settings(
        data=data,
        policy=CPU,
        sampling=Sampling(completions=4, max_new_tokens=5, temperature=4.0),
        optim=optim,
    )
    settings = TrainSettings(data=data, policy=CPU, rollout=rollout, optim=optim, steps=3)
    run = open_run(tmp_path / "run", shards=shards, model=model, settings=settings)
    run.policy = answering(run.policy)
    results = list(train_loop.train(str(tmp_path / "shards"), model, 3, loop))
    with closing(run.loader):
        records = [train_step(run) for _ in range(3)]
    assert any(record["informative"] for record in records)
    for (_, result), record in zip(results, records, strict=True):
        assert (result.reward, result.informative) == (record["reward"], record["informative"])
        if result.informative:
            assert (result.loss, result.grad_norm) == (record["loss"], record["grad_norm"])


def test_the_command_prints_each_step_and_writes_a_model(
    tmp_path: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_shards(tmp_path / "shards")
    out = tmp_path / "out"
    sizes = {"steps": 2, "questions": 2, "completions": 2, "max_new_tokens": 3}
    train_loop.main(str(tmp_path / "shards"), str(tiny_folder), out, **sizes)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all("informative 0/2  no question to learn from" in line for line in lines)
    before, after = load_policy(str(tiny_folder), CPU), load_policy(str(out), CPU)
    pairs = zip(before.model.parameters(), after.model.parameters(), strict=True)
    assert all(torch.isfinite(new).all() and old.shape == new.shape for old, new in pairs)
