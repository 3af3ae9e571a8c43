"""Decides for one camera what is shown and when: a frame with its own class map, or at once with a carried one."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from sapiens_stream.frame import Segmentation
from sapiens_stream.inference.propagation import MaskPropagator
from sapiens_stream.live.camera import Camera, InferenceResult, LiveFrame
from sapiens_stream.live.delays import Delay
from sapiens_stream.live.inference import Inference
from sapiens_stream.people.identity import Identities
from sapiens_stream.people.members import people_in


@dataclass(frozen=True, eq=False)
class DueFrame:
    """A frame that is to be shown now. `infer` is what its class map took, `ready` when it was there."""

    arrival: LiveFrame
    result: Segmentation
    infer: float
    ready: float

    def delay(self, shown: float) -> Delay:
        """Its delay if it was shown then, by `time.monotonic()`."""
        arrival = self.arrival
        wait = self.ready - arrival.decoded - self.infer
        return Delay(arrival.decoded - arrival.at, max(wait, 0.0), self.infer, shown - self.ready)


@dataclass(frozen=True, eq=False)
class _Held:
    arrival: LiveFrame
    until: float
    """When it is shown with a carried class map, if its own has not come."""


class Scheduler:
    """Each frame it takes from the camera it gives to be shown, once and in order, or drops and counts.

    Where the model will be done with a frame before the next one comes, the frame waits for it; else it is shown at
    once with the last class map, carried along: an empty one until there is one of the camera's size. Without
    `propagate` only frames are shown that the model has seen.
    """

    def __init__(self, camera: Camera, inference: Inference, *, propagate: bool) -> None:
        self.camera = camera
        self._inference = inference
        self._model = inference.model
        self._propagate = propagate
        self._propagator = MaskPropagator()
        self._identities = Identities()
        self._told: Segmentation | None = None
        self._held: deque[_Held] = deque()

    @property
    def over(self) -> bool:
        """Whether nothing more will be due."""
        return self.camera.finished and not self.camera.has_to_show and not self._held

    @property
    def deadline(self) -> float | None:
        """When a frame that is held has to be shown, if nothing happens before."""
        return self._held[0].until if self._held and self._propagate else None

    def clear(self) -> None:
        """Drops what is held or waits."""
        self._take()
        self._drop(len(self._held))

    def due(self) -> DueFrame | None:
        """What is to be shown now; call it again until there is nothing."""
        self._take()
        # Asked for before the newest class map is looked at: what comes between the two is not lost.
        awaited = [self._inference.awaits(self.camera, held.arrival.frame) for held in self._held]
        inferred = self.camera.inferred
        if inferred is not None:
            index = inferred.result.frame.index
            late = sum(held.arrival.frame.index < index for held in self._held)
            self._drop(late)
            del awaited[:late]
            if self._held and self._held[0].arrival.frame.index == index:
                return DueFrame(self._held.popleft().arrival, self._named(inferred), inferred.seconds, time.monotonic())
        if not self._held:
            return None
        if self._propagate:
            if len(self._held) > 1 or time.monotonic() >= self._held[0].until:
                return self._carry(inferred, self._held.popleft().arrival)
            return None
        kept = [held for held, wanted in zip(self._held, awaited, strict=True) if wanted]
        self.camera.drop(len(self._held) - len(kept))
        self._held = deque(kept)
        return None

    def _take(self) -> None:
        arrival = self.camera.take_to_show()
        if arrival is None:
            return
        next_one = arrival.decoded + self.camera.period
        self._held.append(_Held(arrival, next_one if self._inference.expected(arrival) <= next_one else 0.0))

    def _drop(self, count: int) -> None:
        """Drops the oldest that are held."""
        for _ in range(count):
            self._held.popleft()
        self.camera.drop(count)

    def _named(self, inferred: InferenceResult) -> Segmentation:
        """With its people, who are told from frame to frame of those that the model has seen: that takes longer than
        a frame may."""
        if self._told is None or self._told.frame is not inferred.result.frame:
            self._told = self._identities.follow(inferred.result)
        return self._told

    def _carry(self, inferred: InferenceResult | None, arrival: LiveFrame) -> DueFrame:
        start = time.monotonic()
        frame = arrival.frame
        result = Segmentation(
            frame=frame,
            class_map=np.zeros(frame.size, np.uint8),
            classes=self._model.classes,
            model=self._model.name,
            carried=frame.index - (inferred.result.frame.index if inferred is not None else -1),
        )
        if inferred is not None:
            result = self._carried(self._named(inferred), result)
        ready = time.monotonic()
        return DueFrame(arrival, result, ready - start, ready)

    def _carried(self, told: Segmentation, result: Segmentation) -> Segmentation:
        """`result` with the class map of `told`, and its people, as they are in its frame; empty in another size."""
        person_map = None
        if told.frame.size == result.frame.size:
            following = self._inference.in_flight(self.camera)
            result = replace(result, class_map=self._propagator.carry(told, result.frame, following=following))
            if told.person_map is not None:
                person_map = self._propagator.carry_people(told.person_map)
                person_map[result.class_map == 0] = 0
        elif told.person_map is not None:
            person_map = np.zeros(result.frame.size, np.uint16)
        if person_map is None:
            return result
        scores = {person.id: person.score for person in told.people or ()}
        people = people_in(person_map, result.class_map, result.classes, scores)
        return replace(result, boxes=told.boxes, people=people, person_map=person_map)
