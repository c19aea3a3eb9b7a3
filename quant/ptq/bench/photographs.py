"""Photographs that installable packages ship, to measure on where there is no ImageNet."""

from __future__ import annotations

import re
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from quant.catalogue import Preprocessing
from quant.errors import QuantError
from quant.photographs import PhotoSet

SEED = 0

SCENES = "photographs"
CUT_OUTS = "cut-outs"
"""Photographs of single things, on white."""

_OPENCV = tuple(
    "HappyFish aero1 aloeL apple baboon basketball1 blox box_in_scene building butterfly "  # noqa: SIM905
    "chicky_512 fruits graf1 home leuvenA licenseplate_motion messi5 orange rubberwhale1 smarties "
    "squirrel_cls stuff".split()
)
_LOMIRI = tuple(
    "Bridge Kleiber Painting-Colors Picture_0B Picture_1A Wine aitzgorri free friends greentock "  # noqa: SIM905
    "life picosdeeuropa seeding sunset".split()
)
_STAMPS = ("animals", "food", "hobbies", "household", "plants", "town")


@dataclass(frozen=True, kw_only=True)
class Collection:
    """Photographs of one package.

    Parameters
    ----------
    package : str
    registry : str
        Whose package it is.
    globs : tuple of str
        Of its files, drawings left out as far as names tell.
    kind : str
        `SCENES` or `CUT_OUTS`.
    labelled : bool
        Whether a file's name ends in its ImageNet class.
    """

    package: str
    registry: str
    globs: tuple[str, ...]
    kind: str = SCENES
    labelled: bool = False

    def files(self, roots: list[Path]) -> list[Path]:
        """Return the files below the first folder that has some."""
        for root in roots:
            found = sorted({path for glob in self.globs for path in root.glob(glob)})
            kept = [p for p in found if not ("cartoon" in p.parts or p.stem.endswith("_mirror"))]
            if kept:
                return kept
        return []


COLLECTIONS = (
    Collection(
        package="foolbox",
        registry="PyPI",
        globs=("foolbox/data/imagenet_*.jpg",),
        labelled=True,
    ),
    Collection(
        package="scikit-image",
        registry="PyPI",
        globs=tuple(
            f"skimage/data/{name}.*"
            for name in ("astronaut", "chelsea", "coffee", "motorcycle_left", "rocket")
        ),
    ),
    Collection(
        package="scikit-learn",
        registry="PyPI",
        globs=("sklearn/datasets/images/*.jpg",),
    ),
    Collection(
        package="opencv-doc",
        registry="Debian",
        globs=tuple(f"usr/share/doc/opencv-doc/examples/data/{name}.*" for name in _OPENCV),
    ),
    Collection(
        package="lomiri-wallpapers-16.04, lomiri-wallpapers-20.04",
        registry="Debian",
        globs=tuple(f"usr/share/backgrounds/{name}_by_*.jpg" for name in _LOMIRI),
    ),
    Collection(
        package="mate-backgrounds",
        registry="Debian",
        globs=("usr/share/backgrounds/mate/nature/*.jpg",),
    ),
    Collection(
        package="tuxpaint-stamps-default",
        registry="Debian",
        globs=tuple(f"usr/share/tuxpaint/stamps/{name}/**/*.png" for name in _STAMPS),
        kind=CUT_OUTS,
    ),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Photographs:
    """What a network is calibrated on, and what it is judged on.

    Parameters
    ----------
    calibration : PhotoSet
    held_out : dict of str to PhotoSet
        By kind; none of them is among the others.
    sources : list of dict
        JSON values: package, registry, kind, number of photographs.
    """

    calibration: PhotoSet
    held_out: dict[str, PhotoSet]
    sources: list[dict[str, object]]


def default_roots() -> list[Path]:
    """Folders that `.ci/setup quant photographs` fills, and those of installed packages."""
    return [
        Path(sys.prefix) / "photographs",
        Path(sysconfig.get_path("purelib")),
        Path("/"),
    ]


def photographs(
    roots: list[Path], how: Preprocessing, *, calibration: int, held_out: int
) -> Photographs:
    """Find photographs and split them at random.

    Parameters
    ----------
    roots : list of Path
        Folders that packages are unpacked in.
    how : Preprocessing
    calibration : int
        Photographs to calibrate on: half of the unlabelled scenes, the others cut-outs.
    held_out : int
        Photographs to judge on, at most: all scenes that are left, the others cut-outs.

    Raises
    ------
    QuantError
        If there are too few.
    """
    scenes: list[Path] = []
    cut_outs: list[Path] = []
    labelled: dict[Path, int] = {}
    sources: list[dict[str, object]] = []
    for collection in COLLECTIONS:
        files = collection.files(roots)
        about = {"package": collection.package, "registry": collection.registry}
        sources.append(about | {"kind": collection.kind, "files": len(files)})
        if collection.labelled:
            labelled |= dict(_labels(files))
        else:
            (scenes if collection.kind == SCENES else cut_outs).extend(files)
    random = np.random.default_rng(SEED)
    for files in (scenes, cut_outs):
        files[:] = [files[i] for i in random.permutation(len(files))]
    half = min(len(scenes) // 2, calibration // 2)
    others = calibration - half
    if len(cut_outs) <= others:
        found = len(scenes) + len(cut_outs)
        raise QuantError(
            f"photographs must be more than {calibration}, not {found}; run `.ci/setup quant "
            "photographs`, or name an ImageNet-style folder with --data FOLDER"
        )
    judged = dict.fromkeys(scenes[half:], -1) | labelled
    rest = cut_outs[others : others + max(0, held_out - len(judged))]
    return Photographs(
        calibration=_set(dict.fromkeys([*scenes[:half], *cut_outs[:others]], -1), how),
        held_out={SCENES: _set(judged, how), CUT_OUTS: _set(dict.fromkeys(rest, -1), how)},
        sources=sources,
    )


def _labels(files: list[Path]) -> Iterator[tuple[Path, int]]:
    for path in files:
        found = re.search(r"_(\d+)$", path.stem)
        assert found is not None
        yield path, int(found[1])


def _set(labels: dict[Path, int], how: Preprocessing) -> PhotoSet:
    return PhotoSet(
        paths=tuple(labels), labels=np.array(list(labels.values()), np.int64), preprocessing=how
    )
