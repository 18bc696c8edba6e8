"""Results as tables and plots: bench/README.md and its pictures are made here.

``python -m bench.report`` reads bench/results/*.json and writes the page; another folder with
results may be named, and the page is then written beside that. Results in its sub-folder gpu,
measured on a machine with a GPU, follow after the others.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.classes import page as classes
from bench.harness import HERE
from bench.machine import available

__all__ = ["ORDER", "main", "table"]

ORDER = (
    "learn_names", "learn_ids", "stream", "round_trip", "latency", "http", "files", "load",
    "memory", "growth", "start", "log", "keys", "models", "held", "snapshot", "flat",
    "embedding_bag", "claims", "recurrent", "packed", "autoencoder", "voices", "cross_features",
    "ingest",
)  # fmt: skip

_INTRO = """\
# How fast

Each question is one file here; each contender runs in a process of its own, in turn, on the same
data. Figures are medians over the rounds; a ratio is one of medians, with the least and the most of
its single rounds. Rule `sgd` in rows of ours that name no other, but for the files, which have
the default, the hedge. A contender that is not installed is left out by name. This page and its
pictures are made by `python -m bench.report`.

```sh
make bench        # the short form, a few minutes: results and page in build/bench
make bench-full   # the full form, most of an hour and 4 GB of disk: results and page here
python -m bench.learn_names --rounds 1 --size samples=20000   # one question, your size
```

What runs beside torch, the published claims among it, is skipped where torch is not installed. This
installs it and measures all of that, the GPU's rows too where there is one with CUDA:

