"""The engine for real, on the CPU: `make test-vllm`, in an environment of its own."""

from __future__ import annotations

import pytest

pytest.importorskip("vllm", reason="vLLM has an environment of its own: make test-vllm")
