"""The command line: what a person does with a release once the pipeline has made it."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from takeoff.address import without_password
from takeoff.errors import TakeoffError
from takeoff.pilot.finding import explain_score
from takeoff.stage import HERE, read_config, run, show

app = typer.Typer(
    help="Takeoff: look at what was released, and take a release back. Run it in the project folder.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def summary() -> None:
    """What serves, why it won, and where to look next."""
    from takeoff.registry import Registry
    from takeoff.summary import describe

    contract, params = read_config()
    registry = Registry(contract.name)
    champion = registry.champion()
    if champion is None:
        raise TakeoffError(
            f"MLflow at {without_password(registry.uri)} has no champion. Run `make run`, or where the "
            f"data is older than this store, `.venv/bin/dvc repro --force`."
        )
    show(describe(champion, contract, params))


@app.command()
def serve(
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 3000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Serve the champion's Bento until Ctrl-C."""
    from takeoff.packaging import serve as serve_bento
    from takeoff.registry import Registry

    contract, _ = read_config()
    champion = Registry(contract.name).champion()
    if champion is None:
        raise TakeoffError("There is no champion to serve yet. Run `make run` first.")
    if champion.bento is None:
        raise TakeoffError(
            f"Version {champion.number} is champion but was not packaged: run `make run`, which packages it, "
            f"or go back with `takeoff rollback`."
        )
    serve_bento(champion.bento, host, port, HERE)


@app.command()
def history() -> None:
    """Every release, refusal and rollback, oldest first."""
    from takeoff.registry import Registry

    contract, _ = read_config()
    registry = Registry(contract.name)
    records, champion = registry.history(), registry.champion()
    if not records:
        show("Nothing was decided yet. `dvc repro` makes the first release.")
        return
    table = Table(title=f"History of {contract.name}")
    for heading in ("when (UTC)", "what", "champion", "before", "who", "why"):
        table.add_column(heading, overflow="fold")
    for each in records:
        mark = "*" if champion and each.champion == champion.number else ""
        when = each.when[:19].replace("T", " ")
        table.add_row(
            when, each.action, f"{each.champion or '-'}{mark}", each.before or "-", each.who, each.why
        )
    table.caption = "* serves now"
    show(table)


@app.command()
def rollback(
    reason: Annotated[str, typer.Option(help="Why, for the history.")],
    to: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="A version that was champion before; default: the previous."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would happen, change nothing.")
    ] = False,
) -> None:
    """Make a version that was champion before the champion again, and record why."""
    from takeoff import history as past
    from takeoff.registry import Registry

    if not reason.strip():
        raise TakeoffError("A rollback needs a reason: --reason 'what went wrong'. Nothing was changed.")
    contract, _ = read_config()
    registry = Registry(contract.name)
    champion = registry.champion()
    number = champion.number if champion else None
    previous = registry.previous()
    move = past.plan_rollback(registry.history(), number, to or (previous.number if previous else None))
    chosen = registry.version(move.champion)
    if chosen is None:
        raise TakeoffError(f"Version {move.champion} is no longer in the registry. Nothing was changed.")
    text = f"from version {number} to version {chosen.number} ({chosen.card['candidate']}"
    text += f", Bento {chosen.bento})" if chosen.bento else ", not packaged)"
    if dry_run:
        show(f"Would roll back {text}. Nothing was changed.")
        return
    entry = past.record(
        "rollback", reason.strip(), move.champion, number, {"candidate": chosen.card["candidate"]}
    )
    registry.promote(chosen, move.previous, entry, {})
    show(f"Rolled back {text}. Restart the service to serve it.")


@app.command(
    name="pilot-check",
    help="What stands between a notebook, any notebook, and production. Runs it from a clean kernel, "
    f"installs nothing, and exits 0 whatever it finds: this is advice.\n\n{explain_score()}",
)
def pilot_check(
    notebook: Annotated[Path, typer.Argument(help="The notebook file.", show_default=False)],
    timeout: Annotated[int, typer.Option(min=1, help="Seconds that its run may take.")] = 600,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Also write the findings here.")
    ] = None,
    run_it: Annotated[bool, typer.Option("--run/--no-run", help="Run it, or only read it.")] = True,
) -> None:
    """See `help` above, which names the weights from their own table."""
    from takeoff import files
    from takeoff.pilot.check import check
    from takeoff.pilot.report import as_json, render

    report = check(notebook, HERE.resolve(), timeout, run_it)
    show(render(report))
    if json_file:
        files.write_json(json_file, as_json(report))


@app.command()
def promote(
    notebook: Annotated[Path | None, typer.Argument(help="A notebook of this project.")] = None,
    name: Annotated[str | None, typer.Option("--as", metavar="NAME", help="The candidate's name.")] = None,
    upkeep: Annotated[
        float | None,
        typer.Option(metavar="USD", help="What keeping it alive costs a year; default: as the dearest."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also over what was changed in its module by hand.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only say whether each promoted module equals its notebook.")
    ] = False,
) -> None:
    """Make a candidate of a notebook's cells tagged `candidate`, and prove that it predicts the same."""
    from takeoff.promotion.check import check as check_all
    from takeoff.promotion.promote import promote as bring_in

    if check and (notebook or name):
        raise TakeoffError("--check looks at every promoted candidate: leave out notebook and name.")
    if check:
        check_all()
        return
    if notebook is None or name is None:
        raise TakeoffError("Name a notebook and a candidate: takeoff promote NOTEBOOK --as NAME.")
    bring_in(notebook, name, upkeep, overwrite)


def main() -> None:
    """Entry point of the `takeoff` command."""
    run(lambda: app(standalone_mode=True))


if __name__ == "__main__":
    main()
