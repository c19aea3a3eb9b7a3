"""Which reader a ``--data`` needs: IDX, CIFAR, photographs, ``.npz`` or ``module:factory``."""

from __future__ import annotations

from pathlib import Path

from quant import cifar
from quant.catalogue import PRETRAINED, SHIPPED, is_factory, preprocessing
from quant.data import Data, ImageData
from quant.errors import QuantError
from quant.imagefolder import PhotoData
from quant.npz import NpzData


def open_data(folder: Path, model: str) -> Data:
    """Return the images of a folder, a file or a factory as a network takes them.

    Parameters
    ----------
    folder : Path
        ``FILE.npz``; a folder or archive of CIFAR, with ``#coarse`` behind it for the coarse
        classes; ``module:factory``; else a folder: of photographs for a pretrained network, of IDX
        files for a shipped one, and for one of the user's own of photographs if there are folders
        and no IDX files in it.
    model : str
        Name of the network.

    Raises
    ------
    QuantError
        As the readers do, or if a folder is none of these.
    """
    if is_factory(str(folder)) and not folder.exists():
        from quant.own_data import OwnData

        return OwnData(str(folder))
    if folder.suffix == ".npz":
        return NpzData(folder)
    coarse = folder.name.endswith(cifar.COARSE)
    found = cifar.find(cifar.without_coarse(folder))
    if found is not None:
        return cifar.CifarData(found, coarse=coarse)
    own = model not in SHIPPED and folder.is_dir() and not _has_idx(folder)
    if model in PRETRAINED or (own and any(path.is_dir() for path in folder.iterdir())):
        classes = PRETRAINED[model].classes if model in PRETRAINED else None
        return PhotoData(folder, preprocessing(model), classes=classes)
    if own or folder.is_file():
        raise QuantError(
            f"{folder}: data must be a folder of IDX files, of CIFAR's .bin files or of "
            "photographs in train/ and val/, FILE.npz or module:factory, not "
            f"{'a file' if folder.is_file() else 'a folder without any of them'}; see docs/data.md"
        )
    return ImageData(folder)


def _has_idx(folder: Path) -> bool:
    return any("-ubyte" in path.name for path in folder.iterdir())
