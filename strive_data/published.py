"""The TOML files of `manifests/`: in the source tree at its root, in a wheel inside the package."""

from __future__ import annotations

from pathlib import Path

from strive_data.settings import choose


def manifests_home() -> Path:
    """The folder `manifests`."""
    package = Path(__file__).parent
    inside = package / "manifests"
    return inside if inside.is_dir() else package.parent / "manifests"


def settings_file(config: Path | None, folder: str) -> Path | None:
    """What `--config` means: a file, or the name of one of `manifests/<folder>` without its suffix.

    A path that is there, ends in .toml or has several parts is taken as it is. Raises SettingsError for
    another name that is not among them, with the nearest.
    """
    if config is None or config.is_file() or config.suffix == ".toml" or len(config.parts) > 1:
        return config
    known = {path.stem: path for path in (manifests_home() / folder).glob("*.toml")}
    return known[choose(str(config), known, f"name in manifests/{folder}")]
