"""Train a VGG: python src/train.py [group=choice ...] [key=value ...]. See conf/ for the choices."""

import sys

import hydra
from omegaconf import DictConfig, OmegaConf

from vgg_cifar.command_line import complain, guard, prepare, quiet, register_resolvers
from vgg_cifar.errors import DONE, INTERRUPTED, UserError

register_resolvers()
codes: list[int] = []


@hydra.main(version_base="1.3", config_path="../conf", config_name="train")
def train(composed: DictConfig) -> None:
    """Run one job; Hydra has made its folder."""
    from hydra.core.hydra_config import HydraConfig

    from vgg_cifar.config import check
    from vgg_cifar.runs.folder import RunFolder
    from vgg_cifar.training import run

    config = check(OmegaConf.to_container(composed, resolve=True))  # type: ignore[arg-type]
    settings = HydraConfig.get()
    folder = RunFolder(settings.runtime.output_dir)
    try:
        code = run(config, folder, list(settings.overrides.task))
    except UserError as error:
        folder.discard_unless_begun()
        code = complain(error)
    if code == INTERRUPTED:
        sys.exit(code)
    codes.append(code)


def main() -> int:
    """Check the command line, then let Hydra run it; of a sweep's exit codes, the worst."""
    quiet()
    sys.argv[1:] = prepare(sys.argv[1:])
    train()
    return max(codes, default=DONE)


if __name__ == "__main__":
    guard(main)
