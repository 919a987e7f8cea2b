"""What is told to the C library: that a step's memory stays for the next one."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

FAULTS = """
import resource, sys
import torch
from vgg_cifar.hardware import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.zeros(2**24)  # 64 MiB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
keep_freed_memory()
faults()
print(before, faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_memory_that_was_freed_is_used_again() -> None:
    source = Path(__file__).resolve().parents[1] / "src"
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], env={"PYTHONPATH": str(source)}, capture_output=True, text=True, check=True
    )
    before, after = map(int, done.stdout.split())
    pages = 10 * 2**26 // resource.getpagesize()
    assert before > pages / 1000  # each page anew, or each huge page
    assert after < before / 10
