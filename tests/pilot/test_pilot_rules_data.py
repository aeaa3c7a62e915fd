"""Reading, splitting, leaking, fitting too early: what is found, and what looks like it and is none."""

import pytest

from takeoff.dataset import KNOWN_LATER
from takeoff.pilot import leaks
from takeoff.pilot.facts import NOT_RUN, Facts, Outcome, Telling
from takeoff.pilot.trace import trace
from tests.pilot.reading import code_of, found, places

FRAME = "import pandas as pd\ndf = pd.read_csv('a.csv')\n"
DATED = "import pandas as pd\ndf = pd.read_csv('a.csv', parse_dates=['when'])\n"


@pytest.mark.parametrize(
    "source",
    [
        "import pandas as pd\npd.read_csv('a.csv')",
        "from pandas import read_parquet as rp\nrp('a')",
        "import numpy as np\nnp.load('a.npy')",
        "import polars as pl\npl.scan_parquet('a')",
        "import sqlite3\nsqlite3.connect('a.db')",
        "from sqlalchemy import create_engine\ncreate_engine('x')",
        "import pyarrow.parquet as pq\npq.read_table('a')",
        "import requests\nrequests.get('https://x')",
        "from urllib.request import urlretrieve\nurlretrieve('https://x')",
        "from sklearn.datasets import fetch_openml\nfetch_openml('adult')",
        "from datasets import load_dataset\nload_dataset('x')",
        "open('a.txt')",
        "import joblib\njoblib.load('a')",
        "!wget https://x/a.csv",
        "from pathlib import Path\nPath('a').read_text()",
    ],
)
def test_rows_from_elsewhere_are_found(source: str) -> None:
    assert len(found(source, "contract")) == 1


@pytest.mark.parametrize(
    "source",
    [
        "from takeoff.notebook import open_project\nimport pandas as pd\npd.read_csv('extra.csv')",
        "from takeoff.stage import read_config\nopen('a')",
        "open('a.txt', 'w')",
        "import io\nimport pandas as pd\npd.read_csv(io.StringIO('a,b'))",
        "from sklearn.datasets import make_classification\nmake_classification()",
        "import pandas as pd\npd.DataFrame({'a': [1]})",
    ],
)
def test_rows_of_the_contract_and_made_up_ones_are_spared(source: str) -> None:
    assert found(source, "contract") == []


@pytest.mark.parametrize(
    "source",
    [
        "from sklearn.model_selection import train_test_split\ntrain_test_split(df)",
        "from sklearn.model_selection import train_test_split as tts\ntts(df, shuffle=True)",
        "from sklearn.model_selection import KFold\nKFold(5, shuffle=True)",
        "from sklearn.model_selection import ShuffleSplit\nShuffleSplit()",
        "from sklearn.model_selection import cross_val_score\ncross_val_score(1, 2, 3, cv=5)",
        "train = df.sample(frac=0.8)\ntest = df.drop(train.index)",
        "import numpy as np\nmask = np.random.rand(len(df)) < 0.8",
        "import numpy as np\nmask = np.random.default_rng(1).random(len(df)) < 0.8",
        "import numpy as np\norder = np.random.permutation(len(df))",
        "from torch.utils.data import random_split\nrandom_split(df, [8, 2])",
        "df = df.sample(frac=1)\ntrain = df[:80]",
    ],
)
def test_a_random_split_of_rows_with_a_time_is_found(source: str) -> None:
    assert len(found(DATED + source, "split")) == 1


@pytest.mark.parametrize(
    "source",
    [
        FRAME + "df['year_built'].min()\nimport sklearn.model_selection as ms\nms.train_test_split(df)",
        FRAME
        + "pd.to_datetime(df['date_of_birth'])\nimport sklearn.model_selection as ms\nms.ShuffleSplit()",
        DATED + "from sklearn.model_selection import train_test_split\ntrain_test_split(df, shuffle=False)",
        DATED + "from sklearn.model_selection import TimeSeriesSplit\nTimeSeriesSplit()",
        DATED + "from sklearn.model_selection import KFold\nKFold(5)",
        DATED + "df.sample(5)\ndf.sample(frac=0.1).plot()",
        DATED + "import numpy as np\nnp.random.permutation(df['a'])",
        DATED + "import numpy as np\n[df.sample(frac=1, replace=True) for _ in range(9)]",
        DATED + "train, test = df[df['when'] < '2020'], df[df['when'] >= '2020']",
    ],
)
def test_splits_in_order_and_rows_without_a_time_are_spared(source: str) -> None:
    assert found(source, "split") == []


