"""Fixtures of the trainer's tests: a tiny random model (`made.models`), groups of made-up views."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from strive_data.shards.reader import ShardSet
from strive_rl.config import PolicySettings
from strive_rl.policy import Policy, load_policy
from tests.strive_rl.made.models import DENSE, TINY_MODELS, save_tiny_qwen2_5_vl
from tests.strive_rl.made.shards import make_shards


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_qwen2_5_vl(tmp_path_factory.mktemp("tiny_model"))


@pytest.fixture(scope="session")
def tiny_policy(tiny_folder: Path) -> Policy:
    return load_policy(str(tiny_folder), PolicySettings(device="cpu"))


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    """Two questions on each of three videos, which no test changes."""
    return make_shards(tmp_path_factory.mktemp("build") / "shards")


@pytest.fixture(scope="session", params=DENSE)
def any_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each architecture in turn."""
    return TINY_MODELS[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="session")
def any_policy(any_folder: Path) -> Policy:
    return load_policy(str(any_folder), PolicySettings(device="cpu"))
