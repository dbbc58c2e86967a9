"""Each architecture in turn: `any_folder` and `any_policy` are parametrised over them."""

from __future__ import annotations

from pathlib import Path

import pytest

from strive_rl.config import PolicySettings
from strive_rl.policy import Policy, load_policy
from tests.strive_rl.tiny_models import TINY_MODELS


@pytest.fixture(scope="session", params=sorted(TINY_MODELS))
def any_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TINY_MODELS[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="session")
def any_policy(any_folder: Path) -> Policy:
    return load_policy(str(any_folder), PolicySettings(device="cpu"))
