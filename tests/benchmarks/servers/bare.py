"""The limit: uvicorn, Starlette and ONNX Runtime, with nothing else that a service needs.

No validation, no log, no metrics, no limits: the fewest lines that answer, written to be fast.
"""

import json
import os
from pathlib import Path

import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from takeoff.model import MISSING_TEXT, OUTPUT, load
from tests.benchmarks.servers import MODEL_VARIABLE

MODEL = load(Path(os.environ[MODEL_VARIABLE]))
RUN, CLASSES = MODEL.session.run, MODEL.card["classes"]
INPUTS = {entry.name: entry.type for entry in MODEL.session.get_inputs()}
NUMBERS = [name for name, kind in INPUTS.items() if kind != "tensor(string)"]
TEXTS = [name for name, kind in INPUTS.items() if kind == "tensor(string)"]


async def predict(request: Request) -> JSONResponse:
    row = json.loads(await request.body())
    # One array that is cut into columns: half the time of an array per column.
    numbers = np.array([row[name] for name in NUMBERS], dtype=np.float32).reshape(-1, 1, 1)
    texts = np.array([row[name] or MISSING_TEXT for name in TEXTS], dtype=object).reshape(-1, 1, 1)
    feed = dict(zip(NUMBERS, numbers, strict=True)) | dict(zip(TEXTS, texts, strict=True))
    (probabilities,) = RUN([OUTPUT], feed)
    return JSONResponse({"probabilities": dict(zip(CLASSES, probabilities[0].tolist(), strict=True))})


async def live(request: Request) -> Response:
    return Response()


app = Starlette(routes=[Route("/predict", predict, methods=["POST"]), Route("/livez", live)])
