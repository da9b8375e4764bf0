"""IDX files, the format of MNIST and of the sets made after it, and Fashion-MNIST from such files."""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from gfopt import rng
from gfopt.data.pictures import SHAPE, Shape, pictures
from gfopt.data.source import RawData, Source, SourceOptions
from gfopt.errors import DataError, expectation, located

# Where Debian's package dataset-fashion-mnist puts its files.
SYSTEM_FOLDER = "/usr/share/datasets/fashion-mnist"

# The third byte of a file says what its numbers are; they are big-endian.
_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_PREFIX = {"train": "train", "test": "t10k"}
_LARGEST = 2**31  # bytes of an unpacked file

FASHION = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
# sha256 of the unpacked files: packing them again does not change it.
FASHION_SUMS = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}


class IdxOptions(SourceOptions):
    """Options of `idx`."""

    folder: str = Field(min_length=1, description="has {train,t10k}-images-idx3-ubyte and -labels-idx1-ubyte, or .gz")
    part: Literal["train", "test", "both"] = Field("both", description="files to read; all rows are then split anew")
    samples: int | None = Field(None, ge=10, le=1_000_000, description="rows drawn from them; all if not given")
    shape: Shape = Field("flat", description=SHAPE)


class FashionOptions(IdxOptions):
    """Options of `fashion_mnist`."""

    folder: str = Field(SYSTEM_FOLDER, min_length=1, description="where its four files are, packed (.gz) or not")


def read_idx(path: Path, checksum: str | None = None) -> np.ndarray:
    """The array in an IDX file, packed with gzip if its name ends in `.gz`.

    Args:
        path: the file.
        checksum: sha256 in hexadecimal of the unpacked file, where it is known.

    Raises:
        DataError: if the file cannot be read, is no IDX file, has another length than its header says, or another
            checksum.
    """
    with located(path.name):
        data = _unpacked(path)
        if checksum is not None and (found := hashlib.sha256(data).hexdigest()) != checksum:
            fix = "Fetch the file again; for other data of this format use name: idx."
            raise DataError(expectation(f"the sha256 {checksum[:12]}…", f"`{found[:12]}…`", fix))
        kind = _TYPES.get(data[2]) if len(data) >= 4 and data[:2] == b"\0\0" else None
        if kind is None:
            raise DataError(expectation("an IDX file: two zero bytes, a known type", f"`bytes {data[:4].hex(' ')}`"))
        start = 4 + 4 * data[3]
        if data[3] == 0 or len(data) < start:
            raise DataError(expectation("a header with the size of every dimension", f"`{len(data)} bytes`"))
        shape = tuple(int(size) for size in np.frombuffer(data, ">u4", data[3], 4))
        expected = start + math.prod(shape) * np.dtype(kind).itemsize
        if len(data) != expected:
            raise DataError(expectation(f"{expected} bytes for shape {shape}", f"`{len(data)}`", "Fetch it again."))
        values = np.frombuffer(data, kind, offset=start).reshape(shape)
        return values.astype(values.dtype.newbyteorder("="), copy=False)


def _unpacked(path: Path) -> bytes:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            data = stream.read(_LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(expectation("a readable file", f"`{error}`")) from None
    if len(data) > _LARGEST:
        raise DataError(expectation(f"at most {_LARGEST} bytes", "`more`"))
    return data


def _pixels_and_labels(folder: Path, part: str, sums: dict[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """`(N, H, W)` pixels and `(N,)` labels of one part."""
    found = []
    for kind, rank in (("images", 3), ("labels", 1)):
        name = f"{_PREFIX[part]}-{kind}-idx{rank}-ubyte"
        values = read_idx(_existing(folder, name), sums.get(name))
        if values.ndim != rank or values.dtype != np.uint8:
            raise DataError(
                f"{name}: " + expectation(f"{rank} dimension(s) of bytes", f"`{values.ndim} of {values.dtype}`")
            )
        found.append(values)
    images, labels = found
    if len(images) != len(labels):
        raise DataError(f"{part}: " + expectation(f"{len(images)} labels, one a picture", f"`{len(labels)}`"))
    return images, labels


def _existing(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    fix = "Give the folder of the four IDX files as folder: DIR"
    fix += ", or install Debian's package dataset-fashion-mnist." if str(folder) == SYSTEM_FOLDER else "."
    raise DataError(f"{folder}: " + expectation(f"a file {name} or {name}.gz", "none", fix))


def _load(options: IdxOptions, seed: int, sums: dict[str, str]) -> tuple[np.ndarray, np.ndarray]:
    folder = Path(options.folder).expanduser()
    chosen = tuple(_PREFIX) if options.part == "both" else (options.part,)
    parts = [_pixels_and_labels(folder, part, sums) for part in chosen]
    sizes = {images.shape[1:] for images, _ in parts}
    if len(sizes) > 1:
        raise DataError(expectation("training and test pictures of one size", sorted(sizes)))
    images, labels = (np.concatenate(values) for values in zip(*parts, strict=True))
    if options.samples is None:
        return images, labels
    if options.samples > len(images):
        raise DataError("samples: " + expectation(f"at most the {len(images)} pictures", options.samples))
    rows = rng.generator(seed, "data", "idx").permutation(len(images))[: options.samples]
    return images[rows], labels[rows]


def _idx(options: IdxOptions, seed: int) -> RawData:
    images, labels = _load(options, seed, {})
    known, indices = np.unique(labels, return_inverse=True)
    return pictures(images, indices, options.shape, tuple(known.tolist()))


def _fashion_mnist(options: FashionOptions, seed: int) -> RawData:
    images, labels = _load(options, seed, FASHION_SUMS)
    return pictures(images, labels, options.shape, FASHION)


idx = Source(
    name="idx",
    task="classification",
    description="pictures from IDX files in a folder, named as those of MNIST (LeCun et al. 1998)",
    options_class=IdxOptions,
    load=_idx,
    needs="a folder of IDX files",
)

fashion_mnist = Source(
    name="fashion_mnist",
    task="classification",
    description="70 000 pictures of clothes, 28 x 28 pixels, 10 classes (Xiao et al. 2017); needs its files",
    options_class=FashionOptions,
    load=_fashion_mnist,
    needs="its files, from Debian's package dataset-fashion-mnist or in a folder",
)
