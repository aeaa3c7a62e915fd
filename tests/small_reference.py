"""What drift is measured against in a small project, and windows in which nothing has changed."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from monitoring.profiles import Reference, WindowProfile
from pipelines import reference as stage
from takeoff import files, model, paths
from takeoff.features import features
from tests.small_release import make_released


class Small(NamedTuple):
    """A reference, the rows and probabilities that it was made of, and the model; not to be changed."""

    reference: Reference
    rows: pd.DataFrame
    probabilities: np.ndarray
    onnx: bytes

    def drawn(self, size: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
        """Rows drawn with replacement, and their probabilities."""
        chosen = np.random.default_rng(seed).integers(0, len(self.rows), size)
        return self.rows.iloc[chosen].reset_index(drop=True), self.probabilities[chosen]

    def profiled(self, rows: pd.DataFrame, probabilities: np.ndarray) -> WindowProfile:
        profile = WindowProfile(self.reference)
        profile.add(rows, probabilities)
        return profile


@cache
def small_reference() -> Small:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        contract = make_released(Path(folder), "logistic")
        patch.chdir(folder)
        stage.main()
        rows = files.read_rows(paths.split_rows("fit"))
        released = model.load(paths.RELEASED)
        said = model.predict(released.session, features(rows, contract))
        return Small(Reference.load(), rows, said, (paths.RELEASED / model.MODEL_FILE).read_bytes())
