"""Cells whose module has to answer what they answer: what `fit` uses, and from where."""

ALIKE = {
    "a global used inside a function, and by a function that it calls": """
        # %% code
        step = 2
        def twice(x):
            return x * step
        # %% candidate
        def fit(fit, validation, settings, contract, seed):
            return [twice(each) for each in fit]
        """,
    "imports that stand below, one of them among others": """
        # %% candidate
        def fit(fit, validation, settings, contract, seed):
            return mean(fit) + math.pi
        # %% code
        import os, math
        from statistics import (
            mean,  # of all
            median,
        )
        """,
    "a constant made of constants, in the order that they need": """
        # %% code
        names = ("a", "b")
        places = {name: place for place, name in enumerate(names)}
        # %% code
        (low, high), *rest = (1, 2), 3, 4
        total = low + high + sum(rest)
        total *= 2
        # %% candidate
        def fit(fit, validation, settings, contract, seed):
            return places, total
        """,
    "a closure over a constant that was given another value later": """
        # %% code
        limit = 2
        def clipper(limit):
            return lambda x: min(x, limit)
        clip = clipper(limit)
        limit: str = "of a plot"
        # %% candidate
        def fit(fit, validation, settings, contract, seed):
            return [clip(each) for each in (1, 2, 3)]
        """,
    "a name that is bound three times: the last before the call counts in functions": """
        # %% code
        scale = 2
        # %% candidate
        def fit(fit, validation, settings, contract, seed):
            return scale
        # %% code
        result = fit([1.0], [3.0], Settings(size=2), None, 7)
        scale = 3
        # %% code
        result = fit([1.0], [3.0], Settings(size=2), None, 7)
        # %% code
        scale = 4
        """,
    "a last call through an object whose class calls fit": """
        # %% code
        scale = 2
        # %% candidate
        def fit(fit, validation, settings, contract, seed):
            return scale
        # %% code
        class Trial:
            def run(self, *rows):
                return fit(*rows, Settings(size=2), None, 7)
        trial = Trial()
        scale = 3
        result = trial.run([1.0], [3.0])
        scale = 4
        """,
    "a last call through what holds on to fit": """
        # %% code
        from functools import partial
        scale = 2
        # %% candidate
        def fit(fit, validation, settings, contract, seed):
            return scale
        # %% code
        trials = {"a": partial(fit, [1.0], [3.0])}
        scale = 3
        result = trials["a"](Settings(size=2), None, 7)
        scale = 4
        """,
    "a name that a default takes when it is defined, and another cell binds anew": """
        # %% code
        start = 1
        # %% candidate
        def count(x, start=start, /, *more, key=lambda y: y + 1, **options):
            return x + start + key(0)
        def fit(fit, validation, settings, contract, seed):
            return count(seed)
        # %% code
        start = 100
        """,
    "an import that is hidden by parameters, comprehensions and walrus": """
        # %% code
        import math as x
        y = 5
        # %% candidate
        def fit(fit, validation, settings, contract, seed):
            squares = [y * y for y in fit if (last := y)]
            return (lambda x: x + last)(seed), squares, [x for x in fit], y
        """,
    "a class with a base, a decorator and a constant, and a match statement": """
        # %% code
        import functools
        def doubled(function):
            @functools.wraps(function)
            def inner(*args, **options):
                return 2 * function(*args, **options)
            return inner
        class Root:
            base = offset = 4
        # %% candidate
        class Counter(Root):
            own = 3
            sums = [each for each in range(own)]
            @doubled
            def count(self, x: "Root") -> "list[Root]":
                match x:
                    case [first, *others]:
                        return first + len(others) + self.base
                    case {"k": value, **rest}:
                        return value + len(rest)
                    case int() | float() as number if number > limit:
                        return number
                return 0
        # %% candidate
        def fit(fit, validation, settings, contract, seed):
            c = Counter()
            return c.count(fit), c.count({"k": 1, "l": 2}), c.count(seed), c.sums
        # %% code
        limit = 6
        """,
    "what is global and what is nonlocal": """
        # %% code
        seen = 0
        # %% candidate
        def fit(fit, validation, settings, contract, seed):
            global seen
            inner = 1
            def step():
                nonlocal inner
                inner += settings.size
            step()
            seen = seen * 0 + inner
            return seen
        """,
    "an import that is guarded": """
        # %% code
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from collections.abc import Sequence
        try:
            import not_there_at_all as fast
        except ImportError:
            fast = None
        # %% candidate
        def fit(fit: "Sequence[float]", validation, settings, contract, seed):
            return fast is None
        """,
    "unicode names, and one that is written in two ways": """
        # %% code
        größe = 3
        ﬁlter_length = 4  # with a ligature, which Python reads as two letters
        # %% candidate
        def fit(fit, validation, settings, contract, seed):
            return größe * filter_length, "„späte“ Flüge"
        """,
    "annotations that are never evaluated": """
        # %% candidate
        from __future__ import annotations
        def fit(fit: Rows, validation: Rows, settings: Settings, contract, seed: int) -> list[Rows]:
            return [seed]
        # %% code
        import numpy as np
        Rows = np.ndarray | None
        """,
    "a magic in a cell that is not tagged, beside what is needed": """
        # %% code
        base = 10
        # %% candidate
        def fit(fit, validation, settings, contract, seed):
            return base + seed
        """,
    "a definition that a later tagged cell replaces": """
        # %% candidate
        def fit(fit, validation, settings, contract, seed):
            return old_way
        # %% candidate
        old = 1
        old = old + 1
        def fit(fit, validation, settings, contract, seed):
            return old
        """,
    "two functions that call each other": """
        # %% candidate
        def fit(fit, validation, settings, contract, seed):
            return even(seed)
        # %% code
        def even(n):
            return n == 0 or odd(n - 1)
        def odd(n):
            return n != 0 and even(n - 1)
        """,
    "submodules that are imported apart": """
        # %% code
        import xml.dom
        import xml.etree.ElementTree
        # %% candidate
        def fit(fit, validation, settings, contract, seed):
            return xml.etree.ElementTree.fromstring("<a/>").tag
        """,
}
