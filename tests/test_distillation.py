"""Distillation: a run's network as another's target, and which runs may not be one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from vgg_cifar.data.loader import Batch
from vgg_cifar.errors import UserError
from vgg_cifar.parts import make_classifier, make_datamodule, make_trainer
from vgg_cifar.reproduction import reproduce
from vgg_cifar.runs import checkpoints
from vgg_cifar.runs.folder import RunFolder
from vgg_cifar.teachers import Teachers
from vgg_cifar.teaching import check
from vgg_cifar.trained import restore

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
    assert student.read_manifest()["teachers"] == [{"run": str(teacher.path), "sha256": best}]
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
    with pytest.raises(UserError, match=r"teacher has other weights than when .*parted began, or was no teacher then"):
        train(*options, "trainer.max_epochs=3", f"resume={tmp_path / 'parted'}", to="parted")
    with pytest.raises(UserError, match=r"parted had another teacher: the checksum of .*teacher differs$"):
        reproduce(parted, str(tmp_path / "again"), [])
    assert not (tmp_path / "again").exists()


def test_who_holds_images_out_learns_from_no_teacher_that_did_not_hold_out_the_same(
    train: Train, configure: Callable[..., Any]
) -> None:
    teacher = train("data.val_fraction=0", "trainer.max_epochs=1", to="teacher")
    config = configure(*taught(teacher), "data.val_fraction=0")
    assert make_classifier(config, make_datamodule(config)).criterion.teachers is not None
    config = configure(*taught(teacher))
    line = (
        "teacher held out other images: its data.val_fraction is 0.0, not 0.1; make them the same, or name another run"
    )
    with pytest.raises(UserError, match=line):
        make_classifier(config, make_datamodule(config))


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("data.train_size=200", "held out other images: its data.train_size is 300, not 200"),
        ("data.val_fraction=0.3", "held out other images: its data.val_fraction is 0.1, not 0.3"),
        ("data.seed=1", "held out other images: its data.seed is 0, not 1"),
        ("data.mean=[0.4,0.4,0.4]", "sees images differently: its data.mean is"),
        ("data.std=[0.4,0.4,0.4]", "sees images differently: its data.std is"),
    ],
)
def test_a_teacher_that_knows_or_sees_something_else_is_refused(
    train: Train, configure: Callable[..., Any], option: str, said: str
) -> None:
    teacher = restore(train("trainer.max_epochs=1", to="teacher"))
    own, other = configure(), configure(option)
    dataset = make_datamodule(own).dataset
    check(teacher, dataset.hashes, own.data, dataset)
    with pytest.raises(UserError, match=said):
        check(teacher, dataset.hashes, other.data, dataset)


def test_an_unfinished_run_does_not_teach(train: Train, configure: Callable[..., Any]) -> None:
    teacher = train("trainer.max_epochs=1", to="teacher")
    teacher.write_result(teacher.read_result() | {"status": "interrupted"})
    config = configure(*taught(teacher))
    with pytest.raises(UserError, match=r"teacher is interrupted; only a finished run teaches$"):
        make_classifier(config, make_datamodule(config))


def test_a_damaged_teacher_is_named(train: Train, configure: Callable[..., Any]) -> None:
    teacher = train("trainer.max_epochs=1", to="teacher")
    teacher.checkpoint("best").write_bytes(b"no weights")
    config = configure(*taught(teacher))
    with pytest.raises(UserError, match=r"^distillation.teachers: .*teacher: .*best.ckpt is refused: it is damaged"):
        make_classifier(config, make_datamodule(config))


@pytest.mark.parametrize(
    "choice", [("sharpness=sam",), ("augmentation=regmixup",), ("trainer.accumulate_grad_batches=2",)], ids=" ".join
)
def test_teachers_are_asked_once_about_each_batch(
    train: Train, monkeypatch: pytest.MonkeyPatch, choice: tuple[str, ...]
) -> None:
    teacher = train("trainer.max_epochs=1", to="teacher")
    asked: list[int] = []
    original = Teachers.opinion

    def opinion(self: Teachers, images: torch.Tensor, *, compiled: bool = False) -> torch.Tensor:
        asked.append(len(images))
        return original(self, images, compiled=compiled)

    monkeypatch.setattr(Teachers, "opinion", opinion)
    train(*taught(teacher), *choice, "trainer.max_epochs=1", to="student")
    assert sum(asked) == 270 * (2 if "augmentation=regmixup" in choice else 1)


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
    with pytest.raises(UserError, match=r"teacher learned from other images, by their checksums; name runs on the"):
        make_classifier(config, make_datamodule(config))


def test_a_teacher_that_is_not_there_is_a_line_and_no_folder(command: Callable[..., Any], tmp_path: Path) -> None:
    options = ("data=synthetic", "distillation=soft_targets", "distillation.teachers=[nowhere]")
    done = command("train.py", *options, f"hydra.run.dir={tmp_path / 'run'}")
    assert done.returncode == 2
    line = f"error: distillation.teachers: there is no run in {tmp_path / 'nowhere'} (no config.yaml)\n"
    assert done.stderr == line
    assert not (tmp_path / "run").exists()


def test_a_taught_run_by_the_command_line(train: Train, command: Callable[..., Any], tiny: list[str]) -> None:
    teacher = train("trainer.max_epochs=1", to="teacher")
    done = command("train.py", *tiny, *taught(teacher), "trainer.max_epochs=1", f"hydra.run.dir={teacher.path}2")
    assert done.returncode == 0, done.stderr
    assert RunFolder(f"{teacher.path}2").read_manifest()["teachers"][0]["run"] == str(teacher.path)


@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
def test_teachers_are_asked_in_the_networks_type(train: Train, precision: str) -> None:
    teacher = train("trainer.max_epochs=1", to="teacher")
    student = train(*taught(teacher), f"trainer.precision={precision}", "trainer.max_epochs=1", to="student")
    assert student.read_result()["status"] == "finished"
