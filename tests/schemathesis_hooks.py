"""Loaded by schemathesis: keeps the answers to predictions, since its own reports cut large ones."""

from pathlib import Path
from typing import Any

import schemathesis

ANSWERS = Path("answers")  # where schemathesis runs


@schemathesis.hook  # type: ignore[untyped-decorator]
def after_call(context: Any, case: Any, response: Any) -> None:
    """One line for each answer of 200 to a prediction."""
    if response.status_code == 200 and case.operation.path.startswith("/predict"):
        with ANSWERS.open("ab") as file:
            file.write(response.content + b"\n")
