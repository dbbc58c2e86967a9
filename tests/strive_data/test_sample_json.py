"""Values of other types are refused in tests/safety/test_sizes.py."""

from __future__ import annotations

import json

import pytest

from strive_data.errors import DamagedError
from strive_data.sample_json import read_meta
from tests.strive_data.samples import a_sample

BODY = a_sample().meta.to_json()


def test_a_member_is_read_back() -> None:
    assert read_meta(json.dumps(BODY).encode()) == a_sample().meta


@pytest.mark.parametrize("name", sorted(BODY))
def test_a_missing_value_is_named(name: str) -> None:
    content = json.dumps({key: value for key, value in BODY.items() if key != name}).encode()
    with pytest.raises(DamagedError, match="schema version None" if name == "schema_version" else name):
        read_meta(content)
