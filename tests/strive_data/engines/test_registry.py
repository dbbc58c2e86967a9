from __future__ import annotations

import pytest

from strive_data.config import BuildSettings, ScoreSettings
from strive_data.engines.local import LocalEngine
from strive_data.engines.registry import make_engine
from strive_data.errors import SettingsError


def test_engines_are_found_by_name() -> None:
    assert isinstance(make_engine("local", BuildSettings(score=ScoreSettings(scorer="demo"))), LocalEngine)
    with pytest.raises(SettingsError, match="unknown engine 'locla', did you mean 'local'"):
        make_engine("locla", BuildSettings())
