"""What --config means."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from strive_data.common.settings import (
    as_dict,
    as_toml,
    choose,
    fingerprint,
    load,
    manifests_home,
    settings_file,
)
from strive_data.config import BuildSettings
from strive_data.errors import SettingsError


def test_options_and_assignments_come_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text("[sampler]\nframes = 8\nvariants = 4\nalpha = 1\n[score]\nmodel = 'x'\n")
    options = {"sampler.frames": 16, "score.scorer": None}
    given = ["sampler.variants=3", "sampler.variants=5", "sampler.frames=16"]
    settings = load(BuildSettings, config=file, options=options, assignments=given)
    assert (settings.sampler.frames, settings.sampler.variants) == (16, 5)
    assert (settings.sampler.alpha, settings.score.model, settings.score.scorer) == (1.0, "x", "clip")


def test_assignments_are_toml_or_plain_text() -> None:
    settings = load(BuildSettings, assignments=["score.model=ViT-L-14", "sampler.alpha=0.5"])
    assert (settings.score.model, settings.sampler.alpha) == ("ViT-L-14", 0.5)


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("sampler.frames=8", "sampler.frames 8, its option on the command line 16"),
        ("sampler.frames=many", "sampler.frames 'many'"),
        ("sampler={alpha=1}", "sampler.frames None"),
        ("sampler=3", "is a section"),
    ],
)
def test_an_assignment_may_not_contradict_an_option(assignment: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(BuildSettings, options={"sampler.frames": 16}, assignments=[assignment])
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"), [(".5", 0.5), ("+.5", 0.5), ("1.", 1.0), ("1", 1.0), ("5e-1", 0.5)]
)
def test_numbers_are_read_as_people_write_them(text: str, value: float) -> None:
    assert load(BuildSettings, assignments=[f"sampler.alpha={text}"]).sampler.alpha == value


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("sampler.frmes=8", "did you mean 'frames'"),
        ("smpler.frames=8", "did you mean 'sampler'"),
        ("frames=8", "'frames', did you mean 'sampler.frames'"),
        ("sampler.frames=eight", "'eight' (str), expected int"),
        ("sampler.frames=true", "expected int"),
        ("sampler.frames=7", "even number"),
        ("sampler.alpha=0", "got 0.0, expected more than 0"),
        ("sampler.kappa=0.1", "sampler.kappa"),
        ("sampler=3", "is a section"),
        ("decode.timeout_seconds=inf", "'decode.timeout_seconds': got inf, expected a finite number"),
        ("sampler.grouping_time=nan", "'sampler.grouping_time': got nan, expected a finite number"),
        (f"sampler.variants={10**31}", "expected a finite number; whole ones below 2**63"),
        (f"sampler.alpha={10**400}", "expected a finite number; whole ones below 2**63"),
        (f"sampler.seed={'9' * 5000}", "expected int"),
        ("shard.frames=some", "one of sampled, all"),
        ("shard.frames", "expected section.key=value"),
        ("score.precision=fp64", "fp32"),
    ],
)
def test_unusable_settings_are_refused_by_name(assignment: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(BuildSettings, assignments=[assignment])
    assert says in str(caught.value)


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        load(BuildSettings, config=tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[sampler\n")
    with pytest.raises(SettingsError, match="is not TOML"):
        load(BuildSettings, config=tmp_path / "bad.toml")


def test_the_fingerprint_tells_settings_apart_and_survives_a_round_trip() -> None:
    one, other = BuildSettings(), load(BuildSettings, assignments=["sampler.seed=1"])
    assert fingerprint(one) == fingerprint(load(BuildSettings)) != fingerprint(other)
    assert as_dict(other)["sampler"]["seed"] == 1


def test_choose_suggests_the_nearest() -> None:
    assert choose("comb", ["comb", "uniform"], "sampler") == "comb"
    with pytest.raises(
        SettingsError, match=r"unknown sampler 'combe', did you mean 'comb'\?; known: comb, uni"
    ):
        choose("combe", ["uniform", "comb"], "sampler")
    with pytest.raises(SettingsError, match=r"known: 000, .*, 019 and 80 more$"):
        choose("x", [f"{i:03d}" for i in range(100)], "sample")


@dataclass(frozen=True, kw_only=True)
class Inner:
    name: str
    size: int = 1


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner


def test_settings_without_a_default_must_be_there() -> None:
    assert load(Outer, assignments=["inner.name=x"]) == Outer(inner=Inner(name="x"))
    with pytest.raises(SettingsError, match=r"setting 'inner.name' is missing, and has no default"):
        load(Outer, assignments=["inner.size=2"])
    with pytest.raises(SettingsError, match="setting 'inner' is missing"):
        load(Outer)


@dataclass(frozen=True, kw_only=True)
class Weighed:
    weights: dict[str, float]


def test_a_section_with_names_of_the_users_own() -> None:
    settings = load(Weighed, assignments=["weights.mine=1", "weights.ours=0.25"])
    assert settings.weights == {"mine": 1.0, "ours": 0.25}
    with pytest.raises(SettingsError, match=r"'weights.mine': got 'x' \(str\), expected float"):
        load(Weighed, assignments=["weights.mine=x"])
    with pytest.raises(SettingsError, match="'weights' is a section"):
        load(Weighed, assignments=["weights=1"])


@dataclass(frozen=True, kw_only=True)
class Part:
    names: tuple[str, ...] = ("a", 'b "quoted" \\ \x7f é\n')
    few: int | None = 3
    text: str | None = None


@dataclass(frozen=True, kw_only=True)
class Whole:
    inner: Part = field(default_factory=Part)
    weights: dict[str, float] = field(default_factory=lambda: {"a b": 1.0})
    on: bool = True
    rate: float = 1e-6
    count: int = -2


@pytest.mark.parametrize(
    "given", [Whole(), Whole(inner=Part(names=(), few=None, text="x"), weights={}, on=False, rate=1e300)]
)
def test_settings_as_toml_are_read_back_the_same(given: Whole, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(as_toml(given), encoding="utf-8")
    assert load(Whole, config=tmp_path / "s.toml") == given


def test_names_and_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_file(None, "builds") is None
    named = manifests_home() / "builds" / "qwen3-vl.toml"
    assert settings_file(Path("qwen3-vl"), "builds") == named
    for text in ("absent.toml", "folder/qwen3-vl", "/qwen3-vl"):
        assert settings_file(Path(text), "builds") == Path(text)
    monkeypatch.chdir(tmp_path)
    Path("qwen3-vl").touch()
    assert settings_file(Path("qwen3-vl"), "builds") == Path("qwen3-vl")


def test_an_unknown_name_is_reported_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"unknown name in manifests/builds 'qwen4-vl', did you mean"):
        settings_file(Path("qwen4-vl"), "builds")
