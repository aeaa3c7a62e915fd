"""`make bench-serving`: the service against its limits, in one run on one machine.

Serves the champion's Bento as it is served, beside what it is compared with, loads them in turn with wrk
in several rounds, so that a machine that drifts hits all alike, and writes reports/benchmarks/serving.md.
A missed target is written beside its figure and does not stop it.
"""

import argparse
import itertools
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, TypeVar

from takeoff import files, model, packaging, paths
from takeoff.contract import Contract
from takeoff.errors import TakeoffError
from takeoff.features import features
from takeoff.model import OUTPUT, Model
from takeoff.registry import Registry
from takeoff.stage import read_config, run
from tests.benchmarks import contestants, launch, rows, serving_report
from tests.benchmarks.contestants import (
    BARE,
    FITTED,
    MLFLOW,
    MLFLOW_TENSORS,
    NOTHING,
    ON_POSTGRES,
    OURS,
    SERVICES,
    TWO_WORKERS,
)
from tests.benchmarks.disk import fdatasync_ms
from tests.benchmarks.launch import Server
from tests.benchmarks.load import Sample, check_installed, load
from tests.benchmarks.report import PROJECT, say, write
from tests.benchmarks.serving_report import BATCH_ROWS, Load, Memory, Results

T = TypeVar("T")

SINGLE_ROWS = 400  # different ones, sent in turn
BATCHES = 10  # different ones
BATCH_PATH = "/predict_batch"
SYNCS = 2000  # in all rounds together
IDLE_SECONDS = 1
WARM_UP_SECONDS = 1
TOP_UP_SECONDS = 10
ALONE_SECONDS = 1

CROWD = Load(OURS, 64)  # what fills the service's memory
FIRST_ANSWERS, FIRST_SECONDS = 5_000, 5  # memory is looked at first

# Seconds of each load in each round. Slow servers need no more to show how slow they are.
LOADS = {
    Load(BARE, 1): 3,
    Load(OURS, 1): 3,
    Load(NOTHING, 1): 2,
    Load(MLFLOW, 1): 2,
    Load(FITTED, 1): 2,
    Load(BARE, 16): 4,
    Load(OURS, 16): 4,
    Load(NOTHING, 16): 2,
    Load(MLFLOW, 16): 3,
    Load(MLFLOW_TENSORS, 16): 2,
    Load(FITTED, 16): 5,
    Load(ON_POSTGRES, 16): 3,
    Load(TWO_WORKERS, 16): 3,
    Load(BARE, 64): 4,
    Load(OURS, 64): 4,
    Load(TWO_WORKERS, 64): 4,
    Load(NOTHING, 64): 2,
    Load(MLFLOW, 64): 3,
    Load(FITTED, 64): 5,
}
BATCH_LOADS = {Load(OURS, 1, BATCH_ROWS): 2, Load(OURS, 16, BATCH_ROWS): 2}


class Pace(NamedTuple):
    """How much is measured."""

    rounds: int
    warm_ups: int
    starts: int
    answers: int  # after which memory is looked at again
    longest_load: int  # seconds


FULL = Pace(rounds=5, warm_ups=2, starts=3, answers=500_000, longest_load=5)
QUICK = Pace(rounds=1, warm_ups=1, starts=1, answers=20_000, longest_load=1)


class Subject(NamedTuple):
    """What is served and what is sent."""

    contract: Contract
    bento: str
    released: Model
    model_folder: Path
    bodies: dict[tuple[str, int], Path]  # by server and rows in a request
    arrays: list[rows.Arrays]  # the batches, as ONNX Runtime is fed
    sample: rows.Row
    expected: float  # what the model says of the sample


class Bench(NamedTuple):
    """All that a load needs; servers and endpoints by name."""

    subject: Subject
    servers: dict[str, Server]
    endpoints: dict[str, str]
    pace: Pace


