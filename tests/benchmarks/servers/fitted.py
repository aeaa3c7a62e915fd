"""A fitted scikit-learn pipeline called by a plain BentoML api, as a first attempt at serving does.

Fitted when the worker starts, on the rows of the pipeline: nothing is pickled.
"""

from pathlib import Path
from typing import Any

import bentoml
import numpy as np
import pandas as pd

from takeoff import candidates, files, paths
from takeoff.features import examples
from takeoff.model import MISSING_TEXT
from takeoff.stage import read_config

CANDIDATE = "boosted"
PROJECT = Path(__file__).resolve().parents[3]


@bentoml.service
class Fitted:
    def __init__(self) -> None:
        self.contract, params = read_config(PROJECT)
        fit, validation = (
            examples(files.read_rows(PROJECT / paths.split_rows(name)), self.contract)
            for name in ("fit", "validation")
        )
        module = candidates.load(CANDIDATE)
        settings = module.Settings.model_validate(params.candidates[CANDIDATE].settings)
        self.fitted = module.fit(fit, validation, settings, self.contract, params.seed)

    @bentoml.api
    def predict(self, row: dict[str, Any], /) -> dict[str, Any]:
        # Column by column: `takeoff.features`, made for many rows, would take most of the time.
        frame = pd.DataFrame(
            {
                name: np.array([row[name]], dtype=np.float32)
                if column.is_number
                else [row[name] or MISSING_TEXT]
                for name, column in self.contract.columns.items()
            }
        )
        (scores,) = self.fitted.predict(frame).tolist()
        return {"probabilities": dict(zip(self.contract.target.classes, scores, strict=True))}
