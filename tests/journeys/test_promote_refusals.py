"""What can't be promoted is refused in words that say what to do, and the project stays as it was."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import takeoff
from takeoff import paths
from takeoff.errors import TakeoffError
from takeoff.params import PARAMS_FILE
from takeoff.promotion.promote import promote as promote_here
from takeoff.promotion.registration import places_of
from tests.promotable import NOTEBOOK, PLAIN, make_promotable, promote, tree, write_notebook
from tests.whole_project import environment

pytestmark = pytest.mark.slow

Edit = Callable[[Path], None]


@pytest.fixture(scope="module")
def unpromoted(split_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which nothing was promoted; not to be changed."""
    folder = tmp_path_factory.mktemp("unpromoted") / "a project"
    make_promotable(folder, split_project)
    return folder


@pytest.fixture
def project(unpromoted: Path, tmp_path: Path) -> Path:
    """A copy of `unpromoted` to work in."""
    folder = tmp_path / "a project"
    shutil.copytree(unpromoted, folder)
    return folder


def with_line(old: str, new: str) -> Edit:
    """A notebook that has another line in the place of one of `PLAIN`."""
    assert old in PLAIN
    return lambda folder: write_notebook(folder, PLAIN.replace(old, new))


def refuse(project: Path, *arguments: str) -> str:
    """What the command says on its way out, the tree being as it was."""
    before = tree(project)

    done = promote(project, *arguments)

    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert str(project) not in done.stderr + done.stdout
    assert tree(project) == before
    return " ".join(done.stderr.split())


def refuse_at_once(project: Path, notebook: str = NOTEBOOK, name: str = "mine") -> str:
    """The same of what is refused before anything runs, without a process of its own."""
    before = tree(project)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(TakeoffError) as refused:
        patch.chdir(project)
        patch.setattr(takeoff, "__file__", str(project / "src" / "takeoff" / "__init__.py"))
        promote_here(Path(notebook), name, upkeep=None, overwrite=False)

    assert str(project) not in str(refused.value)
    assert tree(project) == before
    return " ".join(str(refused.value).split())


def test_the_name_of_another_candidate_is_refused(project: Path) -> None:
    words = refuse_at_once(project, name="boosted")

    assert "src/takeoff/candidates/boosted.py exists and was written by hand. Choose another name" in words


def test_the_name_of_another_notebooks_candidate_is_refused(project: Path) -> None:
    assert promote(project, NOTEBOOK, "--as", "mine").returncode == 0
    write_notebook(project, PLAIN, "notebooks/other.ipynb")

    words = refuse(project, "notebooks/other.ipynb", "--as", "mine")

    assert "was promoted from notebooks/trial.ipynb. Choose another name" in words


def test_tests_of_that_name_without_a_candidate_are_not_written_over(project: Path) -> None:
    own = project / places_of("mine").tests
    own.parent.mkdir(parents=True, exist_ok=True)
    own.write_text("precious", encoding="utf-8")

    assert "Delete or rename that file" in refuse_at_once(project)


def test_a_name_that_no_module_or_key_can_have_is_refused(project: Path) -> None:
    assert "--as späte: a candidate's name starts with" in refuse(project, NOTEBOOK, "--as", "späte")


def test_an_upkeep_that_is_no_money_is_refused(project: Path) -> None:
    assert "expected money a year" in refuse(project, NOTEBOOK, "--as", "mine", "--upkeep", "nan")


def test_a_notebook_that_is_not_there_is_refused(project: Path) -> None:
    words = refuse_at_once(project, "notebooks/none.ipynb")

    assert "There is no notebook notebooks/none.ipynb" in words


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty: it was never saved"),
        ("# python", "is no notebook: it is not JSON"),
        ("{}", "is no notebook: it names no format"),
    ],
)
def test_a_file_that_is_no_notebook_is_refused(project: Path, content: str, words: str) -> None:
    (project / NOTEBOOK).write_text(content, encoding="utf-8")

    assert words in refuse_at_once(project)


