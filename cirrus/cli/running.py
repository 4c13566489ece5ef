"""``cirrus run``: a pipeline from a file, shown while it goes on, summed up at its end."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict

from cirrus.cli.files import beside, changed, load_pipeline, own_sources
from cirrus.cli.output import print_json, print_table
from cirrus.cli.paging import paged, wished
from cirrus.cli.places import chosen
from cirrus.cli.show import Show, choose
from cirrus.cloud.base import Place
from cirrus.core.cost import Cost
from cirrus.pipeline import Budget, Pipeline
from cirrus.results import Result
from cirrus.runs import start


async def follow(
    pipeline: Pipeline | str, place: Place, show: Show, budget: Budget | None = None, port: int | None = None
) -> Result:
    """Run a pipeline, or go on with the run of that id, and show it meanwhile, with a ``port`` on its page as well."""
    async with start(pipeline, on=place, budget=budget) as run, paged(run, port):
        await show.follow(run.events(), lambda: run.cost)
        return await run.result()


async def run_file(arguments: Namespace) -> None:
    """Run the pipeline of a file."""
    port = wished(arguments)
    with beside(arguments.file):
        pipeline = changed(load_pipeline(arguments.file), arguments.set)
        place = chosen(arguments, own_sources(pipeline))
        result = await follow(pipeline, place, choose(as_json=arguments.json), port=port)
    if arguments.json:
        print_json(summary(result))
    else:
        print_result(result)


def summary(result: Result) -> dict[str, object]:
    """A result as plain values."""
    return {"run_id": result.run_id, "metrics": dict(result.metrics), "cost": asdict(result.cost)}


def print_result(result: Result, *more: tuple[str, str]) -> None:
    """A result for people, with ``more`` behind the run's id."""
    rows = [("run", result.run_id), *more]
    for stage, metrics in result.metrics.items():
        rows += [(f"{stage} {name.replace('_', ' ')}", f"{value:,.6g}") for name, value in metrics.items()]
    print_table([*rows, *spent(result.cost)])


def spent(cost: Cost) -> list[tuple[str, str]]:
    """What was spent, for people; by stage and kind where it was not free."""
    rows = [
        ("workers", f"{cost.invocations} started, {cost.worker_seconds:.1f} s altogether"),
        ("cost", f"{cost.dollars:.4f} dollars"),
    ]
    if cost.dollars:
        stages = {name or "beside them": dollars for name, dollars in cost.stages.items()}
        for title, parts in (("cost of stages", stages), ("cost by kind", cost.kinds)):
            rows.append((title, ", ".join(f"{name} {dollars:.6f}" for name, dollars in parts.items())))
    return rows
