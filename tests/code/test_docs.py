"""What the documents say about the project is true of the project."""

import re
from pathlib import Path

import pytest

from serving.openapi import document
from serving.settings import ServiceSettings
from takeoff.contract import Column, Contract, read_contract

ROOT = Path(__file__).parents[2]
FOLDERS = (".", "data", "notebooks", "serving", "monitoring")
DOCUMENTS = sorted(path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).glob("*.md"))

TABLE_HEAD = "| column | type | unit | allowed | may be missing | what it is |\n|---|---|---|---|---|---|\n"


def table_of_columns(contract: Contract) -> str:
    target = contract.target
    rows = [
        (contract.id, "text", "", "", "no", "tells rows apart; different in every row"),
        (contract.time.column, "instant", "UTC", "", "no", "when it was due; rows are split by it"),
        (target.known_at, "instant", "UTC", "", "yes", "when the truth is known"),
        (target.column, "category", "", ", ".join(target.classes), "yes", "the truth"),
        *((name, *describe(column)) for name, column in contract.columns.items()),
    ]
    return TABLE_HEAD + "".join(f"| `{name}` | {' | '.join(cells)} |\n" for name, *cells in rows)


def describe(column: Column) -> tuple[str, str, str, str, str]:
    share = f"up to {column.missing:.0%} of rows" if column.missing else "no"
    return column.type, column.unit or "", allowed(column), share, column.about


def allowed(column: Column) -> str:
    if column.values is not None:
        return ", ".join(column.values)
    if column.pattern is not None:
        return f"`{column.pattern}`".replace("|", "\\|")
    bounds = (("from", column.min), ("to", column.max))
    return " ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)


def test_the_column_table_in_the_data_readme_is_the_contract():
    expected = table_of_columns(read_contract(ROOT))

    document = (ROOT / "data" / "README.md").read_text(encoding="utf-8")

    assert expected in document, f"The table in data/README.md is out of date. It should be:\n\n{expected}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_every_link_to_a_file_leads_to_one(document):
    text = (ROOT / document).read_text(encoding="utf-8")

    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    dead = [
        target
        for target in targets
        if target and "://" not in target and not ((ROOT / document).parent / target).exists()
    ]

    assert dead == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_every_make_command_in_a_document_exists(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    commands = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))

    # Commands stand in `code`, or at the start of a line of a code block.
    named = set(re.findall(r"(?:`|^ *(?:\$ )?)make ([a-z-]+)", text, re.MULTILINE))

    assert named - commands == set()


def test_the_service_readme_has_every_setting_with_its_default():
    text = (ROOT / "serving" / "README.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| `TAKEOFF_(\w+)` \| ([^|]+) \|", text, flags=re.MULTILINE))

    assert set(table) == {name.upper() for name in ServiceSettings.model_fields}
    for name, field in ServiceSettings.model_fields.items():
        default = field.default
        if isinstance(default, bool):
            assert table[name.upper()].strip() == str(default).lower()
        elif isinstance(default, int | float):
            assert float(table[name.upper()].replace(",", "")) == default


def test_the_service_readme_has_every_endpoint():
    text = (ROOT / "serving" / "README.md").read_text(encoding="utf-8")

    endpoints = document(read_contract(ROOT), needs_key=False)["paths"]

    assert [path for path in endpoints if f"{path}`" not in text] == []
