"""`python -m sapiens_stream`: the command line."""

from sapiens_stream.cli import main

if __name__ == "__main__":
    main()
