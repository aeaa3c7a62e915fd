"""What can't be promoted is refused with its name, its cell, its line and what to do."""

from pathlib import Path
from textwrap import dedent

import pytest

from takeoff.errors import TakeoffError
from takeoff.promotion.module import generate
from takeoff.promotion.trial import record
from tests.promotion.promoting import CALL, SETTINGS, refusal, written

# The tagged cell that uses `x`: cell 2 where nothing stands before it, its line 2 where nothing is said.
USES_X = """
# %% candidate
def fit(fit, validation, settings, contract, seed):
    return x
"""
OPENING = """
# %% code
from takeoff.notebook import open_project
project = open_project()
contract, params = project.contract, project.params
train = project.rows("fit")
"""

# What defines `x` in cell 2, and what is said about it besides "cell 3, line 2: `x`".
UNFIT = {
    "rows read by pandas": (
        "import pandas as pd\nx = pd.read_csv('a.csv')",
        "`pd.read_csv(...)` (cell 2, line 2)",
    ),
    "a frame written down": ("import pandas as pd\nx = pd.DataFrame({'a': [1]})", "is a table of data"),
    "a series": ("from pandas import Series\nx = Series([1])", "is a table of data"),
    "an open file": ("x = open('a.txt')", "opens a file: `open(...)` (cell 2, line 1)"),
    "a file in a with block": (
        "with open('a.txt') as x:\n    pass",
        "comes from a `with` block (cell 2, line 1)",
    ),
    "text of a file": (
        "from pathlib import Path\nx = Path('a').open().read()",
        "reads data: `Path(...).read(...)`",
    ),
    "the result of a shell command": ("x = !ls -l", "runs a command: `get_ipython(...)` (cell 2, line 1)"),
    "the result of a magic": ("x = %sql SELECT 1", "runs a command: `get_ipython(...)`"),
    "what a cell magic caught": ("%%capture x\nprint(1)", "runs a command: `get_ipython(...)`"),
    "a subprocess": ("import subprocess\nx = subprocess.check_output('ls')", "runs a command"),
    "a loop's variable": ("for x in range(3):\n    pass", "comes from a `for` loop (cell 2, line 1)"),
    "a branch": ("if len('a'):\n    x = 1\nelse:\n    x = 2", "comes from an `if` block (cell 2, line 2)"),
    "a loop": ("y = 1\nwhile y < 2:\n    y = x = y + 1", "comes from a `while` loop (cell 2, line 3)"),
    "an error": ("try:\n    y = 1 / 0\nexcept ZeroDivisionError as x:\n    pass", "comes from a `try` block"),
    "a match": ("match [1]:\n    case [x]:\n        pass", "comes from a `match` block (cell 2, line 2)"),
    "what was deleted": (
        "x = 1\ndel x",
        "comes from `del` (cell 2, line 2). Keep it until the last call of `fit`",
    ),
    "a number drawn": (
        "import numpy as np\nx = np.random.normal()",
        "depends on chance: `np.random.normal(...)`",
    ),
    "a generator": ("x = (each for each in range(3))", "is a generator, which can be used only once"),
    "the time": ("import datetime as dt\nx = dt.datetime.now()", "depends on when it runs"),
    "the environment": ("import os\nx = os.environ['HOME']", "depends on the machine: `os.environ`"),
    "what is typed in": ("x = input()", "reads data: `input(...)`"),
    "a fitted model": (
        "from sklearn.linear_model import Ridge\nx = Ridge().fit([[1]], [1])",
        "fits or predicts: `Ridge(...).fit(...)`",
    ),
    "a function that reads": (
        "def f():\n    return open('a').read()\nx = f()",
        "reads data: `open(...).read(...)`",
    ),
    "something to display with": ("from IPython.display import display as x", "belongs to notebooks"),
    "a relative import": ("from . import x", "is imported from a folder that a notebook does not have"),
    "a list that is changed": ("x = [1]\nx.append(2)", "`x.append(2)` changes `x` of cell 2, line 1"),
    "a dictionary that is changed": (
        "x = {}\nfor y in 'ab':\n    x[y] = 1",
        "a `for` loop changes `x` of cell 2",
    ),
    "a class that is changed": (
        "class x:\n    pass\nx.size = 3",
        "`x.size = 3` changes `x` of cell 2, line 1",
    ),
}


