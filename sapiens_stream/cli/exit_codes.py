"""What the program's exit code says."""

DONE = 0
FAILED = 1
WRONG_USAGE = 2
SOME_SKIPPED = 3
INTERRUPTED = 130
