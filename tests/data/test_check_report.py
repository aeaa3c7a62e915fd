"""What the page of the checks says of the columns."""

import numpy as np
import pandas as pd

from takeoff.check_report import BARS, Profile, profiles
from takeoff.contract import Contract


def profile_of(contract: Contract, name: str, values: list[float]) -> Profile:
    (profile,) = profiles(pd.DataFrame({name: np.float32(values)}), contract)
    return profile


def test_few_whole_numbers_get_a_bar_each_so_that_no_gap_misleads(contract: Contract) -> None:
    profile = profile_of(contract, "weekday", [*range(1, 8)] * 50)

    assert profile.bars == (1.0,) * 7


def test_numbers_within_a_small_span_are_still_drawn_with_all_bars(contract: Contract) -> None:
    profile = profile_of(contract, "precipitation", list(np.linspace(0, 0.9, 500)))

    assert len(profile.bars) == BARS


def test_one_outlier_does_not_flatten_a_histogram(contract: Contract) -> None:
    calm = list(np.linspace(0, 30, 1000))

    profile = profile_of(contract, "wind_speed", [*calm, 1048.0])

    assert len(profile.bars) == BARS
    assert min(profile.bars) > 0.5
    assert dict(profile.facts)["largest"] == "1,048"


def test_infinity_and_missing_numbers_do_not_spoil_the_profile(contract: Contract) -> None:
    profile = profile_of(contract, "wind_speed", [1.0, 2.0, np.inf, np.nan])

    assert profile.missing == 0.25
    assert dict(profile.facts) == {"least": "1", "median": "1.5", "largest": "2"}


def test_every_column_that_is_no_feature_says_what_it_is_for(contract: Contract) -> None:
    names = [name for name in contract.all_columns if name not in contract.columns]

    about = [each.about for each in profiles(pd.DataFrame(columns=[*names, "stranger"]), contract)]

    assert about[-1] == "not in the contract"
    assert len(set(about)) == len(names) + 1
