"""`.npz` files and data sets of one's own: what is taken, and what is refused in one line."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.utils.data import TensorDataset

from quant.data import Data, ImageSet
from quant.errors import QuantError
from quant.npz import NpzData
from quant.own_data import OwnData, as_images
from quant.sources import open_data

torch.set_num_threads(1)

Arrays = dict[str, NDArray[Any]]


@pytest.fixture
def arrays() -> Arrays:
    random = np.random.default_rng(0)
    return {
        "x_train": random.integers(0, 256, (60, 6, 5, 3), dtype=np.uint8),
        "y_train": np.arange(60, dtype=np.uint8) % 4,
        "x_test": random.integers(0, 256, (8, 6, 5, 3), dtype=np.uint8),
        "y_test": np.arange(8, dtype=np.uint8) % 4,
    }


def error_of(action: Callable[[], object]) -> str:
    with pytest.raises(QuantError) as caught:
        action()
    return str(caught.value)


def saved(tmp_path: Path, arrays: Arrays) -> Path:
    path = tmp_path / "data.npz"
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    return path


def check(data: Data) -> None:
    """As the commands do, before anything heavy."""
    data.check_test_length()
    _ = data.train, data.test


def test_arrays_are_read_and_split(tmp_path: Path, arrays: Arrays) -> None:
    data = open_data(saved(tmp_path, arrays), "own:Net")
    assert isinstance(data, NpzData)
    check(data)
    assert (len(data.train), len(data.validation), len(data.test)) == (50, 10, 8)
    assert data.train.shape == (6, 5, 3)
    both = np.concatenate([data.train.images, data.validation.images])
    assert sorted(map(bytes, both)) == sorted(map(bytes, arrays["x_train"]))
    np.testing.assert_array_equal(data.test.images, arrays["x_test"])
    assert data.test.labels.dtype == np.int64
    assert list(data.sha256) == ["data.npz"]


def test_floats_labels_in_a_column_and_a_single_channel(tmp_path: Path, arrays: Arrays) -> None:
    grey = {name: array[..., :1] if name[0] == "x" else array for name, array in arrays.items()}
    floats = {
        name: array / 255 if name[0] == "x" else array[:, None] for name, array in grey.items()
    }
    first, second = (open_data(saved(tmp_path, a), "own:Net").train for a in (grey, floats))
    assert first.shape == second.shape == (6, 5)
    assert first.pixels(np.arange(9)).tobytes() == second.pixels(np.arange(9)).tobytes()
    assert first.labels.tolist() == second.labels.tolist()


def with_nan(images: NDArray[Any]) -> NDArray[Any]:
    found = images / 255
    found[3, 0, 0, 0] = np.nan
    found[5] = np.inf
    return found


@pytest.mark.parametrize(
    ("name", "change", "text"),
    [
        (
            "x_train",
            with_nan,
            "FILE: x_train, y_train: images must be finite, but 2 of them, the first number 3, are "
            "not (NaN or infinite); repair or remove them",
        ),
        (
            "x_test",
            with_nan,
            "FILE: x_test, y_test: images must be finite, but 2 of them, the first number 3, are "
            "not (NaN or infinite); repair or remove them",
        ),
        (
            "x_train",
            lambda x: x / 255 * 2 - 1,
            "FILE: x_train, y_train: images of floats must be from 0 to 1, not -1 to 1; save uint8 "
            "pixels, and make normalisation the network's first module",
        ),
        (
            "x_train",
            lambda x: x.astype(np.int64),
            "FILE: x_train, y_train: images must be uint8, or floats from 0 to 1, not int64; "
            "convert them with astype(numpy.uint8)",
        ),
        (
            "x_train",
            lambda x: x.transpose(0, 3, 1, 2),
            "FILE: x_train, y_train: images must be [N, H, W] or [N, H, W, C] with C from 1 to 4, "
            "not [60, 3, 6, 5]; channels must come last: transpose(0, 2, 3, 1)",
        ),
        (
            "x_train",
            lambda x: x.reshape(60, -1),
            "FILE: x_train, y_train: images must be [N, H, W] or [N, H, W, C], not [60, 90]; "
            "reshape them",
        ),
        (
            "x_test",
            lambda x: x[:, 1:],
            "FILE: test images must be (6, 5, 3), as those of training, not (5, 5, 3); resize them "
            "alike",
        ),
        (
            "x_train",
            lambda x: x[:-1],
            "FILE: x_train, y_train: labels must be as many as the 59 images, not 60; write both "
            "from the same list",
        ),
        (
            "y_train",
            lambda y: y / 2,
            "FILE: x_train, y_train: labels must be integers from 0, one an image, not float64; "
            "convert them with astype(numpy.int64)",
        ),
        (
            "y_train",
            lambda y: np.eye(4, dtype=np.uint8)[y],
            "FILE: x_train, y_train: labels must be integers from 0, one an image, not [60, 4]; of "
            "one-hot rows take labels.argmax(axis=1)",
        ),
        (
            "y_train",
            lambda y: y.astype(np.int64) - 1,
            "FILE: x_train, y_train: labels must be integers from 0, one an image, not -1; number "
            "the classes from 0",
        ),
        (
            "y_test",
            lambda y: y + 1,
            "FILE: test labels must be below 4, the classes of training, not 4; number the classes "
            "of both alike",
        ),
        (
            "y_test",
            lambda y: y[1:],
            "FILE: x_test, y_test: labels must be as many as the 8 images, not 7; write it with "
            "numpy.savez(FILE, x_train=..., y_train=..., x_test=..., y_test=...)",
        ),
        (
            "y_test",
            lambda y: y.astype(object),
            "FILE: y_test must be an array of numbers, not: Object arrays cannot be loaded when "
            "allow_pickle=False",
        ),
    ],
)
def test_arrays_that_are_no_images(
    name: str,
    change: Callable[[NDArray[Any]], NDArray[Any]],
    text: str,
    tmp_path: Path,
    arrays: Arrays,
) -> None:
    path = saved(tmp_path, arrays | {name: change(arrays[name])})
    assert error_of(lambda: check(open_data(path, "own:Net"))) == text.replace("FILE:", f"{path}:")


@pytest.mark.parametrize("change", [with_nan, lambda x: x[:, 1:]], ids=["nan", "shape"])
def test_a_wrong_test_part_is_refused_before_the_search(
    change: Callable[[NDArray[Any]], NDArray[Any]], tmp_path: Path, arrays: Arrays
) -> None:
    path = saved(tmp_path, arrays | {"x_test": change(arrays["x_test"])})
    assert "test" in error_of(open_data(path, "own:Net").check_test_length)


def test_the_check_looks_at_no_image_of_uint8(
    tmp_path: Path, arrays: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = open_data(saved(tmp_path, arrays), "own:Net")
    read: list[str] = []
    whole = NpzData._array

    def noted(self: NpzData, name: str) -> NDArray[Any]:
        read.append(name)
        return whole(self, name)

    monkeypatch.setattr(NpzData, "_array", noted)
    data.check_test_length()
    assert "x_test" not in read
    assert "y_test" in read


def test_files_that_are_none(tmp_path: Path, arrays: Arrays) -> None:
    write = "write it with numpy.savez(FILE, x_train=..., y_train=..., x_test=..., y_test=...)"
    path = tmp_path / "missing.npz"
    assert error_of(lambda: open_data(path, "own:Net")) == (
        f"{path}: must be a whole .npz file, not: missing (truncated?); {write}"
    )
    del arrays["y_test"], arrays["x_test"]
    path = saved(tmp_path, arrays)
    assert error_of(lambda: open_data(path, "own:Net")) == (
        f"{path}: must have x_train, y_train, x_test, y_test, not leave out x_test, y_test; {write}"
    )
    path.write_bytes(path.read_bytes()[:-40])
    assert error_of(lambda: open_data(path, "own:Net")) == (
        f"{path}: must be a whole .npz file, not: file is not a zip file (truncated?); {write}"
    )


def test_damage_in_the_middle_is_found_by_the_checksum(tmp_path: Path, arrays: Arrays) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    found = error_of(lambda: check(open_data(path, "own:Net")))
    assert found.startswith(f"{path}: x_train must be an array of numbers, not: Bad CRC-32")


def test_a_folder_of_nothing_known(tmp_path: Path) -> None:
    assert error_of(lambda: open_data(tmp_path, "own:Net")) == (
        f"{tmp_path}: data must be a folder of IDX files, of CIFAR's .bin files or of photographs "
        "in train/ and val/, FILE.npz or module:factory, not a folder without any of them; see "
        "docs/data.md"
    )


CODE = """
import numpy as np
import torch
from torch.utils.data import Dataset
from quant.data import ImageSet

