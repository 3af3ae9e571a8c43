"""`sapiens-stream models`: the models that go by a name, fetching one, and what a file is."""

from __future__ import annotations

import json as json_format
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sapiens_stream.cli import guesses, options
from sapiens_stream.cli.console import one_line
from sapiens_stream.cli.inference_options import NAMING, takes_opening
from sapiens_stream.cli.models_export import export
from sapiens_stream.errors import UsageError
from sapiens_stream.models.options import ModelOptions
from sapiens_stream.threads import apart

if TYPE_CHECKING:
    from sapiens_stream.models.detectors import DetectorFile

models = typer.Typer(name="models", help="List the models, fetch one, look into a file.", rich_markup_mode=None)
models.command("export")(export)

_COLUMNS = ("name", "classes", "parameters", "TFLOP", "size", "licence", "on disk")
_NUMBERS = ("classes", "parameters", "TFLOP", "size")
_UNKNOWN = "-"
_WIDE = 200  # columns, where no terminal sets a limit


@models.callback(invoke_without_command=True)
def show_commands(context: typer.Context) -> None:
    """List the models, fetch one, look into a file."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@models.command("list")
def list_models(json: options.JsonAnswerOption = False) -> None:
    """List the models that go by a name.

    What they cost and allow, and whether they are on disk.
    """
    from sapiens_stream.cli.model_facts import builtin_entry, detector_entry, published_entry
    from sapiens_stream.models.catalogue import PUBLISHED
    from sapiens_stream.models.detectors import DETECTORS

    entries = [builtin_entry(), *(published_entry(model) for model in PUBLISHED.values())]
    detectors = [detector_entry(each) for each in DETECTORS.values()]
    if json:
        print(json_format.dumps({"models": entries, "detectors": detectors}))
        return

    from rich.console import Console
    from rich.table import Table

    from sapiens_stream.models.hub import amount

    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    for title in _COLUMNS:
        table.add_column(title, justify="right" if title in _NUMBERS else "left", no_wrap=title != "on disk")
    for entry in entries:
        table.add_row(*_cells(entry))
    for entry in detectors:
        here = "yes" if entry["path"] else "no"
        cells = (entry["name"], "boxes", _count(entry["parameters"]), _UNKNOWN, amount(entry["size"]))
        table.add_row(*cells, entry["licence"]["name"], here)
    console.print(table)
    console.print("boxes: of people, for --people NAME.", soft_wrap=True)
    console.print("TFLOP: what a frame costs. Fetch one: sapiens-stream models pull NAME", soft_wrap=True)


@models.command("pull")
def pull_model(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of `models list`; NAME:VARIANT for one of its files.")],
    variant: Annotated[
        str | None,
        typer.Option("--variant", help="Of Sapiens: torchscript, pth or bfloat16.", show_default="the first of them"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Fetch it again although it is on disk.")] = False,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Accept the licence, where one has to be, without being asked.")
    ] = False,
    json: options.JsonAnswerOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Fetch a model into the Hugging Face cache.

    A download that broke off goes on where it ended.
    """
    from sapiens_stream.cli.download import fetch
    from sapiens_stream.cli.model_facts import file_entry
    from sapiens_stream.models.catalogue import BUILTIN, KNOWN, lookup, meant
    from sapiens_stream.models.detectors import DETECTORS
    from sapiens_stream.models.hub import amount

    if variant and ":" in name:
        raise UsageError(f"{name} names a variant, and --variant {variant} another; give one of them")
    if name in DETECTORS:
        _pull_detector(DETECTORS[name], force=force, json=json, quiet=quiet)
        return
    choice = lookup(f"{name}:{variant}" if variant else name)
    if choice is None and name == BUILTIN:
        raise UsageError(f"{BUILTIN} comes with the package; there is nothing to fetch")
    if choice is None:
        there = [each for each in (*KNOWN, *DETECTORS) if each != BUILTIN]
        raise UsageError(f"no model {name!r} to fetch; there is {', '.join(there)}{meant(name, there)}")
    here = fetch(choice, force=force, accept_licence=accept_licence, quiet=quiet)
    if json:
        print(json_format.dumps(file_entry(choice.model, here.file.variant) | {"name": here.name}))
    elif not quiet:
        print(f"{here.name} is on disk ({amount(here.path.stat().st_size)}): {here.path}")


