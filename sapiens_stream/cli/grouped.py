"""Options that are one value in the program: a command takes them as one argument, a user one by one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any


def grouped(
    argument: str, build: Callable[..., Any], options: Mapping[str, Any], **defaults: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Has a command's `argument` built of options, which stand in its place on the command line.

    `options` are the annotations of each by its name, `defaults` the defaults of these, and `build` makes the argument
    of the values.

    >>> @grouped("fit", Fit, {"width": Annotated[int, typer.Option("--width")]}, width=10)
    ... def command(name: str = "", *, fit: Fit) -> None: ...
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        parameters: list[inspect.Parameter] = []
        for each in signature.parameters.values():
            if each.name == argument:
                parameters += [
                    each.replace(name=name, default=defaults[name], annotation=annotation)
                    for name, annotation in options.items()
                ]
            else:
                parameters.append(each)
        flat = signature.replace(parameters=parameters)

        @wraps(command)
        def wrapper(*args: Any, **kwargs: Any) -> None:
            given = flat.bind(*args, **kwargs)
            given.apply_defaults()
            values = dict(given.arguments)
            built = build(**{name: values.pop(name) for name in options})
            command(**values, **{argument: built})

        wrapper.__signature__ = flat  # type: ignore[attr-defined]
        wrapper.__annotations__ = {each.name: each.annotation for each in parameters} | {"return": None}
        return wrapper

    return decorate
