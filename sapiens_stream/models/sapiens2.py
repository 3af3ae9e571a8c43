"""Sapiens2 checkpoints: weights alone (safetensors), run by the networks in the library `transformers`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from sapiens_stream.classes import MAX_CLASSES
from sapiens_stream.errors import ModelError, UsageError, cause
from sapiens_stream.install_line import install_line
from sapiens_stream.models.interface import DEFAULT_SHAPE, Shape, naming
from sapiens_stream.models.model import Network
from sapiens_stream.models.weights import read_shapes

TRANSFORMERS = (5, 10, 1)
"""The oldest release that has the network."""

# Each tensor as Meta's files name it, and as transformers does.
_PATCHES = r"(?:patch_embed\.projection|embeddings\.patch_embeddings)\.weight$"
_REGISTERS = r"(?:storage_tokens|embeddings\.register_tokens)$"
_QUERY_NORM = r"\.(\d+)\.(?:attn|attention)\.q_norm\.weight$"
_QUERY = r"\.(\d+)\.(?:attn\.wq|attention\.q_proj)\.weight$"
_KEY = r"\.(\d+)\.(?:attn\.wk|attention\.k_proj)\.weight$"
_MLP_DOWN = r"\.(\d+)\.(?:ffn\.w3|mlp\.down_proj)\.weight$"
_MLP_GATE = r"\.(\d+)\.(?:ffn\.w12|mlp\.gate_proj)\.weight$"
_CONVOLVE = r"^decode_head\.conv_layers\.(\d+)(?:\.convolution)?\.weight$"
_BEFORE_UPSAMPLING = r"^decode_head\.input_conv\.(?:0|convolution)\.weight$"
_BIASES = {
    "query_bias": r"\.(?:attn\.wq|attention\.q_proj)\.bias$",
    "key_bias": r"\.(?:attn\.wk|attention\.k_proj)\.bias$",
    "value_bias": r"\.(?:attn\.wv|attention\.v_proj)\.bias$",
    "proj_bias": r"\.(?:attn\.proj|attention\.o_proj)\.bias$",
    "mlp_bias": r"\.(?:ffn\.w3|mlp\.down_proj)\.bias$",
}
_UNTOLD = ("hidden_act", "rope_theta", "rms_norm_eps")
"""Settings that no tensor's shape tells."""

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class Head:
    """What a network tells of each pixel: the library's class, and its tensors' names.

    `spread` says that four channels of a convolution become one of twice the size; else its transpose upsamples.
    """

    network: str
    task: str
    upsample: str
    predict: str
    named: str
    spread: bool = False


SEGMENTATION = Head(
    network="Sapiens2ForSemanticSegmentation",
    task="segmentation",
    upsample=r"^decode_head\.(?:deconv_layers\.(\d+)|upsample_layers\.(\d+)\.convolution)\.weight$",
    predict=r"^decode_head\.(?:conv_seg|predictor)\.weight$",
    named="classifier (decode_head.conv_seg)",
)
MATTING = Head(
    network="Sapiens2ForImageMatting",
    task="matting",
    upsample=r"^decode_head\.(?:upsample_blocks\.(\d+)\.0|upsample_layers\.(\d+)\.convolution)\.weight$",
    predict=r"^decode_head\.(?:conv_matting|predictor)\.weight$",
    named="colours and alpha (decode_head.conv_matting)",
    spread=True,
)
_LEAST_ALPHA = 1e-6
"""So that the logit of what is opaque or clear is finite; less than a level of 16 bits."""
_COLOURS_AND_ALPHA = 4
"""Channels of the matting network: red, green and blue, multiplied by the alpha, and that."""


def is_sapiens2(shapes: Shapes) -> bool:
    """Whether tensors of these names are of a Sapiens2 network, for whatever task."""
    return any(re.search(_QUERY_NORM, name) for name in shapes)


def is_matting(shapes: Shapes) -> bool:
    """Whether they are of the Sapiens2 network that tells how opaque people are."""
    sizes = [size[0] for name, size in shapes.items() if re.search(MATTING.predict, name)]
    spread = any(re.search(_BEFORE_UPSAMPLING, name) for name in shapes)
    return is_sapiens2(shapes) and spread and sizes == [_COLOURS_AND_ALPHA]