def test_a_time_that_only_the_run_showed_counts() -> None:
    text = FRAME + "from sklearn.model_selection import train_test_split\ntrain_test_split(df)"
    seen = Outcome(True, facts=Facts({"df": ("d",)}, (("df", "d"),), (), ()))
    assert found(text, "split") == []
    assert "`d` of `df`" in found(text, "split", seen)[0].found


FIT = "from sklearn.svm import SVC\nSVC().fit(X, y)\n"


@pytest.mark.parametrize(
    "source",
    [
        "X, y = df[['a', 't']], df['t']",
        "X, y = df.drop(columns=['a']), df.t",
        "y = df['t']\nX = df",
        "X, y = df, df['t']",
        "target = 't'\nX, y = df[['a'] + [target]], df[target]",
        "df['ratio'] = df['t'] / df['a']\nX, y = df.drop('t', axis=1), df['t']",
        "df = df.assign(ratio=lambda d: d['t'] * 2)\nX, y = df[['ratio']], df['t']",
        "df['t'] = (df['delay'] > 15).astype(int)\nX, y = df[['a', 'delay']], df['t']",
        "y = df['delay'] > 15\nX = df[['delay']]",
        "df['next'] = df['a'].shift(-1)\nX, y = df[['next']], df['t']",
        "df['mid'] = df['a'].rolling(3, center=True).mean()\nX, y = df[['mid']], df['t']",
        "X, y = df[['a', 'closed_at']], df['t']",
        "cols = [c for c in df.columns if c != 'id']\nX, y = df[cols], df['t']",
        "X = pd.get_dummies(df[['a', 't']])\ny = df['t']",
        "def parts(d):\n    return d[['a', 't']], d['t']\nX, y = parts(df)",
        f"X, y = df[['{KNOWN_LATER[0]}']], df['t']",
    ],
)
def test_an_answer_among_the_features_is_found(source: str) -> None:
    assert len(found(FRAME + source + "\n" + FIT, "leak")) == 1


@pytest.mark.parametrize(
    "source",
    [
        "X, y = df[['a', 'b']], df['t']",
        "X, y = df.drop(columns=['t']), df['t']",
        "y = df.pop('t')\nX = df",
        "target = 't'\nX, y = df[[c for c in df.columns if c != target]], df[target]",
        "X, y = df.loc[:, df.columns != 't'], df['t']",
        "target = 't'\nnames = df.columns[df.columns != target]\nX, y = df[names].values, df[target].values",
        "from sklearn.compose import ColumnTransformer\nColumnTransformer([('a', 'passthrough', ['a'])])\n"
        "X, y = df.dropna(), df['t']",  # which selects the columns
        "df['last'] = df.groupby('shop')['t'].shift(1)\nX, y = df[['a', 'last']], df['t']",
        "df['week'] = df['t'].shift(1).rolling(7).mean()\nX, y = df[['week']], df['t']",
        "df['t'] = df['a'].shift(-1)\nX, y = df[['a']], df['t']",
        "df['copy'] = df['t']\ndf = df.drop(columns=['copy', 't2'])\nX, y = df[['a']], df['t']",
        "X, y = df[['arrival_weekday', 'postcode', 'existing']], df['t']",
        "X, y = df[['origin_delay_2h', 'plane_last_delay']], df['t']",  # of the contract
    ],
)
def test_what_is_known_in_time_is_spared(source: str) -> None:
    assert found(FRAME + source + "\n" + FIT, "leak") == []


def test_a_column_of_the_contract_is_known_in_time_whatever_its_name() -> None:
    followed = trace(code_of(FRAME + "X, y = df[['closed_at']], df['t']\n" + FIT))
    assert len(leaks.leak(followed, NOT_RUN, frozenset(), frozenset())) == 1
    assert leaks.leak(followed, NOT_RUN, frozenset(), frozenset({"closed_at"})) == []


