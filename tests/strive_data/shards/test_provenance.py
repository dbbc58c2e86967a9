from __future__ import annotations

import platform

import numpy as np

from strive_data.common.settings import fingerprint
from strive_data.config import BuildSettings
from strive_data.shards.provenance import package_versions, run_record


def test_a_run_record_says_what_the_bytes_depend_on() -> None:
    record = run_record(
        BuildSettings(), {"q.jsonl": "abc"}, {"samples": 2}, 1.23456, recipes={"q.jsonl": "mine"}
    )
    assert record["recipes"] == {"q.jsonl": "mine"}
    assert record["settings"]["sampler"]["frames"] == 32
    assert record["settings_fingerprint"] == fingerprint(BuildSettings())
    assert (record["inputs_sha256"], record["counts"], record["seconds"]) == (
        {"q.jsonl": "abc"},
        {"samples": 2},
        1.235,
    )


def test_versions_are_those_installed() -> None:
    versions = package_versions()
    assert versions["python"] == platform.python_version()
    assert versions["numpy"] == np.__version__
