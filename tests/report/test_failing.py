"""`--fail-if`: the language's conditions, judged on finished runs; and `--only`, `--front`, `--sort`."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from recipelang.cli import main
from recipelang.errors import RecipeError, Refusal
from recipelang.report.context import ReportContext, build, compare, viewed
from recipelang.report.failing import limited
from recipelang.report.verdicts import ShownVerdict
from recipelang.report.view import View


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def recipe(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Runs a command."""

    def run(*arguments: str) -> Ended:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        return Ended(int(ended.value.code or 0), *capsys.readouterr())

    return run


def verdicts(record: dict[str, Any], *texts: str, every: bool = False) -> tuple[ShownVerdict, ...]:
    return limited(build(record), texts, every=every).limits


def holds(record: dict[str, Any], text: str) -> bool | None:
    (verdict,) = verdicts(record, text)
    return verdict.expectation.holds


def measured(record: dict[str, Any], metric: str, **changes: Any) -> dict[str, Any]:
    """The record with other numbers of `main`."""
    record["variants"][1]["metrics"][metric] |= changes
    return record


@pytest.mark.parametrize(
    ("low", "high", "text", "fails"),
    [
        (-0.05, -0.02, "top1 drop > 1%", True),
        (-0.05, 0.00, "top1 drop > 1%", False),  # noise alone fails nothing
        (-0.05, -0.02, "top1 drop > 3%", False),
        (-0.05, -0.02, "top1 drop >= 2%", True),
        (0.02, 0.05, "top1 drop > 1%", False),
    ],
)
def test_a_drop_fails_where_the_whole_interval_meets_it(
    main_record: dict[str, Any], low: float, high: float, text: str, fails: bool
) -> None:
    measured(main_record, "top1", difference=(low + high) / 2, difference_low=low, difference_high=high)
    assert holds(main_record, text) is not fails


@pytest.mark.parametrize(
    ("text", "fails"),
    [
        ("latency(batch=64) > 0.6", True),  # a ratio to healthy: 0.675 to 0.694
        ("latency(batch=64) > 0.68", False),
        ("latency(batch=64) > 70%", False),
        ("latency(batch=64) > 20ms", True),
        ("latency(batch=64) > 25ms", False),
        ("flops > 100M", True),
        ("sparsity < 50%", True),
        ("sparsity > 90% or flops > 0.5", True),
        ("sparsity > 90% and flops > 0.5", False),
        ("size > 3MB", False),
        ("healthy.size > 3MB", True),
        ("size < healthy.size", True),
        ("main.flops > healthy.flops", False),
        ("top1 < 10% on test", False),
    ],
)
def test_every_form_of_a_condition(main_record: dict[str, Any], text: str, fails: bool) -> None:
    assert holds(main_record, text) is not fails


def test_a_verdict_says_of_which_network_and_with_which_number(main_record: dict[str, Any]) -> None:
    (verdict,) = verdicts(main_record, "latency(batch=64) > 0.6")
    assert (verdict.of, verdict.mark, verdict.expectation.text) == ("main", "✗", "not (latency(batch=64) > 0.6)")
    assert verdict.value.startswith("latency(batch=64) 0.684")
    (close,) = verdicts(main_record, "top1 drop > 0.3%")
    assert close.expectation.holds and close.note.startswith("within the noise")
    assert limited(build(main_record), ["size > 9MB"]).verdicts[-1].verdict == "met"


def test_the_drop_from_the_control_is_the_paired_one_where_there_is_one(main_record: dict[str, Any]) -> None:
    assert holds(main_record, "top1 drop(from=control) > 0.1%") is True  # unpaired: the interval is wide
    measured(main_record, "top1", control={"value": 0.91, "difference": -0.006, "difference_low": -0.009,
                                           "difference_high": -0.003, "noise": False})  # fmt: skip
    assert holds(main_record, "top1 drop(from=control) > 0.1%") is False


def test_what_was_not_measured_is_undecided_and_no_pass(main_record: dict[str, Any]) -> None:
    del main_record["variants"][1]["metrics"]["size"]
    main_record["variants"] = main_record["variants"][:2]
    for text in ("size > 9MB", "top1 drop(from=control) > 90%", "control.size > 9MB or size > 9MB"):
        if text.startswith("control"):
            with pytest.raises(RecipeError):  # it is not a network of a recipe
                verdicts(main_record, text)
            continue
        (verdict,) = verdicts(main_record, text)
        assert verdict.expectation.holds is None and verdict.mark == "?" and verdict.value
    main_record["variants"][1]["error"] = {"message": "the loss is NaN", "code": "RCP0805"}
    (verdict,) = verdicts(main_record, "flops > 900M")
    assert verdict.expectation.holds is None and "the loss is NaN" in verdict.value
    main_record["variants"] = main_record["variants"][:1]
    assert holds(main_record, "flops > 900M") is None
    assert holds(main_record, "healthy.flops > 900M") is True


