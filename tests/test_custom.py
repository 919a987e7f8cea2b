"""Classes of the user's own: what may be named, what it may be given, and what it then does in a run."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from asked import asked

from vgg_cifar.command_line import prepare
from vgg_cifar.composition import compose_and_check
from vgg_cifar.config import Config
from vgg_cifar.custom import ALLOWED, check_arguments, find_class
from vgg_cifar.errors import UserError
from vgg_cifar.parts import make_classifier, make_datamodule
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.training import run

OPTIMIZER = "torch.optim.Optimizer"
SLOWER = """
import pathlib
import torch
pathlib.Path(__file__).with_name("imported").touch()
class Slower(torch.optim.SGD):
    def __init__(self, params, lr, slowness: float = 2.0, weight_decay: float = 0.0):
        super().__init__(params, lr=lr / slowness, weight_decay=weight_decay)
class Small(torch.nn.Sequential):
    def __init__(self, classes: int, width: int):
        super().__init__(torch.nn.Conv2d(3, width, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
                         torch.nn.Linear(width, classes))
class Wrong(torch.nn.Flatten):
    pass
def slower(params, lr):
    return torch.optim.SGD(params, lr)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An importable package of a user's own; the file `imported` appears in it when it is imported."""
    folder = tmp_path / "packages" / "mypackage"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(SLOWER)
    monkeypatch.syspath_prepend(str(folder.parent))
    yield folder
    sys.modules.pop("mypackage", None)


@pytest.mark.parametrize(
    "target",
    [
        "torch.load",
        "torch.hub.load",
        "torch.utils.collect_env.run",
        "torch.os.system",
        "torch.optim",
        "torch.optim.Optimiser",
        "torch.nn.Linear",
        "torch.nothing.Here",
        "torch._utils._rebuild_tensor",
        "torch.hub.HTTPError",
        "vgg_cifar.runs.folder.RunFolder",
        "vgg_cifar.custom.importlib.import_module",
        "os.system",
        "subprocess.Popen",
        "builtins.eval",
        "torch",
        "torch..optim",
        "torch.optim.SGD()",
        "",
        "../torch.SGD",
    ],
)
def test_only_a_class_that_fits_its_place_is_found(target: str) -> None:
    with pytest.raises(ValueError, match=r"^optimizer\._target_: [^\n]+$"):
        find_class(target, OPTIMIZER, ALLOWED, "optimizer._target_")


def test_a_class_that_fits_is_found_where_it_is_and_where_it_is_only_imported() -> None:
    for target in ("torch.optim.NAdam", "torch.optim.nadam.NAdam"):
        assert find_class(target, OPTIMIZER, ALLOWED, "optimizer._target_") is torch.optim.NAdam


def test_a_class_is_refused_where_it_is_only_imported_from_a_package_that_is_not_allowed(package: Path) -> None:
    (package.parent / "other.py").write_text("from mypackage import Slower\n")
    with pytest.raises(ValueError, match=r"defined in mypackage; add allow=\[mypackage\]"):
        find_class("other.Slower", OPTIMIZER, (*ALLOWED, "other"), "optimizer._target_")


def test_nothing_is_imported_from_a_package_that_is_not_allowed(package: Path) -> None:
    with pytest.raises(UserError, match=r"add allow=\[mypackage\] on the command line"):
        compose_and_check(["optimizer=custom", "optimizer._target_=mypackage.Slower"])
    assert not (package / "imported").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({}, r"optimizer\.lr: Slower needs it; give \+optimizer\.lr="),
        ({"lr": 0.1, "slownes": 1.0}, r"optimizer\.slownes: .* did you mean optimizer\.slowness\?"),
        ({"lr": 0.1, "slowness": "very"}, r"optimizer\.slowness: Slower takes float, is 'very'"),
        ({"lr": 0.1, "params": []}, r"optimizer\.params: is handed to Slower by the run itself"),
    ],
)
def test_arguments_are_checked_against_the_signature(package: Path, arguments: dict[str, object], line: str) -> None:
    made = find_class("mypackage.Slower", OPTIMIZER, ("mypackage",), "optimizer._target_")
    with pytest.raises(ValueError, match=line):
        check_arguments(made, arguments, ("params",), (), "optimizer")


def without_model(overrides: list[str]) -> list[str]:
    return [each for each in overrides if not each.startswith("model")]


OWN = ["optimizer=custom", "optimizer._target_=mypackage.Slower", "optimizer.lr=0.2", "+optimizer.slowness=4.0"]


def test_an_optimizer_of_the_users_own_gets_its_arguments_and_the_weight_decay(
    package: Path, configure: Callable[..., Config]
) -> None:
    config = configure(*OWN, "allow=[mypackage]")
    classifier = make_classifier(config, make_datamodule(config))
    optimizer = config.optimizer.build(config.weight_decay.groups(classifier.network), fused=False)
    assert type(optimizer).__name__ == "Slower"
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.05]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.0005, 0.0]


def test_a_run_with_classes_of_the_users_own_is_trained_and_found_again(
    package: Path, tiny: list[str], tmp_path: Path
) -> None:
    overrides = [
        *without_model(tiny),
        *OWN,
        "allow=[mypackage]",
        "model=custom",
        "model._target_=mypackage.Small",
        "+model.width=8",
        "dropout=none",
        "schedule=custom",
        "schedule._target_=torch.optim.lr_scheduler.StepLR",
        "+schedule.step_size=1",
    ]
    folder = RunFolder(tmp_path / "run")
    assert run(compose_and_check(overrides).config, folder, overrides) == 0
    rates = [row["lr"] for row in folder.read_metrics() if "lr" in row]
    assert rates[0] == pytest.approx(0.05)
    assert asked(folder, allow=["mypackage"]).metrics["test/top1"] == folder.read_result()["test/top1"]


def test_a_folder_gives_no_right_to_import(package: Path, train: Callable[..., RunFolder]) -> None:
    folder = train(*OWN, "allow=[mypackage]", "trainer.max_epochs=1")
    stored, manifest = folder.read_config(), folder.read_manifest()
    assert "allow" not in stored
    began = [override for override in manifest["overrides"] if not override.startswith("allow")]
    allowing = package.parent / "conf" / "allow"
    allowing.mkdir(parents=True)
    (allowing / "mine.yaml").write_text("# @package _global_\nallow: [mypackage]\n")
    searching = f"hydra.searchpath=[file://{allowing.parent}]"
    for config, changes in (
        (stored | {"allow": ["mypackage"]}, {}),
        (stored, {"overrides": [*began, "allow=[mypackage]"]}),
        (stored, {"overrides": [*began, "++allow=[mypackage]"]}),
        (stored, {"overrides": [*began, searching, "+allow@_global_=mine"]}),
        (stored, {"tuned": {"allow": "[mypackage]"}, "overrides": began}),
        (stored, {"tuned": {"optimizer.lr": "1 allow=[mypackage]"}, "overrides": began}),
    ):
        folder.write_config(config)
        folder.write_manifest(manifest | changes)
        del sys.modules["mypackage"]
        (package / "imported").unlink()
        with pytest.raises(UserError):
            prepare([f"resume={folder.path}", "trainer.max_epochs=2"])
        with pytest.raises(UserError):
            asked(folder)
        assert not (package / "imported").exists()
        folder.write_config(stored)
        folder.write_manifest(manifest)
        assert prepare([f"resume={folder.path}", "trainer.max_epochs=2", "allow=[mypackage]"])


def test_a_model_whose_output_is_no_logit_per_class_is_refused(package: Path, tiny: list[str]) -> None:
    wrong = ["model=custom", "model._target_=mypackage.Wrong", "dropout=none", "allow=[mypackage]"]
    config = compose_and_check([*without_model(tiny), *wrong]).config
    with pytest.raises(
        UserError, match=r"model: mypackage\.Wrong makes \[2, 3072\] of two images, should make \[2, 100\]"
    ):
        make_classifier(config, make_datamodule(config))


def test_a_schedule_moves_when_it_is_told_to(configure: Callable[..., Config]) -> None:
    step = ["schedule._target_=torch.optim.lr_scheduler.StepLR", "+schedule.step_size=2", "schedule.interval=step"]
    config = configure("schedule=custom", *step)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    built = config.schedule.build(optimizer, total=10)
    assert built["interval"] == "step"
    for _ in range(2):
        optimizer.step()
        built["scheduler"].step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)
