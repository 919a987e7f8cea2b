"""What this machine is, and which arithmetic it does fastest."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from vgg_cifar.errors import UserError

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Of glibc's mallopt(3)."""


def accelerator(asked: str) -> str:
    """What `trainer.accelerator` means here: "cuda", "mps" or "cpu".

    Raises:
        UserError: if this machine has no such accelerator.
    """
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    wanted = {"auto": ("cuda", "mps", "cpu"), "gpu": ("cuda", "mps")}.get(asked, (asked,))
    for kind in wanted:
        if present[kind]:
            return kind
    raise UserError(f"trainer.accelerator: torch finds no {asked} on this machine; use auto or cpu")


def precision(kind: str) -> tuple[str, str]:
    """The fastest arithmetic that trains as well as float32 on this accelerator, and why, in a few words."""
    if kind == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16-mixed", "this GPU multiplies bfloat16 in hardware"
        return "16-mixed", "this GPU multiplies float16 in hardware"
    if kind == "mps":
        return "32-true", "mixed precision brings nothing reliable on Apple GPUs"
    if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported():
        return "bf16-mixed", "this CPU multiplies bfloat16 in hardware"
    return "32-true", "this CPU has no bfloat16 arithmetic"


def keep_freed_memory() -> None:
    """Let the C library keep memory that is freed, for the next step, instead of giving it back page by page.

    A step on a CPU frees and asks for hundreds of megabytes. glibc gives such pieces back to the system at once, which
    fills each page with zeros when it is asked for it again. Other C libraries are left as they are.
    """
    try:
        tell = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 2**28)):
        tell(option, value)


def cpu_model() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def description() -> dict[str, Any]:
    """What a manifest says about the machine: processor, cores, threads, system, GPUs."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
        "gpus": gpus,
    }


@contextmanager
def in_float32(device: torch.device) -> Iterator[None]:
    """Compute in float32 with all its digits, whatever the surroundings ask for.

    By itself torch convolves on a GPU in TF32, which has fewer digits.
    """
    settings: list[Any] = []
    if device.type == "cuda":
        settings = [torch.backends.cudnn.conv, torch.backends.cuda.matmul]  # type: ignore[attr-defined]
    before = [each.fp32_precision for each in settings]
    try:
        for each in settings:
            each.fp32_precision = "ieee"
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        for each, precision in zip(settings, before, strict=True):
            each.fp32_precision = precision


def seed(number: int, device: torch.device) -> None:
    """Set torch's generator of one device: `torch.manual_seed` goes through those of all, at every step."""
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(number)
    elif device.type == "mps":
        torch.mps.manual_seed(number)
    else:
        torch.default_generator.manual_seed(number)


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was told, so that a clock read now is true."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the host, had no more memory to give."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
