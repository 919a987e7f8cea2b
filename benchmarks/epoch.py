"""How long is an epoch of 50,000 images?

    python benchmarks/epoch.py [rounds=3] [images=50000] [batch_size=1024] [width=1] [json=PATH]

The seconds in optimizer steps and the loading of their batches, in the third epoch of train.py on generated images,
with crop and flip: VGG16-BN as it is by default, a process per round. On a GPU also with `compile=true`. Earlier epochs
have algorithms to choose and memory to get; validations and checkpoints come on top.
"""

from rounds import SYNTHETIC, Arguments, Side, about, device, keep, take_turns, trained
from vgg_cifar.command_line import guard


def main() -> None:
    given = Arguments(rounds="3", images="50000", batch_size="1024", width="1", json="")
    rounds, images, size = (given.count(key) for key in ("rounds", "images", "batch_size"))
    width = given.given["width"]
    overrides = [
        *SYNTHETIC, f"data.train_size={images}", f"data.batch_size={size}", f"model.width={width}",
        "trainer.max_epochs=3",
    ]  # fmt: skip

    def seconds(*more: str) -> float:
        with trained(*overrides, *more) as run:
            rates = [row["images_per_second"] for row in run.read_metrics() if "images_per_second" in row]
        return images / rates[-1]

    sides: dict[str, Side] = {"train.py": seconds}
    if device().type == "cuda":
        sides["train.py, compiled"] = lambda: seconds("compile=true")
    record, title = about(), f"{images:,} images, width {width}, batch {size}"
    keep(given.file, record, [take_turns(title, "seconds", sides, rounds, ["train.py"])])


if __name__ == "__main__":
    guard(main, __doc__)