@pytest.mark.parametrize(
    ("text", "code", "help"),
    [
        ("top5 drop > 1%", "RCP1130", "`top1`"),
        ("latency < 0.7", "RCP1130", "did you mean `latency(batch=64)`?"),
        ("top1 drop > 1% on val", "RCP1130", "did you mean `top1`?"),
        ("tpo1 drop > 1%", "RCP0202", "`top1`"),
        ("top1 drup > 1%", "RCP0601", "`drop`"),
        ("top1 drop > 1", "RCP0604", "`1%`"),
        ("top1", "RCP0601", "top1"),
        ("", "RCP0601", "--fail-if"),
        ("top1 drop > 1%\nflops < 3", "RCP0113", ""),
        ("top1 drop > 1%, flops < 0.3", "RCP0601", "`and`"),
        ("top1 drop > 1% until flops < 0.3", "RCP0601", "--fail-if"),
        ("recovered.top1 < 10%", "RCP1130", "healthy"),
        ("nobody.top1 < 10%", "RCP0205", "healthy"),
        ("top1 drop > ", None, ""),
        ("top1 < 9%) (", None, ""),
        ("flops < 0.1 and flops > 0.5", "RCP0609", ""),
        ("top1 drop > 1% on tset", "RCP0209", "test"),
    ],
)
def test_a_wrong_condition_is_refused_at_its_place(
    main_record: dict[str, Any], text: str, code: str | None, help: str
) -> None:
    with pytest.raises(RecipeError) as refused:
        verdicts(main_record, text)
    first = refused.value.diagnostics[0]
    assert code is None or first.code == code
    assert help in first.help
    assert first.span is not None and first.span.typed == f"--fail-if {text}"
    assert len("--fail-if ") <= first.span.start <= len(first.span.typed)


def test_a_metric_of_another_task_is_read_where_it_was_measured(main_record: dict[str, Any]) -> None:
    main_record["metrics"].append({"name": "psnr", "unit": "dB", "role": "quality", "better": "higher"})
    main_record["variants"][1]["metrics"]["psnr"] = {"value": 30.0, "unit": "dB", "difference": -1.0}
    assert holds(main_record, "psnr drop > 0.5dB") is False
    main_record["metrics"][-1]["name"] = "psnr on set5"
    main_record["variants"][1]["metrics"]["psnr on set5"] = main_record["variants"][1]["metrics"].pop("psnr")
    assert holds(main_record, "psnr drop > 0.5dB on set5") is False
    with pytest.raises(RecipeError):
        verdicts(main_record, "psnr drop > 0.5dB on set6")


def test_the_networks_that_runs_end_with_are_judged_or_all_that_are_named(study_record: dict[str, Any]) -> None:
    chosen = [v.of for v in verdicts(study_record, "flops > 0.1")]
    every = [v.of for v in verdicts(study_record, "flops > 0.1", every=True)]
    assert len(chosen) == 1 and chosen[0] in every and len(every) == 9
    both = compare([build(study_record, "a"), build(study_record, "b")])
    assert [v.of for v in limited(both, ["healthy.flops > 1"]).limits] == ["a", "b"]


def names(context: ReportContext) -> list[str]:
    return [row.name for row in context.rows]


def test_only_shows_what_is_named_with_what_it_is_compared_with(study_record: dict[str, Any]) -> None:
    context = build(study_record)
    found = names(viewed(context, View(only=("budget=0.8", "criterion=random*"))))
    assert found[0] == "healthy" and found[-1] == "control"
    assert found[1:-1] == [n for n in names(context) if "budget=0.8" in n or "random" in n]
    both = compare([build(study_record, "a"), build(study_record, "b")])
    assert {n[:2] for n in names(viewed(both, View(only=("b",))))} == {"b:"}


def test_a_name_that_looks_like_a_pattern_fits_itself(main_record: dict[str, Any]) -> None:
    main_record["variants"][1]["name"] = "widths=[1, 2]*"
    main_record["variants"][2]["control_of"] = ["widths=[1, 2]*"]
    assert names(viewed(build(main_record), View(only=("widths=[1, 2]*",)))) == ["healthy", "widths=[1, 2]*", "control"]


