"""A BentoML api that does nothing: what BentoML itself costs, as it comes."""

from typing import Any

import bentoml


@bentoml.service
class Nothing:
    @bentoml.api
    async def predict(self, row: dict[str, Any], /) -> dict[str, Any]:
        return {}
