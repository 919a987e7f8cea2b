"""How far from orthogonal are Muon's steps?

    python benchmarks/directions.py run=FOLDER [json=PATH]

Of the last checkpoint of a run with `optimizer=muon`: the angle between what some iterations make of each filter bank's
mean gradient and the nearest matrix with orthonormal rows or columns. Ours, and those of `torch.optim.Muon`, all in
bfloat16.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.optim import _muon as torchs

from rounds import Arguments, Measured, about, keep
from vgg_cifar.command_line import guard
from vgg_cifar.errors import UserError
from vgg_cifar.muon import orthogonal
from vgg_cifar.runs import checkpoints
from vgg_cifar.runs.folder import RunFolder

JORDANS = (torchs.DEFAULT_A, torchs.DEFAULT_B, torchs.DEFAULT_C)


def of_torch(iterations: int, matrix: Tensor) -> Tensor:
    """What `torch.optim.Muon` makes of a matrix [m, n]."""
    return torchs._zeropower_via_newtonschulz(matrix, JORDANS, iterations, torchs.EPS)


def ours(iterations: int, matrix: Tensor) -> Tensor:
    """What `optimizer=muon` makes of one."""
    return orthogonal(matrix.bfloat16(), iterations)


WAYS: dict[str, Callable[[Tensor], Tensor]] = {
    **{f"muon, {count} iterations": partial(ours, count) for count in (2, 3, 4)},
    **{f"torch.optim.Muon, {count} iterations": partial(of_torch, count) for count in (2, 3, 4, 5)},
}


def means(folder: RunFolder) -> list[Tensor]:
    """The mean gradients of a run's filter banks, a row per filter.

    Raises:
        UserError: if it was not Muon that trained the run.
    """
    state = checkpoints.read(folder.checkpoint("last"))["optimizer_states"][0]["state"]
    found = [each["mean"].permute(0, 2, 3, 1).flatten(1).float() for each in state.values() if "mean" in each]
    if not found:
        raise UserError(f"run: {folder.path} was not trained with optimizer=muon")
    return found


def degrees(direction: Tensor, nearest: Tensor) -> float:
    """The angle between two matrices of one shape."""
    cosine = torch.nn.functional.cosine_similarity(direction.double().flatten(), nearest.flatten(), dim=0)
    return math.degrees(math.acos(min(1.0, float(cosine))))


def main() -> None:
    given = Arguments(run="", json="")
    folder = RunFolder.existing(given.given["run"], "run")
    matrices, record = means(folder), about()
    found = Measured("from orthogonal", "degrees", {way: [] for way in WAYS})
    for matrix in matrices:
        left, _, right = torch.linalg.svd(matrix.double(), full_matrices=False)
        for way, make in WAYS.items():
            found.rounds[way].append(degrees(make(matrix), left @ right))
    print(f"\n{found.markdown()}\n")
    keep(given.file, record, [found])


if __name__ == "__main__":
    guard(main, __doc__)
