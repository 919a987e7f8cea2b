"""A trained network on the devices of this machine, asked about images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vgg_cifar import hardware
from vgg_cifar.classifier import Classifier
from vgg_cifar.config import Config
from vgg_cifar.data.dataset import Split
from vgg_cifar.data.loader import Alter, EvalLoader, Normalise
from vgg_cifar.evaluation.cost import Speed, measure
from vgg_cifar.evaluation.outputs import Outputs
from vgg_cifar.parts import evaluated_images, make_trainer
from vgg_cifar.signals import Signals
from vgg_cifar.trained import Trained


class Inference:
    """Computes as the run itself did when it tested: in its arithmetic, where this machine has it, by Lightning.

    A batch is never divided among devices, so the answers do not depend on their number.

    Args:
        trained: the network.
        devices: GPUs, or processes on a CPU.

    Raises:
        UserError: if the run's manifest does not say how it was trained, or the devices are not there.
    """

    def __init__(self, trained: Trained, devices: int = 1) -> None:
        config, self._ranks = _here(trained, devices)
        self.outputs = Outputs()
        self.trainer, self.chosen = make_trainer(config, [self.outputs, Signals()], [])
        self.classifier = Classifier(trained.network)
        self.device: torch.device = self.trainer.strategy.root_device
        self._config = trained.config
        self._data = trained.config.data

    @property
    def first(self) -> bool:
        """Whether this process is the one that tells of what was found."""
        return self.trainer.is_global_zero

    def counted(self, name: str, images: Split) -> int:
        """How many images of a split, "test" or "val", the run itself evaluates."""
        return evaluated_images(self._config, name, len(images), self._ranks)

    def logits(self, images: Split, name: str, alter: Alter | None = None) -> Tensor:
        """What the network says of each image.

        Args:
            images: n of them.
            name: of the split they are from, "test" or "val".
            alter: what happens to each image before.

        Returns:
            float32 [n, classes] on the CPU, on every rank.
        """
        loader = EvalLoader(
            images.to(self.device),
            self._normalise(),
            batch_size=self._data.eval_batch_size,
            split=name,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
            alter=alter,
        )
        with torch.random.fork_rng(devices=[]):
            self.trainer.test(self.classifier, loader, verbose=False)
        assert self.outputs.logits is not None
        return self.outputs.logits

    @torch.inference_mode()
    def features(self, images: Tensor) -> Tensor | None:
        """What the network's last linear layer gets to see of uint8 images [n, 3, 32, 32].

        Returns:
            float32 [n, features] on the CPU; None where a network of the user's own has no such layer.
        """
        network = self._network()
        linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
        if not linear:
            return None
        seen: list[Tensor] = []
        handle = linear[-1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].float().flatten(1).cpu()))
        try:
            normalise = self._normalise()
            for batch in images.split(self._data.eval_batch_size):
                with self.trainer.precision_plugin.forward_context():
                    network(self.trainer.precision_plugin.convert_input(normalise(batch.to(self.device))))
        finally:
            handle.remove()
        return torch.cat(seen) if seen else None

    def speed(self) -> Speed:
        """How fast the network is here; for which nothing else should run on the machine."""
        dtype = {"bf16": torch.bfloat16, "16-m": torch.float16}.get(self.chosen["precision"][:4], torch.float32)
        convert, normalise = self.trainer.precision_plugin.convert_input, self._normalise()
        return measure(
            self._network(), lambda images: convert(normalise(images)), self.device, dtype, self._data.eval_batch_size
        )

    def _network(self) -> nn.Module:
        """On the device and in the type that it computes in."""
        module = self.trainer.precision_plugin.convert_module(self.classifier)
        return module.to(self.device).eval().network  # type: ignore[return-value]

    def _normalise(self) -> Normalise:
        return Normalise.of(self._data.mean, self._data.std, self.device)


def _here(trained: Trained, devices: int) -> tuple[Config, int]:
    """The run's configuration on this machine, in the precision that the run last had if it can; its own ranks."""
    config, used = trained.config, trained.folder.last_process()["hardware"]
    precision, ranks = used.get("precision") or config.trainer.precision, used.get("ranks") or 1
    accelerator = hardware.accelerator("auto") if config.trainer.accelerator != "cpu" else "cpu"
    trainer = {
        "accelerator": accelerator,
        "devices": devices,
        "num_nodes": 1,
        "strategy": "auto",
        "sync_batchnorm": False,
        "precision": "32-true" if precision == "16-mixed" and accelerator == "cpu" else precision,
        "limit_test_batches": 1.0,  # images that a run leaves out are not asked about in the first place
    }
    return config.model_copy(update={"trainer": config.trainer.model_copy(update=trainer)}), ranks
