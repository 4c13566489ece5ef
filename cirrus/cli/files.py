"""Pipelines in files: ``FILE[:NAME]``, and settings that the command line changes."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cirrus.changes import changed as replaced
from cirrus.errors import PipelineError
from cirrus.pipeline import Budget, Pipeline, Stage


@contextmanager
def beside(where: str) -> Iterator[None]:
    """Let this process, and the workers that it starts, import what stands beside the file."""
    file = Path(where.partition(":")[0])
    folder = str(file.parent.absolute())
    before = os.environ.get("PYTHONPATH")
    sys.path.insert(0, folder)
    os.environ["PYTHONPATH"] = folder if before is None else f"{folder}{os.pathsep}{before}"
    try:
        yield
    finally:
        sys.path.remove(folder)
        if file.stem in sys.modules and sys.modules[file.stem].__file__ == str(file.absolute()):
            del sys.modules[file.stem]
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def load_pipeline(where: str) -> Pipeline:
    """The pipeline ``NAME`` (default ``pipeline``) of a Python file, which is imported; use it within ``beside``."""
    file, _, name = where.partition(":")
    path = Path(file)
    if not path.is_file() or path.suffix != ".py" or "." in path.stem:
        raise PipelineError("FILE", file, "a Python file that defines a Pipeline and can be imported by its name")
    try:
        module = importlib.import_module(path.stem)
    except PipelineError:
        raise
    except Exception as error:  # the border: the file is the user's, and may raise anything
        raise PipelineError("FILE", file, f"a file that can be executed; {_fault(error, path)}") from error
    if not Path(module.__file__ or os.devnull).samefile(path):
        raise PipelineError("FILE", file, f"another name for the file; {path.stem} is a module already")
    found = getattr(module, name or "pipeline", None)
    if not isinstance(found, Pipeline):
        raise PipelineError("NAME", name or "pipeline", f"the name of a Pipeline in {file}")
    return found


def changed(pipeline: Pipeline, settings: list[str]) -> Pipeline:
    """The pipeline with ``stage.field=value`` set (``train.optimizer.rate=0.05``); values are Python literals.

    ``budget.dollars`` and ``budget.minutes`` are the budget's, unless there is a stage of that name.
    """
    for setting in settings:
        path, equals, text = setting.partition("=")
        stage, dot, fields = path.partition(".")
        names = [one.name for one in pipeline.stages]
        if stage == "budget" and stage not in names:
            pipeline = dataclasses.replace(pipeline, budget=budget_of([setting], pipeline.budget))
            continue
        if not equals or not dot or stage not in names:
            allowed = f"stage.field=value with one of the stages {', '.join(names)}, or budget"
            raise PipelineError("--set", setting, allowed)
        stages: list[Stage] = [
            replaced(f"--set {setting}", one, {fields: _value(text)}) if one.name == stage else one
            for one in pipeline.stages
        ]
        pipeline = dataclasses.replace(pipeline, stages=tuple(stages))
    return pipeline


def budget_of(settings: list[str], before: Budget) -> Budget:
    """The budget with ``budget.dollars=value`` or ``budget.minutes=value`` set."""
    for setting in settings:
        path, equals, text = setting.partition("=")
        start, dot, field = path.partition(".")
        if not equals or not dot or start != "budget":
            raise PipelineError("--set", setting, "budget.dollars=value or budget.minutes=value")
        before = replaced(f"--set {setting}", before, {field: _value(text)})
    return before


def own_sources(pipeline: Pipeline) -> tuple[str, ...]:
    """The files and folders from which the models come that are not of cirrus."""
    modules = {type(model).kernel.partition(":")[0].partition(".")[0] for _, model in pipeline.models}
    found = [importlib.util.find_spec(one) for one in sorted(modules - {"cirrus"})]
    origins = [Path(one.origin) for one in found if one is not None and one.origin is not None]
    return tuple(str(one.parent if one.name == "__init__.py" else one) for one in origins)


def _fault(error: Exception, path: Path) -> str:
    """What the file raised, and the last of its lines that was reached."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path.absolute())]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    return f"{type(error).__name__}{f' at line {line}' if line else ''}: {error}"


def _value(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
