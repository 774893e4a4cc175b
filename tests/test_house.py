"""The house rules that a command can see."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

CODE = [p for top in ("analyzers", "cli", "tracer") for p in sorted((ROOT / top).rglob("*.py"))]
DEMO = ROOT / "fixtures" / "llama-decode-h100-synthetic.json.gz"
RUN_WITH_EXAMPLE = """
import sys
import mmprof.analyzers.analyses as analyses
analyses.__path__.append(sys.argv[1])
from mmprof.cli.main import main
sys.exit(main(["analyze", sys.argv[2], "--by", "stream", *sys.argv[3:]]))
"""


def commands_in(page: str, name: str) -> str:
    found = re.search(
        rf"<!-- command: {name} -->\n```bash\n(.*?)\n```", (ROOT / page).read_text(), re.DOTALL
    )
    assert found, f"{page} has no command {name}"
    return found[1]


RUN_WITH_FAMILY = """
import sys
import mmprof.tracer.workloads as workloads
workloads.__path__.append(sys.argv[1])
from mmprof.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


def example_in_contributing(file: str) -> str:
    found = re.search(
        rf"<!-- example: {re.escape(file)} -->\n```python\n(.*?)```",
        (ROOT / "CONTRIBUTING.md").read_text(),
        re.DOTALL,
    )
    assert found
    return found[1]


def test_each_readme_command_is_one_line() -> None:
    assert "\n" not in commands_in("README.md", "main")
    assert "\n" not in commands_in("README.md", "test")


def test_the_worked_example_is_an_analysis_with_no_other_change(tmp_path: Path) -> None:
    (tmp_path / "streams.py").write_text(example_in_contributing("analyzers/analyses/streams.py"))
    command = [sys.executable, "-c", RUN_WITH_EXAMPLE, str(tmp_path), str(DEMO), "--format", "csv"]
    shown = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.splitlines()
    assert shown[0].split(",") == ["rank", "device", "stream", "time_ns", "count"]
    assert [row.split(",")[2] for row in shown[1:]] == ["7"]


def test_the_worked_example_is_a_family_with_no_other_change(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "mlp.py").write_text(example_in_contributing("tracer/workloads/mlp.py"))
    family = [sys.executable, "-c", RUN_WITH_FAMILY, str(tmp_path)]
    trace = tmp_path / "mlp.json.gz"
    record = [*family, "trace", "mlp", "--no-ceilings", "-o", str(trace)]
    subprocess.run(record, capture_output=True, check=True, cwd=ROOT)
    table = [*family, "analyze", str(trace), "--by", "module", "--format", "csv"]
    shown = subprocess.run(table, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert {"Sequential", "0", "2"} <= {row.split(",")[2] for row in shown.splitlines()}


@pytest.mark.parametrize("path", CODE, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 500
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef)]
    long = [f.name for f in functions if (f.end_lineno or 0) - f.body[0].lineno + 1 > 60]
    assert long == []


def test_layers_point_one_way() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    if not lint.exists():
        pytest.skip("import-linter is not installed")
    done = subprocess.run([str(lint)], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout
