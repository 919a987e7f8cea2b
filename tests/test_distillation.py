"""Distillation: a run's network as another's target, and which runs may not be one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from vgg_cifar.data.loader import Batch
from vgg_cifar.distillation import SoftTargets
from vgg_cifar.errors import UserError
from vgg_cifar.parts import make_classifier, make_datamodule, make_trainer
from vgg_cifar.runs import checkpoints
from vgg_cifar.runs.folder import RunFolder

Train = Callable[..., RunFolder]


def taught(*folders: RunFolder) -> list[str]:
    return ["distillation=soft_targets", f"distillation.teachers=[{','.join(str(each.path) for each in folders)}]"]


def logits_of(folder: RunFolder, images: torch.Tensor, configure: Callable[..., Any]) -> torch.Tensor:
    config = configure()
    network = make_classifier(config, make_datamodule(config)).network.eval()
    weights = checkpoints.read(folder.checkpoint("best"))["state_dict"]
    network.load_state_dict({name.removeprefix("network."): value for name, value in weights.items()})
    with torch.no_grad():
        return network(images)  # type: ignore[no-any-return]


def test_the_loss_is_in_part_the_divergence_from_the_teachers_mean(train: Train, configure: Callable[..., Any]) -> None:
    teachers = [train("seed=1", "trainer.max_epochs=1", to="a"), train("seed=2", "trainer.max_epochs=1", to="b")]
    smoothed = ("label_smoothing=0.1", "dropout=none", "distillation.weight=0.25", "distillation.temperature=3")
    config = configure(*taught(*teachers), *smoothed)
    classifier = make_classifier(config, make_datamodule(config))
    classifier.trainer, _ = make_trainer(config, [], [])
    classifier.trainer.optimizers = [torch.optim.SGD(classifier.parameters(), lr=0.1)]
    images = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    labels, others, share = torch.arange(6), torch.arange(6) + 10, torch.linspace(0, 1, 6)
    found = classifier.training_step(Batch(images, labels, 6, 6, 1, "train", others, share), 0)
    logits = classifier.network(images).detach()
    mean = torch.stack([(logits_of(each, images, configure) / 3).softmax(1) for each in teachers]).mean(0)
    targets = share[:, None] * F.one_hot(labels, 100) + (1 - share)[:, None] * F.one_hot(others, 100)
    by_labels = F.cross_entropy(logits, targets, label_smoothing=0.1)
    by_teachers = (mean * (mean.log() - (logits / 3).log_softmax(1))).sum(1).mean()
    torch.testing.assert_close(found.detach(), 0.75 * by_labels + 0.25 * 9 * by_teachers)


def test_a_student_keeps_nothing_of_its_teachers_and_says_who_they_were(train: Train) -> None:
    teacher = train("trainer.max_epochs=1", to="teacher")
    student = train(*taught(teacher), "seed=3", "sharpness=sam", "averaging=ema", "trainer.max_epochs=1", to="student")
    last = [checkpoints.read(each.checkpoint("last"))["state_dict"] for each in (teacher, student)]
    assert last[0].keys() == last[1].keys()
    best = checkpoints.checksum(teacher.checkpoint("best"))
    assert student.read_manifest()["teachers"] == {str(teacher.path): best}
    assert "teachers" not in teacher.read_manifest()


def test_a_run_goes_on_with_the_teachers_it_began_with(train: Train, tmp_path: Path) -> None:
    whole_set = "data.val_fraction=0"
    teacher = train(whole_set, "trainer.max_epochs=1", to="teacher")
    options = [*taught(teacher), whole_set, "trainer.max_epochs=1"]
    whole = train(*options, "trainer.max_epochs=2", "schedule=constant", to="whole")
    train(*options, "schedule=constant", to="parted")
    parted = train(*options, "trainer.max_epochs=2", "schedule=constant", f"resume={tmp_path / 'parted'}", to="parted")
    last = [checkpoints.read(each.checkpoint("last"))["state_dict"] for each in (whole, parted)]
    assert all(torch.equal(last[0][name], last[1][name]) for name in last[0])

    train(whole_set, "trainer.max_epochs=3", f"resume={teacher.path}", to="teacher")
    with pytest.raises(UserError, match=r"teacher has other weights than when .*parted began; start a new run$"):
        train(*options, "trainer.max_epochs=3", f"resume={tmp_path / 'parted'}", to="parted")


@pytest.mark.parametrize(
    ("its", "own", "said"),
    [
        (("data.val_fraction=0.2",), ("data.val_fraction=0",), None),
        (("data.val_fraction=0.2",), (), r"knows held-out images: its data.val_fraction is 0.2, not 0.1; make them"),
        (("data.mean=[0.4,0.4,0.4]",), (), r"sees images differently: its data.mean is \[0.4, 0.4, 0.4\], not"),
    ],
)
def test_a_teacher_knows_the_same_images_and_none_that_are_held_out(
    train: Train, configure: Callable[..., Any], its: tuple[str, ...], own: tuple[str, ...], said: str | None
) -> None:
    teacher = train(*its, "trainer.max_epochs=1", "data.train_size=100", to="teacher")
    config = configure(*taught(teacher), "data.train_size=100", *own)
    if said is None:
        make_classifier(config, make_datamodule(config))
        return
    with pytest.raises(UserError, match=said):
        make_classifier(config, make_datamodule(config))


def test_a_teacher_of_other_classes_is_refused(train: Train, configure: Callable[..., Any]) -> None:
    teacher = train("trainer.max_epochs=1", to="teacher")
    content = checkpoints.read(teacher.checkpoint("best"))
    checkpoints.write(content | {"classes": content["classes"][::-1]}, teacher.checkpoint("best"))
    config = configure(*taught(teacher))
    with pytest.raises(UserError, match=r"teacher knows other classes; name runs on the same data$"):
        make_classifier(config, make_datamodule(config))


def test_a_teacher_of_other_images_is_refused(train: Train, configure: Callable[..., Any]) -> None:
    teacher = train("trainer.max_epochs=1", to="teacher")
    teacher.write_manifest(teacher.read_manifest() | {"data": {"synthetic": "another"}})
    config = configure(*taught(teacher))
    with pytest.raises(UserError, match=r"teacher learned from other images \(their checksums differ\)"):
        make_classifier(config, make_datamodule(config))


def test_a_teacher_that_is_not_there_is_a_line_and_no_folder(command: Callable[..., Any], tmp_path: Path) -> None:
    options = ("data=synthetic", "distillation=soft_targets", "distillation.teachers=[nowhere]")
    done = command("train.py", *options, f"hydra.run.dir={tmp_path / 'run'}")
    assert done.returncode == 2
    line = f"error: distillation.teachers: there is no run in {tmp_path / 'nowhere'} (no config.yaml)\n"
    assert done.stderr == line
    assert not (tmp_path / "run").exists()


def test_teachers_are_asked_in_the_networks_type(train: Train) -> None:
    teacher = train("trainer.max_epochs=1", to="teacher")
    for precision in ("bf16-true", "64-true", "bf16-mixed"):
        student = train(*taught(teacher), f"trainer.precision={precision}", "trainer.max_epochs=1", to=precision)
        assert student.read_result()["status"] == "finished"


def test_its_options_are_those_of_the_file() -> None:
    made = SoftTargets(name="soft_targets", teachers=["a"], weight=1.0, temperature=0.5)
    assert made.model_dump() == {"name": "soft_targets", "teachers": ["a"], "weight": 1.0, "temperature": 0.5}
