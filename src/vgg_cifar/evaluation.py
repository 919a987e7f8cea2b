"""From a run's folder to its test metrics, with nothing but the folder and the images it names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vgg_cifar.composition import stored_config
from vgg_cifar.config import Config
from vgg_cifar.errors import UserError, first_line
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

    from vgg_cifar.runs import checkpoints
    from vgg_cifar.training import make_classifier, make_datamodule, make_trainer

    which = which or folder.read_result().get("tested_checkpoint", "last")
    if which not in ("best", "last"):
        raise UserError(f"checkpoint: should be best or last, is {which!r}")
    if not folder.checkpoint(which).is_file():
        raise UserError(f"checkpoint: {folder.path} has no checkpoints/{which}.ckpt")
    config = _for_one_device(stored_config(folder.read_config(), allow), folder, data_root)
    datamodule = make_datamodule(config)
    classifier = make_classifier(config, datamodule)
    checkpoint = checkpoints.read(folder.checkpoint(which))
    state, epoch = checkpoint.get("state_dict"), checkpoint.get("epoch")
    if not isinstance(state, dict) or not isinstance(epoch, int):
        raise UserError(f"{folder.checkpoint(which)} is no checkpoint: it lacks the weights or the epoch")
    try:
        classifier.load_state_dict(state)
    except (RuntimeError, AttributeError, TypeError) as error:
        reason = difference(state, classifier.state_dict()) or first_line(error)
        raise UserError(f"{folder.checkpoint(which)} does not fit the run's config.yaml: {reason}") from error
    trainer, chosen = make_trainer(config, [], [])
    with torch.random.fork_rng(devices=[]):
        trainer.test(classifier, datamodule, verbose=False)
    found = {
        "checkpoint": which,
        "epoch": epoch + 1,
        "accelerator": chosen["accelerator"],
        "precision": chosen["precision"],
        **classifier.results,
    }
    folder.write_evaluation(found)
    return found


def difference(state: dict[Any, Any], wanted: dict[str, Any]) -> str:
    """How the tensors of a checkpoint first differ from a network's, and in how many more; nothing where they fit."""
    found = [f"it lacks {name} {_shape(tensor)}" for name, tensor in wanted.items() if name not in state]
    found += [
        f"its {name} is {_shape(state[name])}, the config's is {_shape(tensor)}"
        for name, tensor in wanted.items()
        if name in state and _shape(state[name]) != _shape(tensor)
    ]
    found += [f"its {name} is not in the config's network" for name in state if name not in wanted]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"{found[0]}{more}" if found else ""


def _shape(value: Any) -> str:
    return str(list(value.shape)) if hasattr(value, "shape") else f"a {type(value).__name__}"


def _for_one_device(config: Config, folder: RunFolder, data_root: str | None) -> Config:
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
    data = {"root": data_root} if data_root else {}
    return config.model_copy(
        update={
            "trainer": config.trainer.model_copy(update=trainer),
            "data": config.data.model_copy(update=data),
            "model": config.model.without_weights(),
        }
    )
