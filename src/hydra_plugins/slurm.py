"""Hydra's launcher that has SLURM run every job; the work is in `vgg_cifar.sweeps`."""

from __future__ import annotations

from hydra_plugins import isolated


class SlurmLauncher(isolated.IsolatedLauncher):
    """Submits the jobs of a sweep; its options are those of `vgg_cifar.sweeps.options.SlurmOptions`."""