```sh
make bench-torch
python -m bench.gpu bench/results/gpu   # the GPU's rows alone, in small forms: five minutes
```
"""


def _number(value: float) -> str:
    """Three significant digits, thousands with commas."""
    if value != 0 and not 0.001 <= abs(value) < 1e12:
        return f"{value:.2e}"
    if abs(value) >= 1000:
        digits = max(0, len(str(int(abs(value)))) - 3)
        return f"{round(value, -digits):,.0f}"
    return f"{value:.3g}"


def _aimed(ratio: dict[str, Any]) -> str:
    parts = []
    if ratio["at_least"] is not None:
        parts.append(f"≥ {ratio['at_least']:g}")
    if ratio["at_most"] is not None:
        parts.append(f"≤ {ratio['at_most']:g}")
    if ratio["aim"] is not None:
        parts.append(f"aim {_number(ratio['aim'])}")
    return ", ".join(parts)


def _verdict(ratio: dict[str, Any]) -> str:
    return {None: "", True: "met", False: "**missed**"}[ratio["met"]]


def _ratio_rows(ratios: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    for ratio in ratios:
        unit = "×" if ratio["peer"] else ""
        measured = ratio["ratio"] is not None
        yield (
            ratio["ours"],
            ratio["peer"] or "–",
            ratio["figure"] + (f" ({ratio['note']})" if ratio["note"] else ""),
            f"{_number(ratio['ratio'])}{unit}" if measured else "–",
            f"{_number(ratio['least'])} … {_number(ratio['most'])}" if measured else "–",
            _aimed(ratio),
            _verdict(ratio) if measured else "not measured",
        )


def _claim_rows(results: list[dict[str, Any]], word: str = "") -> Iterator[tuple[str, ...]]:
    """The claims of `results`, those decided by a contender with `word` in its name."""
    for result in results:
        for case in result["cases"].values():
            for claim in case.get("claims", ()):
                if word in claim["contender"]:
                    found = f"{_number(claim['here'])}{claim['unit']}"
                    verdict = "holds" if claim["holds"] else "**does not hold**"
                    yield claim["text"], claim["published"], found, claim["contender"], verdict


_CLAIMS = (
    "stated: published without a number. recipe: taken for granted by a published recipe. –: our"
    " own question beside it. Where a claim is about both sides, each has a row."
)
_CLAIM_HEAD = ("claim", "published", "here", "by", "")


def _markdown(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def _measured(case: dict[str, Any], axis: str) -> list[str]:
    """The figures of one case as a table, a curve as one of its own."""
    contenders = case["contenders"]
    plain: list[str] = []
    curves: dict[str, list[int]] = {}
    for figures in contenders.values():
        for figure in figures:
            kind, at, size = figure.partition("@")
            if at and size.isdigit():
                curves.setdefault(kind, [])
                if int(size) not in curves[kind]:
                    curves[kind].append(int(size))
            elif not at and figure not in plain:
                plain.append(figure)
    lines: list[str] = []
    if plain:
        rows = [
            (name, *(_number(figures[f]["median"]) if f in figures else "" for f in plain))
            for name, figures in contenders.items()
            if any(f in figures for f in plain)
        ]
        lines += [*_markdown(("contender", *plain), rows), ""]
    if curves:
        head = [(name, kind) for name, figures in contenders.items() for kind in curves
                if any(f.startswith(f"{kind}@") for f in figures)]  # fmt: skip
        sizes = sorted({size for found in curves.values() for size in found})
        rows = [
            (f"{size:,}", *(_number(contenders[name][f"{kind}@{size}"]["median"])
                            if f"{kind}@{size}" in contenders[name] else "–"
                            for name, kind in head))
            for size in sizes
        ]  # fmt: skip
        lines += [*_markdown((axis, *(f"{n}: {k}" for n, k in head)), rows), ""]
    return lines


def _crossover(case: dict[str, Any]) -> list[str]:
    """From which batch on the GPU is faster than `auto` on the CPU, of each way to use it."""
    contenders = case["contenders"]
    ours = contenders.get("auto", {})
    lines = []
    for name, figures in contenders.items():
        if "CUDA" not in name:
            continue
        wins: int | None = None
        for size in sorted((int(f[3:]) for f in figures if f.startswith("us@")), reverse=True):
            if figures[f"us@{size}"]["median"] >= ours[f"us@{size}"]["median"]:
                break
            wins = size
        found = "at no size" if wins is None else f"from {wins:,} rows on"
        lines.append(f"- {name}: faster than `auto` {found}.")
    return lines or ["- No GPU was at hand: from which batch on one wins is not measured."]


def table(result: dict[str, Any]) -> str:
    """One result as markdown: caveats first, then what was measured, then the ratios."""
    machine = result["machine"]
    sizes = ", ".join(f"{name} {value:,}" for name, value in result["sizes"].items())
    lines = [f"## {result['question']}", ""]
    lines += [f"- {caveat}" for caveat in result["caveats"]]
    where = [machine["cpu"], f"{machine['cores']} cores"]
    where += [machine["gpu"]] if "gpu" in machine else []
    where += [f"torch {result['versions']['torch']}"] if "torch" in result["versions"] else []
    lines += ["", f"{result['form'].capitalize()} form: {sizes}. {', '.join(where)}, load"
                  f" {machine['load_before']:g} when it began.", ""]  # fmt: skip
    for name, case in result["cases"].items():
        if len(result["cases"]) > 1:
            lines += [f"### {name}", ""]
        for word in ("skipped", "failed"):
            reasons: dict[str, list[str]] = {}
            for contender, why in case[word].items():
                reasons.setdefault(why, []).append(contender)
            for why, which in reasons.items():
                lines += [f"{word} ({why}): {'; '.join(which)}", ""]
        lines += _measured(case, result.get("axis", "features"))
        if result["bench"] == "embedding_bag" and name.startswith("batch"):
            lines += [*_crossover(case), ""]
        if case["ratios"]:
            head = ("ours", "against", "in", "ratio", "rounds", "wanted", "")
            lines += [*_markdown(head, list(_ratio_rows(case["ratios"]))), ""]
    claims = list(_claim_rows([result]))
    if claims:
        lines += [*_markdown(_CLAIM_HEAD, claims), ""]
    return "\n".join(lines)


def _summary(results: list[dict[str, Any]]) -> list[str]:
    """All ratios that something is wanted of, on the first case of each."""
    rows = []
    for result in results:
        first = next(iter(result["cases"].values()))
        question = result["question"].partition(":")[0]
        rows += [
            (question, *row)
            for ratio, row in zip(first["ratios"], _ratio_rows(first["ratios"]), strict=True)
            if _aimed(ratio)
        ]
    return _markdown(("question", "ours", "against", "in", "ratio", "rounds", "wanted", ""), rows)


def _machine(result: dict[str, Any]) -> str:
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return (
        f"{machine['cpu']}, {machine['cpu_mhz']} MHz, cache {machine['cpu_cache']},"
        f" {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}. {versions}."
    )


# Pictures.


def _plots(results: dict[str, dict[str, Any]], folder: Path) -> list[str]:
    """The plots that the results allow, written to `folder`; markdown that shows them."""
    if not available("matplotlib"):
        print("matplotlib is not installed: no plots", file=sys.stderr)
        return []
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "bench", "font.size": 9, "svg.fonttype": "none"})
    shown = []
    if "learn_names" in results:
        _rates(results, folder / "rates.svg")
        shown.append(f"![Samples a second by contender]({folder.name}/rates.svg)")
    if "embedding_bag" in results:
        _batches(results["embedding_bag"], folder / "embedding_bag.svg")
        shown.append(f"![Microseconds a batch by its rows]({folder.name}/embedding_bag.svg)")
    if "growth" in results:
        _growth(results["growth"], folder / "growth.svg")
        shown.append(f"![Nanoseconds a feature as the model grows]({folder.name}/growth.svg)")
    return shown


# How ours begin, and their colours.
_OURS = {
    "native": "tab:blue",
    "hedge": "tab:blue",
    "daemon": "tab:blue",
    "objects, native": "tab:blue",
    "python": "lightskyblue",
    "objects, python": "lightskyblue",
}


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})


def _rates(results: dict[str, dict[str, Any]], path: Path) -> None:
    """Bars: samples a second, learned from names; ours in blue."""
    from matplotlib.figure import Figure

    bars: list[tuple[str, float, str]] = []
    for bench, suffix in (("learn_names", ""), ("stream", " (socket)")):
        case = results.get(bench, {}).get("cases", {}).get("classic", {"contenders": {}})
        for name, figures in case["contenders"].items():
            if bench == "stream" and not name.startswith(("daemon", "objects")):
                continue
            color = next((found for start, found in _OURS.items() if name.startswith(start)), None)
            shown = f"onlinesvm: {name}{suffix}" if color else name
            bars.append((shown, figures["samples_per_s"]["median"], color or "silver"))
    bars.sort(key=lambda bar: bar[1])
    figure = Figure(figsize=(7, 0.3 * len(bars) + 1))
    axes = figure.subplots()
    colors = [color for *_, color in bars]
    drawn = axes.barh([name for name, *_ in bars], [rate for _, rate, _ in bars], color=colors)
    axes.bar_label(drawn, labels=[_number(rate) for _, rate, _ in bars], padding=3)
    axes.set_xlabel("samples a second, 25 named features each")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.15)
    _save(figure, path)


def _growth(result: dict[str, Any], path: Path) -> None:
    """Lines: nanoseconds a feature over the size of the model."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.5))
    axes = figure.subplots()
    labels = {
        ("native", "uniform"): "learn, drawn uniformly",
        ("native", "popular"): "learn, drawn log-uniformly",
        ("native", "new"): "learn, all new",
        ("random reads", "uniform"): "one random read of memory",
    }
    contenders = result["cases"]["classic"]["contenders"]
    for (name, kind), label in labels.items():
        points = sorted(
            (int(figure_.partition("@")[2]), found["median"])
            for figure_, found in contenders.get(name, {}).items()
            if figure_.startswith(f"{kind}@") and figure_.partition("@")[2].isdigit()
        )
        style = "--" if name == "random reads" else "-"
        if points:
            axes.plot(*zip(*points, strict=True), style, marker=".", label=label)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("features in the model")
    axes.set_ylabel("ns a feature")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    _save(figure, path)