@pytest.mark.parametrize(("cell", "said"), UNFIT.values(), ids=UNFIT.keys())
def test_what_no_module_can_hold_is_refused_where_it_is_used(cell: str, said: str, tmp_path: Path) -> None:
    words = refusal(f"{SETTINGS}\n# %% code\n{cell}\n{USES_X}{CALL}", tmp_path)

    assert said in words
    assert "cell 3, line 2: `x`" in words or "cell 2, line" in words


def test_what_is_computed_from_data_is_refused_with_the_data_it_comes_from(tmp_path: Path) -> None:
    cells = OPENING + "# %% code\nmiddle = train['distance'].median()\nx = round(middle, 1)\n"

    words = refusal(SETTINGS + cells + USES_X + CALL, tmp_path)

    assert (
        "cell 4, line 2: `x` needs `train` (cell 3, line 1), which reads data: `project.rows(...)` "
        "(cell 2, line 4)." in words
    )
    assert "Pass it to `fit`, compute it inside `fit`, or write it as a literal." in words


@pytest.mark.parametrize(
    ("name", "advice"),
    [("contract", "`fit` is given `contract`: hand it on"), ("params", "belongs into `Settings`")],
)
def test_a_helper_that_takes_the_notebooks_own_contract_is_told_where_to_have_it_from(
    name: str, advice: str, tmp_path: Path
) -> None:
    helper = f"# %% candidate\ndef numbers():\n    return {name}.numbers\n"

    words = refusal(
        SETTINGS + OPENING + helper + USES_X.replace("return x", "return numbers()") + CALL, tmp_path
    )

    assert f"cell 3, line 2: `{name}` needs `project` (cell 2, line 3), which opens the project" in words
    assert advice in words


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere", "is not defined in this notebook"),
        ("display", "belongs to notebooks"),
        ("Out", "history of inputs and outputs"),
        ("_", "history of inputs and outputs"),
        ("_12", "history of inputs and outputs"),
        ("get_ipython", "magics and shell commands"),
    ],
)
def test_a_name_that_no_cell_defines_is_refused(name: str, said: str, tmp_path: Path) -> None:
    words = refusal(SETTINGS + USES_X.replace("x", name) + CALL, tmp_path)

    assert f"cell 2, line 2: `{name}`" in words
    assert said in words


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("display(1)", "`display` (cell 2, line 4), which belongs to notebooks"),
        ("!ls", "`get_ipython` (cell 2, line 4), which is the notebook itself: magics and shell commands"),
        ("nowhere", "`nowhere` (cell 2, line 4), which is not defined in this notebook"),
    ],
    ids=["display", "a shell command", "an undefined name"],
)
def test_what_a_helper_that_is_pulled_in_needs_is_refused_where_it_stands(
    line: str, said: str, tmp_path: Path
) -> None:
    helper = f"# %% code\ndef x():\n    y = 1\n    # A look.\n    {line}\n    return y\n"

    words = refusal(SETTINGS + helper + USES_X.replace("return x", "return x()") + CALL, tmp_path)

    assert f"cell 3, line 2: `x` needs {said}" in words


