"""Which numbers a page has to show, and where, worked out from the JSON alone."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from monitoring.page_charts import text
from monitoring.page_input import Estimate, Result
from monitoring.page_lines import APART, RECENT, WORST, _id, by_weight

Json = Mapping[str, Any]
MEASURES = ("psi", "distance", "missing", "unseen")


def shown(tab: Any, place: str) -> list[float]:
    """Values of all numbers within an element of the page, in their order."""
    found = tab.locator(place).locator("data").evaluate_all("all => all.map(e => Number(e.value))")
    return [float(each) for each in found]


def latest(results: Sequence[Json], decision: Json) -> Json:
    """The window that the decision names."""
    return next(each for each in results if each["window"]["name"] == decision["window"])


def expected(results: Sequence[Json], decision: Json) -> dict[str, list[float]]:
    """Numbers by where they stand; no two places hold the same one.

    Args:
        results: JSON of windows of one kind, the oldest first.
        decision: its JSON.
    """
    last = latest(results, decision)
    quality, shadow = last["quality"], last["shadow"]
    places = {
        "section[aria-labelledby=reasons]": [
            each[name] for each in decision["reasons"] for name in ("measured", "required")
        ],
        "table[data-table=columns]": [value for name in _heaviest([last]) for value in _column(last, name)],
        "section[aria-labelledby=quality]": [
            quality["broken_rows"],
            quality["checked_rows"],
            *(quality["refused"][name] for name in sorted(quality["refused"])),
        ],
        "section[aria-labelledby=shadow]": [
            shadow["rows"],
            shadow["errors"],
            shadow["agree_share"],
            *(
                value
                for each in shadow["metrics"].values()
                if each
                for value in (each["champion"], each["challenger"], *_all(each["difference"]))
            ),
        ],
        "section[aria-labelledby=windows]": [
            value
            for each in reversed(results)
            for value in (each["rows"], each["labels"]["share"], *_all(_cost(each)))
        ],
    }
    charts = {
        f"table[data-chart='{name}']": [value for each in results for value in _all(*_chart(name, each))]
        for name in _time_lines(results)
    }
    curves = {
        f"table[data-chart='calibration-{each['window']['name']}']": [
            value
            for group in each["performance"]["calibration"]
            for value in (group["observed"], group["predicted"])
        ]
        for each in [each for each in results if each["performance"]][-RECENT:]
    }
    return places | charts | curves


def figures(results: Sequence[Json], decision: Json) -> list[str]:
    """The numbers on top, as they are written."""
    found = latest(results, decision)
    performance, columns = found["performance"], found["drift"]["columns"]
    money = performance["money"]
    severe, watch = (sum(each["severity"] == name for each in columns) for name in ("severe", "watch"))
    return [
        text(Estimate(**money["model"]), "number"),
        text(abs(money["total_rule"] - money["total_model"]), "number"),
        text(Estimate(**performance["event_share"]), "share"),
        f"{severe} severe, {watch} to watch",
        f"{found['labels']['share']:.1%}",
    ]


def _all(*values: Any) -> list[float]:
    """Each value, with its interval where it has one; nothing where there is none."""
    found = []
    for each in values:
        if isinstance(each, Mapping):
            found += [each["value"], each["low"], each["high"]]
        elif each is not None:
            found.append(float(each))
    return found


def _cost(result: Json) -> Any:
    performance = result["performance"]
    return performance["money"]["model"] if performance else result["estimated"]["metrics"]["cost"]


def _heaviest(results: Sequence[Json]) -> list[str]:
    return by_weight([Result.model_validate(each) for each in results])


def _column(result: Json, name: str) -> Iterable[float]:
    found = next(each for each in result["drift"]["columns"] if each["column"] == name)
    pairs = {each: _all(found[each], found[f"{each}_floor"]) for each in MEASURES}
    return [
        *_all(found["importance"]),
        *pairs["psi"],
        *pairs["distance"],
        *pairs["missing"],
        found["missing_reference"],
        *pairs["unseen"],
    ]


def _time_lines(results: Sequence[Json]) -> list[str]:
    metrics = [name for name in results[0]["performance"]["metrics"] if name not in APART]
    event = results[0]["drift"]["predictions"][-1]["class"]
    return [
        *("money", "events", "labels", "rows", "multivariate"),
        *(_id("metric", name) for name in metrics),
        _id("prediction", event),
        *(_id("column", name) for name in _heaviest(results[-RECENT:])[:WORST]),
    ]


def _chart(name: str, result: Json) -> list[Any]:
    """The values of a window in a chart, line by line."""
    live, estimated = result["performance"] or {}, result["estimated"]
    if name == "money":
        money = live.get("money") or {}
        return [*_metric("cost", result, money.get("model")), money.get("rule", {}).get("value")]
    if name == "events":
        return [live.get("event_share"), live.get("predicted_share", estimated["metrics"]["event_share"])]
    if name == "labels":
        return [result["labels"]["share"]]
    if name == "rows":
        return [result["rows"]]
    if name == "multivariate":
        found = result["multivariate"]
        return [found["roc_auc"], _band(found["floor"], 0.5)]
    kind = name.partition("-")[0]
    if kind == "metric":
        metric = next(each for each in live["metrics"] if _id("metric", each) == name)
        return _metric(metric, result, live["metrics"][metric])
    both = [*result["drift"]["columns"], *result["drift"]["predictions"]]
    found = next(each for each in both if _id(kind, each.get("column", each.get("class"))) == name)
    return [found["psi"], _band(found["psi_floor"], 0.0)]


def _metric(name: str, result: Json, live: Any) -> list[Any]:
    """Live, estimated (with its interval where nothing is live), promised."""
    estimated = result["estimated"]["metrics"].get(name)
    promised = (result["performance"]["promised"] or {}).get(name)
    if live and estimated:
        estimated = estimated["value"]
    return [live, estimated, promised["value"] if promised else None]


def _band(floor: float, nothing: float) -> dict[str, float]:
    return {"value": floor, "low": min(nothing, floor), "high": floor}
