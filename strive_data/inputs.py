"""Annotations and videos at paths or URLs → annotations read, and the root that videos are below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from strive_data.annotations import Annotations, read_annotations
from strive_data.errors import DamagedError, UsageError
from strive_data.storage import RemoteFolder, open_folder, place_of

# A listing is what tells that a folder is there; of these a file can be read without one.
UNLISTED = ("http://", "https://")


def video_root(data_root: Path | str) -> Path | str:
    """The root as a path or URL without a last slash. Raises UsageError where there is no such folder."""
    place = place_of(data_root)
    if isinstance(place, str) and place.lower().startswith("memory:"):
        raise UsageError(f"--data-root {place}: other processes read the videos, and cannot see this memory")
    known = isinstance(place, str) and place.lower().startswith(UNLISTED)
    if not known and not open_folder(place).exists():
        raise UsageError(f"--data-root {data_root}: no such folder")
    return place.rstrip("/") if isinstance(place, str) else place


def read_inputs(
    annotations: Sequence[Path | str], root: Path | str, *, recipe: str | None = None
) -> Annotations:
    """`read_annotations` for paths and URLs. Videos behind a URL are not looked for before they are decoded:
    one that is absent is a failure then."""
    with TemporaryDirectory(prefix="strive-in-") as folder:
        places = [place_of(where) for where in annotations]
        copies = [_copy(place, Path(folder) / str(number)) for number, place in enumerate(places)]
        check_files = isinstance(root, Path)
        try:
            rows = read_annotations(copies, root, recipe=recipe, check_files=check_files)
        except UsageError as error:
            message = str(error)
            for copy, url in zip(copies, places, strict=True):
                message = message.replace(str(copy), str(url))
            raise UsageError(message) from error
    names = {copy.as_posix(): str(url) for copy, url in zip(copies, places, strict=True)}
    return replace(
        rows,
        input_sha256={names.get(name, name): digest for name, digest in rows.input_sha256.items()},
        readings={names.get(name, name): reading for name, reading in rows.readings.items()},
    )


def _copy(place: Path | str, folder: Path) -> Path:
    """A local file with the content, the name and the folder's name (recipes may use both) of a URL's."""
    if isinstance(place, Path):
        return place
    above, _, name = place.rpartition("/")
    remote = open_folder(above)
    if not isinstance(remote, RemoteFolder):
        raise TypeError(f"{above} was opened as {remote}")
    copy = folder / (above.rpartition("/")[2] or "root") / name
    copy.parent.mkdir(parents=True)
    try:
        remote.fetch(name, copy)
    except DamagedError as error:
        raise UsageError(f"annotation {place}: no such file") from error
    return copy