random = np.random.default_rng(0)
X = random.integers(0, 256, (30, 6, 5, 3), dtype=np.uint8)
Y = np.arange(30) % 3

class Items(Dataset):
    def __init__(self, first, last, noise=0.0):
        self.first, self.last, self.noise = first, last, noise

    def __len__(self):
        return self.last - self.first

    def __getitem__(self, index):
        if index >= len(self):
            raise IndexError
        image = torch.from_numpy(X[self.first + index]).permute(2, 0, 1) / 255
        image = (image * (1 - self.noise * torch.rand(()))).clamp(0, 1)
        return image, int(Y[self.first + index])

class Own:
    def __init__(self):
        self.train = ImageSet(images=X[:20], labels=Y[:20])
        self.validation = ImageSet(images=X[20:24], labels=Y[20:24])
        self.test = ImageSet(images=X[24:], labels=Y[24:])

def pairs():
    return (X[:20], Y[:20]), (X[20:24], Y[20:24]), (X[24:], Y[24:])

def tensors():
    parts = [slice(0, 20), slice(20, 24), slice(24, 30)]
    return [(torch.from_numpy(X[p]).permute(0, 3, 1, 2), torch.from_numpy(Y[p])) for p in parts]

def datasets():
    return {"train": Items(0, 20), "validation": Items(20, 24), "test": Items(24, 30)}

