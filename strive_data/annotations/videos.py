"""Paths of videos, as annotations write them → files below one folder.

A video carries many questions, and a look at the disk costs more than reading a row: each path and each
folder on the way to it is looked up once.
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
from pathlib import Path
from unicodedata import normalize

from strive_data.common.files import (
    IMAGE_SUFFIXES,
    PICTURE_SUFFIXES,
    RATE_FILE,
    TIMES_FILE,
    VIDEO_SUFFIXES,
    near_path,
    picture_order,
    picture_places,
)
from strive_data.common.text import plural, short_repr
from strive_data.errors import FailureKind, SampleError

# frames/clip7/%05d.jpg: the pictures of a folder, which is the video.
PICTURES = re.compile(r"(%0?[0-9]*d|\*)[^/]*\.(jpe?g|png)", re.IGNORECASE)
IMAGE_ENDINGS = tuple(IMAGE_SUFFIXES)
_Names = dict[str, list[str]]
MOST_HINTS = 20
WINDOWS_DRIVE = re.compile("[A-Za-z]:|//")


def is_image(path: str) -> bool:
    """Whether a path names an image: by its ending, unless it is the pattern of a folder of pictures."""
    if not path.lower().endswith(IMAGE_ENDINGS):
        return False
    name = posixpath.basename(path)
    return posixpath.splitext(name)[1] != "" and not PICTURES.search(name)


class VideoFolder:
    """The data root, or its URL. With `check_files` off, videos may be absent, and links are not followed.

    `guesses` are the ways in which files were found that are called otherwise than the path says; `gaps` are
    folders of pictures whose numbers leave some out, and which."""

    def __init__(self, root: Path | str, *, check_files: bool = True) -> None:
        self._root, self._check_files = root, check_files
        self._found: dict[tuple[str, str, bool], str | tuple[FailureKind, str]] = {}
        self._real_folders: dict[str, Path] = {}
        self._folders: dict[str, bool] = {}
        self._listings: dict[str, tuple[_Names, _Names]] = {}
        self.guesses, self.gaps, self._hints = set[str](), dict[str, str](), 0
        # The real path of each folder, "" for one that is outside of the root.
        self._inside: dict[str, str] = {}

    def find(self, path: str, *, label: str = "path", timed: bool = False) -> str:
        """`path` relative to the root and normalised, "videos/x.mp4"; `label` names the field in messages.

        Raises SampleError where it or what its links lead to leaves the root (outside_root), and where no
        file is there (missing). A folder of pictures is a video (pictures.py), also by a pattern of their
        names: "frames/clip7/%05d.jpg" is "frames/clip7". It needs times, unless its row gives them (`timed`).
        """
        found = self._found.get((path, label, timed))
        if found is None:
            try:
                found = self._look(path, label, timed)
            except SampleError as error:
                # The reason and not the error, which would collect a traceback each time it is raised.
                found = error.kind, error.message
            self._found[path, label, timed] = found
        if isinstance(found, str):
            return found
        raise SampleError(*found)

    def is_folder(self, path: str) -> bool:
        """Whether a path names a folder of pictures; where files are not looked for, by its form."""
        known = self._folders.get(path)
        if known is None:
            known = self._folders[path] = self._is_folder(self._local(path))
        return known

    def _is_folder(self, path: str) -> bool:
        if PICTURES.search(posixpath.basename(path)):
            return True
        if not self._check_files:
            return not posixpath.splitext(path)[1]
        try:
            return self._real(self._on_disk(posixpath.normpath(path))).is_dir()
        except OSError:  # as for a name that is too long, of which `find` tells
            return False

    def _look(self, path: str, label: str, timed: bool) -> str:
        local = self._local(path)
        if "://" in local or WINDOWS_DRIVE.match(local):
            expected = "expected a path below the data root"
            raise SampleError(FailureKind.OUTSIDE_ROOT, f"{label} {short_repr(path)}: {expected}")
        video = posixpath.normpath(self._relative(local) if local.startswith("/") else local)
        if PICTURES.search(posixpath.basename(video)):
            video = posixpath.dirname(video) or "."
        inside = video.split("/")[0] != ".."
        if inside and self._check_files and not self._is_plain_file(video):
            video = self._on_disk(video)
            real = self._real(video)
            inside = real.is_relative_to(self._real_folder(""))
            if inside and (problem := _missing(real, timed)):
                message = f"video {short_repr(video)} under {self._root}: {problem}{self._hint(video, real)}"
                raise SampleError(FailureKind.MISSING, message)
            if inside and (gap := _gap(real)):
                self.gaps[video] = gap
        if not inside:
            where = f"{label} {short_repr(path)} leaves the data root {self._root}"
            message = f"{where}; --data-root names a folder that holds all videos"
            raise SampleError(FailureKind.OUTSIDE_ROOT, message)
        return video

    def _hint(self, video: str, real: Path) -> str:
        """The nearest name of a video that is absent; of the first ones alone, since it takes a look at a
        whole folder."""
        if os.path.lexists(real):
            return ""
        root, (first, _, rest) = Path(self._root).absolute(), video.partition("/")
        if rest and first == root.name and os.path.lexists(root / rest):
            return f"; the path repeats the data root: leave {first}/ out, or give --data-root {root.parent}"
        if self._hints == MOST_HINTS:
            return ""
        self._hints += 1
        return near_path(Path(self._root, video), Path(self._root))

    def _local(self, path: str) -> str:
        local = path.removeprefix("file://")
        if "\\" in local:
            self.guesses.add("backslashes in paths read as /")
            local = local.replace("\\", "/")
        return local

    def _on_disk(self, video: str) -> str:
        """A path as the disk writes it where one file differs in its Unicode form alone, or is a video whose
        name has an ending; else as it is."""
        if os.path.lexists(Path(self._root, video)) or video.startswith(("/", "../")):
            return video
        found, guess = "", "file names in another Unicode form"
        for part in video.split("/"):
            last = f"{found}/{part}".lstrip("/").count("/") == video.count("/")
            names, stems = self._listing(found)
            same = names.get(normalize("NFC", part), [])
            if last and not same:
                same, guess = stems.get(normalize("NFC", part), []), "names of videos without their ending"
            if part not in same and len(same) != 1:
                return video
            found = posixpath.join(found, part if part in same else same[0])
        self.guesses.add(guess)
        return found

    def _listing(self, folder: str) -> tuple[_Names, _Names]:
        """The files of a folder by their names in one Unicode form, and the videos by their names' stems."""
        if folder not in self._listings:
            names, stems = self._listings[folder] = {}, {}
            try:
                files = sorted(file.name for file in self._real_folder(folder).iterdir())
            except OSError:
                files = []
            for name in files:
                stem, ending = posixpath.splitext(normalize("NFC", name))
                names.setdefault(stem + ending, []).append(name)
                if ending.lower() in VIDEO_SUFFIXES:
                    stems.setdefault(stem, []).append(name)
        return self._listings[folder]

    def _is_plain_file(self, video: str) -> bool:
        """Whether a regular file and no link is there, in a folder below the root: one look at the disk."""
        folder, _, name = video.rpartition("/")
        if folder not in self._inside:
            real = self._real_folder(folder)
            self._inside[folder] = str(real) if real.is_relative_to(self._real_folder("")) else ""
        above = self._inside[folder]
        try:
            return bool(above) and stat.S_ISREG(os.lstat(f"{above}/{name}").st_mode)
        except OSError:
            return False

    def _relative(self, path: str) -> str:
        """An absolute path as one relative to the root, as the root is written or as its links lead to it."""
        for root in (Path(self._root).absolute().as_posix(), self._real_folder("").as_posix()):
            below = posixpath.relpath(posixpath.normpath(path), root)
            if below.split("/")[0] != "..":
                return below
        return posixpath.join("..", path.lstrip("/"))

    def _real(self, video: str) -> Path:
        folder, name = posixpath.split(video)
        real = self._real_folder(folder) / name
        return Path(os.path.realpath(real)) if _is_link(real) else real

    def _real_folder(self, folder: str) -> Path:
        if folder not in self._real_folders:
            # realpath and not Path.resolve: a loop of links is a missing video, not a RuntimeError.
            self._real_folders[folder] = Path(os.path.realpath(Path(self._root, folder)))
        return self._real_folders[folder]


