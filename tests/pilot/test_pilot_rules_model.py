"""Seeds, baselines, intervals and ONNX: what each rule finds, and what looks like it and is none."""

import pytest

from takeoff.pilot.facts import Estimator, Facts, Outcome
from tests.pilot.reading import found


@pytest.mark.parametrize(
    "source",
    [
        "from sklearn.ensemble import RandomForestClassifier\nRandomForestClassifier()",
        "from sklearn.ensemble import RandomForestClassifier\nRandomForestClassifier(random_state=None)",
        "from sklearn.model_selection import train_test_split\ntrain_test_split([1])",
        "from sklearn.model_selection import KFold\nKFold(5, shuffle=True)",
        "import numpy as np\nnp.random.rand(3)",
        "import numpy as np\nnp.random.default_rng()",
        "import random\nrandom.shuffle([1])",
        "import torch\ntorch.nn.Linear(2, 2)",
        "import torch\nfrom torch.utils.data import DataLoader\nDataLoader([1], shuffle=True)",
        "import pandas as pd\npd.DataFrame().sample(frac=0.5)",
        "import numpy as np, random\nrandom.seed(1)\nnp.random.rand(3)",  # the other generator
    ],
)
def test_a_draw_that_nothing_seeds_is_found(source: str) -> None:
    assert len(found(source, "seed")) == 1


@pytest.mark.parametrize(
    "source",
    [
        "from sklearn.ensemble import RandomForestClassifier\nRandomForestClassifier(random_state=seed)",
        "from sklearn.ensemble import RandomForestClassifier\nRandomForestClassifier(**settings)",
        "import numpy as np\nnp.random.seed(1)\nfrom sklearn.ensemble import BaggingClassifier\n"
        "BaggingClassifier()",
        "from sklearn.linear_model import LogisticRegression\nLogisticRegression()",
        "from sklearn.model_selection import KFold\nKFold(5)",
        "from sklearn.model_selection import train_test_split\ntrain_test_split([1], shuffle=False)",
        "import numpy as np\nrng = np.random.default_rng(1)\nrng.random(3)\nrng.permutation(3)",
        "import torch\ntorch.manual_seed(1)\ntorch.nn.Linear(2, 2)",
        "import random\nrng = random.Random(1)\nrng.shuffle([1])",
        "from pytorch_lightning import seed_everything\nseed_everything(1)\nimport torch\ntorch.rand(2)",
        "import torch\ntorch.nn.ReLU()",
    ],
)
def test_what_is_seeded_or_draws_nothing_is_spared(source: str) -> None:
    assert found(source, "seed") == []


SVC = "from sklearn.svm import SVC\nmodel = SVC().fit(X, y)\n"


@pytest.mark.parametrize(
    "source",
    [
        SVC,
        "from sklearn.svm import SVC\nfrom sklearn.model_selection import GridSearchCV\n"
        "GridSearchCV(SVC(), {}).fit(X, y)",
        "import statsmodels.api as sm\nsm.OLS(y, X).fit()",
        "import torch\nnet = torch.nn.Linear(1, 1)\nloss = net(X)\nloss.backward()",
        SVC + "print(y.value_counts(normalize=True))",  # shares are shown, nothing is compared
        SVC + "SVC(C=2).fit(X, y)",  # the same kind twice
    ],
)
def test_a_model_that_is_compared_with_nothing_is_found(source: str) -> None:
    assert len(found(source, "baseline")) == 1


@pytest.mark.parametrize(
    "source",
    [
        SVC + "from sklearn.dummy import DummyClassifier\nDummyClassifier().fit(X, y)",
        SVC + "from sklearn.linear_model import LogisticRegression\nLogisticRegression().fit(X, y)",
        SVC + "baseline_accuracy = max(y.mean(), 1 - y.mean())",
        SVC + "champion = project.champion()",
        SVC + "from sklearn.metrics import log_loss\nimport numpy as np\nlog_loss(y, np.full(9, y.mean()))",
        "from sklearn.svm import SVC\nSVC()",  # never fitted
        "import pandas as pd\npd.DataFrame()",
    ],
)
def test_what_is_compared_and_what_is_no_model_is_spared(source: str) -> None:
    assert found(source, "baseline") == []