def shapes_of(path: Path) -> Shapes:
    """Of the tensors in a file, or in that of a folder which counts. Raises ModelError."""
    with naming(path):
        file = _weights_file(path)
    return read_shapes(file)


def open_sapiens2(path: Path, shape: Shape | None = None, head: Head = SEGMENTATION) -> Network:
    """Opens a Sapiens2 safetensors file, or a folder of transformers (config.json and model.safetensors).

    The network's sizes are read off the tensors' shapes, so that the file alone will do; what they do not tell is
    taken from a config.json beside it, or is as published. `shape` is the (height, width) to feed it, 1024x768 unless
    given. No weights are read before the model is placed; nothing is fetched, no code of the checkpoint's is run. The
    logits of a matting network are one channel, those of its alpha.

    Raises ModelError for a file that is none or does not fit the network, and where transformers is missing, which it
    says how to install; UsageError for a shape that is not of whole patches.
    """
    with naming(path):
        file = _weights_file(path)
    shapes = read_shapes(file)
    with naming(path):
        sizes = Sizes.of(shapes, head)
        _check_library()
        settings = {**sizes.settings, **_told_beside(file)}
    height, width = shape or DEFAULT_SHAPE
    if height % sizes.patch or width % sizes.patch:
        raise UsageError(f"a shape of {height}x{width} (height x width); {path} takes multiples of {sizes.patch}")

    def place(device: torch.device, dtype: torch.dtype) -> Callable[[torch.Tensor], torch.Tensor]:
        with naming(path):
            network = _load(file, settings | {"image_size": [height, width]}, dtype, head)
        return (_AlphaLogits if head is MATTING else _Logits)(network).to(device)

    return Network(
        kind="sapiens2" if head is SEGMENTATION else "sapiens2-matting",
        channels=1 if head is MATTING else sizes.classes,
        size=(height, width),
        logits_size=(height // sizes.patch * sizes.scale, width // sizes.patch * sizes.scale),
        place=place,
        dtype=torch.bfloat16,  # what the published weights were trained in; their files hold it as float32
        path=file,
    )


@dataclass(frozen=True)
class Sizes:
    """A network's sizes: `settings` are those of transformers' Sapiens2Config."""

    patch: int
    scale: int
    """Logits a patch, along each side."""
    classes: int
    settings: Mapping[str, Any]

    @classmethod
    def of(cls, shapes: Shapes, head: Head = SEGMENTATION) -> Sizes:
        """Raises ModelError where a tensor is missing without which there is no such head."""
        hidden, _, patch, _ = _only(shapes, _PATCHES, "patch embedding")
        head_width = _only(shapes, _QUERY_NORM, "normalised queries")[0]
        keys = _layers(shapes, _KEY)
        up, refine = _layers(shapes, head.upsample), _layers(shapes, _CONVOLVE)
        classes = _only(shapes, head.predict, f"{head.named}: it is not of the {head.task} model")[0]
        if not up or not 1 <= classes <= MAX_CLASSES or (head is MATTING and classes != _COLOURS_AND_ALPHA):
            raise ModelError(f"is not a {head.task} model of Sapiens2: {len(up)} upsampling steps, {classes} channels")
        registers = [size for name, size in shapes.items() if re.search(_REGISTERS, name)]
        settings = {
            "patch_size": patch,
            "hidden_size": hidden,
            "intermediate_size": _only(shapes, _MLP_DOWN, "feed-forward layers")[1],
            "num_hidden_layers": len(_layers(shapes, _QUERY)),
            "num_attention_heads": hidden // head_width,
            "num_key_value_heads_per_layer": [size[0] // head_width for size in keys],
            "num_register_tokens": registers[0][1] if registers else 0,
            "use_gated_mlp": any(re.search(_MLP_GATE, name) for name in shapes),
            "num_labels": classes,
            "head_config": {
                "use_pixel_shuffle": head.spread or None,
                "upsample_out_channels": [size[0] // 4 if head.spread else size[1] for size in up],
                "upsample_kernel_sizes": [size[2] for size in up],
                "conv_out_channels": [size[0] for size in refine],
                "conv_kernel_sizes": [size[2] for size in refine],
            },
            **{name: any(re.search(bias, each) for each in shapes) for name, bias in _BIASES.items()},
        }
        return cls(patch=patch, scale=2 ** len(up), classes=classes, settings=settings)


def _only(shapes: Shapes, pattern: str, what: str) -> tuple[int, ...]:
    """The shape of the first tensor of that name; every layer's is the same."""
    for name, size in shapes.items():
        if re.search(pattern, name):
            return size
    raise ModelError(f"holds no Sapiens2 segmentation network: it has no {what}")


def _layers(shapes: Shapes, pattern: str) -> list[tuple[int, ...]]:
    """The shapes of the tensors of that name, by the number of their layer."""
    found = {}
    for name, size in shapes.items():
        if match := re.search(pattern, name):
            found[int(next(filter(None, match.groups())))] = size
    return [found[layer] for layer in sorted(found)]


def _weights_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    files = sorted(path.glob("*.safetensors"))
    file = path / "model.safetensors"
    if file not in files and len(files) != 1:
        raise ModelError(f"is a folder of {len(files)} safetensors files; one is needed, model.safetensors")
    return file if file in files else files[0]


def _told_beside(file: Path) -> dict[str, Any]:
    """What a Sapiens2 config.json beside the weights says of what their shapes do not tell."""
    try:
        config = json.loads(file.with_name("config.json").read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(config, dict) or config.get("model_type") != "sapiens2":
        return {}
    return {name: config[name] for name in _UNTOLD if name in config}


def _check_library() -> None:
    needs = "is a Sapiens2 checkpoint, which the library transformers runs"
    install = install_line("sapiens2")
    try:
        version = metadata.version("transformers")
    except metadata.PackageNotFoundError:
        raise ModelError(f"{needs}: {install}") from None
    if tuple(int(part) for part in re.findall(r"\d+", version)[:3]) < TRANSFORMERS:
        raise ModelError(f"{needs} from {'.'.join(map(str, TRANSFORMERS))} on; {version} is installed: {install}")


def _load(file: Path, settings: Mapping[str, Any], dtype: torch.dtype, head: Head) -> torch.nn.Module:
    try:
        import transformers
        from transformers import PreTrainedModel, Sapiens2Config

        network_type = getattr(transformers, head.network)
    except (ImportError, AttributeError) as error:
        raise ModelError(f"needs the library transformers with {head.network}, which fails: {cause(error)}") from error
    try:
        weights = load_file(file)
        with _quiet_transformers():
            network, told = network_type.from_pretrained(
                None,
                config=Sapiens2Config(**settings),
                state_dict=weights,
                dtype=dtype,
                local_files_only=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except (SafetensorError, OSError, RuntimeError, ValueError, TypeError) as error:
        raise ModelError(f"cannot be loaded as a Sapiens2 network: {cause(error)}") from error
    wrong = {
        "missing": sorted(told["missing_keys"]),
        "unknown": sorted(told["unexpected_keys"]),
        "misshapen": sorted(name for name, *_ in told["mismatched_keys"]),
    }
    if any(wrong.values()):
        listed = "; ".join(f"{len(names)} {kind}: {_some(names)}" for kind, names in wrong.items() if names)
        raise ModelError(f"does not hold the weights of this Sapiens2 network: {listed}")
    for part in network.modules():
        if isinstance(part, PreTrainedModel):
            part.loss_function = None  # whatever traces the network asks for it, and is answered with a warning
    return network.eval().requires_grad_(False)  # type: ignore[no-any-return]


class _Logits(torch.nn.Module):
    """The network of the library, which returns more than logits."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.network(pixels).logits)


class _AlphaLogits(torch.nn.Module):
    """The same of a matting network: its alpha, as the logit whose probability it is. Its colours are not used."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.logit(cast(torch.Tensor, self.network(pixels).alphas).float(), eps=_LEAST_ALPHA)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Keeps its progress bar and report from the terminal: what matters of it is raised."""
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
