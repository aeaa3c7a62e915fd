"""The champion as MLflow's model of a frame of contract rows; MLflow runs this file to load it."""

from pathlib import Path
from typing import Any

import mlflow.pyfunc
from mlflow.models import set_model

from takeoff import model
from takeoff.model import MISSING_TEXT


class Champion(mlflow.pyfunc.PythonModel):
    def load_context(self, context: Any) -> None:
        self.model = model.load(Path(context.artifacts["model"]))

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        texts = [each.name for each in self.model.session.get_inputs() if each.type == "tensor(string)"]
        model_input[texts] = model_input[texts].fillna(MISSING_TEXT)
        return {"probabilities": model.predict(self.model.session, model_input).tolist()}


set_model(Champion())
