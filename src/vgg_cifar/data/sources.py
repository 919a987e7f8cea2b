"""Where data sets come from, how their files are known, and whether they are there; reads none, and needs no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from vgg_cifar.errors import UserError, first_line


@dataclass(frozen=True)
class Source:
    """Where a data set comes from and how its files are known.

    The address and the MD5 sums are torchvision's; the SHA-256 sums were computed from files with those MD5 sums. The
    environment variable is ours.
    """

    variable: str
    folder: str
    archive: str
    archive_sha256: str
    train: dict[str, str]
    test: dict[str, str]
    meta: dict[str, str]
    labels: str
    classes: str
    url: str = "https://www.cs.toronto.edu/~kriz/"

    @property
    def files(self) -> dict[str, str]:
        """Every file with its checksum: 64 digits are SHA-256, 32 are MD5."""
        return {**self.train, **self.test, **self.meta}

    def named_folder(self) -> Path | None:
        """The absolute folder that the environment variable names, where it names one."""
        name = os.environ.get(self.variable)
        return Path(name).expanduser().absolute() if name else None

    def is_complete(self, root: Path) -> bool:
        """Whether all files are in the folder that holds the data set's own.

        Raises:
            UserError: if nobody may look.
        """
        try:
            return all((root / self.folder / file).is_file() for file in self.files)
        except OSError as error:
            raise UserError(
                f"data.root: {root} cannot be looked into: {first_line(error)}; name another folder"
            ) from error

    def refuse_missing_files(self, root: Path, *, download: bool) -> None:
        """See whether there are files, an archive of them, or leave to download it.

        Raises:
            UserError: if there is nothing.
        """
        if root.name == self.folder and self.is_complete(root.parent):
            raise UserError(f"data.root: {root} is the images' own folder; name the one that holds it, {root.parent}")
        if not (download or self.is_complete(root) or (root / self.archive).is_file()):
            raise UserError(f"{self.missing(root)}; allow data.download=true, {self.remedy}")

    def missing(self, root: Path) -> str:
        """What to say where the files are not."""
        where = f"{root}, which ${self.variable} names" if root == self.named_folder() else root
        return f"data.root: neither {self.folder}/ nor {self.archive} is complete in {where}"

    @property
    def remedy(self) -> str:
        """What to do then."""
        return f"put {self.url}{self.archive} there, or train on generated images with data=synthetic"


SOURCES = {
    "cifar100": Source(
        variable="CIFAR100_ROOT",
        folder="cifar-100-python",
        archive="cifar-100-python.tar.gz",
        archive_sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        train={"train": "735e79b04f092ca3d2e6d07f368c0a7d70d48c48d28865950cc24454cf45129b"},
        test={"test": "4b67687d9933c4db8f0831104447f15b93774f4f464bd0516f0f0f2ac83b7864"},
        meta={"meta": "a5d4786345c961390f865e93b434dbd5c6904ce880667e0cb888c97d449f28b9"},
        labels="fine_labels",
        classes="fine_label_names",
    ),
    "cifar10": Source(
        variable="CIFAR10_ROOT",
        folder="cifar-10-batches-py",
        archive="cifar-10-python.tar.gz",
        archive_sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        train={
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        },
        test={"test_batch": "40351d587109b95175f43aff81a1287e"},
        meta={"batches.meta": "5ff9c542aee3614f3951f8cda6e48888"},
        labels="labels",
        classes="label_names",
    ),
}
