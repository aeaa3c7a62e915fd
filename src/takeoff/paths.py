"""Where each stage finds and leaves its files, relative to the project folder."""

from pathlib import Path

DATA = Path("data")
RAW_ROWS = DATA / "raw" / "rows.parquet"
PRODUCTION_ROWS = DATA / "production" / "rows.parquet"
CHECKED_ROWS = DATA / "checked" / "rows.parquet"
SPLIT = DATA / "split"
QUARANTINE = DATA / "quarantine"

REPORTS = Path("reports")
INGEST_REPORT = REPORTS / "ingest.json"
CHECK_REPORTS = REPORTS / "checks"
EVALUATION_REPORT = REPORTS / "evaluation.json"
PLOTS = REPORTS / "plots"
TIMING_REPORT = REPORTS / "timing.json"
RELEASE_REPORT = REPORTS / "release.json"

MODELS = Path("models")
CANDIDATES = MODELS / "candidates"
RELEASED = MODELS / "released"
CHALLENGER = RELEASED / "challenger"  # only there when params.yaml names one
REFERENCE = MODELS / "reference"
GOLDEN = REFERENCE / "golden.json"  # rows, and what the released model says of them
PACKAGE_REPORT = MODELS / "package.json"

MONITORING = Path("monitoring") / "reports"
WINDOWS = MONITORING / "windows"
DECISION_REPORT = MONITORING / "decision.json"
MONITORING_PAGE = MONITORING / "index.html"
WORKSPACE = MONITORING / "workspace"


def split_rows(name: str) -> Path:
    """Rows of one split: fit, validation or test."""
    return SPLIT / f"{name}.parquet"
