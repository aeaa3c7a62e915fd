"""How the service is set: environment variables, read once when it starts."""

import os
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, field_validator

from takeoff.log_store import sqlite_file
from takeoff.settings import Settings, parse

PREFIX = "TAKEOFF_"
DEFAULT_LOG = "sqlite:///prediction-log/log.db"


class ServiceSettings(Settings):
    """Each field is the environment variable of its name in capitals behind `TAKEOFF_`."""

    log_url: str = Field(
        DEFAULT_LOG,
        description="where the prediction log is: sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE",
    )
    spool_dir: str | None = Field(
        None,
        description="where answers wait on disk while the log's database is away; "
        "by default `spool` beside the SQLite file, or `prediction-log/spool`",
    )
    log_days: Annotated[float, Field(gt=0)] = Field(
        400, description="days after which a prediction leaves the log"
    )
    log_max_rows: Annotated[int, Field(gt=0)] = Field(
        20_000_000,
        description="most predictions in the log, and most labels that wait for one; the oldest go first",
    )
    spool_max_mb: Annotated[int, Field(gt=0)] = Field(
        1024, description="most disk for the spool; when it is full, predictions are refused"
    )
    api_keys: tuple[str, ...] = Field(
        (), description="keys, separated by commas, of which every endpoint but health then needs one"
    )
    workers: Annotated[int, Field(ge=1, le=64)] = Field(1, description="processes that answer")
    max_in_flight: Annotated[int, Field(ge=1)] = Field(
        128, description="requests that a worker works on at once; more are refused with 429"
    )
    deadline_seconds: Annotated[float, Field(gt=0)] = Field(
        5, description="longest wait for an answer, after which it is 503"
    )
    body_seconds: Annotated[float, Field(gt=0)] = Field(
        5, description="longest wait for a request's body, after which it is 408"
    )
    max_body_mb: Annotated[float, Field(gt=0)] = Field(
        16, description="largest body; a larger one is refused with 413"
    )
    fast_path: bool = Field(True, description="false: answer through BentoML's own, slower, path")

    @field_validator("api_keys", mode="before")
    @classmethod
    def _separate(cls, keys: Any) -> Any:
        if not isinstance(keys, str):
            return keys
        return tuple(key.strip() for key in keys.split(",") if key.strip())


def read_settings(environment: Mapping[str, str] = os.environ) -> ServiceSettings:
    """The settings that the environment gives.

    Raises:
        TakeoffError: a variable with the prefix is unknown, or has a value that is not allowed.
    """
    given = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX)
    }
    sqlite_file(given.get("log_url", DEFAULT_LOG))  # says what is wrong with it, without repeating a password
    return parse(ServiceSettings, given, "environment (TAKEOFF_...)")
