"""Show what `benchmarks.measure` found: tables for people and one figure."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from quanta.analysis.figures import style

MIB = 2**20


@dataclass(frozen=True)
class Section:
    """One table: a title, names of columns, rows of text. Columns but the first are numbers."""

    title: str
    columns: list[str]
    rows: list[list[str]]


def make_sections(result: dict[str, Any]) -> list[Section]:
    """Turn a result into tables."""
    sections = [
        Section(
            _describe_size(size, result["sizes"][size]),
            ["competitor", "ms a step", "min", "max", "ratio", "min", "max"],
            [
                [
                    _label(result, name),
                    *(f"{t[key]:.1f}" for key in ("median", "min", "max")),
                    *_ratio(result, size, name),
                ]
                for name, t in times.items()
            ],
        )
        for size, times in result["times_ms"].items()
    ]
    sections.append(
        Section(
            "Time of our step as a power of each size, the others as in ladder20",
            ["axis", "exponent", "±", "ms at"],
            [
                [
                    axis,
                    f"{s['slope']:.2f}",
                    f"{s['slope_stderr']:.2f}",
                    ", ".join(f"{x}: {ms:.1f}" for x, ms in zip(s["x"], s["ms"], strict=True)),
                ]
                for axis, s in result["scaling"].items()
            ],
        )
    )
    sections.append(
        Section(
            "Shares: sampling of a step, evaluation of a run",
            ["size", "sampling", "evaluation"],
            [
                [size, f"{share['sampling']:.1%}", f"{share['evaluation']:.2%}"]
                for size, share in result["shares"]["by_size"].items()
            ],
        )
    )
    sections.append(
        Section(
            "Precision at ladder20: time of a step in float32 over its own",
            ["precision", "ratio"],
            [[name, f"{ratio:.2f}"] for name, ratio in result["precision"].items()],
        )
    )
    memory = result["memory"]
    if memory:
        rows = [
            [key.replace("_", " "), f"{memory[key] / MIB:.1f} MiB"] for key in memory if "ratio" not in key
        ]
        rows += [[key.replace("_", " "), f"{memory[key]:.2f}"] for key in memory if "ratio" in key]
        sections.append(Section("Memory of ladder20", ["part", "size"], rows))
    return sections


def _describe_size(name: str, size: dict[str, Any]) -> str:
    widths = size["widths"]
    ladder = f"{len(widths)} widths {widths[0]}..{widths[-1]} (H={size['sum_of_widths']})"
    return (
        f"{name}: {ladder if len(widths) > 1 else f'width {widths[0]}'}, K={size['n_subtasks']}, "
        f"{size['n_bits']} bits, batch {size['batch_size']}, {size['steps']} steps"
    )


def _label(result: dict[str, Any], name: str) -> str:
    """Name a competitor, ours with what it was compiled for."""
    return f"ours ({result['compiled_for']})" if name == "ours" else name


def _ratio(result: dict[str, Any], size: str, name: str) -> list[str]:
    if name == "ours":
        return ["", "", ""]
    values = [result["ratios"][size][name], *result["ratio_ranges"][size][name]]
    return [f"{value:.2f}" for value in values]


def describe(result: dict[str, Any]) -> str:
    """Say in one paragraph when, where and how the result was made."""
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    quick = " Quick: fewer repeats, and smaller sizes than the paper's." if result["quick"] else ""
    return (
        f"{result['date']}, {result['cpu']}, {versions}, {result['threads']} threads, "
        f"`{result['command']}`.{quick} "
        "A step with its share of evaluation: median, least and most of the repeats. The ratio is the "
        "competitor's time over ours, for the floor ours over the floor's."
    )


def judge_compiled(result: dict[str, Any]) -> str:
    """Say in plain words whether compiled code is the faster one, and where not."""
    if result["compiled_for"] == "none":
        return "Nothing was compiled, for lack of a C compiler that works: ours is the same as torch."
    ratios = {size: ratios["torch"] for size, ratios in result["ratios"].items()}
    slow = [f"{size} ({1 / ratio:.2f} times as long)" for size, ratio in ratios.items() if ratio <= 1]
    if not slow:
        return "Compiled code is faster than our path without a compiler (torch) at every size."
    return f"Compiled code is NOT faster than our path without a compiler (torch) at {', '.join(slow)}."


def print_tables(result: dict[str, Any], console: Console) -> None:
    """Print tables for a terminal."""
    console.print(describe(result), highlight=False)
    console.print(judge_compiled(result), highlight=False)
    for section in make_sections(result):
        console.print(f"\n{section.title}", highlight=False)
        table = Table()
        for index, column in enumerate(section.columns):
            table.add_column(column, justify="right" if index else "left")
        for row in section.rows:
            table.add_row(*row)
        console.print(table)


def make_markdown(result: dict[str, Any]) -> str:
    """Make the same tables in Markdown."""
    parts = [describe(result), judge_compiled(result)]
    for section in make_sections(result):
        rules = ["---"] + ["---:"] * (len(section.columns) - 1)
        lines = [f"| {' | '.join(row)} |" for row in (section.columns, rules, *section.rows)]
        parts += [f"**{section.title}**", "\n".join(lines)]
    return "\n\n".join(parts)


@style.applied()
def save_plot(result: dict[str, Any], path: Path) -> None:
    """Draw the time of a step of every competitor, and how ours grows."""
    figure = Figure(figsize=(style.DOUBLE_COLUMN, 2.8), layout="constrained")
    points, lines = figure.subplots(1, 2)
    names = list(next(iter(result["times_ms"].values())))
    for index, name in enumerate(names):
        times = [times[name] for times in result["times_ms"].values()]
        low, middle, high = (np.array([t[key] for t in times]) for key in ("min", "median", "max"))
        places = np.arange(len(times)) + 0.12 * (index - (len(names) - 1) / 2)
        points.errorbar(places, middle, [middle - low, high - middle], fmt="o", elinewidth=0.7, label=name)
    points.set_yscale("log")
    points.set_xticks(range(len(result["times_ms"])), list(result["times_ms"]))
    points.set_ylabel("time of a step (ms)")
    style.legend_above(points, n_columns=3)
    for axis, scaling in result["scaling"].items():
        label = f"{axis.replace('_', ' ')} ({scaling['slope']:.2f})"
        lines.loglog(
            [x / scaling["x"][len(scaling["x"]) // 2] for x in scaling["x"]], scaling["ms"], "o-", label=label
        )
    lines.set_xlabel("size (relative)")
    lines.set_ylabel("time of our step (ms)")
    style.readable_log_ticks(lines.xaxis, lines.yaxis)
    style.legend_above(lines, title="exponent in", n_columns=2)
    figure.savefig(path, dpi=style.DPI["png"])
