"""Folders of photographs: what is decoded, how it is labelled and split, and how they break."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer import Typer
from typer.testing import CliRunner

from quant.batches import eval_batches, flip_and_shift, to_input, train_batches
from quant.catalogue import Preprocessing, Resampling
from quant.data import ImageData, ImageSet
from quant.errors import QuantError
from quant.imagefolder import PhotoData
from quant.photographs import PhotoSet, decode
from quant.sources import open_data

torch.set_num_threads(1)

SMALL = Preprocessing(resize=8, crop=6)
HELP = "name a folder with --data FOLDER: train/ and val/ with a folder of photographs per class"
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def save(path: Path, colour: tuple[int, int, int] = RED, size: tuple[int, int] = (9, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def error_of(action: Callable[[], object]) -> str:
    with pytest.raises(QuantError) as caught:
        action()
    return str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for part, count in (("train", 6), ("val", 2)):
        for kind, colour in (("n02", GREEN), ("n01", RED), ("n10", BLUE)):
            for i in range(count):
                save(tmp_path / part / kind / f"{i}.png", colour)
    return tmp_path


def test_the_middle_is_cut_after_the_shorter_side_is_resized(tmp_path: Path) -> None:
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, 4:12] = (10, 20, 30)  # what a square cut keeps of a wide photograph
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    found = decode(tmp_path / "wide.png", Preprocessing(resize=8, crop=6))
    assert found.shape == (6, 6, 3)
    assert found.dtype == np.uint8
    assert (found == (10, 20, 30)).all()


@pytest.mark.parametrize("resampling", Resampling)
def test_resizing_is_that_of_pillow(tmp_path: Path, resampling: Resampling) -> None:
    random = np.random.default_rng(0)
    image = Image.fromarray(random.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    image.save(tmp_path / "a.png")
    how = Preprocessing(resize=10, crop=10, resampling=resampling)
    filters = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    expected = image.resize((15, 10), filters[resampling.value]).crop((2, 0, 12, 10))
    np.testing.assert_array_equal(decode(tmp_path / "a.png", how), np.asarray(expected))


def test_transparent_pixels_become_white_and_grey_ones_have_three_colours(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("L", (8, 8), 7).save(tmp_path / "grey.png")
    assert (decode(tmp_path / "clear.png", SMALL) == 255).all()
    assert (decode(tmp_path / "grey.png", SMALL) == 7).all()


def test_classes_are_numbered_by_sorted_name(folder: Path) -> None:
    data = PhotoData(folder, SMALL, classes=3)
    assert data.names == ("n01", "n02", "n10")
    for part in (data.train, data.validation, data.test):
        colours = part.pixels(np.arange(len(part)))[:, 0, 0]
        np.testing.assert_array_equal(colours.argmax(axis=1), part.labels)
    assert (len(data.train), len(data.validation), len(data.test)) == (15, 3, 6)
    assert {path.parents[1].name for path in data.test.paths} == {"val"}
    both = [*data.train.paths, *data.validation.paths]
    assert len(set(both)) == 18


@pytest.mark.parametrize("written", ["n10", "2"])
@pytest.mark.parametrize("place", ["val/labels.txt", "val.txt"])
def test_a_labels_file_gives_names_or_numbers(folder: Path, written: str, place: str) -> None:
    for path in sorted((folder / "val").rglob("*.png")):
        path.unlink()
    for kind in list((folder / "val").iterdir()):
        kind.rmdir()
    save(folder / "val/b.png")
    save(folder / "val/a.png")
    (folder / place).write_text(f"b.png {written}\na.png n01\n\n")
    test = PhotoData(folder, SMALL).test
    assert [path.name for path in test.paths] == ["a.png", "b.png"]
    assert test.labels.tolist() == [0, 2]


def test_of_one_set_half_is_for_the_test(folder: Path) -> None:
    data = PhotoData(folder / "train", SMALL)
    parts = data.train, data.validation, data.test
    assert [len(part) for part in parts] == [7, 2, 9]
    assert len({path for part in parts for path in part.paths}) == 18


def test_a_list_of_classes_allows_some_to_be_missing(folder: Path) -> None:
    (folder / "synsets.txt").write_text("n10 third\nn01\nn00\nn02\n")
    data = PhotoData(folder, SMALL, classes=4)
    assert set(data.test.labels.tolist()) == {0, 1, 3}
    (folder / "synsets.txt").write_text("n10\nn01\n")
    text = f"{folder / 'synsets.txt'}: must name every class, not leave out n02"
    assert error_of(lambda: PhotoData(folder, SMALL)) == text


def test_another_number_of_classes_than_outputs(folder: Path) -> None:
    text = (
        f"{folder}: must have 1000 classes, as many as the network has outputs, not 3; if it has "
        "some of them only, name all in synsets.txt, one a line"
    )
    assert error_of(lambda: PhotoData(folder, SMALL, classes=1000)) == text


def test_a_class_number_past_the_outputs(folder: Path) -> None:
    save(folder / "flat/a.png")
    (folder / "flat/labels.txt").write_text("a.png 12\n")
    text = f"{folder / 'flat'}: classes must be from 0 to 11, not 12"
    assert error_of(lambda: PhotoData(folder / "flat", SMALL, classes=12)) == text


def test_folders_without_photographs_or_labels(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    text = f"{missing}: must be a folder of photographs, not missing; {HELP}"
    assert error_of(lambda: PhotoData(missing, SMALL)) == text
    rule = f"{tmp_path}: must have photographs in a folder per class, or beside labels.txt, not"
    assert error_of(lambda: PhotoData(tmp_path, SMALL)) == f"{rule} none; {HELP}"
    save(tmp_path / "a.png")
    assert error_of(lambda: PhotoData(tmp_path, SMALL)) == f"{rule} 1 without labels.txt; {HELP}"


def test_malformed_labels(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    labels = tmp_path / "labels.txt"
    labels.write_text("a.png 0\nb.png\n")
    text = f"{labels}: line 2 must be a file and its class, not 'b.png'"
    assert error_of(lambda: PhotoData(tmp_path, SMALL)) == text
    labels.write_text("b.png 0\n")
    text = f"{labels}: line 1 must name a file of {tmp_path}, not b.png"
    assert error_of(lambda: PhotoData(tmp_path, SMALL)) == text


def test_a_broken_photograph_is_named(folder: Path) -> None:
    path = folder / "val/n01/0.png"
    content = path.read_bytes()
    path.write_bytes(b"no picture")
    data = PhotoData(folder, SMALL)
    text = f"{path}: must be a photograph, not: cannot identify image file; replace or remove it"
    assert error_of(lambda: data.test.loaded()) == text
    assert error_of(data.check_test_length) == text
    save(path, size=(400, 400))
    path.write_bytes(path.read_bytes()[: len(content)])
    data.check_test_length()
    assert error_of(lambda: data.test.loaded()).startswith(f"{path}: must be a photograph, not: ")


def test_a_missing_photograph_is_named(folder: Path) -> None:
    data = PhotoData(folder, SMALL)
    path = folder / "val/n02/1.png"
    path.unlink()
    reason = "No such file or directory"
    text = f"{path}: must be a photograph, not: {reason}; replace or remove it"
    assert error_of(lambda: data.test.loaded()) == text


def test_nothing_is_decoded_before_it_is_asked_for(folder: Path) -> None:
    (folder / "val/n01/0.png").write_bytes(b"no picture")
    data = PhotoData(folder, SMALL)
    assert data.train.pixels(np.array([0, 1])).shape == (2, 6, 6, 3)
    batches = list(train_batches(data.train, steps=2, size=4, seed=0))
    assert [tuple(images.shape) for images, _ in batches] == [(4, 3, 6, 6)] * 2


def test_batches_of_photographs_and_of_loaded_ones_are_the_same(folder: Path) -> None:
    train = PhotoData(folder, SMALL).train
    for a, b in zip(eval_batches(train, size=4), eval_batches(train.loaded(), size=4), strict=True):
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[1], b[1])
    assert len(list(eval_batches(train, size=4))) == 4


def test_colours_come_second_in_inputs() -> None:
    pixels = torch.randint(0, 256, (2, 4, 5, 3), dtype=torch.uint8)
    found = to_input(pixels)
    assert found.shape == (2, 3, 4, 5)
    assert torch.equal(found[1, 2], pixels[1, :, :, 2] / 255)


def test_colours_are_flipped_and_shifted_together() -> None:
    pixels = torch.randint(0, 256, (16, 6, 7, 3), dtype=torch.uint8)
    found = flip_and_shift(pixels, generator=torch.Generator().manual_seed(1))
    for colour in range(3):
        alone = flip_and_shift(pixels[..., colour], generator=torch.Generator().manual_seed(1))
        assert torch.equal(found[..., colour], alone)


def test_large_images_go_through_a_network_in_small_batches() -> None:
    wide = ImageSet(images=np.zeros((20, 224, 224, 3), np.uint8), labels=np.zeros(20, np.int64))
    assert [len(images) for images, _ in eval_batches(wide)] == [13, 7]


def test_a_network_of_photographs_opens_folders_of_photographs(folder: Path) -> None:
    text = error_of(lambda: open_data(folder, "mobilenet-v2"))
    assert text.startswith(f"{folder}: must have 1000 classes")
    assert isinstance(open_data(folder, "own:net"), PhotoData)
    assert "idx" in error_of(lambda: open_data(folder, "resnet8")).lower()
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (folder / "train" / f"{name}-ubyte").touch()
    assert isinstance(open_data(folder / "train", "resnet8"), ImageData)


def test_the_search_says_in_one_line_what_is_wrong_with_a_folder(tmp_path: Path) -> None:
    from quant.search import main

    options = ["--model", "mobilenet-v2", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    app = Typer()
    app.command()(main)
    found = CliRunner().invoke(app, options)
    assert found.exit_code == 2
    assert found.stderr.count("\n") == 1
    assert found.stderr.startswith(f"{tmp_path}: must have photographs in a folder per class")


def test_taking_some_keeps_labels_and_preprocessing(tmp_path: Path) -> None:
    paths = tuple(tmp_path / f"{i}.png" for i in range(3))
    whole = PhotoSet(paths=paths, labels=np.array([5, 6, 7]), preprocessing=SMALL)
    part = whole.take(np.array([2, 0]))
    assert part.paths == (paths[2], paths[0])
    assert part.labels.tolist() == [7, 5]
    assert part.shape == (6, 6, 3)
