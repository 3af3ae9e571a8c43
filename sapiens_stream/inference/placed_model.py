"""A model on one device, in the precision and for the batch size that both bear."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from sapiens_stream.errors import DeviceError, ModelError, SapiensStreamError, cause
from sapiens_stream.frame import Frame
from sapiens_stream.inference.batch_probe import MOST, choose_batch_size
from sapiens_stream.inference.compilation import compiled, warm_up
from sapiens_stream.inference.device import PRECISION_NAMES, bears_bfloat16
from sapiens_stream.inference.memory import most_frames, out_of_memory
from sapiens_stream.inference.options import InferenceOptions
from sapiens_stream.inference.preprocess import normalise
from sapiens_stream.inference.streams import Streams
from sapiens_stream.models.model import InputSpec, Model

BATCH_SIZES = {"cpu": 1, "cuda": 8, "mps": 8}
"""Unless one is given."""


class PlacedModel:
    """Puts the network on the device; `settle` then finds its batch size, and compiles it, if the options ask for it.

    `dtype` and `batch_size` are those in use: the latter, the largest batch that is computed at once, shrinks where the
    device runs out of memory, the former widens where logits overflow. `warn` and `note` are a worker's.

    Raises DeviceError or ModelError for a model that cannot be placed.
    """

    def __init__(
        self,
        model: Model,
        *,
        device: torch.device,
        dtype: torch.dtype,
        options: InferenceOptions,
        streams: Streams,
        warn: Callable[[str], None],
        note: Callable[[str], None],
    ) -> None:
        self.model = model
        self.device = device
        self.dtype = dtype
        self._wanted = model.fixed_batch or options.batch_size or BATCH_SIZES[device.type]
        self.batch_size = 1 if self._wanted == "auto" else most_frames(self._wanted, model, device, dtype)
        self._compile = options.compile
        self._streams = streams
        self._warn = warn
        self._note = note
        self._network: Callable[[Tensor], Tensor] | None = None
        # For each number of frames of each size cuDNN plans every convolution, which takes seconds (2 to 6 on an H200).
        # A small network is done with a full batch in milliseconds.
        self._plans = device.type == "cuda" and model.spread
        self._planned: dict[tuple[int, int], set[int]] = {}
        self._place()

    def settle(self) -> None:
        """Chooses the batch size by trying, and compiles, as far as the options ask for it. Takes seconds to minutes.

        Raises DeviceError where a single frame is too much, or nothing can be compiled.
        """
        if self._wanted == "auto":
            most = most_frames(MOST, self.model, self.device, self.dtype)
            self.batch_size = choose_batch_size(self._compute_zeros, self.device, self._note, most=most)
            self._streams.release()
        if self._compile:
            self._compile_network()

    def input_for(self, frame: Frame) -> InputSpec:
        """What a frame is brought to."""
        return self.model.input_for(frame.size, widening=frame.widening, photo=frame.is_photo)

    def computed_at_once(self, frames: int, spec: InputSpec) -> int:
        """The frames of that size that the network is given for these: as many, or filled up to a number it is for."""
        if self.model.fixed_batch:
            return self.model.fixed_batch
        if self._compile:
            return max(self.batch_size, frames)
        ready = self._planned.get((spec.height, spec.width), ())
        return min((count for count in ready if count >= frames), default=frames)

    def logits(self, pixels: Tensor, what: str) -> Tensor:
        """(N, C, h, w), of pictures (N, height, width, 3), RGB uint8 on the device.

        Raises RuntimeError where the device is out of memory, ModelError, which names `what`, for other failures.
        """
        given = normalise(pixels, self._mean, self._std, self.dtype)
        try:
            return self._run(given)
        except Exception as error:
            if out_of_memory(error):
                raise
            raise ModelError(f"{what}: {self.model.name} failed: {reason(error)}") from error

    def widen(self) -> None:
        """Goes to the next precision of a wider range. Raises ModelError where there is none."""
        was = PRECISION_NAMES[self.dtype]
        if self.dtype == torch.float32 or self.model.fixed_dtype:
            raise ModelError(f"{self.model.name}: its logits are not finite in {was}; the checkpoint may be damaged")
        half = self.dtype == torch.float16 and bears_bfloat16(self.device)
        self.dtype = torch.bfloat16 if half else torch.float32
        self._warn(f"{self.model.name} overflows in {was}; going on in {PRECISION_NAMES[self.dtype]}")
        self._place()
        if self._compile:
            self._compile_network()

    def shrink(self, frames: int, name: str, spec: InputSpec, error: RuntimeError) -> None:
        """Goes to half the batch of so many frames, the first called `name`, that was too large for the device.

        Raises DeviceError, for `error`, where it cannot be halved.
        """
        at_once = self.computed_at_once(frames, spec)
        if at_once == 1 or self.model.fixed_batch:
            raise DeviceError(
                f"{name}: {self.device} is out of memory for {self.model.name} on"
                f" {at_once} x {spec.height}x{spec.width} pixels in {PRECISION_NAMES[self.dtype]}"
            ) from error
        self._halve_batch_size(at_once)
        if self._compile:
            self._compile_network()

    def close(self) -> None:
        """Waits for what still uses the weights, and lets them go."""
        self._streams.wait()
        self._network = None

    def _run(self, given: Tensor) -> Tensor:
        assert self._network is not None
        logits = self._network(given)
        if self._plans:
            self._planned.setdefault((given.shape[2], given.shape[3]), set()).add(len(given))
        return logits

    def _place(self) -> None:
        try:
            self._streams.wait()  # for what still uses the weights
            self._network = None  # never two copies of them on the device
            self._planned.clear()
            self._streams.release()
            runner = self.model.runner if not self._compile else None
            forward = runner(self.device, self.dtype) if runner is not None else None
            self._network = forward or self.model.place(self.device, self.dtype)
            constant = partial(torch.tensor, dtype=torch.float32, device=self.device)
            self._mean, self._std = constant(self.model.input.mean), constant(self.model.input.std)
            self._streams.release()
        except SapiensStreamError:
            raise
        except Exception as error:
            precision = PRECISION_NAMES[self.dtype]
            if out_of_memory(error):
                raise DeviceError(f"{self.device} is out of memory for {self.model.name} in {precision}") from error
            raise ModelError(f"{self.model.name}: cannot be run on {self.device}: {reason(error)}") from error

    def _compile_network(self) -> None:
        """Compiles for `batch_size`, or what of it the device has the memory for."""
        assert self._network is not None
        self._network = compiled(self._network, self.model)
        while True:
            what = f"{self.model.name} for batches of {self.batch_size}"
            where = f"{PRECISION_NAMES[self.dtype]} on {self.device}"
            try:
                warm_up(partial(self._compute_zeros, self.batch_size), f"{what} in {where}", self._note)
                return
            except DeviceError as error:
                if self.batch_size == 1 or error.__cause__ is None or not out_of_memory(error.__cause__):
                    raise
            self._halve_batch_size(self.batch_size)

    @torch.inference_mode()
    def _compute_zeros(self, batch: int) -> None:
        """Runs the network on nothing in particular, and waits for it."""
        shape = (batch, 3, self.model.input.height, self.model.input.width)
        with self._streams.compute():
            self._run(torch.zeros(shape, device=self.device, dtype=self.dtype))
        self._streams.wait()

    def _halve_batch_size(self, at_once: int) -> None:
        self._streams.release()
        self._planned.clear()
        self.batch_size = at_once // 2
        self._warn(f"{self.device} is out of memory for {at_once} frames at once; going on with {self.batch_size}")


def reason(error: BaseException) -> str:
    """The cause in one line; TorchScript says it at the end of a traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if any(line.startswith("Traceback") for line in lines) else cause(error)