def _pull_detector(detector: DetectorFile, *, force: bool, json: bool, quiet: bool) -> None:
    from sapiens_stream.cli.download import fetch_detector
    from sapiens_stream.cli.model_facts import detector_entry
    from sapiens_stream.models.hub import amount

    path = fetch_detector(detector, force=force, quiet=quiet)
    if json:
        print(json_format.dumps(detector_entry(detector)))
    elif not quiet:
        print(f"{detector.name} is on disk ({amount(path.stat().st_size)}): {path}")


@models.command("info")
@takes_opening("trust", *NAMING)
def show_model(
    name_or_path: Annotated[str, typer.Argument(metavar="NAME|PATH", help="A name of `models list`, or a file.")],
    sha256: Annotated[bool, typer.Option("--sha256", help="Read the whole file for its checksum.")] = False,
    *,
    opening: ModelOptions,
    json: options.JsonAnswerOption = False,
) -> None:
    """Say what a model or a file is.

    Its classes, size, precision, and what runs it.
    """
    from sapiens_stream.cli.model_facts import facts_of
    from sapiens_stream.models.detectors import DETECTORS

    if name_or_path not in DETECTORS:
        guesses.check_model(name_or_path)

    facts = apart(partial(facts_of, name_or_path, sha256, opening))
    if json:
        print(json_format.dumps(facts))
        return
    for title, text in _rows(facts):
        print(f"  {title:<11} {one_line(text)}")


def _rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    from sapiens_stream.models.hub import amount

    rows = [("name", facts.get("name")), ("file", facts.get("path"))]
    if facts.get("path") is None:
        rows.append(("on disk", f"no; fetch it: sapiens-stream models pull {facts['name']}"))
    rows += [
        ("format", facts.get("format")),
        ("classes", facts.get("classes")),
        ("parameters", _count(facts["parameters"])),
        ("precision", facts.get("precision")),
        ("size", amount(facts["size"]) if facts.get("size") else None),
        ("input", "{}x{} (height x width)".format(*facts["input"]) if facts.get("input") else None),
        ("cost", f"{facts['tflop']} TFLOP a frame" if facts.get("tflop") else None),
        ("licence", "{name}. {terms} {url}".format(**facts["licence"]) if "licence" in facts else None),
        ("run by", _run_by(facts) if facts.get("run_by") else None),
        ("assumed", facts.get("assumed")),
        ("not run", facts.get("problem")),
    ]
    if "sha256_of_the_hub" in facts:
        rows.append(("sha256", facts["sha256"] + _verdict(facts)))
    return [(title, str(value)) for title, value in rows if value is not None]


def _run_by(facts: dict[str, Any]) -> str:
    from sapiens_stream.models.families import FAMILIES

    format_ = {"torchscript": "TorchScript", "torch-export": "torch.export", "onnx": "ONNX"}.get(facts["format"])
    family = next((each for each in FAMILIES if each.name == facts["family"]), None)
    return family.run_by.format(format=format_) if family is not None else str(facts["run_by"])


def _verdict(facts: dict[str, Any]) -> str:
    expected = facts["sha256_of_the_hub"]
    if expected is None:
        return ""
    if expected == facts["sha256"]:
        return " (as the hub says)"
    return f" (NOT the hub's, {expected}; fetch it again: sapiens-stream models pull {facts.get('name')} --force)"


def _cells(entry: dict[str, Any]) -> list[str]:
    from sapiens_stream.models.hub import amount

    files = entry["files"]
    sizes = [amount(file["size"]) for file in files if file["size"]]
    return [
        entry["name"],
        str(entry["classes"]),
        _count(entry["parameters"]),
        str(entry["tflop"] or _UNKNOWN),
        sizes[0] if sizes else _UNKNOWN,
        entry["licence"]["name"],
        ", ".join(filter(None, (_presence(file) for file in files))) or "no",
    ]


def _presence(file: dict[str, Any]) -> str:
    from sapiens_stream.models.hub import amount

    if file["damaged"]:
        return f"{file['variant']} (damaged)"
    if file["path"]:
        return "yes" if file["variant"] == "safetensors" else str(file["variant"])
    return f"{file['variant']} (first {amount(file['fetched'])})" if file["fetched"] else ""


def _count(number: int) -> str:
    return f"{number / 1e9:.2f} B" if number >= 1e8 else f"{number / 1e6:.2f} M"
