"""A viewer that is shown people in place of classes, or their ids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sapiens_stream.colouring import Colouring, write_on
from sapiens_stream.frame import Segmentation
from sapiens_stream.viewers.viewer import CameraView, Command, Screen, Viewer


class Coloured(Viewer):
    """Hands what `colouring` makes of the pictures to another viewer."""

    def __init__(self, viewer: Viewer, colouring: Colouring) -> None:
        self._viewer = viewer
        self._colouring = colouring
        self._seen: dict[int, tuple[Segmentation, Segmentation]] = {}
        """By the camera's place, its last picture and what was made of it, so that the same stays the same."""

    def show(self, screen: Screen) -> None:
        views = [self._view(place, view) for place, view in enumerate(screen.views)]
        self._viewer.show(replace(screen, views=views))

    def commands(self) -> list[Command]:
        return self._viewer.commands()

    def close(self) -> None:
        self._viewer.close()

    def _view(self, place: int, view: CameraView) -> CameraView:
        if view.latest is None:
            return view
        was, seen = self._seen.get(place, (None, view.latest))
        if was is not view.latest:
            seen = self._made(view.latest)
            self._seen[place] = view.latest, seen
        return replace(view, latest=seen)

    def _made(self, result: Segmentation) -> Segmentation:
        seen, marks = self._colouring.seen(result), self._colouring.marks(result)
        if not marks:
            return seen
        picture = result.frame.rgb.copy()
        write_on(picture, marks)
        return replace(seen, frame=result.frame.with_picture(picture))


def coloured(colouring: Colouring) -> Callable[[Viewer], Viewer]:
    """Wraps a viewer, if there is anything to change."""
    if colouring.by == "class" and not colouring.ids:
        return lambda viewer: viewer
    return lambda viewer: Coloured(viewer, colouring)