def main() -> None:
    """Measure everything, write the report."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.serving", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round; prints, writes no report")
    quick = parser.parse_args().quick
    check_installed()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as an exception, which stops the servers
    # Where the service's own log would be, so that its disk is the one that is measured.
    (PROJECT / paths.DATA).mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".benchmark-", dir=PROJECT / paths.DATA) as temporary:
        work = Path(temporary)
        subject = _prepare(work)
        results = _measure(subject, work, QUICK if quick else FULL)
    text = serving_report.text(results)
    if quick:
        print(text)
    else:
        write("serving.md", text)


def _prepare(work: Path) -> Subject:
    contract, _ = read_config()
    champion = Registry(contract.name).champion()
    if champion is None or champion.bento is None:
        raise TakeoffError("There is no packaged champion to measure. Run `make run` first.")
    if not _is_of_this_folder(champion.bento, contract):
        say(f"Note: {champion.bento} is measured, which is not what the files of this folder would make.")
    folder = packaging.bento_folder(packaging.store_folder(PROJECT), champion.bento) / "src" / paths.RELEASED
    released = model.load(folder)
    test = files.read_rows(PROJECT / paths.split_rows("test"))
    few, many = rows.spread(test, SINGLE_ROWS), rows.spread(test, BATCHES * BATCH_ROWS)
    sent = rows.as_sent(few, contract)
    batches = rows.write(rows.batches(rows.as_sent(many, contract), BATCH_ROWS), work / "batches")
    bodies = {
        (name, 1): rows.write(contestants.bodies(name, sent, contract), work / f"bodies-{place}")
        for place, name in enumerate({each.server for each in LOADS})
    }
    return Subject(
        contract=contract,
        bento=champion.bento,
        released=released,
        model_folder=folder,
        bodies=bodies | {(OURS, BATCH_ROWS): batches},
        arrays=rows.arrays(many, BATCH_ROWS, contract),
        sample=sent[0],
        expected=float(model.predict(released.session, features(few[:1], contract))[0, -1]),
    )


def _is_of_this_folder(bento: str, contract: Contract) -> bool:
    try:
        return packaging.describe(contract, PROJECT).tag == bento
    except TakeoffError:  # one of the files is missing
        return False


def _measure(subject: Subject, work: Path, pace: Pace) -> Results:
    with ExitStack() as stack:
        url = stack.enter_context(contestants.database())
        known = contestants.contestants(work, subject.model_folder, url)
        others = {
            name: stack.enter_context(contestants.started(name, each, work))
            for name, each in known.items()
            if name != OURS
        }
        starts = [_start_once(known[OURS], work) for _ in range(pace.starts - 1)]
        last = stack.enter_context(contestants.started(OURS, known[OURS], work))
        bench = Bench(subject, others | {OURS: last}, {n: each.path for n, each in known.items()}, pace)
        return _load_all(bench, [*starts, last.seconds], work)


def _start_once(service: contestants.Contestant, work: Path) -> float:
    with contestants.started(OURS, service, work) as server:
        return server.seconds


def _load_all(bench: Bench, starts: list[float], work: Path) -> Results:
    """Measure in the one order in which no figure disturbs another."""
    subject, servers, pace = bench.subject, bench.servers, bench.pace
    contestants.check_same(servers, bench.endpoints, subject.sample, subject.expected, subject.contract)
    for server in servers.values():
        launch.settle(server)
    stolen = launch.watch_stolen()
    idle, _ = launch.quiet_shares(list(servers.values()), IDLE_SECONDS)
    first = _load(bench, CROWD, FIRST_SECONDS, FIRST_ANSWERS)
    memory = [_memory(bench, first.answers)]
    loads = {each: seconds for each, seconds in LOADS.items() if each.server in servers}
    samples, between = _rounds(bench, loads, lambda: _machine(bench, work))
    answers = first.answers + sum(s.answers for each in samples if each.server == OURS for s in samples[each])
    while answers < pace.answers:
        answers += _load(bench, CROWD, TOP_UP_SECONDS).answers
    memory.append(_memory(bench, answers))
    problems = _unlogged(bench, samples, answers)
    # Last: bodies of a thousand rows leave a process larger than any number of rows does.
    batches, alone = _rounds(bench, BATCH_LOADS, lambda: _rows_per_second(bench))
    return Results(
        bento=subject.bento,
        samples={each: s[pace.warm_ups :] for each, s in (samples | batches).items()},
        problems=problems,
        onnx_rows=alone,
        starts=starts,
        memory=memory,
        after_batches=launch.worker_mib(servers[OURS]),
        syncs_ms=[ms for syncs, _ in between for ms in syncs],
        idle_share=idle,
        other_shares=[other for _, other in between],
        stolen_share=stolen(),
        warm_ups=pace.warm_ups,
    )


def _rounds(
    bench: Bench, loads: dict[Load, int], beside: Callable[[], T]
) -> tuple[dict[Load, list[Sample]], list[T]]:
    """All loads in turn, again and again: samples with those of the warm-ups first, and what `beside` gave
    once a round, while nothing else ran."""
    samples: dict[Load, list[Sample]] = {each: [] for each in loads}
    for _, (each, _) in itertools.product(range(bench.pace.warm_ups), loads.items()):
        samples[each].append(_load(bench, each, WARM_UP_SECONDS))
    gave = []
    for place in range(bench.pace.rounds):
        gave.append(beside())
        # There and back: what comes first in one round comes last in the next.
        order = list(loads.items())[:: 1 if place % 2 == 0 else -1]
        for each, seconds in order:
            sample = _load(bench, each, min(seconds, bench.pace.longest_load))
            samples[each].append(sample)
            say(
                f"round {place + 1} of {bench.pace.rounds}: {each.title}: {sample.rate:,.0f} requests/s, "
                f"p99 {sample.p99:,.1f} ms{', VOID: ' + sample.problem if sample.problem else ''}"
            )
    return samples, gave


def _load(bench: Bench, each: Load, seconds: int, answers: int = 0) -> Sample:
    """One load, after which its server has come to rest."""
    server = bench.servers[each.server]
    bodies = bench.subject.bodies[each.server, each.rows]
    url = server.address + (BATCH_PATH if each.rows > 1 else bench.endpoints[each.server])
    sample = load(url, bodies, each.connections, seconds, answers)
    launch.settle(server)
    return sample


def _memory(bench: Bench, answers: int) -> Memory:
    found = Memory(answers, launch.worker_mib(bench.servers[OURS]))
    say(f"memory after {found.answers:,} requests: {found.mib:.1f} MiB")
    return found


def _unlogged(bench: Bench, samples: dict[Load, list[Sample]], answers: int) -> list[str]:
    """What is wrong with the logs of our services, whose figures then mean nothing."""
    answered = {
        name: sum(s.answers for each in samples if each.server == name for s in samples[each])
        for name in SERVICES
        if name in bench.servers
    }
    problems = []
    for name, given in (answered | {OURS: answers}).items():
        logged = contestants.logged_rows(bench.servers[name])
        if logged.get("spool"):
            problems.append(f"{name}: {logged['spool']:,} rows went to the spool, not to the database.")
        if (kept := logged.get("database", 0)) < given:
            problems.append(f"{name}: {kept:,} rows are in the log, of {given:,} that were answered.")
    return problems


def _machine(bench: Bench, work: Path) -> tuple[list[float], float]:
    """The disk, and how busy the machine is with other things, while no server is asked."""
    _, other = launch.quiet_shares(list(bench.servers.values()), IDLE_SECONDS)
    return fdatasync_ms(work, SYNCS // bench.pace.rounds), other


def _rows_per_second(bench: Bench) -> float:
    """ONNX Runtime alone, in this process, on ready-made arrays."""
    session, batches = bench.subject.released.session, bench.subject.arrays
    rows_done, started = 0, time.perf_counter()
    while time.perf_counter() - started < ALONE_SECONDS:
        for batch in batches:
            session.run([OUTPUT], batch)
        rows_done += BATCH_ROWS * len(batches)
    return rows_done / (time.perf_counter() - started)


if __name__ == "__main__":
    run(main)
