"""Where the program starts: loads the command line and runs it. A library that cannot be loaded is one line."""

from __future__ import annotations

import sys
from typing import NoReturn

from sapiens_stream.cores import keep_to_quota
from sapiens_stream.errors import cause, out_of_memory

_FAILED, _INTERRUPTED = 1, 130  # as `cli.exit_codes`, which is not loaded yet


def main() -> NoReturn:
    """Runs the program and exits with its code."""
    keep_to_quota()
    try:
        from sapiens_stream.cli import main as run
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except (ImportError, MemoryError, OSError, RuntimeError) as error:
        if not (isinstance(error, ImportError) or out_of_memory(error)):
            raise
        print(f"error: {cause(error)}", file=sys.stderr)
        sys.exit(_FAILED)
    try:
        run()
    except SystemExit as end:
        from sapiens_stream.cli.leaving import end_process

        end_process(end.code if isinstance(end.code, int) else _FAILED)
        raise


if __name__ == "__main__":
    main()