# A tagged cell, the line that is told and what is said of it.
OUT_OF_PLACE = {
    "a call": ("y = 1\nprint(y)", 2, "`print(y)` defines nothing that a module can hold"),
    "a call of fit": ("result = fit(1, 2, Settings(), 4, 5)", 1, "fits or predicts: `fit(...)`"),
    "a loop": ("for y in 'ab':\n    pass", 1, "a `for` loop defines nothing"),
    "a magic": ("%matplotlib inline\ny = 1", 1, "`%matplotlib inline` is a magic or a shell command"),
    "a shell command": ("y = 1\n!pip install x", 2, "`!pip install x` is a magic or a shell command"),
    "its result": ("y = 1\n\ny = !ls", 3, "`y = !ls` is a magic or a shell command"),
    "help": ("y = 1\ny?", 2, "`y?` is a magic or a shell command"),
    "a cell magic": ("\n%%time\ny = 1", 2, "`%%time` is a magic or a shell command"),
    "a star import": ("from math import *", 1, "does not say what it imports"),
    "a deletion": ("y = 1\ndel y", 2, "`del` defines nothing"),
    "a name read from a file": ("y = open('a').read()", 1, "`y` reads data: `open(...).read(...)`"),
    "an assertion": ("assert True", 1, "`assert True` defines nothing"),
    "a setting of a library": ("import math\nmath.pi = 3", 2, "`math.pi = 3` defines nothing"),
    "a deep mess": ("def f(:\n    pass", 1, "not valid Python"),
}


@pytest.mark.parametrize(("cell", "line", "said"), OUT_OF_PLACE.values(), ids=OUT_OF_PLACE.keys())
def test_what_defines_nothing_is_refused_in_a_tagged_cell(
    cell: str, line: int, said: str, tmp_path: Path
) -> None:
    words = refusal(f"{SETTINGS}{USES_X.replace('return x', 'return 1')}\n# %% candidate\n{cell}\n", tmp_path)

    # Empty lines at the start of a cell's text are not kept by `cell_text`.
    assert f"cell 3, line {line - cell.startswith(chr(10))}" in words
    assert said in words


SIGNATURES = {
    "another name": "def fit(fit, validation, options, contract, seed):",
    "another order": "def fit(validation, fit, settings, contract, seed):",
    "one more": "def fit(fit, validation, settings, contract, seed, more=1):",
    "one less": "def fit(fit, validation, settings, contract):",
    "any": "def fit(*fit, **settings):",
    "by name only": "def fit(fit, validation, settings, *, contract, seed):",
    "by place only": "def fit(fit, validation, settings, contract, seed, /):",
    "async": "async def fit(fit, validation, settings, contract, seed):",
}


@pytest.mark.parametrize("signature", SIGNATURES.values(), ids=SIGNATURES.keys())
def test_a_fit_that_training_can_not_call_is_refused(signature: str, tmp_path: Path) -> None:
    words = refusal(f"{SETTINGS}\n# %% candidate\n{signature}\n    return 1\n{CALL}", tmp_path)

    assert "cell 2, line 1: `fit`" in words
    assert "def fit(fit, validation, settings, contract, seed)" in words


FIT = USES_X.replace("return x", "return 1")
INCOMPLETE = {
    "no Settings": (FIT, "no cell defines `Settings`"),
    "no fit": (SETTINGS, "no cell defines `fit`"),
    "Settings without a base": (
        "# %% candidate\nclass Settings:\n    pass\n" + FIT,
        "`Settings` has no base",
    ),
    "Settings that are no class": ("# %% candidate\nSettings = dict\n" + FIT, "`Settings` is not what"),
    "fit that is a lambda": (
        SETTINGS + "# %% candidate\nfit = lambda fit, validation, settings, contract, seed: 1",
        "`fit` is not what production expects",
    ),
    "untagged fit": (
        SETTINGS + FIT.replace("candidate", "code"),
        "`fit` is defined in a cell that is not tagged",
    ),
    "untagged Settings": (
        SETTINGS.replace("candidate", "code") + FIT,
        "`Settings` is defined in a cell that is not",
    ),
}


@pytest.mark.parametrize(("text", "said"), INCOMPLETE.values(), ids=INCOMPLETE.keys())
def test_a_candidate_without_settings_and_fit_is_refused(text: str, said: str, tmp_path: Path) -> None:
    assert said in refusal(text + CALL, tmp_path)