@pytest.mark.parametrize(
    "source",
    [
        "from sklearn.metrics import roc_auc_score\nprint(roc_auc_score(y, p))",
        "from sklearn import metrics\nmetrics.accuracy_score(y, p)",
        "print((model.predict(X) == y).mean())",
        "import numpy as np\nnp.mean(model.predict(X) == y)",
        "model.score(X, y)",
        "from sklearn.model_selection import cross_val_score\nprint(cross_val_score(model, X, y).mean())",
        "import numpy as np\nrmse = np.sqrt(np.mean((p - y) ** 2))",
        "from sklearn.metrics import f1_score\nf1_score(y, p)\n"
        "print(ages.std())",  # the spread of something else
        "import numpy as np\nfrom sklearn.metrics import f1_score\nf1_score(y, p)\nnp.percentile(ages, 99.9)",
    ],
)
def test_a_single_number_is_found(source: str) -> None:
    assert len(found(source, "interval")) == 1


@pytest.mark.parametrize(
    "source",
    [
        "from sklearn.model_selection import cross_val_score\ns = cross_val_score(m, X, y)\n"
        "print(s.mean(), s.std())",
        "from sklearn.metrics import f1_score\nimport numpy as np\nf1_score(y, p)\n"
        "np.percentile(draws, [2.5, 97.5])",
        "from sklearn.metrics import f1_score\nfrom scipy.stats import bootstrap\n"
        "bootstrap((f1_score(y, p),), max)",
        "from sklearn.metrics import f1_score\nfrom takeoff.evaluation import measure\nf1_score(y, p)",
        "from sklearn.metrics import f1_score\nlow, high = confidence_interval(f1_score, y, p)",
        "x.mean()",
        "from sklearn.metrics import confusion_matrix\nconfusion_matrix(y, p)",
    ],
)
def test_a_number_with_its_spread_is_spared(source: str) -> None:
    assert found(source, "interval") == []


@pytest.mark.slow  # skl2onnx takes seconds to load
@pytest.mark.parametrize(
    "source",
    [
        "from sklearn.preprocessing import SplineTransformer\nSplineTransformer()",
        "from sklearn.linear_model import *\nfrom sklearn import kernel_ridge\nkernel_ridge.KernelRidge()",
        "from sklearn.preprocessing import FunctionTransformer\nimport numpy as np\n"
        "FunctionTransformer(np.log1p)",
        "from sklearn.feature_extraction.text import CountVectorizer\n"
        "CountVectorizer(tokenizer=lambda t: t.split())",
        "from sklearn.impute import SimpleImputer\nSimpleImputer(add_indicator=True)",
        "from sklearn.base import BaseEstimator\nclass Step(BaseEstimator):\n    pass",
        "class Step:\n    def fit(self, X):\n        pass\n    def transform(self, X):\n        pass",
        "import lightgbm as lgb\nlgb.LGBMClassifier()\nlgb.LGBMRegressor()",
        "import statsmodels.api as sm\nsm.Logit(y, X)",
        "from tensorflow import keras\nkeras.Sequential()",
    ],
)
def test_a_model_without_an_onnx_form_is_found(source: str) -> None:
    assert len(found(source, "onnx")) == 1


