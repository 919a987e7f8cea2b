"""The `trainer` group: Lightning's Trainer under Lightning's own names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from vgg_cifar.options import Count, Options, Positive

if TYPE_CHECKING:
    from lightning.pytorch import Callback, Trainer
    from lightning.pytorch.loggers import Logger
    from lightning.pytorch.profilers import Profiler

Limit = Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, le=1)]


class TrainerOptions(Options):
    """How long, on what, and how exactly. Names and meanings are those of `lightning.pytorch.Trainer`."""

    max_epochs: Count
    """Passes over the training images."""
    max_steps: Count | Literal[-1]
    """Optimizer steps after which to stop, whatever the epoch; -1: no such limit."""
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"]
    """Where to compute; auto takes a GPU if there is one."""
    devices: Count | Literal["auto"]
    """GPUs, or processes on a CPU; auto takes every GPU, or one process."""
    num_nodes: Count
    """Machines that train together."""
    strategy: Literal["auto", "ddp"]
    """auto is one process on one device and distributed data parallel (ddp) on several."""
    precision: Literal["auto", "32-true", "16-mixed", "bf16-mixed", "bf16-true", "64-true"]
    """Arithmetic; auto takes the fastest that trains as well as float32 on this hardware, and says which."""
    accumulate_grad_batches: Count
    """Parts into which each device's share of a step is divided, to save memory; the step stays the same."""
    gradient_clip_val: Positive | None
    """Largest norm of the whole gradient; null does not clip."""
    sync_batchnorm: bool
    """Whether batch norm looks at the images of all GPUs together."""
    deterministic: bool
    """Whether only algorithms are used that always give the same bits."""
    limit_train_batches: Limit
    """Batches per epoch and device: a number, or a fraction of all."""
    limit_val_batches: Limit
    """Batches per validation and device: a number, or a fraction of all."""
    limit_test_batches: Limit
    """Batches of the test and device: a number, or a fraction of all."""
    log_every_n_steps: Count
    """Optimizer steps between points of the learning rate and of the loss within an epoch."""
    enable_progress_bar: bool
    """Whether to show a bar; without a terminal there is a line per epoch instead."""

    @model_validator(mode="after")
    def _fits_the_hardware_of_one_kind(self) -> TrainerOptions:
        if self.sync_batchnorm and self.accelerator in ("cpu", "mps"):
            raise ValueError(
                "trainer.sync_batchnorm: torch synchronises batch norm on CUDA GPUs only; "
                "set trainer.sync_batchnorm=false or trainer.accelerator=gpu"
            )
        if self.accelerator == "mps" and self.devices not in (1, "auto"):
            raise ValueError(f"trainer.devices: Apple GPUs train one at a time, is {self.devices}; set it to 1")
        if self.accelerator == "cpu" and self.precision == "16-mixed":
            raise ValueError("trainer.precision: 16-mixed needs a GPU; on a CPU use bf16-mixed or 32-true")
        return self

    def build(
        self,
        callbacks: list[Callback],
        loggers: list[Logger],
        kind: str,
        precision: str,
        profiler: Profiler | None = None,
    ) -> Trainer:
        """The Trainer of this run.

        Args:
            callbacks: added to it; it has none of its own.
            loggers: where metrics go.
            kind: "cuda", "mps" or "cpu".
            precision: one of Lightning's, never "auto".
            profiler: told about every part of the loop.
        """
        import torch
        from lightning.pytorch import Trainer
        from lightning.pytorch.callbacks import Checkpoint

        from vgg_cifar.ddp import DDP
        from vgg_cifar.runs.checked_files import CheckedFiles

        devices = (torch.cuda.device_count() if kind == "cuda" else 1) if self.devices == "auto" else self.devices
        several = devices * self.num_nodes > 1 or self.strategy == "ddp"
        return Trainer(
            accelerator=kind,
            devices=devices,
            num_nodes=self.num_nodes,
            strategy=DDP(one_machine=self.num_nodes == 1) if several else "auto",
            precision=precision,  # type: ignore[arg-type]
            max_epochs=self.max_epochs,
            max_steps=self.max_steps,
            accumulate_grad_batches=self.accumulate_grad_batches,
            gradient_clip_val=self.gradient_clip_val,
            sync_batchnorm=self.sync_batchnorm,
            deterministic=self.deterministic,
            benchmark=not self.deterministic,
            limit_train_batches=self.limit_train_batches,
            limit_val_batches=self.limit_val_batches,
            limit_test_batches=self.limit_test_batches,
            log_every_n_steps=self.log_every_n_steps,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            callbacks=callbacks,
            plugins=[CheckedFiles()],
            logger=loggers or False,
            profiler=profiler,
        )
