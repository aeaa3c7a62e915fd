"""What may be given to `takeoff promote`: names that a module and a key can have, money, a project."""

import math
from pathlib import Path

import pytest

from takeoff.errors import TakeoffError
from takeoff.promotion.check import check
from takeoff.promotion.registration import check_upkeep
from takeoff.promotion.saved import check_name


@pytest.mark.parametrize(
    "name", ["two words", "Big", "class", "null", "1st", "_hidden", "späte", "a" * 41, ""]
)
def test_a_name_that_no_module_or_key_can_have_is_refused(name: str) -> None:
    with pytest.raises(TakeoffError, match=f"--as {name}: a candidate's name starts with"):
        check_name(name)


@pytest.mark.parametrize("name", ["mine", "two_words", "v2"])
def test_a_name_of_a_module_is_taken(name: str) -> None:
    check_name(name)


def test_a_folder_that_holds_no_project_is_not_taken_for_one_in_which_all_is_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(TakeoffError, match=r"contract\.yaml"):
        check()


@pytest.mark.parametrize("upkeep", [-1, math.nan, math.inf])
def test_an_upkeep_that_is_no_money_is_refused(upkeep: float) -> None:
    with pytest.raises(TakeoffError, match="expected money a year"):
        check_upkeep(upkeep)


@pytest.mark.parametrize("upkeep", [None, 0, 2500.5])
def test_money_or_nothing_is_taken(upkeep: float | None) -> None:
    check_upkeep(upkeep)
