"""Read YAML into frozen models: the one way configuration enters, and the one way it is refused."""

import difflib
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from takeoff.errors import TakeoffError


class Settings(BaseModel):
    """A frozen group of settings that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Model = TypeVar("Model", bound=BaseModel)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Raises:
        TakeoffError: the file is missing, is not YAML, repeats a key, or holds no mapping.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)
    except FileNotFoundError:
        raise TakeoffError(
            f"{path.name} is missing: expected at {path.name} in the project folder."
        ) from None
    except UnicodeDecodeError:
        raise TakeoffError(f"{path.name} is not UTF-8 text.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise TakeoffError(f"{path.name} is not valid YAML{where}: {problem}.") from None
    except ValueError as error:  # a plain value that looks like a date or a number, but is none
        raise TakeoffError(f"{path.name} holds a value that YAML cannot read: {error}.") from None
    if not isinstance(content, dict):
        raise TakeoffError(f"{path.name} must be a mapping of keys to values, but holds something else.")
    return content


def parse(model: type[Model], content: Any, file: str, key: str = "") -> Model:
    """Turn plain values into `model`.

    Args:
        model: the pydantic model to make.
        content: what YAML gave.
        file: file name for messages.
        key: where in the file `content` stood, dotted, for messages.

    Raises:
        TakeoffError: one line for each key that is unknown, missing or has a wrong value; it names
            the file, the key and what is allowed.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        lines = [_explain(model, problem, file, key) for problem in error.errors()]
        raise TakeoffError("\n".join(lines)) from None


def nearest(name: str, allowed: list[str]) -> str:
    """'did you mean X?' where something close is allowed, otherwise the list of what is."""
    close = difflib.get_close_matches(name, allowed, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else f"allowed: {', '.join(allowed)}."


def _explain(model: type[BaseModel], problem: Any, file: str, key: str) -> str:
    location = [str(part) for part in problem["loc"]]
    where = ".".join(([key] if key else []) + location)
    if problem["type"] == "extra_forbidden":
        return f"{file}: unknown key '{where}'; {nearest(location[-1], _keys_at(model, problem['loc'][:-1]))}"
    if problem["type"] == "missing":
        return f"{file}: key '{where}' is missing."
    given = problem.get("input")
    if problem["type"] == "literal_error":
        allowed = nearest(str(given), re.findall(r"'([^']*)'", problem["ctx"]["expected"]))
        if location[-1] == "[key]":  # a mapping whose keys are limited
            return f"{file}: unknown key '{where.removesuffix('.[key]')}'; {allowed}"
        return f"{file}: {where}: '{given}' is not allowed; {allowed}"
    message = problem["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(given, dict | list | BaseModel) else f" (given: {given!r})"
    return f"{file}: {where or 'the file'}: {message}{shown}"


def _keys_at(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """Keys that the model nested at `location` has."""
    current: Any = model
    for part in location:
        if isinstance(current, type) and issubclass(current, BaseModel):
            field = current.model_fields.get(str(part))
            current = field.annotation if field else None
        else:  # inside a mapping or a list: the part is a name or a number, the value's type follows
            inner = [each for each in get_args(current) if each is not ...]  # tuple[X, ...]
            current = inner[-1] if inner else None
        current = _model_in(current)
    if isinstance(current, type) and issubclass(current, BaseModel):
        return list(current.model_fields)
    return []


def _model_in(annotation: Any) -> Any:
    """The model in an optional annotation; anything else as it is."""
    for option in get_args(annotation):
        if isinstance(option, type) and issubclass(option, BaseModel) and type(None) in get_args(annotation):
            return option
    return annotation


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML's own rule that a key stands once, which PyYAML does not enforce."""


def _unique_mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if not isinstance(key, Hashable):
            raise yaml.constructor.ConstructorError(
                None, None, "a key is no plain value", key_node.start_mark
            )
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key '{key}' stands twice", key_node.start_mark
            )
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)