@pytest.mark.slow  # skl2onnx takes seconds to load
@pytest.mark.parametrize(
    "source",
    [
        "from sklearn.linear_model import LogisticRegression\nLogisticRegression()",
        "from sklearn.preprocessing import FunctionTransformer\nFunctionTransformer()",
        "from sklearn.dummy import DummyClassifier\nDummyClassifier()",
        "from sklearn.model_selection import RandomizedSearchCV, StratifiedKFold\nStratifiedKFold()\n"
        "RandomizedSearchCV(1, 2)",
        "from sklearn.manifold import TSNE\nTSNE(random_state=1).fit_transform(X)",
        "import statsmodels.stats.api as sms\nsms.ttest_ind(a, b)",
        "import torch\nclass Net(torch.nn.Module):\n    def forward(self, x):\n        return x",
        "from takeoff.settings import Settings as Base\nclass Settings(Base):\n    pass",
        "from sklearn.feature_selection import SelectKBest, f_classif\nSelectKBest(f_classif)",
    ],
)
def test_what_has_an_onnx_form_or_never_ships_is_spared(source: str) -> None:
    assert found(source, "onnx") == []


def network(forward: str, signature: str = "self, x") -> str:
    """A notebook with one network, whose `forward` begins in line 4."""
    lines = "\n".join(f"        {line}" for line in forward.split("\n"))
    return f"import numpy as np, torch\nclass Net(torch.nn.Module):\n    def forward({signature}):\n{lines}\n"


@pytest.mark.parametrize(
    ("forward", "line"),
    [
        ("return x / x.max().item()", 4),
        ("y = x.detach().cpu().numpy()\nreturn torch.from_numpy(y)", 4),
        ("y = x + 1\nreturn torch.tensor(y.tolist())", 5),
        ("return torch.from_numpy(np.log1p(x))", 4),
        ("if x.sum() > 0:\n    return x\nreturn -x", 4),
        ("y = self.first(x)\nwhile y.norm() > 1:\n    y = y / 2\nreturn y", 5),
        ("for _ in range(int(x[0, 0])):\n    x = x + 1\nreturn x", 4),
        ("count = x[0, 0]\nfor _ in range(count):\n    x = x + 1\nreturn x", 5),
        ("return x if x.mean() > 0 else -x", 4),
        ("with torch.no_grad():\n    if (x > 0).any():\n        x = -x\nreturn x", 5),
    ],
)
def test_a_network_that_leaves_its_graph_is_found(forward: str, line: int) -> None:
    assert [each.line for each in found(network(forward), "onnx")] == [line]


@pytest.mark.parametrize(
    "forward",
    [
        "if x.shape[0] > 1 and x.dim() == 2 and len(x) > 3:\n    x = x[:, :2]\nreturn x",
        "rows = x.size(0)\nfor place in range(rows):\n    x = x + place\nreturn x",
        "if self.training:\n    x = self.dropout(x)\nreturn x",
        "for layer in self.layers:\n    x = layer(x)\nreturn x",
        "if self.depth > 2 or mask is not None:\n    x = x * mask\nreturn x",
        "if whole:\n    return x\nreturn x[:, : int(times)]",
        "y = x.shape[1]\nif y > 2:\n    x = x * np.sqrt(y)\nreturn x",
        "return torch.where(x > 0, x, self.scale.item() * x)",
        "parts = [embed(x[:, i]) for i, embed in enumerate(self.embeddings)]\nreturn torch.cat(parts)",
    ],
)
def test_a_network_that_decides_by_shapes_and_settings_is_spared(forward: str) -> None:
    assert found(network(forward, "self, x, mask=None, whole=False, *, times: int = 2"), "onnx") == []


def test_a_network_may_do_what_it_likes_outside_of_its_forward() -> None:
    method = "    def report(self, x):\n        return x.item()\n"
    assert found(network("return x") + method + "\nprint(Net()(x).item())\n", "onnx") == []


@pytest.mark.slow  # skl2onnx takes seconds to load
def test_a_step_that_only_the_run_showed_is_found() -> None:
    seen = (
        Estimator("model", "sklearn.svm._classes", "SVC"),
        Estimator("model", "sklearn.kernel_ridge", "KernelRidge"),
    )
    facts = Facts({}, (), (), seen)
    text = "import sklearn\nmodel = load()"
    assert ["KernelRidge" in each.found for each in found(text, "onnx", Outcome(True, facts=facts))] == [True]
