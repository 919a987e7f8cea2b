"""torchrun on two machines: one folder, the numbers of one machine, and a machine that dies and returns."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import TINY
from namespaces import Node, nodes
from undisturbed import account

from vgg_cifar.runs.folder import RunFolder

PROJECT = Path(__file__).resolve().parents[1]
OWN_STORE = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"


class Launch:
    """A run that torchrun starts on each of some machines, by one command, again and again."""

    def __init__(self, folder: Path, *typed: str, host: int = 0, restarts: int = 3) -> None:
        self.folder = folder
        self.typed = typed
        self.host = host
        self.restarts = restarts
        self.run = RunFolder(folder / "runs" / "torchrun_one")

    def start(self, node: Node, *more: str) -> subprocess.Popen[bytes]:
        """Type the command on one of them."""
        command = [
            str(Path(sys.executable).with_name("torchrun")), "--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d",
            f"--rdzv-endpoint=node{self.host}:29500", "--rdzv-id=one", f"--max-restarts={self.restarts}",
            "--monitor-interval=0.1",
            str(PROJECT / "src" / "train.py"), *self.typed, "trainer.num_nodes=2", "trainer.devices=1",
            f"hydra.run.dir={self.folder}/runs/${{run_id:}}", *more,
        ]  # fmt: skip
        return node.start(command, self.folder, self.folder / f"{node.name}.log", **{OWN_STORE: "1"})

    def ends(self, *processes: subprocess.Popen[bytes]) -> list[int]:
        """The exit codes."""
        return [process.wait(240) for process in processes]

    def said(self, node: Node) -> str:
        """All that it wrote to the screen there."""
        return (self.folder / f"{node.name}.log").read_text()

    def until_saved(self, torchrun: subprocess.Popen[bytes], after: float = 0) -> None:
        """Wait for a checkpoint."""
        deadline = time.monotonic() + 240
        while self.run.saved_at() <= after:
            assert torchrun.poll() is None
            assert time.monotonic() < deadline, "there never was one"
            time.sleep(0.05)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[list[Node]]:
    with nodes(tmp_path) as made:
        yield made


def on_one_machine(folder: Path, *typed: str) -> RunFolder:
    """The same run by two processes that one command starts here."""
    subprocess.run(
        [sys.executable, PROJECT / "src" / "train.py", *typed, "trainer.devices=2", f"hydra.run.dir={folder}"],
        check=True, capture_output=True, timeout=240,
    )  # fmt: skip
    return RunFolder(folder)


def differences(one: RunFolder, other: RunFolder) -> list[str]:
    accounts = account(one), account(other)
    return [key for key in accounts[0].keys() | accounts[1].keys() if accounts[0].get(key) != accounts[1].get(key)]


def test_two_machines_train_as_one_does_to_the_last_bit(pair: list[Node], tiny: list[str], tmp_path: Path) -> None:
    tiny.remove("logger=csv")
    launch = Launch(tmp_path, *tiny, "dropout=all")
    processes = [launch.start(node) for node in pair]
    alone = on_one_machine(tmp_path / "alone", *tiny, "dropout=all")
    assert launch.ends(*processes) == [0, 0], launch.said(pair[0])
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["torchrun_one"]
    assert launch.run.read_manifest()["launch"] == "torchrun_one"
    assert launch.run.read_manifest()["hardware"]["ranks"] == 2
    assert differences(launch.run, alone) == []


@pytest.fixture(scope="module")
def long() -> list[str]:
    """Overrides of a run that is some seconds long, and saved often."""
    return [
        *(each for each in TINY if each != "logger=csv"), "data.train_size=3000", "trainer.max_epochs=4",
        "averaging=ema", "dropout=all", "checkpoint.every_steps=10",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def whole(long: list[str], tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """That run, undisturbed, on one machine."""
    return on_one_machine(tmp_path_factory.mktemp("whole") / "run", *long)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("dies", "host", "cable"), [(1, 0, False), (0, 1, False), (1, 0, True)], ids=["rank 1", "rank 0", "its cable too"]
)
def test_a_machine_that_dies_and_returns_goes_on_in_the_same_run(
    pair: list[Node],
    long: list[str],
    whole: RunFolder,
    tmp_path: Path,
    figure: Callable[..., None],
    dies: int,
    host: int,
    cable: bool,
) -> None:
    launch = Launch(tmp_path, *long, host=host)
    processes = [launch.start(node) for node in pair]
    launch.until_saved(processes[0])
    if cable:
        pair[dies].cut_off()  # as in a power cut: the other machine is not even told that connections end
    pair[dies].kill()
    processes[dies].wait()
    saved, died = launch.run.saved_at(), time.monotonic()
    if cable:
        pair[dies].plug_in()
    processes[dies] = launch.start(pair[dies])
    launch.until_saved(processes[dies], after=saved)
    figure(
        "seconds until two machines had saved again after one was killed, at most",
        round(time.monotonic() - died, 1),
        max,
    )
    assert launch.ends(*processes) == [0, 0], launch.said(pair[0])
    assert len(launch.run.read_manifest()["resumed"]) >= 1
    assert differences(launch.run, whole) == []
    figure("runs on two machines of which one was killed: bit-identical", 1)


@pytest.mark.soak
def test_a_machine_that_is_asked_to_leave_saves_the_run_and_goes_on_when_it_returns(
    pair: list[Node], long: list[str], whole: RunFolder, tmp_path: Path
) -> None:
    launch = Launch(tmp_path, *long)
    processes = [launch.start(node) for node in pair]
    launch.until_saved(processes[0])
    processes[1].terminate()  # torchrun passes it on, and ends
    assert launch.ends(processes[1]) != [0]
    assert launch.run.read_result()["status"] == "interrupted"
    processes[1] = launch.start(pair[1])
    assert launch.ends(*processes) == [0, 0], launch.said(pair[0])
    assert launch.run.read_manifest()["first"]["exit_status"] == 75
    assert differences(launch.run, whole) == []


@pytest.mark.soak
def test_where_the_machine_of_the_rendezvous_dies_both_are_started_again(
    pair: list[Node], long: list[str], whole: RunFolder, tmp_path: Path, figure: Callable[..., None]
) -> None:
    launch = Launch(tmp_path, *long)
    processes = [launch.start(node) for node in pair]
    launch.until_saved(processes[0])
    pair[0].kill()
    assert launch.ends(processes[1]) == [1]  # torchrun itself cannot go on
    processes = [launch.start(node) for node in pair]
    assert launch.ends(*processes) == [0, 0], launch.said(pair[0])
    assert len(launch.run.read_manifest()["resumed"]) == 1
    assert differences(launch.run, whole) == []
    figure("runs on two machines of which one was killed: bit-identical", 1)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("other", "line", "meets"),
    [
        (
            "optimizer.lr=0.2",
            "error: optimizer.lr: 0.2 for rank 1 on node1, 0.1 for rank 0; start all ranks with",
            True,
        ),
        (
            "hydra.run.dir=elsewhere",
            "error: hydra.run.dir: rank 1 on node1 does not see the folder that rank 0 writes",
            True,
        ),
        (
            "trainer.num_nodes=1",
            "error: trainer.num_nodes: torchrun started 2 processes on 2 machines; set trainer.",
            False,
        ),
    ],
    ids=["options", "folder", "number"],
)
def test_machines_that_do_not_do_the_same_are_refused_before_anything_is_made(
    pair: list[Node], tiny: list[str], tmp_path: Path, other: str, line: str, meets: bool
) -> None:
    launch = Launch(tmp_path, *tiny, restarts=0)
    processes = [launch.start(pair[0]), launch.start(pair[1], other)]
    assert launch.ends(processes[1]) == [1]
    if meets:  # else rank 0 waits, for one that torchrun may start again
        assert launch.ends(processes[0]) == [1]
        assert line in launch.said(pair[0])
    assert line in launch.said(pair[1])
    assert not launch.run.config.exists()
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.soak
def test_a_rank_that_is_killed_is_started_again_by_torchrun_and_goes_on(
    pair: list[Node], long: list[str], whole: RunFolder, tmp_path: Path, figure: Callable[..., None]
) -> None:
    launch = Launch(tmp_path, *long)
    processes = [launch.start(node) for node in pair]
    launch.until_saved(processes[0])
    pair[1].kill(but=b"torchrun")
    assert launch.ends(*processes) == [0, 0], launch.said(pair[1])
    assert differences(launch.run, whole) == []
    figure("runs on two machines of which one was killed: bit-identical", 1)
