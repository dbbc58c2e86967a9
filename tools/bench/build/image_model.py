"""The image model that is measured: any of open_clip's, the package's tiny one, or one with drawn weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_model

from strive_data.score.registry import DEMO_MODEL

DEMO = "demo"
RANDOM = "random"


@dataclass(frozen=True, kw_only=True)
class ImageModel:
    """`scorer` of the build; for `clip` an open_clip name and weights (a tag or a file), and a precision."""

    scorer: str
    model: str = ""
    pretrained: str = ""
    precision: str = "fp32"

    @property
    def open_clip_name(self) -> str:
        """What open_clip knows it by."""
        return f"local-dir:{DEMO_MODEL}" if self.scorer == DEMO else self.model

    @property
    def build_options(self) -> list[str]:
        """The options of `strive-data build` that choose it."""
        if self.scorer == DEMO:
            return ["--scorer", DEMO, "--set", f"score.precision={self.precision}"]
        names = {"model": self.model, "pretrained": self.pretrained, "precision": self.precision}
        sets = [f"score.{name}={value}" for name, value in names.items()]
        return ["--scorer", "clip", *(part for each in sets for part in ("--set", each))]


def choose_model(name: str, pretrained: str, precision: str, folder: Path) -> ImageModel:
    """The model by its name; `pretrained = random` draws weights with a fixed seed, kept in `folder`.

    Weights do not change the speed, so no download is needed to measure it.
    """
    if name == DEMO:
        return ImageModel(scorer=DEMO, precision=precision)
    if pretrained == RANDOM:
        pretrained = str(_drawn_weights(name, folder / f"{name}-random.safetensors"))
    return ImageModel(scorer="clip", model=name, pretrained=pretrained, precision=precision)


def _drawn_weights(name: str, path: Path) -> Path:
    # Imported here: only this case needs a model in this process.
    import open_clip
    import torch

    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        temporary = path.with_name(f"partial-{path.name}")
        save_model(open_clip.create_model(name), str(temporary))
        temporary.rename(path)
    return path
