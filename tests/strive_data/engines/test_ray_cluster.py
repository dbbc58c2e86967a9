from __future__ import annotations

import importlib.util

import pytest

from strive_data.config import ClusterOptions
from strive_data.engines.ray_engine import ActorCounts, connected, count_actors, import_ray
from strive_data.errors import SettingsError, UsageError

GPUS = {"CPU": 16.0, "GPU": 2.0}


@pytest.mark.parametrize(
    ("resources", "options", "workers", "expected"),
    [
        (GPUS, ClusterOptions(), 0, ActorCounts(decoders=14, scorers=2, gpus=1.0)),
        (GPUS, ClusterOptions(gpus_per_scorer=0.5), 0, ActorCounts(decoders=12, scorers=4, gpus=0.5)),
        (GPUS, ClusterOptions(gpus_per_scorer=0), 0, ActorCounts(decoders=15, scorers=1, gpus=0)),
        ({"CPU": 8.0}, ClusterOptions(), 0, ActorCounts(decoders=7, scorers=1, gpus=0.0)),
        ({"CPU": 8.0}, ClusterOptions(scorers=3), 2, ActorCounts(decoders=2, scorers=3, gpus=0.0)),
    ],
)
def test_actors_fill_the_cluster(
    resources: dict[str, float], options: ClusterOptions, workers: int, expected: ActorCounts
) -> None:
    assert count_actors(resources, options, workers) == expected


def test_more_than_fits_is_refused_with_the_sums() -> None:
    wanted = r"has 4 CPUs and 1 GPUs, 3 decoding and 2 scoring actors need 5 and 2: lower --workers"
    with pytest.raises(UsageError, match=wanted):
        count_actors({"CPU": 4.0, "GPU": 1.0}, ClusterOptions(scorers=2), 3)
    with pytest.raises(UsageError, match="1 decoding and 1 scoring actors need 2 and 0"):
        count_actors({"CPU": 1.0}, ClusterOptions(), 0)


def test_options_are_checked() -> None:
    with pytest.raises(SettingsError, match=r"--gpus-per-scorer: got 1\.5"):
        ClusterOptions(gpus_per_scorer=1.5)
    with pytest.raises(SettingsError, match="--scorers: got -1"):
        ClusterOptions(scorers=-1)


def test_a_missing_package_is_said_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"--engine ray needs the package ray: .* extra, \[ray\]"):
        import_ray()


def test_an_address_where_nothing_answers_is_refused() -> None:
    pytest.importorskip("ray", reason="the extra [ray] is not installed")
    refused = pytest.raises(UsageError, match=r"--ray-address nonsense: no Ray cluster answers \(")
    with refused, connected(ClusterOptions(address="nonsense"), 1):
        pass
