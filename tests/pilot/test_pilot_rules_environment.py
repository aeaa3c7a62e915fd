"""Order, paths, packages and installs: what each rule finds, and what looks like it and is none."""

from pathlib import Path

import pytest

from takeoff.pilot.environment import packages
from tests.conftest import PROJECT
from tests.pilot.reading import code_of, found, places


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# %% [2]\na = 1\n# %% [1]\nb = 2\n", [(2, 1)]),
        ("# %% [1]\na = 1\n# %%\nb = 2\n", [(2, 1)]),
        ("# %% [1]\na = 1\n# %% [1]\nb = 2\n", [(2, 1)]),
        ("# %%\nprint(a)\n# %%\na = 1\n", [(1, 1)]),
        ("print(nowhere)", [(1, 1)]),
        ("def f():\n    return nowhere\n", [(1, 2)]),
        ("# %%\ndef f():\n    return a\nf()\n# %%\na = 1\n", [(1, 2)]),
        ("a = 1\ndel a\nprint(a)\n", [(1, 3)]),
        ("n = [k for k in range(3)]\nprint(k)\n", [(1, 2)]),
        ("total += 1\n", [(1, 1)]),
        ("# %% [1]\na = 1\n# %% [9]\nb = 2\n# %% [3]\nc = 3\n# %% [4]\nd = 4\n", [(2, 1)]),  # one, run again
    ],
)
def test_state_that_nobody_reaches_again_is_found(text: str, expected: list[tuple[int, int]]) -> None:
    assert places(text, "order") == expected


@pytest.mark.parametrize(
    "text",
    [
        "# %%\na = 1\n# %%\nb = a\n",  # never saved with counts
        "# %% [3]\na = 1\n# %% [7]\nb = a\n",  # run twice, in order
        "# %% [1]\na = 1\n# %%\n\n# %% [2]\nb = a\n",  # an empty cell
        "# %%\ndef f():\n    return a\n# %%\na = 1\nf()\n",  # bound before it is called
        "def f(x, *rest, **more):\n    y = x\n    return [z for z in (y, rest, more)]\n",
        "class A:\n    size = 3\n    def g(self):\n        return A.size\nA().g()\n",
        "try:\n    a\nexcept NameError:\n    a = 1\n",
        "files = !ls\nprint(files)\n",
        "%time a = 1\nprint(a)\n",
        "%timeit -n 3 sum([1])\nb = 1\nprint(b)\n",
        "    a = 1\n    print(a)\n",  # indented as a whole, which a notebook forgives
        "%%capture said\nprint(1)\n",
        "from math import *\nprint(sqrt(2))\n",
        "display(_)\nget_ipython()\n",
        "square = lambda v: v * v\nwith open(__name__) as file:\n    pass\nfor i in range(2):\n"
        "    print(i, file)\n",
        "match 3:\n    case int() as number:\n        print(number)\n",
        "def count():\n    global total\n    total = 1\ncount()\nprint(total)\n",
    ],
)
def test_names_that_are_there_are_not_missed(text: str) -> None:
    assert found(text, "order") == []


@pytest.mark.parametrize(
    "text",
    [
        "/home/anna/a.csv",
        "/Users/li/x",
        "/content/drive/MyDrive/a.csv",
        "/kaggle/input/x",
        "C:\\\\data\\\\a.csv",
        "D:/data/a.csv",
        "~/models",
        "\\\\\\\\server\\\\share",
        "sqlite:////srv/a.db",
        "file:///home/anna/a.csv",
    ],
)
def test_a_place_on_one_machine_is_found_in_code(text: str) -> None:
    assert places(f'a = 1\nwhere = "{text}"\n', "path") == [(1, 2)]


@pytest.mark.parametrize(
    "source",
    [
        'open("/one/two.csv")',  # any rooted text, where a file is asked for
        'root = "/mnt"\n',
        "from pathlib import Path\nPath.home()",
        'f"/home/{1}/a.csv"',
        "!ls /content/drive/",
    ],
)
def test_a_place_on_one_machine_is_found_in_calls_and_commands(source: str) -> None:
    assert len(found(source, "path")) == 1


@pytest.mark.parametrize(
    "source",
    [
        '"""Kept in /home/anna."""',
        "# /home/anna\na = 1",
        "# %% md\nSee /home/anna/a.csv and C:\\x.\n",
        'route = "/api/v1/predict"',
        'pattern = r"/\\d+/x"',
        'when = "02/11/2024"',
        'where = "https://example.org/home/x"',
        'store = "sqlite:///mlflow.db"',
        'where = "data/raw/a.csv"',
        'unit = "km/h"',
        'print("/home/anna was here")',
        'ratio = "A:B"',
        'open("../data/a.csv")',
    ],
)
def test_texts_that_only_look_like_paths_are_spared(source: str) -> None:
    assert found(source, "path") == []


@pytest.mark.parametrize("module", ["catboost", "google.colab", "no_such_module_at_all"])
def test_a_package_that_is_not_there_is_found(module: str) -> None:
    assert places(f"a = 1\nimport {module}\n", "package") == [(1, 2)]


@pytest.mark.parametrize(
    "source",
    [
        "import os, json, sqlite3",
        "import pandas, sklearn.svm, torch.nn, yaml, PIL",
        "from takeoff.notebook import open_project",
        "try:\n    import catboost\nexcept ImportError:\n    catboost = None",
    ],
)
def test_what_production_has_or_can_do_without_is_spared(source: str) -> None:
    assert found(source, "package") == []


def test_a_module_beside_the_notebook_is_no_package(tmp_path: Path) -> None:
    code = code_of("import own_helpers_of_mine")
    assert len(packages(code, tmp_path / "a.ipynb", PROJECT)) == 1
    (tmp_path / "own_helpers_of_mine.py").touch()
    assert packages(code, tmp_path / "a.ipynb", PROJECT) == []


@pytest.mark.parametrize("text", ["    a = 1\n    print(a)\n", "%time a = 1\nprint(a)\n", "a = 1\na?\n"])
def test_what_a_notebook_forgives_is_python(text: str) -> None:
    assert code_of(text).cells[0].broken is None


@pytest.mark.parametrize(
    "source",
    [
        "!pip install x",
        "%pip install -q x",
        "!python -m pip install x",
        "!{sys.executable} -m pip install x",
        "%conda install x",
        "!apt-get update && apt-get install -y x",
        "!uv add x",
        "%%bash\npip3 install x",
        'import os\nos.system("pip install x")',
        'import subprocess, sys\nsubprocess.run([sys.executable, "-m", "pip", "install", "x"])',
        'import pip\npip.main(["install", "x"])',
        'get_ipython().system("pip install x")',
    ],
)
def test_an_install_is_found(source: str) -> None:
    assert len(found(source, "install")) == 1


@pytest.mark.parametrize(
    "source",
    [
        "# !pip install x\na = 1",
        "!pip list",
        "!pip freeze > now.txt",
        "%pip show x",
        "# %% md\n`pip install x`\n",
        'print("pip install x")',
        "!ls install",
        'import subprocess\nsubprocess.run(["git", "log"])',
    ],
)
def test_talk_of_installs_is_spared(source: str) -> None:
    assert found(source, "install") == []
