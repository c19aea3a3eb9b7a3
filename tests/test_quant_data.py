"""IDX folders: what is read, how it is split, and each way in which a file can be broken."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from quant.data import ImageData
from quant.errors import QuantError

Arrays = dict[str, NDArray[np.uint8]]
HELP = (
    "run `apt-get install dataset-fashion-mnist` or name a folder with --data FOLDER "
    "(`make search DATA=folder`)"
)


def idx(array: NDArray[np.uint8]) -> bytes:
    head = struct.pack(">I", 0x0800 + array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.tobytes()


@pytest.fixture
def arrays() -> Arrays:
    random = np.random.default_rng(0)
    return {
        "train-images-idx3-ubyte": random.integers(0, 256, (60, 4, 5), dtype=np.uint8),
        "train-labels-idx1-ubyte": random.integers(0, 10, 60, dtype=np.uint8),
        "t10k-images-idx3-ubyte": random.integers(0, 256, (7, 4, 5), dtype=np.uint8),
        "t10k-labels-idx1-ubyte": random.integers(0, 10, 7, dtype=np.uint8),
    }


@pytest.fixture
def folder(tmp_path: Path, arrays: Arrays) -> Path:
    for name, array in arrays.items():
        (tmp_path / name).write_bytes(idx(array))
    return tmp_path


@pytest.fixture
def zipped(tmp_path: Path, arrays: Arrays) -> Path:
    for name, array in arrays.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
    return tmp_path


def error_of(action: Callable[[], object]) -> str:
    with pytest.raises(QuantError) as caught:
        action()
    return str(caught.value)


def test_test_images_are_those_of_the_file(folder: Path, arrays: Arrays) -> None:
    test = ImageData(folder).test
    np.testing.assert_array_equal(test.images, arrays["t10k-images-idx3-ubyte"])
    np.testing.assert_array_equal(test.labels, arrays["t10k-labels-idx1-ubyte"])
    assert test.labels.dtype == np.int64


def test_gzipped_and_plain_files_give_the_same_images(zipped: Path, arrays: Arrays) -> None:
    test = ImageData(zipped).test
    np.testing.assert_array_equal(test.images, arrays["t10k-images-idx3-ubyte"])


def test_a_sixth_is_cut_off_for_validation_and_nothing_is_lost(
    folder: Path, arrays: Arrays
) -> None:
    data = ImageData(folder)
    assert (len(data.train), len(data.validation)) == (50, 10)
    both = np.concatenate([data.train.images, data.validation.images])
    whole = arrays["train-images-idx3-ubyte"]
    assert sorted(map(bytes, both)) == sorted(map(bytes, whole))


def test_the_split_is_the_same_each_time(folder: Path) -> None:
    first, second = ImageData(folder).validation, ImageData(folder).validation
    np.testing.assert_array_equal(first.images, second.images)


def test_the_test_files_are_not_opened_for_the_training_images(folder: Path) -> None:
    data = ImageData(folder)
    (folder / "t10k-images-idx3-ubyte").unlink()
    assert len(data.train) == 50
    assert sorted(data.sha256) == ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"]


def test_missing_folder(tmp_path: Path) -> None:
    path = tmp_path / "none"
    text = f"{path}: must be a folder of IDX files, not missing; {HELP}"
    assert error_of(lambda: ImageData(path)) == text


def test_missing_file(folder: Path) -> None:
    path = folder / "t10k-labels-idx1-ubyte"
    path.unlink()
    text = f"{path}: must be there, plain or as .gz, not missing; {HELP}"
    assert error_of(lambda: ImageData(folder)) == text


def test_truncated_file(folder: Path) -> None:
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    text = f"{path}: data must be 1200 bytes long, not 1199 (truncated?); {HELP}"
    assert error_of(lambda: ImageData(folder).train) == text


def test_truncated_gzip_file(zipped: Path) -> None:
    path = zipped / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-100])
    reason = "Compressed file ended before the end-of-stream marker was reached"
    text = f"{path}: must be a whole file, not: {reason}; {HELP}"
    assert error_of(lambda: ImageData(zipped).train) == text


def test_truncated_test_images_show_before_they_are_read(folder: Path) -> None:
    path = folder / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-3])
    text = f"{path}: data must be 140 bytes long, not 137 (truncated?); {HELP}"
    assert error_of(ImageData(folder).check_test_length) == text


def test_truncated_gzipped_test_images_show_before_they_are_read(zipped: Path) -> None:
    path = zipped / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-3])
    text = error_of(ImageData(zipped).check_test_length)
    assert text.startswith(f"{path}: data must be 140 bytes long, not ")
    assert text.endswith(f"(truncated?); {HELP}")


def test_whole_test_images_pass_the_check(zipped: Path) -> None:
    data = ImageData(zipped)
    data.check_test_length()
    assert data.sha256 == {}


def test_header_cut_off(folder: Path) -> None:
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:10])
    text = f"{path}: header must be 16 bytes long, not 10 (truncated?); {HELP}"
    assert error_of(lambda: ImageData(folder).train) == text


def test_wrong_magic_number(folder: Path) -> None:
    path = folder / "train-labels-idx1-ubyte"
    path.write_bytes(b"\x00\x00\x08\x03" + path.read_bytes()[4:])
    text = f"{path}: magic number must be 0x00000801, not 0x00000803; {HELP}"
    assert error_of(lambda: ImageData(folder).train) == text


def test_empty_file(folder: Path) -> None:
    path = folder / "train-labels-idx1-ubyte"
    path.write_bytes(b"")
    text = f"{path}: magic number must be 0x00000801, not 0x00000000; {HELP}"
    assert error_of(lambda: ImageData(folder).train) == text


def test_labels_that_do_not_match_the_images(folder: Path) -> None:
    path = folder / "train-labels-idx1-ubyte"
    path.write_bytes(idx(np.zeros(59, dtype=np.uint8)))
    text = f"{path}: labels must be as many as the 60 images, not 59; {HELP}"
    assert error_of(lambda: ImageData(folder).train) == text
