"""From a run's folder to its test metrics, with nothing but the folder and the images it names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vgg_cifar.config import Config
from vgg_cifar.errors import UserError
from vgg_cifar.runs.folder import RunFolder


def evaluate(
    folder: RunFolder, which: str | None = None, data_root: str | None = None, allow: Sequence[str] = ()
) -> dict[str, Any]:
    """Test a checkpoint of a run on one device, in the run's own arithmetic.

    Args:
        folder: the run's.
        which: "best" or "last"; None takes the one that the run itself tested.
        data_root: where the images are, if no longer where the run found them.
        allow: packages beside torch's, torchvision's and timm's whose classes the run's configuration may name.

    Returns:
        The test metrics by their logged names, as fractions, with `checkpoint` and `epoch`; also written to the
        folder's `evaluation/metrics.json`.

    Raises:
        UserError: if there is no such checkpoint, or the images are not to be had.
    """
    import torch

    from vgg_cifar.classifier import Classifier
    from vgg_cifar.trained import restore
    from vgg_cifar.training import make_datamodule, make_trainer

    trained = restore(folder, which, data_root, allow)
    config = _for_one_device(trained.config, folder)
    datamodule = make_datamodule(config)
    classifier = Classifier(trained.network, datamodule.dataset.superclass_of)
    trainer, chosen = make_trainer(config, [], [])
    with torch.random.fork_rng(devices=[]):
        trainer.test(classifier, datamodule, verbose=False)
    found = {
        "checkpoint": trained.checkpoint,
        "epoch": trained.epoch,
        "accelerator": chosen["accelerator"],
        "precision": chosen["precision"],
        **classifier.results,
    }
    folder.write_evaluation(found)
    return found


def _for_one_device(config: Config, folder: RunFolder) -> Config:
    """The run's configuration on one device of this machine, in the precision that the run last had if it can."""
    from vgg_cifar import hardware

    manifest = folder.read_manifest()
    try:
        used = (manifest.get("resumed") or [manifest])[-1].get("hardware", {})
        precision, ranks = used.get("precision", config.trainer.precision), int(used.get("ranks", 1))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder.manifest} is damaged: it does not say on what the run was trained") from error
    limit = config.trainer.limit_test_batches
    accelerator = hardware.accelerator("auto") if config.trainer.accelerator != "cpu" else "cpu"
    trainer = {
        "accelerator": accelerator,
        "devices": 1,
        "num_nodes": 1,
        "strategy": "auto",
        "sync_batchnorm": False,
        "precision": "32-true" if precision == "16-mixed" and accelerator == "cpu" else precision,
        "limit_test_batches": limit * ranks if isinstance(limit, int) else limit,
    }
    return config.model_copy(update={"trainer": config.trainer.model_copy(update=trainer)})
