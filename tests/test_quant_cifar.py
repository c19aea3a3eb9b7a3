"""CIFAR in its binary form: what is read, how it is split, each way in which it can be broken."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from quant.batches import flip_and_shift, to_input
from quant.cifar import CifarData, Kind, without_coarse
from quant.errors import QuantError
from quant.sources import open_data

torch.set_num_threads(1)

HELP = (
    "give the folder or the archive of cifar-10-binary.tar.gz or cifar-100-binary.tar.gz with "
    "--data, downloaded whole"
)
TEN = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
Files = dict[str, bytes]


def records(count: int, classes: tuple[int, ...], seed: int) -> bytes:
    """Records of random pixels; labels count upwards in each of their columns."""
    random = np.random.default_rng(seed)
    labels = np.stack([(np.arange(count) + seed) % most for most in classes], axis=1)
    pixels = random.integers(0, 256, (count, 3072))
    return np.concatenate([labels, pixels], axis=1).astype(np.uint8).tobytes()


@pytest.fixture
def ten() -> Files:
    return {name: records(12, (10,), seed) for seed, name in enumerate(TEN)}


@pytest.fixture
def hundred() -> Files:
    return {name: records(30, (20, 100), i) for i, name in enumerate(("train.bin", "test.bin"))}


def write(folder: Path, files: Files) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def pack(path: Path, files: Files, inside: str) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            about = tarfile.TarInfo(f"{inside}/{name}")
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    return path


def opened(place: Path) -> CifarData:
    data = open_data(place, "own:Net")
    assert isinstance(data, CifarData)
    return data


def error_of(action: Callable[[], object]) -> str:
    with pytest.raises(QuantError) as caught:
        action()
    return str(caught.value)


def test_planes_of_red_green_and_blue_become_pixels(tmp_path: Path, ten: Files) -> None:
    red, green, blue = (np.full((32, 32), value) for value in (10, 20, 30))
    red[1, 31] = 99  # second row, last column
    image = np.stack([red, green, blue]).astype(np.uint8).tobytes()
    data = opened(write(tmp_path, ten | {"test_batch.bin": b"\x07" + image}))
    assert data.test.images.shape == (1, 32, 32, 3)
    assert data.test.images[0, 0, 0].tolist() == [10, 20, 30]
    assert data.test.images[0, 1, 31].tolist() == [99, 20, 30]
    assert data.test.labels.tolist() == [7]
    assert to_input(torch.from_numpy(data.test.images)).shape == (1, 3, 32, 32)


def test_five_batches_are_read_and_a_sixth_is_for_validation(tmp_path: Path, ten: Files) -> None:
    data = opened(write(tmp_path, ten))
    assert (len(data.train), len(data.validation), len(data.test)) == (50, 10, 12)
    both = np.concatenate([data.train.images, data.validation.images])
    whole = b"".join(ten[name] for name in TEN[:5])
    planes = np.frombuffer(whole, np.uint8).reshape(60, 3073)[:, 1:].reshape(60, 3, 32, 32)
    assert sorted(map(bytes, both)) == sorted(map(bytes, planes.transpose(0, 2, 3, 1).copy()))
    assert opened(tmp_path).validation.images.tobytes() == data.validation.images.tobytes()
    assert sorted(data.sha256) == sorted(TEN)


def test_labels_of_cifar_100_are_fine_unless_asked_for_coarse(
    tmp_path: Path, hundred: Files
) -> None:
    fine, coarse = opened(write(tmp_path, hundred)), opened(Path(f"{tmp_path}#coarse"))
    assert (fine.classes, coarse.classes) == (100, 20)
    assert fine.test.labels.tolist() == list(range(1, 31))
    assert coarse.test.labels.tolist() == [(1 + image) % 20 for image in range(30)]
    np.testing.assert_array_equal(fine.test.images, coarse.test.images)
    assert str(coarse.folder).endswith("#coarse")


@pytest.mark.parametrize(
    ("given", "place"),
    [("a/b#coarse", "a/b"), ("a/b", "a/b"), (".", "."), ("/", "/"), ("#coarse", "#coarse")],
)
def test_the_folder_itself_has_no_coarse_behind_it(given: str, place: str) -> None:
    assert without_coarse(Path(given)) == Path(place)


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.value)
def test_archives_and_folders_give_the_same(
    kind: Kind, tmp_path: Path, ten: Files, hundred: Files
) -> None:
    files = ten if kind is Kind.CIFAR10 else hundred
    write(tmp_path / "plain" / kind.folder, files)
    (tmp_path / "packed").mkdir()
    archive = pack(tmp_path / "packed" / kind.archive, files, kind.folder)
    places = [tmp_path / "plain", tmp_path / "plain" / kind.folder, tmp_path / "packed", archive]
    for place in places:
        data = opened(place)
        assert data.kind is kind
        first = opened(places[0])
        assert data.train.images.tobytes() == first.train.images.tobytes()
        assert data.train.labels.tolist() == first.train.labels.tolist()
        assert data.sha256 == first.sha256


def test_a_truncated_file_is_refused_before_the_search(tmp_path: Path, ten: Files) -> None:
    data = opened(write(tmp_path, ten | {"test_batch.bin": ten["test_batch.bin"][:-5]}))
    assert error_of(data.check_test_length) == (
        f"{tmp_path / 'test_batch.bin'}: length must be a multiple of 3073 bytes, one record an "
        f"image, not 36871 (truncated?); {HELP}"
    )
    data = opened(write(tmp_path, ten | {"data_batch_3.bin": b""}))
    assert "data_batch_3.bin: length must be a multiple of 3073" in error_of(lambda: data.train)


def test_labels_past_the_classes(tmp_path: Path, ten: Files) -> None:
    broken = bytearray(ten["test_batch.bin"])
    broken[2 * 3073] = 10
    data = opened(write(tmp_path, ten | {"test_batch.bin": bytes(broken)}))
    assert error_of(data.check_test_length) == (
        f"{tmp_path / 'test_batch.bin'}: labels must be below 10, but that of image 2 is 10 "
        f"(another format?); {HELP}"
    )


def test_missing_batches_and_both_sets_at_once(tmp_path: Path, ten: Files, hundred: Files) -> None:
    del ten["data_batch_4.bin"]
    write(tmp_path, ten)
    assert error_of(lambda: opened(tmp_path)) == (
        f"{tmp_path / 'data_batch_4.bin'}: CIFAR-10 must have it, and it is missing; {HELP}"
    )
    write(tmp_path, hundred)
    assert error_of(lambda: opened(tmp_path)) == (
        f"{tmp_path}: must have one of CIFAR-10 and CIFAR-100, not both; name the folder or the "
        "archive of one with --data"
    )


def test_coarse_classes_of_cifar_10(tmp_path: Path, ten: Files) -> None:
    write(tmp_path, ten)
    assert error_of(lambda: opened(Path(f"{tmp_path}#coarse"))) == (
        f"{tmp_path}: #coarse must come with CIFAR-100, not CIFAR-10; leave it out"
    )


def test_the_pickled_form_is_named(tmp_path: Path) -> None:
    rule = "CIFAR must be in its binary form, not in the pickled one, which would run code; "
    folder = write(tmp_path / "py", {"data_batch_1": b"x", "test_batch": b"x"})
    assert error_of(lambda: opened(folder)) == f"{folder}: {rule}{HELP}"
    archive = pack(tmp_path / "cifar-10-python.tar.gz", {"data_batch_1": b"x"}, "cifar")
    assert error_of(lambda: opened(archive)) == f"{archive}: {rule}{HELP}"


def test_broken_and_other_archives(tmp_path: Path, ten: Files) -> None:
    whole = pack(tmp_path / "whole.tar.gz", ten, "cifar-10-batches-bin").read_bytes()
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(whole[: len(whole) // 2])
    text = error_of(lambda: opened(cut))
    assert text.startswith(f"{cut}: must be a whole file, not: ")
    other = pack(tmp_path / "other.tar.gz", {"readme": b"x"}, "x")
    assert error_of(lambda: opened(other)) == (
        f"{other}: archive must have the files of CIFAR-10 or of CIFAR-100, not of neither; {HELP}"
    )
    missing = tmp_path / "none.tar.gz"
    text = f"{missing}: must be a whole file, not: No such file or directory; {HELP}"
    assert error_of(lambda: opened(missing)) == text


def moved_by(image: NDArray[np.uint8], flip: bool, dy: int, dx: int) -> NDArray[np.uint8]:
    """One image, pixel by pixel: mirrored, then shifted down and right, zeros moving in."""
    found = np.zeros_like(image)
    for y in range(32):
        for x in range(32):
            if 0 <= y - dy < 32 and 0 <= x - dx < 32:
                from_x = x - dx
                found[y, x] = image[y - dy, 31 - from_x if flip else from_x]
    return found


def test_augmentation_of_32_x_32_x_3_is_one_of_50_moves_of_each_image() -> None:
    images = np.random.default_rng(0).integers(1, 256, (12, 32, 32, 3), dtype=np.uint8)
    moved = flip_and_shift(torch.from_numpy(images), generator=torch.Generator().manual_seed(0))
    assert moved.shape == images.shape
    seen = set()
    for before, after in zip(images, moved.numpy(), strict=True):
        # where zeros moved in tells the shift: all pixels are at least 1
        rows, columns = np.flatnonzero(after.any((1, 2))), np.flatnonzero(after.any((0, 2)))
        dy = int(rows[0]) if rows[0] else int(rows[-1]) - 31
        dx = int(columns[0]) if columns[0] else int(columns[-1]) - 31
        assert max(abs(dy), abs(dx)) <= 2
        moves = [f for f in (False, True) if (moved_by(before, f, dy, dx) == after).all()]
        assert len(moves) == 1
        seen.add((moves[0], dy, dx))
    assert len({flip for flip, _, _ in seen}) == 2
    assert len(seen) > 6
