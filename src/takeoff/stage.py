"""How every command ends: with its result, or with one plain message and a non-zero exit code."""

import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from takeoff.contract import Contract, read_contract
from takeoff.errors import TakeoffError
from takeoff.params import Params, read_params

WIDTH_WITHOUT_TERMINAL = 140
HERE = Path()  # stages and commands run in the project folder


def run(main: Callable[[], None]) -> None:
    """Run `main`; an expected failure prints its text and exits 1, an interrupt exits 130."""
    try:
        main()
    except TakeoffError as error:
        print(f"\n{error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("\nInterrupted. Nothing half-written is left; run it again to go on.", file=sys.stderr)
        sys.exit(130)


def show(content: object) -> None:
    """Print a rich table or text; in full width where the output is no terminal."""
    Console(width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL).print(content)


def read_config(folder: Path = HERE) -> tuple[Contract, Params]:
    """Contract and parameters of the project in `folder`.

    Raises:
        TakeoffError: a file is missing or says something that is not allowed.
    """
    contract = read_contract(folder)
    return contract, read_params(folder, contract)
