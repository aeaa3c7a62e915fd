"""Notebooks with faults planted on purpose, as text in `planted/`, and the small data they read.

A file opens with ``faults:``, each as rule@cell, or none. Cells follow: ``# %% md`` opens prose, ``# %%``
code, ``# %% [7]`` code that was run seventh when the notebook was saved, ``out`` after it a saved output.
"""

import re
import sqlite3
from pathlib import Path
from typing import NamedTuple

import nbformat
import numpy as np
import pandas as pd
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from takeoff import dataset

FOLDER = Path(__file__).parent / "planted"
ROWS = 120


class Planted(NamedTuple):
    """A notebook and its faults: (rule, number of the cell among all cells, from 1)."""

    name: str
    faults: frozenset[tuple[str, int]]
    notebook: nbformat.NotebookNode


def planted(folder: Path = FOLDER) -> list[Planted]:
    return [read(path) for path in sorted(folder.glob("*.txt"))]


def read(path: Path) -> Planted:
    head, _, body = path.read_text(encoding="utf-8").partition("# %%")
    faults = re.search(r"^faults:(.*)$", head, re.M)
    assert faults, f"{path.name} does not say what was planted"
    pairs = (each.split("@") for each in faults[1].split() if "@" in each)
    return Planted(
        path.stem, frozenset((rule, int(cell)) for rule, cell in pairs), notebook_of("# %%" + body)
    )


def notebook_of(text: str) -> nbformat.NotebookNode:
    """A notebook from its cells as text; see the module."""
    parts = re.split(r"^# %%([^\n]*)\n", text, flags=re.M)[1:]
    return new_notebook(
        cells=[_cell(head, source.strip("\n")) for head, source in zip(parts[::2], parts[1::2], strict=True)],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )


def write(notebook: nbformat.NotebookNode, path: Path) -> Path:
    nbformat.write(notebook, path)
    return path


def _cell(head: str, source: str) -> nbformat.NotebookNode:
    if "md" in head:
        return new_markdown_cell(source)
    count = re.search(r"\[(\d+)\]", head)
    outputs = [new_output("stream", text="it worked\n")] if "out" in head else []
    return new_code_cell(source, execution_count=int(count[1]) if count else None, outputs=outputs)


def write_data(folder: Path) -> None:
    """The tables that the notebooks read, a hundred or so made-up rows each, and some of the real flights."""
    rng = np.random.default_rng(5)
    days = pd.Series(pd.date_range("2023-01-01", periods=ROWS, freq="D").strftime("%Y-%m-%d"))
    event = pd.Series((rng.random(ROWS) < 0.4).astype(int))
    tables = {
        "churn": {
            "customer_id": np.arange(ROWS),
            "signup_date": days,
            "tenure_months": rng.integers(1, 60, ROWS),
            "plan": rng.choice(["basic", "plus"], ROWS),
            "monthly_fee": rng.normal(30, 5, ROWS) + event,
            "support_calls": rng.poisson(2, ROWS),
            "cancellation_reason": event.map({0: "none", 1: "price"}),
            "churned": event,
        },
        "houses": {
            "id": np.arange(ROWS),
            "area": rng.normal(100, 20, ROWS),
            "rooms": rng.integers(1, 8, ROWS),
            "year_built": rng.integers(1900, 2020, ROWS),
            "district": rng.choice(["north", "south", "west"], ROWS),
            "garden": rng.normal(50, 9, ROWS),
            "price": rng.normal(300_000, 50_000, ROWS),
        },
        "sales": {
            "date": days,
            "store": rng.choice(["a", "b"], ROWS),
            "promo": rng.integers(0, 2, ROWS),
            "temperature": rng.normal(12, 6, ROWS),
            "sales": rng.normal(200, 30, ROWS),
        },
        "tickets": {
            "ticket_id": np.arange(ROWS),
            "created_at": days,
            "text": rng.choice(["Printer broken again", "cannot log in", "Slow network today"], ROWS),
            "priority": rng.integers(1, 4, ROWS),
            "resolution_hours": rng.exponential(9, ROWS),
            "escalated": event,
        },
        "wine": {
            "alcohol": rng.normal(11, 1, ROWS),
            "acidity": rng.normal(3, 0.4, ROWS),
            "sugar": rng.normal(5, 1, ROWS),
            "quality": rng.choice(["low", "middle", "high"], ROWS),
        },
        "patients": {
            "patient_id": np.arange(ROWS),
            "age": rng.integers(20, 90, ROWS),
            "bmi": rng.normal(27, 4, ROWS),
            "glucose": rng.normal(100, 15, ROWS),
            "readmitted": event,
        },
    }
    for name, columns in tables.items():
        pd.DataFrame(columns).to_csv(folder / f"{name}.csv", index=False)
    pd.DataFrame(tables["tickets"]).to_json(folder / "tickets.json", orient="records", lines=True)
    pd.DataFrame(
        {
            "loan_id": np.arange(ROWS),
            "issue_month": days.str[:7],
            "amount": rng.normal(9000, 2000, ROWS),
            "income": rng.normal(50_000, 9000, ROWS),
            "grade": rng.choice(list("ABC"), ROWS),
            "recoveries": rng.exponential(100, ROWS) * event,
            "defaulted": event,
        }
    ).to_parquet(folder / "loans.parquet")
    with sqlite3.connect(folder / "sensors.db") as connection:
        pd.DataFrame(
            {
                "ts": days,
                "machine": rng.choice(["m1", "m2"], ROWS),
                "temp": rng.normal(60, 5, ROWS),
                "vibration": rng.normal(1, 0.1, ROWS),
                "pressure": rng.normal(5, 1, ROWS),
                "failed": event,
            }
        ).to_sql("readings", connection, index=False)
    np.savez(folder / "signals.npz", x=rng.normal(size=(ROWS, 6)), y=event.to_numpy())
    flights = pd.read_csv(dataset.raw_files()["flights"], nrows=4000)
    flights.iloc[::20].to_csv(folder / "flights.csv", index=False)
