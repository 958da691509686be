"""The device that a network runs on."""

import torch


def choose_device(name: str = "auto") -> torch.device:
    """`auto` is CUDA, else Apple silicon, else the CPU. Raises ValueError if `name` is not available."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, here in available.items() if here)
    if not available[name]:
        raise ValueError(f"this machine has no {name} device; --device cpu always works")
    return torch.device(name)
