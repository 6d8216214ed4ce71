"""Camera files on disk: JSON (``.json``), RealEstate10K (``.txt``) and COLMAP text models (a folder)."""

from __future__ import annotations

from pathlib import Path

from worldr1.camera import formats
from worldr1.camera.trajectory import Trajectory
from worldr1.data.atomic import write_text


def read_trajectory(path: str | Path) -> Trajectory:
    """Read a camera file: ``.json``, RealEstate10K ``.txt``, or a folder with COLMAP's cameras.txt and images.txt.

    Poses become relative to the first; translations keep the file's unit.

    Raises:
        ValueError: when the kind or the content is not understood; the message names the file.
        FileNotFoundError: when there is no such file.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return formats.from_colmap(
                (path / "cameras.txt").read_text("utf-8"), (path / "images.txt").read_text("utf-8")
            )
        if path.suffix == ".json":
            return formats.from_json(path.read_text("utf-8"))
        if path.suffix == ".txt":
            return formats.from_realestate(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if not path.exists():
        raise FileNotFoundError(f"There is no camera file {path}.")
    raise ValueError(f"{path}: a camera file ends in .json or .txt (RealEstate10K), or is a COLMAP folder.")


def write_trajectory(trajectory: Trajectory, path: str | Path, height: int = 480, width: int = 832) -> None:
    """Write a camera file: ``.json``, RealEstate10K ``.txt``, or, for a path without a suffix, a COLMAP text model.

    Files are written beside their place and renamed, so that a reader never meets half a file.

    Args:
        trajectory: what to write.
        path: where; missing folders are made.
        height: image height in pixels, for the intrinsics of RealEstate10K and COLMAP.
        width: image width in pixels.

    Raises:
        ValueError: on another suffix.
    """
    path = Path(path)
    if path.suffix == ".json":
        write_text(path, formats.to_json(trajectory) + "\n", parents=True)
    elif path.suffix == ".txt":
        write_text(path, formats.to_realestate(trajectory, height, width), parents=True)
    elif path.suffix == "":
        cameras, images = formats.to_colmap(trajectory, height, width)
        write_text(path / "cameras.txt", cameras, parents=True)
        write_text(path / "images.txt", images, parents=True)
        write_text(path / "points3D.txt", "", parents=True)
    else:
        raise ValueError(
            f"Cannot write a camera file {path.name!r}; it must end in .json or .txt (RealEstate10K), or have no "
            "suffix for a COLMAP folder."
        )
