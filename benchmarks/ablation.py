"""What is each part of the recipe of twelve epochs worth?

    python benchmarks/ablation.py [seeds=0] [epochs=4] [width=0.5] [variants=as it is,...] [json=PATH]

The recipe with one thing changed at a time, short and narrow enough to be run often: top-1 on 5,000 held-out training
images, a process per run, on the real CIFAR-100 where train.py finds it. Test results are not looked at, and made of
100 images only. Of one seed, differences of less than about two points of a hundred mean little. About five minutes a
run on one core of a CPU.
"""

from rounds import Arguments, Measured, about, keep, trained
from vgg_cifar.command_line import guard

SGD = ["optimizer=sgd", "optimizer.lr=0.1", "data.batch_size=128"]
VARIANTS = {
    "as it is": [],
    "He's initial weights": ["model.init=kaiming"],
    "SGD": SGD,
    "SGD; He's initial weights": [*SGD, "model.init=kaiming"],
    "twice the rate": ["optimizer.lr=0.056"],
    "half the rate": ["optimizer.lr=0.014"],
    "three iterations": ["optimizer.iterations=3"],
    "average pooling": ["model.pool=average"],
    "no label smoothing": ["label_smoothing=0"],
    "small images first": ["resizing=progressive"],
}


def main() -> None:
    given = Arguments(seeds="0", epochs="4", width="0.5", variants=",".join(VARIANTS), json="")
    seeds, epochs = given.given["seeds"].split(","), given.count("epochs")
    chosen, width = given.chosen("variants", VARIANTS), given.given["width"]
    record = about()
    found: dict[str, list[float]] = {}
    title = f"{epochs} epochs, width {width}, seeds {','.join(seeds)}"
    for variant in chosen:
        for seed in seeds:
            with trained(
                "experiment=twelve_epochs", f"trainer.max_epochs={epochs}", f"model.width={width}",
                "data.val_fraction=0.1", "data.test_size=100", "logger=csv", "evaluate=false", f"seed={seed}",
                *VARIANTS[variant],
            ) as run:  # fmt: skip
                found.setdefault(variant, []).append(100 * run.read_result()["val/top1"])
            print(f"{variant}, seed {seed}: {found[variant][-1]:.1f}%", flush=True)
            keep(given.file, record, [Measured(title, "val top-1, %", found)])
    print(f"\n{Measured(title, 'val top-1, %', found).markdown()}")


if __name__ == "__main__":
    guard(main)
