"""The Ray engine: decoding actors on CPUs, scoring actors on GPUs or CPUs, the driver writes."""

from strive_data.engines.ray.engine import RayEngine

__all__ = ["RayEngine"]
