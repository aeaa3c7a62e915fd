"""What following a notebook's code knows at a moment, and what it writes down."""

import ast
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field

from takeoff.pilot.code import Code, Place, tokens
from takeoff.pilot.values import Column, Divided, Learnt, Model, Pair, Table, Trace, Value

Env = MutableMapping[str, Value]


@dataclass
class State:
    """Where following has come to.

    Attributes:
        cell: that is followed, or that defines the function that is.
        clock: counts statements, in the order in which they would run.
        depth: of calls of the notebook's own functions within each other.
        functions: the notebook's own, with the cell of each.
        returned: by the function that is followed.
        marks: of each name, what its value came from: names, each with the moment it was bound.
    """

    code: Code
    cell: int = 0
    clock: int = 0
    depth: int = 0
    found: Trace = field(default_factory=Trace)
    functions: dict[str, tuple[ast.FunctionDef, int]] = field(default_factory=dict)
    returned: list[Value] = field(default_factory=list)
    marks: dict[str, frozenset[str]] = field(default_factory=dict)

    def learn(self, node: ast.expr, by: str, part: bool, rows: Sequence[ast.expr], env: Env) -> None:
        self.found.learnt.append(Learnt(self.place(node), self.clock, by, part, self.marks_of(rows, env)))

    def divide(self, node: ast.expr, rows: Sequence[ast.expr], env: Env) -> None:
        self.found.divided.append(Divided(self.place(node), self.clock, self.marks_of(rows, env)))

    def bound(self, name: str, source: Sequence[ast.expr], env: Env) -> None:
        """Note that a name now stands for something made from `source`."""
        self.marks[name] = self.marks_of(source, env) or frozenset({f"{name}@{self.clock}"})

    def marks_of(self, nodes: Sequence[ast.expr], env: Env) -> frozenset[str]:
        """What the data in expressions came from; models, functions and modules are no data."""
        names = {each.id for node in nodes for each in ast.walk(node) if isinstance(each, ast.Name)}
        data = names - set(self.code.aliases) - set(self.functions)
        return frozenset().union(
            *(
                self.marks.get(name, frozenset({name}))
                for name in data
                if not isinstance(env.get(name), Model)
            )
        )

    def pair(self, node: ast.expr, features: Value, target: Value) -> None:
        if isinstance(features, Column):  # one column alone is a table of it
            features = Table(features.origin, features.place, features.names, part=features.part)
        if isinstance(target, Table) and target.known and len(target.known) == 1:
            target = target.column(next(iter(target.known)), target.selected, self.clock)
        if isinstance(features, Table) and isinstance(target, Column):
            self.found.pairs.append(Pair(self.place(node), self.clock, features.copy(), target))

    def pair_by_name(self, env: Env) -> None:
        """Bring together what is called X and y, where no fit does (a network's loop)."""
        features = [(name, each) for name, each in env.items() if _called(name, {"x", "features", "inputs"})]
        targets = [
            (name, each) for name, each in env.items() if _called(name, {"y", "target", "labels", "label"})
        ]
        for _, left in features:
            for _, right in targets:
                if isinstance(left, Table) and isinstance(right, Column) and left.origin == right.origin:
                    self.found.pairs.append(Pair(left.selected, self.clock, left.copy(), right))

    def place(self, node: ast.AST) -> Place:
        return Place(self.cell, getattr(node, "lineno", 1))

    def nothing(self, table: Table, node: ast.AST) -> Column:
        return Column(
            table.origin, frozenset(), frozenset(), table.part, table.made, self.place(node), self.clock
        )


def _called(name: str, words: set[str]) -> bool:
    return bool(tokens(name) & words)