def test_a_notebook_outside_the_project_is_refused(project: Path) -> None:
    shutil.move(project / NOTEBOOK, project.parent / "trial.ipynb")

    assert "trial.ipynb lies outside this project" in refuse_at_once(project, "../trial.ipynb")


def newer_checkpoint(project: Path, text: str) -> None:
    """What Jupyter keeps of a notebook, one second younger than the file."""
    write_notebook(project, text, "checkpoint.ipynb")
    checkpoint = project / "notebooks" / ".ipynb_checkpoints" / "trial-checkpoint.ipynb"
    checkpoint.parent.mkdir()
    (project / "checkpoint.ipynb").rename(checkpoint)
    saved = (project / NOTEBOOK).stat().st_mtime
    os.utime(checkpoint, (saved + 1, saved + 1))


def test_a_notebook_older_than_its_checkpoint_is_refused_as_unsaved(project: Path) -> None:
    newer_checkpoint(project, PLAIN.replace("0.5", "0.6"))

    assert "it was not saved since. Save it in JupyterLab" in refuse_at_once(project)


def test_a_save_that_was_cut_off_is_noticed(project: Path) -> None:
    shutil.copy(project / NOTEBOOK, project / "notebooks" / ".~trial.ipynb")

    assert "its last save was cut off" in refuse_at_once(project)


def test_data_that_is_not_there_is_said_before_anything_runs(project: Path) -> None:
    (project / paths.split_rows("fit")).unlink()

    assert "Run `make run` first" in refuse_at_once(project)


def spline(folder: Path) -> None:
    steps = "SplineTransformer, StandardScaler\nfrom sklearn.impute import SimpleImputer"
    text = PLAIN.replace("import OneHotEncoder", f"import {steps}").replace(
        'OneHotEncoder(handle_unknown="ignore"), contract.categories',
        "make_pipeline(SimpleImputer(), SplineTransformer(), StandardScaler()), contract.numbers",
    )
    assert text.count("SplineTransformer") == 2
    write_notebook(folder, text)


def branching_network(folder: Path) -> None:
    network = """class Branching(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.classes = classes

    def forward(self, codes, numbers):
        scores = numbers.nan_to_num()[:, :1].expand(-1, self.classes)
        if scores.sum() > 0:
            scores = -scores
        return torch.softmax(scores, dim=1)


def fit("""
    before, body = PLAIN.split('    """A weight for each category."""\n', 1)
    body = """    torch.manual_seed(seed)
    network = Branching(len(contract.target.classes))
    return of_network(network, vocabularies_of(fit.features, contract), contract)
""" + body.split("    return of_pipeline(pipeline, contract)\n", 1)[1]
    imports = "import torch\nfrom torch import nn\nfrom takeoff.candidates import of_network, vocabularies_of"
    text = before.replace("from takeoff.candidates import of_pipeline", imports) + body
    write_notebook(folder, text.replace("def fit(", network))


CALL = "fitted = fit(train, validation, Settings(penalty=2.0), contract, params.seed)"


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (
            lambda folder: write_notebook(folder, PLAIN.replace("# %% candidate", "# %% code")),
            "has no code cell tagged `candidate`",
        ),
        (with_line(CALL, f"{CALL}\n1 / 0"), "in cell 5: ZeroDivisionError: division by zero"),
        (with_line("STRENGTH = 0.5", ""), "`STRENGTH` is not defined in this notebook"),
        (with_line(CALL, "train"), "it never calls the `fit` of its tagged cells. Add a cell below"),
        (with_line("penalty=2.0", "penalty=-2.0"), "in cell 5: ValidationError"),
        (with_line("STRENGTH = 0.5", "STRENGTH = train.labels.mean()"), "`STRENGTH`"),
        (spline, "its step SplineTransformer has no ONNX form. KBinsDiscretizer or PolynomialFeatures"),
        (
            branching_network,
            "The network can't be written as ONNX: Could not guard on data-dependent expression",
        ),
        (
            with_line("    columns = Col", "    import notebook_helper\n    columns = Col"),
            "cell 5: ModuleNotFoundError: No module named 'notebook_helper'",
        ),
    ],
    ids=[
        "no tag",
        "fails",
        "undefined",
        "never called",
        "bad settings",
        "from data",
        "no ONNX",
        "a branch",
        "no module",
    ],
)
def test_a_notebook_that_cannot_go_to_production_says_why(project: Path, edit: Edit, words: str) -> None:
    edit(project)

    assert words in refuse(project, NOTEBOOK, "--as", "mine")


