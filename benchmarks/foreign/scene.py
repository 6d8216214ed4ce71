"""Textured rooms filmed by VTK along known cameras; nothing of this project's renderers takes part.

VTK draws without a display through EGL or OSMesa (Mesa's software rasteriser does): pip install vtk.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

SPOILS = ("drift", "swim", "grow", "bend")
_CYCLES = 1.25
_FLOOR = 0.45  # below the camera, which looks along z with y down

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Solid:
    """One of VTK's sources on the floor: centre, size, turn about the vertical in degrees, and its paint."""

    kind: str
    centre: tuple[float, float, float]
    size: float
    turn: float
    picture: Picture


@dataclass(frozen=True)
class Room:
    """Solids before a wall on a floor."""

    solids: tuple[Solid, ...]
    floor: Picture
    wall: Picture


def sample_room(rng: np.random.Generator) -> Room:
    """Four to seven solids at depths of 0.8 to 2.2."""
    solids = []
    for _ in range(rng.integers(4, 8)):
        size = float(rng.uniform(0.2, 0.42))
        depth = float(rng.uniform(0.8, 2.2))
        centre = (float(rng.uniform(-0.55, 0.55)) * depth, _FLOOR - size / 2, depth)
        kind = str(rng.choice(("cube", "sphere", "cylinder", "cone")))
        solids.append(Solid(kind, centre, size, float(rng.uniform(0, 90)), paint(rng, 256)))
    return Room(tuple(solids), paint(rng, 1024), paint(rng, 1024))