def test_a_column_that_alone_tells_the_target_at_run_time_is_found() -> None:
    text = FRAME + "X, y = df[['a']], df['t']\n" + FIT
    seen = Outcome(True, facts=Facts({}, (), (Telling("X", "a", "decides 100.0% of the rows rightly"),), ()))
    assert "`a` of `X` alone" in found(text, "leak", seen)[0].found


SPLIT = "\nfrom sklearn.model_selection import train_test_split\na, b, c, d = train_test_split(X, y)\n"


@pytest.mark.parametrize(
    "source",
    [
        "from sklearn.preprocessing import StandardScaler\nX = StandardScaler().fit_transform(X)",
        "from sklearn.impute import SimpleImputer\nim = SimpleImputer()\nim.fit(X)\nX = im.transform(X)",
        "from sklearn.feature_selection import SelectKBest\nX = SelectKBest(k=2).fit_transform(X, y)",
        "from imblearn.over_sampling import SMOTE\nX, y = SMOTE().fit_resample(X, y)",
        "X['a'] = X['a'].fillna(X['a'].mean())",
        "X = (X - X.mean()) / X.std()",
        "df['rate'] = df.groupby('c')['t'].transform('mean')\nX = df[['a', 'rate']]",
        "def scaled(d):\n    from sklearn.preprocessing import MinMaxScaler\n"
        "    return MinMaxScaler().fit_transform(d)\nX = scaled(X)",
    ],
)
def test_what_learns_from_all_rows_before_the_split_is_found(source: str) -> None:
    head = FRAME + "X, y = df[['a', 'b']], df['t']\n"
    assert len(found(head + source + SPLIT, "early-fit")) == 1


@pytest.mark.parametrize(
    "source",
    [
        SPLIT + "from sklearn.preprocessing import StandardScaler\na = StandardScaler().fit_transform(a)",
        "from sklearn.preprocessing import LabelEncoder\ny = LabelEncoder().fit_transform(y)" + SPLIT,
        "from sklearn.preprocessing import StandardScaler\nX = StandardScaler().fit_transform(X)",  # no split
        "from sklearn.preprocessing import StandardScaler\nimport numpy as np\n"
        "toy = np.array([[1.0], [2.0]])\n"
        "StandardScaler().fit_transform(toy)" + SPLIT,  # other rows
        SPLIT
        + "from sklearn.preprocessing import StandardScaler\nfinal = StandardScaler().fit(X)",  # to ship
        "import numpy as np\nfrom sklearn.preprocessing import StandardScaler\n"
        "from sklearn.decomposition import PCA\n"
        "scaler = StandardScaler()\ntoy = scaler.fit_transform(np.eye(3))\nPCA().fit(toy)\n"
        "raw = load()\nX = scaler.transform(raw)" + SPLIT,  # one scaler, other rows
        "X = X.fillna(0)" + SPLIT,
        "X = pd.get_dummies(X)" + SPLIT,
        "print(X.mean(), X.std())" + SPLIT,
        "from sklearn.preprocessing import StandardScaler\nscaler = StandardScaler()"
        + SPLIT
        + "scaler.fit(a)",
        "from sklearn.preprocessing import MinMaxScaler\ntrain = X[:80]\nMinMaxScaler().fit(train)",
    ],
)
def test_what_learns_from_one_side_of_the_split_is_spared(source: str) -> None:
    head = FRAME + "X, y = df[['a', 'b']], df['t']\n"
    assert found(head + source, "early-fit") == []


def test_rows_that_reach_the_split_under_another_name_are_followed() -> None:
    text = (
        "from sklearn.preprocessing import StandardScaler\nraw = load()\n"
        "scaled = StandardScaler().fit_transform(raw)\nchosen = scaled[:, :3]\n"
        "from sklearn.model_selection import train_test_split\na, b = train_test_split(chosen)"
    )
    assert places(text, "early-fit") == [(1, 3)]


def test_a_fault_in_a_function_is_placed_where_the_function_stands() -> None:
    text = (
        "# %%\nimport pandas as pd\nfrom sklearn.preprocessing import StandardScaler\ndf = pd.read_csv('a')\n"
        "# %%\ndef prepare(d):\n    return StandardScaler().fit_transform(d[['a']])\n"
        "# %%\nX = prepare(df)" + SPLIT.replace("y)", "df['t'])")
    )
    assert places(text, "early-fit") == [(2, 2)]