def _gap(real: Path) -> str:
    """Which pictures of a folder with a rate are missing by the numbers of the others, "" if none are."""
    files = [path.name for path in real.iterdir()] if real.is_dir() else []
    names = sorted((n for n in files if Path(n).suffix.lower() in PICTURE_SUFFIXES), key=picture_order)
    if not names or TIMES_FILE in files:
        return ""
    places = picture_places(names)
    if places is None:
        return "numbers without a step, so its pictures are timed by their order; give frame_times"
    missing = places[-1] + 1 - len(names)
    first = next((name for at, name in enumerate(names) if places[at] > at), "")
    return f"{plural(missing, 'picture')} missing, first before {first}" if missing else ""


def _is_link(path: Path) -> bool:
    try:
        return path.is_symlink()
    except OSError:  # as for a name that is too long, of which `_missing` tells
        return False


def _missing(real: Path, timed: bool) -> str:
    """Why there is no file, "" if there is one."""
    try:
        mode = real.stat().st_mode
    except OSError as error:
        return str(error.strerror).lower()
    if stat.S_ISDIR(mode):
        return _unusable_folder(real, timed)
    return "" if stat.S_ISREG(mode) else "not a regular file"


def _unusable_folder(real: Path, timed: bool) -> str:
    """Why a folder is no video, "" if it is one."""
    try:
        names = {path.name for path in real.iterdir()}
    except OSError as error:
        return str(error.strerror).lower()
    if not any(Path(name).suffix.lower() in PICTURE_SUFFIXES for name in names):
        return f"a folder without pictures ({', '.join(sorted(PICTURE_SUFFIXES))})"
    if not timed and not {RATE_FILE, TIMES_FILE} & names:
        return (
            f"a folder of pictures without times: give frames a second in a column fps or in {RATE_FILE} in "
            f"it, or a time in seconds a picture in a column frame_times or, one a line, in {TIMES_FILE}"
        )
    return ""