AMBIGUOUS = {
    "a default and a body that mean different constants": (
        "# %% code\nx = 1\n# %% candidate\ndef one(y=x):\n    return y\n# %% code\nx = 2\n",
        "`x` means two things to the tagged cells: what cell 2, line 1 and cell 4, line 1 make of it",
    ),
    "an import and a constant": (
        "# %% code\nimport math as x\n# %% candidate\ny = x.pi\ndef one():\n    return y\n# %% code\nx = 2\n",
        "`x` means two things to the tagged cells: what cell 2, line 1 and cell 4, line 1",
    ),
    "imports of two modules": (
        "# %% candidate\nfrom math import log as x\ny = x(2)\n# %% candidate\nfrom cmath import log as x\n"
        "def one():\n    return y\n",
        "`x` means two things to the tagged cells: what cell 2, line 1 and cell 3, line 1",
    ),
    "a constant made by a function that saw an earlier one": (
        "# %% code\nx = 1\n# %% candidate\ndef one():\n    return x\ny = one()\n# %% code\nx = 2\n",
        "`x` means two things to the tagged cells",
    ),
}


@pytest.mark.parametrize(("cells", "said"), AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
def test_a_name_that_would_mean_two_things_in_one_module_is_refused(
    cells: str, said: str, tmp_path: Path
) -> None:
    assert said in refusal(SETTINGS + cells + USES_X.replace("return x", "return x, one()") + CALL, tmp_path)


def test_a_definition_that_replaces_what_the_last_call_used_is_refused(tmp_path: Path) -> None:
    words = refusal(SETTINGS + FIT + CALL + FIT, tmp_path)

    assert (
        "cell 4, line 1: `fit` is defined again after the last call of `fit`, which used that of cell 2"
        in words
    )


def test_a_constant_that_stands_below_what_needs_it_is_refused(tmp_path: Path) -> None:
    words = refusal(
        SETTINGS + "# %% candidate\ny = x + 1\n" + USES_X.replace("x", "y") + "# %% code\nx = 1" + CALL,
        tmp_path,
    )

    assert "cell 2, line 1: `x` is used before cell 4, line 1 defines it" in words


def test_a_notebook_that_is_saved_with_other_code_meanwhile_is_refused(tmp_path: Path) -> None:
    as_read = written(SETTINGS + FIT + CALL, tmp_path)
    written(SETTINGS + FIT.replace("return 1", "return 2") + CALL, tmp_path)

    with pytest.raises(TakeoffError, match=r"trial\.ipynb was saved with other code while"):
        record(as_read, (), tmp_path)


def test_all_that_stands_against_promotion_is_told_at_once_in_the_order_of_the_cells(tmp_path: Path) -> None:
    cells = "# %% candidate\nprint(1)\n%time\n# %% code\nx = open('a')\n"

    words = refusal(SETTINGS + cells + USES_X.replace("return x", "return x, nowhere") + CALL, tmp_path)

    told = [line.split(": ")[0] for line in words.split("\n")[1:]]
    assert told == sorted(told)
    assert len(told) == 4 - ("print(1)` defines" not in words)
    assert "trial.ipynb can't be promoted" in words
    assert str(tmp_path) not in words


def test_no_tagged_cell_is_refused_with_how_to_tag_one(tmp_path: Path) -> None:
    words = refusal((SETTINGS + FIT).replace("candidate", "code") + CALL, tmp_path)

    assert "no code cell tagged `candidate`" in words
    assert "property inspector" in words


@pytest.mark.parametrize(
    "name", ["", "2fast", "a-b", "a.b", "class", "_hidden", "größe", "../a", "a b", "None"]
)
def test_a_name_that_can_be_no_module_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(TakeoffError, match="can't be called"):
        generate(written(dedent(SETTINGS + FIT + CALL), tmp_path), name)