def paint(rng: np.random.Generator, side: int) -> Picture:
    """Coloured clouds of several sizes under hard-edged discs [side, side, 3]."""
    from PIL import Image

    picture = np.zeros((side, side, 3))
    for cells in (3, 7, 16, 40):
        coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        picture += np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)) * rng.uniform(0.4, 1.0)
    picture = 255 * (picture - picture.min()) / np.ptp(picture)
    rows, columns = np.mgrid[:side, :side]
    for _ in range(30):
        y, x, radius = rng.uniform(0, side), rng.uniform(0, side), rng.uniform(0.01, 0.05) * side
        picture[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = rng.integers(0, 256, 3)
    return picture.astype(np.uint8)


class Film:
    """A room on VTK's stage, ready to be photographed."""

    def __init__(self, room: Room, height: int, width: int, fov: float) -> None:
        import vtk

        vtk.vtkObject.GlobalWarningDisplayOff()
        self._vtk = vtk
        self.size = (height, width)
        self._renderer = vtk.vtkRenderer()
        self._renderer.SetBackground(0.6, 0.7, 0.85)
        self._renderer.GetActiveCamera().SetViewAngle(
            2 * math.degrees(math.atan(height / width * math.tan(math.radians(fov / 2))))
        )
        self._textures: list[Any] = []
        floor = self._plane((-6, _FLOOR, -2), (6, _FLOOR, -2), (-6, _FLOOR, 4))
        wall = self._plane((-6, _FLOOR, 4), (6, _FLOOR, 4), (-6, -3, 4))
        self._add(floor, room.floor)
        self._add(wall, room.wall)
        self._solids = [self._solid(solid) for solid in room.solids]
        self._window = vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(8)
        self._window.SetSize(width, height)
        self._window.AddRenderer(self._renderer)
        sun = vtk.vtkLight()
        sun.SetLightTypeToSceneLight()
        sun.SetPosition(-2, -4, -2)
        sun.SetFocalPoint(0, 0, 1)
        self._renderer.AddLight(sun)
        self._room = room

    def shoot(self, c2w: npt.NDArray[np.float64], kind: str | None, moment: float) -> Picture:
        """One picture [H, W, 3] from the OpenCV camera `c2w` [4, 4], spoilt as at the clip's fraction `moment`."""
        swing = math.sin(2 * math.pi * _CYCLES * moment)
        for k, (actor, solid) in enumerate(zip(self._solids, self._room.solids, strict=True)):
            x, y, z = solid.centre
            away = 0.10 * swing if kind == "drift" else 0.0
            actor.SetPosition(x + away, y, z + away * (-1) ** k)
            actor.SetScale(solid.size * (1 + (0.25 * swing if kind == "grow" else 0.0)))
        for texture in self._textures:
            shift = self._vtk.vtkTransform()
            shift.Translate(0.03 * swing if kind == "swim" else 0.0, 0.0, 0.0)
            texture.SetTransform(shift)
        camera = self._renderer.GetActiveCamera()
        camera.SetPosition(*c2w[:3, 3])
        camera.SetFocalPoint(*(c2w[:3, 3] + c2w[:3, 2]))
        camera.SetViewUp(*-c2w[:3, 1])
        self._renderer.ResetCameraClippingRange()
        picture = self._photograph()
        return bend(picture, 0.02 * swing) if kind == "bend" else picture

    def close(self) -> None:
        """Give the window back."""
        self._window.Finalize()

    def _photograph(self) -> Picture:
        from vtk.util.numpy_support import vtk_to_numpy

        self._window.Render()
        reader = self._vtk.vtkWindowToImageFilter()
        reader.SetInput(self._window)
        reader.ReadFrontBufferOff()
        reader.Update()
        pixels = vtk_to_numpy(reader.GetOutput().GetPointData().GetScalars())
        return np.ascontiguousarray(pixels.reshape(*self.size, -1)[::-1, :, :3])

    def _plane(self, *corners: tuple[float, float, float]) -> Any:
        source = self._vtk.vtkPlaneSource()
        source.SetOrigin(*corners[0])
        source.SetPoint1(*corners[1])
        source.SetPoint2(*corners[2])
        return source

    def _solid(self, solid: Solid) -> Any:
        vtk = self._vtk
        source: Any
        if solid.kind == "cube":
            source = vtk.vtkCubeSource()
        elif solid.kind == "sphere":
            source = vtk.vtkTexturedSphereSource()
            source.SetRadius(0.5)
            source.SetThetaResolution(48)
            source.SetPhiResolution(48)
        elif solid.kind == "cylinder":
            source = vtk.vtkCylinderSource()
            source.SetResolution(64)
        else:
            cone = vtk.vtkConeSource()
            cone.SetResolution(64)
            cone.SetDirection(0, -1, 0)
            source = vtk.vtkTextureMapToCylinder()
            source.SetInputConnection(cone.GetOutputPort())
            source.PreventSeamOff()
        actor = self._add(source, solid.picture)
        actor.RotateY(solid.turn)
        return actor

    def _add(self, source: Any, picture: Picture) -> Any:
        from vtk.util.numpy_support import numpy_to_vtk

        vtk = self._vtk
        data = vtk.vtkImageData()
        data.SetDimensions(picture.shape[1], picture.shape[0], 1)
        data.GetPointData().SetScalars(numpy_to_vtk(picture.reshape(-1, 3), deep=True))
        texture = vtk.vtkTexture()
        texture.SetInputData(data)
        texture.InterpolateOn()
        texture.MipmapOn()
        texture.RepeatOn()
        mapper = vtk.vtkPolyDataMapper()
        mapper.SetInputConnection(source.GetOutputPort())
        actor = vtk.vtkActor()
        actor.SetMapper(mapper)
        actor.SetTexture(texture)
        actor.GetProperty().SetAmbient(0.55)
        actor.GetProperty().SetDiffuse(0.5)
        self._renderer.AddActor(actor)
        self._textures.append(texture)
        return actor


def bend(picture: Picture, share: float) -> Picture:
    """Rows of [H, W, 3] pushed sideways along a sine by `share` of the width; edges repeat."""
    height, width = picture.shape[:2]
    rows = np.arange(height)[:, None]
    places = np.clip(np.arange(width) + share * width * np.sin(7 * rows / height), 0, width - 1)
    left = np.minimum(places.astype(np.int64), width - 2)
    part = (places - left)[..., None]
    mixed = picture[rows, left] * (1 - part) + picture[rows, left + 1] * part
    return (mixed + 0.5).astype(np.uint8)