def _batches(result: dict[str, Any], path: Path) -> None:
    """Lines: microseconds a batch over its rows, float64; where the GPU gets ahead, a mark."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4))
    axes = figure.subplots()
    contenders = result["cases"].get("batch, float64", {}).get("contenders", {})
    curves = {}
    for name, figures in contenders.items():
        points = sorted((int(f[3:]), v["median"]) for f, v in figures.items() if f[:3] == "us@")
        if points and not name.startswith("path"):
            curves[name] = dict(points)
            style = "-" if name in ("auto", "native csr") else "--" if "CUDA" in name else ":"
            axes.plot(*zip(*points, strict=True), style, marker=".", label=name)
    ours = curves.get("auto", {})
    for name, curve in curves.items():
        ahead = [size for size in curve if "CUDA" in name and curve[size] < ours.get(size, 0)]
        if ahead:
            axes.axvline(min(ahead), color="silver", linewidth=0.8)
            axes.annotate(name, (min(ahead), curve[min(ahead)]), rotation=90, fontsize=6)
    if not any("CUDA" in name for name in curves):
        axes.set_title("no GPU measured: no crossover to show", fontsize=8)
    elif "gpu" in result["machine"]:
        axes.set_title(result["machine"]["gpu"], fontsize=8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("rows in the batch, 25 ids each, 250,000 weights, float64")
    axes.set_ylabel("µs a batch")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=7)
    _save(figure, path)


def _read(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        name: json.loads((folder / f"{name}.json").read_text())
        for name in ORDER
        if (folder / f"{name}.json").exists()
    }


def _on_gpu(results: dict[str, dict[str, Any]], folder: Path) -> list[str]:
    """The second half of the page, of a machine with a GPU."""
    found = list(results.values())
    lines = [f"# On a GPU: {found[0]['machine'].get('gpu', 'none found')}", "",
             _machine(found[0]), ""]  # fmt: skip
    if "embedding_bag" in results and available("matplotlib"):
        _batches(results["embedding_bag"], folder / "embedding_bag.svg")
        picture = f"{folder.parent.name}/{folder.name}/embedding_bag.svg"
        lines += [f"![Microseconds a batch by its rows, GPU]({picture})", ""]
    return lines + [table(result) for result in found]


def _put_into(page: Path, tables: str) -> None:
    """Replace what lies between the marks of `bench.classes` in a page."""
    head, mark, rest = page.read_text().partition("<!-- bench.classes -->\n")
    _, end, tail = rest.partition("<!-- end of bench.classes -->\n")
    page.write_text(f"{head}{mark}{tables}{end}{tail}")


def main(folder: Path) -> None:
    """Make the page of the results in `folder`, beside it."""
    results, gpu = _read(folder), _read(folder / "gpu")
    if not results:
        raise SystemExit(f"no results in {folder}")
    found = list(results.values())
    lines = [_INTRO, _machine(found[0]), "", *_summary(found), ""]
    for shown in _plots(results, folder):
        lines += [shown, ""]
    claims = [*_claim_rows(found), *_claim_rows(list(gpu.values()), "CUDA")]
    if claims:
        lines += ["## The published claims", "", _CLAIMS, "", *_markdown(_CLAIM_HEAD, claims), ""]
    lines += [table(result) for result in found]
    if (folder / "classes.json").exists():
        outcome = json.loads((folder / "classes.json").read_text())
        shown = ["", _machine(outcome), "", classes.table(outcome)]
        lines += ["## Learn many classes untuned", *shown]
        if folder == HERE / "results":
            _put_into(HERE.parent / "docs" / "benchmarks.md", classes.table(outcome))
    if gpu:
        lines += _on_gpu(gpu, folder / "gpu")
    page = folder.parent / "README.md"
    page.write_text("\n".join(lines).rstrip() + "\n")
    print(f"the page: {page}", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "results")