def test_a_module_that_lies_beside_the_notebook_alone_is_refused(project: Path) -> None:
    (project / "notebooks" / "helper.py").write_text("SHARE = 0.5\n", encoding="utf-8")
    text = PLAIN.replace("from takeoff.notebook", "from helper import SHARE\n\nfrom takeoff.notebook")
    write_notebook(project, text.replace("C=STRENGTH", "C=SHARE"))

    words = refuse(project, NOTEBOOK, "--as", "mine")

    assert "ModuleNotFoundError: No module named 'helper'" in words
    assert "has to be in src/ or among the project's dependencies" in words


def test_a_fit_without_a_seed_is_refused_with_the_rows_that_differ(project: Path) -> None:
    with_line("fit.features, fit.labels", "fit.features, np.random.permutation(fit.labels)")(project)

    words = refuse(project, NOTEBOOK, "--as", "mine")

    assert "the module does not predict what the notebook predicted" in words
    assert "row flight_id class notebook module difference" in words
    assert "Two fresh processes differ from each other too" in words


def test_a_fit_that_relies_on_the_order_of_a_set_is_refused(project: Path) -> None:
    with_line("contract.categories)])", "list(set(contract.categories))[:2])])")(project)

    words = refuse(project, NOTEBOOK, "--as", "mine")

    assert "the module does not predict what the notebook predicted" in words
    assert "iterates over a set" in words


def test_a_fit_that_counts_its_calls_is_refused_as_hidden_state(project: Path) -> None:
    text = PLAIN.replace("STRENGTH = 0.5", "from itertools import count\n\nCALLS = count(1)")
    text = text.replace("C=STRENGTH", "C=next(CALLS)").replace(CALL, f"{CALL}\n{CALL}")
    write_notebook(project, text)

    words = refuse(project, NOTEBOOK, "--as", "mine")

    assert "`CALLS` is an iterator, which is empty once it was read, which a module can't carry" in words


def test_a_fit_that_depends_on_earlier_calls_is_refused_as_hidden_state(project: Path) -> None:
    text = PLAIN.replace("    columns = Col", '    np.CALLS = getattr(np, "CALLS", 0) + 1\n    columns = Col')
    write_notebook(project, text.replace("C=STRENGTH", "C=np.CALLS").replace(CALL, f"{CALL}\n{CALL}"))

    words = refuse(project, NOTEBOOK, "--as", "mine")

    assert "the module does not predict what the notebook predicted" in words
    assert "Two fresh processes agree with each other" in words


def test_ctrl_c_leaves_the_project_as_it_was(project: Path) -> None:
    with_line(CALL, f"import time\n\nopen('started', 'w').close()\ntime.sleep(600)\n{CALL}")(project)
    before = tree(project)

    process = subprocess.Popen(
        [sys.executable, "-m", "takeoff.cli", "promote", NOTEBOOK, "--as", "mine"],
        cwd=project,
        env=environment(project),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Whoever runs the tests in the background may have them ignore it, which processes inherit.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not (project / "started").exists() and process.poll() is None:
        pass
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate()

    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    (project / "started").unlink()
    assert tree(project) == before


def test_params_that_cannot_be_extended_are_refused_with_what_to_add(project: Path) -> None:
    path = project / PARAMS_FILE
    text = path.read_text(encoding="utf-8")
    begin, end = text.index("\ncandidates:") + 1, text.index("\nparity:")
    flow = yaml.safe_dump(yaml.safe_load(text)["candidates"], default_flow_style=True, width=10**6).strip()
    path.write_text(f"{text[:begin]}candidates: {flow}\n{text[end:]}", encoding="utf-8")

    assert "Write 'candidates' as a block, one key a line" in refuse(project, NOTEBOOK, "--as", "mine")
