"""Mutation testing of the functions behind the published numbers: list the faults that no test notices.

    make mutate                                 every module of TESTS
    make mutate MODULE=training/distortions     one of them

Faults are: a comparison reversed, + and - or * and / swapped, a number increased by 1, a condition negated, a sign or a
statement removed. Each is applied in turn to a copy of the repository, where the tests of its module run until one
fails. A fault that survives shows a missing test, or code without effect. Faults that no test can notice are listed in
mutate_equivalent.txt, with the reason: module, line before, line after, reason, and an empty line.

mutmut and cosmic-ray do the same, but they start Python for each fault, and importing torch takes longer than these
tests; here, a process that has imported torch is forked. They also list exceptions by number or line, which change with
every edit.
"""

import argparse
import ast
import importlib
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tqdm import tqdm

REPOSITORY = Path(__file__).parent.parent
EQUIVALENT = Path(__file__).with_name("mutate_equivalent.txt")
SLOW_TO_IMPORT = (
    "librosa", "pandas", "scipy.stats", "sklearn.linear_model", "sklearn.model_selection", "torch._dynamo",
    "torchaudio",
)  # fmt: skip
_DISTORTIONS = ["tests/test_distortions.py", "tests/test_augment.py"]
_AUDIO = ["tests/test_audio_stretches.py", "tests/test_audio_windows.py"]
TESTS = {  # arguments of pytest by module
    "training/distortions": _DISTORTIONS,
    "training/background": _DISTORTIONS,
    "training/augment": _DISTORTIONS,
    "training/any_voice_head": ["tests/test_any_voice_head.py"],
    "training/cnn": ["tests/test_training_numbers.py"],
    "evaluation/metrics": ["tests/test_metrics.py"],
    "corpora/splits": ["tests/test_splits.py"],
    "inference/adaptation": ["tests/test_adaptation.py"],
    "audio/stretches": _AUDIO,
    "audio/windows": _AUDIO,
}
SWAPS = {
    ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.USub: ast.UAdd,
    ast.Invert: ast.UAdd,
}  # fmt: skip


def faults(source: str) -> Iterator[tuple[str, str, str]]:
    """For each fault: the line before, the line after, and the whole source with the fault."""
    tree = ast.parse(source)
    lines = ast.unparse(tree).splitlines()
    for node in _in_functions(tree):
        for place, key, changed in _changes(node):
            place[key], kept = changed, place[key]
            broken = ast.unparse(ast.fix_missing_locations(tree))
            place[key] = kept
            before, after = next(pair for pair in zip(lines, broken.splitlines(), strict=True) if pair[0] != pair[1])
            yield before.strip(), after.strip(), broken


def _in_functions(node: ast.AST, inside: bool = False) -> Iterator[ast.AST]:
    """The nodes inside functions, without annotations, decorators and the `strict` of zip."""
    if isinstance(node, ast.keyword) and node.arg == "strict":
        return
    inside = inside or isinstance(node, ast.FunctionDef)
    if inside:
        yield node
    for name, value in ast.iter_fields(node):
        if name not in ("annotation", "returns", "decorator_list"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _in_functions(child, inside)


def _changes(node: ast.AST) -> Iterator[tuple[dict | list, str | int, object]]:
    """The faults of a node: a list or dict in it, the index or key, and the replacement."""
    fields = vars(node)
    if isinstance(node, ast.Compare):
        for number, operator in enumerate(node.ops):
            yield node.ops, number, SWAPS[type(operator)]()
    elif isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp | ast.UnaryOp) and type(node.op) in SWAPS:
        yield fields, "op", SWAPS[type(node.op)]()
    elif isinstance(node, ast.Constant) and type(node.value) in (bool, int, float):
        yield fields, "value", not node.value if type(node.value) is bool else node.value + 1
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        yield fields, "test", ast.UnaryOp(ast.Not(), node.test)
    elif isinstance(node, ast.comprehension):
        for number, test in enumerate(node.ifs):
            yield node.ifs, number, ast.UnaryOp(ast.Not(), test)
    for body in (fields.get("body"), fields.get("orelse")):
        for number, statement in enumerate(body if isinstance(body, list) else ()):
            if _can_go(statement):
                yield body, number, ast.Pass()


def _can_go(statement: ast.stmt) -> bool:
    """Whether the code still runs without it: not a first assignment to a name, and not a docstring."""
    if isinstance(statement, ast.Assign):
        read = {node.id for node in ast.walk(statement.value) if isinstance(node, ast.Name)}
        return any(isinstance(target, ast.Name) and target.id in read for target in statement.targets)
    return isinstance(statement, ast.AugAssign | ast.Expr) and not isinstance(statement.value, ast.Constant)


def passes(copy: Path, tests: list[str], limit_s: float) -> bool:
    """Whether all tests pass within the time limit, in a separate process."""
    process = multiprocessing.get_context("fork").Process(target=_run, args=(copy, tests))
    process.start()
    process.join(limit_s)
    if process.is_alive():
        process.kill()
        process.join()
    return process.exitcode == 0


def _run(copy: Path, tests: list[str]) -> None:
    os.chdir(copy)
    os.environ |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True  # it would be taken for that of the next fault in the same second
    sys.path[0] = str(copy / "tests")
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    os._exit(pytest.main(["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", "--assert=plain", *tests]))


def survivors(module: str, copy: Path) -> list[str]:
    """The faults of a module that its tests do not notice: module, line before, line after; printed when found."""
    path = copy / "speech_emotion" / f"{module}.py"
    source, tests, found, n_faults, n_equivalent = path.read_text(encoding="utf-8"), TESTS[module], [], 0, 0
    known = {tuple(entry.splitlines()[:3]) for entry in EQUIVALENT.read_text(encoding="utf-8").split("\n\n")}
    start = time.monotonic()
    if not passes(copy, tests, 600):
        raise SystemExit(f"{module}: the tests fail even without a fault: pytest {' '.join(tests)}")
    limit_s = 10 + 5 * (time.monotonic() - start)
    for before, after, broken in tqdm(list(faults(source)), desc=module, unit="fault"):
        n_faults += 1
        if (module, before, after) in known:
            n_equivalent += 1
            continue
        path.write_text(broken, encoding="utf-8")
        if passes(copy, tests, limit_s):
            found.append(f"{module}\n{before}\n{after}\n")
            print(found[-1], flush=True)
    path.write_text(source, encoding="utf-8")
    print(f"{module}: {n_faults} faults, {n_equivalent} of them equivalent, {len(found)} not noticed\n", flush=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("module", nargs="*", default=list(TESTS), metavar="MODULE", help=", ".join(TESTS))
    modules = parser.parse_args().module
    if unknown := set(modules) - set(TESTS):
        parser.error(f"no tests are listed for {', '.join(unknown)}; add them to TESTS in {__file__}")
    for name in SLOW_TO_IMPORT:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "repository")
        shutil.copytree(REPOSITORY, copy, ignore=shutil.ignore_patterns(".*", "data", "__pycache__", "*.part"))
        found = [survivor for module in modules for survivor in survivors(module, copy)]
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