def test_the_front_has_neither_dominated_nor_failed_networks(study_record: dict[str, Any]) -> None:
    context = build(study_record)
    kept = {row.name for row in context.rows if row.kind == "variant" and not row.dominated and not row.failed}
    assert kept and set(names(viewed(context, View(front=True)))) == {"healthy", "control", *kept}


@pytest.mark.parametrize(("metric", "reverse"), [("latency(batch=64)", False), ("top1", True)])
def test_sorted_by_a_column_the_best_is_first(study_record: dict[str, Any], metric: str, reverse: bool) -> None:
    rows = viewed(build(study_record), View(sort=metric)).rows
    assert [rows[0].kind, rows[-1].kind] == ["healthy", "control"]
    values = [row.variant.metrics[metric].value for row in rows[1:-1] if not row.failed]
    assert values == sorted(values, reverse=reverse)  # type: ignore[type-var]
    assert [row.failed for row in rows[1:-1]] == [False] * 6 + [True] * 3


@pytest.mark.parametrize(
    ("view", "help"),
    [
        (View(only=("mian",)), "did you mean `main`?"),
        (View(only=("",)), "the networks are"),
        (View(sort="latency"), "did you mean `latency(batch=64)`?"),
        (View(sort="tpo1"), "did you mean `top1`?"),
    ],
)
def test_what_is_not_there_is_refused(main_record: dict[str, Any], view: View, help: str) -> None:
    with pytest.raises(Refusal) as refused:
        viewed(build(main_record), view)
    assert refused.value.code == "RCP1131" and help in refused.value.help


def test_the_command_says_which_network_fails_and_ends_with_4(
    recipe: Any, tmp_path: Path, main_record: dict[str, Any]
) -> None:
    other = copy.deepcopy(main_record)
    measured(other, "top1", difference=-0.04, difference_low=-0.05, difference_high=-0.03)
    for name, record in (("good", main_record), ("bad", other)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(json.dumps(record), "utf-8")
    runs = [str(tmp_path / name) for name in ("good", "bad")]
    ended = recipe("compare", *runs, "--fail-if", "top1 drop > 1%")
    assert ended.code == 4
    assert "✗ bad: main: top1 drop 4.00 points (3.00 points to 5.00 points); expected not (top1 drop > 1%)" in ended.err
    assert "good: main: top1" not in ended.err
    assert recipe("compare", *runs, "--fail-if", "top1 drop > 1%", "--only", "good").code == 0
    assert recipe("report", runs[1], "--json", "--fail-if", "top1 drop > 1%").code == 4
    wrong = recipe("compare", *runs, "--fail-if", "top5 drop > 1%")
    assert wrong.code == 2 and "RCP1130" in wrong.err and wrong.out == ""
    failures = json.loads(recipe("compare", *runs, "--json", "--fail-if", "top1 drop > 1%").out)["expectations"]
    assert [(e["of"], e["holds"]) for e in failures if e["text"].startswith("not (")] == [
        ("good: main", True),
        ("bad: main", False),
    ]


def test_a_form_can_be_printed_to_be_piped(recipe: Any, tmp_path: Path, main_record: dict[str, Any]) -> None:
    (tmp_path / "report.json").write_text(json.dumps(main_record), "utf-8")
    printed = recipe("report", str(tmp_path), "--to", "md", "--out", "-")
    assert printed.code == 0 and printed.out.startswith("# cifar10_resnet56\n") and "figures/" not in printed.out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.json"]
    assert recipe("report", str(tmp_path), "--out", "-").code == 2
    assert recipe("report", str(tmp_path), "--to", "md,csv", "--out", "-").code == 2


def test_finished_runs_are_judged_and_written_without_torch(tmp_path: Path, main_record: dict[str, Any]) -> None:
    (tmp_path / "report.json").write_text(json.dumps(main_record), "utf-8")
    program = (
        "import sys; from recipelang.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "finally:\n    assert not {'torch', 'torchvision'} & set(sys.modules)\n"
    )
    forms = "csv,latex,json,card(license='mit')".replace("'", '"')
    command = ["compare", str(tmp_path), "--fail-if", "top1 drop > 50%", "--sort", "top1", "--to", forms]
    done = subprocess.run(
        [sys.executable, "-c", program, *command, "--out", str(tmp_path / "out")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert {"report.csv", "report.tex", "comparison.json", "README.md"} <= {
        p.name for p in (tmp_path / "out").iterdir()
    }