def two():
    return Items(0, 24), Items(24, 30)

def random_items():
    return Items(0, 24, 0.5), Items(24, 30)

def one():
    return X

def broken():
    raise OSError("no disk")

def unlike():
    return (X[:20], Y[:20]), (X[20:, 1:], Y[20:])

def other_classes():
    return (X[:20], Y[:20]), (X[20:], Y[20:] + 1)

def nothing():
    return 5, 6

def images_only():
    return Own().train, Own().test
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in a folder that has the user's code, and forget it afterwards."""
    (tmp_path / "owndata.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("owndata", None)


@pytest.mark.parametrize("name", ["pairs", "tensors", "datasets", "Own"])
def test_arrays_tensors_datasets_and_sets_are_the_same(name: str, here: Path) -> None:
    assert here
    data, pairs = (open_data(Path(f"owndata:{n}"), "own:Net") for n in (name, "pairs"))
    assert isinstance(data, OwnData)
    check(data)
    for part, count in (("train", 20), ("validation", 4), ("test", 6)):
        found, expected = getattr(data, part), getattr(pairs, part)
        assert len(found) == count
        assert tuple(found.shape) == (6, 5, 3)
        index = np.arange(count)
        np.testing.assert_array_equal(found.pixels(index), expected.pixels(index))
        assert found.labels.tolist() == expected.labels.tolist()
    assert data.sha256 == {part: pairs.sha256[part] for part in data.sha256}
    assert sorted(data.sha256) == ["test", "train", "validation"]


def test_of_two_parts_a_sixth_is_for_validation(here: Path) -> None:
    assert here
    data = OwnData("owndata:two")
    assert (len(data.train), len(data.validation), len(data.test)) == (20, 4, 6)


RULE = (
    "must return (train, validation, test) or (train, test), each a tuple (images, labels), a "
    "Dataset or a quant.data.Images"
)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("one", f"data owndata:one {RULE}, not a ndarray without train, test"),
        ("nothing", f"data owndata:nothing, test: {RULE}, not a int"),
        (
            "broken",
            "data owndata:broken must be importable and callable, not: OSError: no disk "
            '(owndata.py, line 51: raise OSError("no disk"))',
        ),
        (
            "absent",
            "data owndata:absent must be importable and callable, not: AttributeError: module "
            "'owndata' has no attribute 'absent' (own_data.py",
        ),
        (
            "random_items",
            "data owndata:random_items, train: items must be the same each time, but number 0 is "
            "not; take random transforms out of the Dataset",
        ),
        (
            "unlike",
            "data owndata:unlike: test images must be (6, 5, 3), as those of training, not (5, 5, "
            "3); resize them alike",
        ),
        (
            "other_classes",
            "data owndata:other_classes: test labels must be below 3, the classes of training, not "
            "3; number the classes of both alike",
        ),
    ],
)
def test_factories_that_give_something_else(name: str, text: str, here: Path) -> None:
    assert here
    found = error_of(lambda: check(open_data(Path(f"owndata:{name}"), "own:Net")))
    assert found.startswith(text)
    assert "\n" not in found


def test_a_folder_goes_before_a_factory_of_its_name(here: Path, arrays: Arrays) -> None:
    (here / "owndata:two").mkdir()
    assert "must be a folder of" in error_of(lambda: open_data(Path("owndata:two"), "own:Net"))


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ([], "here: Dataset must have at least one image, not none; check its path"),
        ([5], "here: items must be (image, label), but number 0 is a int"),
        (
            [(np.zeros((2, 2)), 0), (np.zeros((2, 3)), 0)],
            "here: images must have one shape, (2, 2), but number 1 is (2, 3); resize them alike",
        ),
        (
            TensorDataset(torch.zeros(2, 3, 4, 4), torch.zeros(2)),
            "here: labels must be integers from 0, one an image, not float64; convert them with "
            "astype(numpy.int64)",
        ),
        ((1, 2), f"here: {RULE}, not a pair of single numbers"),
        (
            ImageSet(images=np.zeros((2, 4, 4), np.uint8), labels=np.zeros((2, 1), np.int64)),
            "here: labels must be [2], one an image and at least one, not [2, 1]; repair the "
            "factory",
        ),
    ],
)
def test_parts_that_are_none(part: Any, text: str) -> None:
    assert error_of(lambda: as_images(part, place="here")) == text
