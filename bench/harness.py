"""How a question is asked: contenders in turn, each run in a process of its own.

A bench names its contenders and its targets; the harness runs them one after the other, A B A B,
as many rounds as the form has, so that a slow drift of the machine meets all alike. Reported are
medians over the rounds, and ratios of medians with the spread of the ratios of single rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench import machine, streams
from bench.published import Claim, outcome

__all__ = ["HERE", "SCRATCH", "Bench", "Figures", "Job", "Target", "judged"]

HERE = Path(__file__).resolve().parent
SCRATCH = HERE.parent / "build" / "bench"
_DEADLINE_S = 900

Figures = dict[str, float]


@dataclass(frozen=True)
class Job:
    """One run of one contender: the case, the sizes of this form, a folder for made data."""

    case: str
    sizes: dict[str, int]
    data: Path

    def stream(self, samples: int | None = None) -> streams.Stream:
        """The samples of this case; a real set is taken whole."""
        wanted = self.sizes["samples"] if samples is None else samples
        if self.case in streams.REAL:
            wanted = streams.REAL[self.case][1]
        return streams.Stream(self.case, wanted, self.data)


@dataclass(frozen=True)
class Target:
    """`ours` against `peer` in one figure: how many times better, or at most what.

    at_least, aim: the peer's figure is to be beaten that many times. at_most: ours may be that many
    times the peer's, or, without a peer, that much.
    """

    ours: str
    peer: str | None
    figure: str
    at_least: float | None = None
    aim: float | None = None
    at_most: float | None = None
    lower_is_better: bool = False
    note: str = ""


@dataclass(frozen=True)
class Contender:
    run: Callable[[Job], Figures]
    needs: tuple[str, ...]
    environment: dict[str, str]
    cases: tuple[str, ...] | None


@dataclass
class Bench:
    """One question. `short` and `full` are the sizes of the two forms; `rounds` is one of them.

    prepare: makes the data of a case, untimed, in a process of its own.
    together: runs all contenders of a case in one process, in turn, where the difference between
    two processes would exceed the difference between contenders. It returns each one's figures, or
    why it was skipped. `contenders` then holds their names alone.
    axis: what N is in a figure ``name@N``.
    claims: what was published about the question, and the figures that decide it.
    """

    name: str
    question: str
    caveats: Sequence[str]
    short: dict[str, int]
    full: dict[str, int]
    prepare: Callable[[Job], None] | None = None
    together: Callable[[Job, Sequence[str]], dict[str, Figures | str]] | None = None
    cases: Sequence[str] = (streams.CLASSIC,)
    axis: str = "features"
    full_cases: Sequence[str] = ()
    targets: Sequence[Target] = ()
    claims: Sequence[Claim] = ()
    contenders: dict[str, Contender] = field(default_factory=dict)

    def contender(
        self,
        name: str,
        *,
        needs: Sequence[str] = (),
        kernel: str | None = None,
        cases: Sequence[str] | None = None,
    ) -> Callable[[Callable[[Job], Figures]], Callable[[Job], Figures]]:
        """Enter a function as a contender: it does its work and returns its figures.

        needs: modules without which it is skipped, or "cuda". kernel: the kernel it forces.
        """

        def enter(run: Callable[[Job], Figures]) -> Callable[[Job], Figures]:
            wanted = list(needs)
            environment = {}
            if kernel is not None:
                wanted.append(f"onlinesvm.kernel.{kernel}")
                environment["ONLINESVM_KERNEL"] = kernel
            allowed = None if cases is None else tuple(cases)
            self.contenders[name] = Contender(run, tuple(wanted), environment, allowed)
            return run

        return enter

    # One process.

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Run the bench, or one contender of it; 0, or 1 if a contender failed."""
        parser = argparse.ArgumentParser(description=self.question)
        parser.add_argument("--full", action="store_true", help="the full form")
        parser.add_argument("--rounds", type=int, help="instead of the form's own number")
        parser.add_argument("--size", action="append", default=[], metavar="NAME=N",
                            help="instead of the form's own size; may be repeated")  # fmt: skip
        parser.add_argument("--case", action="append", help="only this; may be repeated")
        parser.add_argument("--only", action="append", metavar="CONTENDER",
                            help="only this contender; may be repeated")  # fmt: skip
        parser.add_argument("--out", type=Path, help="folder of the results")
        parser.add_argument(
            "--data", type=Path, default=SCRATCH / "data", help="folder of the data"
        )
        parser.add_argument("--child", help=argparse.SUPPRESS)
        given = parser.parse_args(arguments)
        sizes = dict(self.full if given.full else self.short)
        sizes.update((name, int(n)) for name, n in (pair.split("=") for pair in given.size))
        if given.rounds:
            sizes["rounds"] = given.rounds
        if given.child:
            job = Job(given.case[0], sizes, given.data)
            if given.child == "prepare":
                if self.prepare is not None:
                    self.prepare(job)
                print("{}")
            elif given.child == "together":
                assert self.together is not None
                print(json.dumps(self.together(job, given.only)))
            else:
                print(json.dumps(self.contenders[given.child].run(job)))
            return 0
        cases = given.case or [*self.cases, *(self.full_cases if given.full else ())]
        result = self._measure(sizes, cases, given.data, given.only)
        result["form"] = "full" if given.full else "short"
        out = given.out or (HERE / "results" if given.full else SCRATCH / "results")
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{self.name}.json").write_text(json.dumps(result, indent=1) + "\n")
        from bench import report

        print(report.table(result))
        return 1 if any(found["failed"] for found in result["cases"].values()) else 0

    # All of them.

    def _measure(
        self, sizes: dict[str, int], cases: Sequence[str], data: Path, only: Sequence[str] | None
    ) -> dict[str, Any]:
        data.mkdir(parents=True, exist_ok=True)
        result: dict[str, Any] = {
            "bench": self.name,
            "question": self.question,
            "caveats": list(self.caveats),
            "machine": machine.description(),
            "versions": machine.versions(),
            "sizes": sizes,
            "axis": self.axis,
            "cases": {},
        }
        for case in cases:
            result["cases"][case] = self._measure_case(Job(case, sizes, data), only)
        return result

    def _measure_case(self, job: Job, only: Sequence[str] | None) -> dict[str, Any]:
        skipped, failed = {}, {}
        runs: dict[str, list[Figures]] = {}
        if self.together is not None:
            return self._measure_together(job, only)
        if not streams.present(job.case):
            return {"skipped": {"all": "the set is not here"}, "failed": {},
                    "contenders": {}, "ratios": [], "claims": []}  # fmt: skip
        for name, contender in self.contenders.items():
            if contender.cases is not None and job.case not in contender.cases:
                continue
            if only is not None and name not in only:
                continue
            missing = list(filter(None, map(machine.absent, contender.needs)))
            if missing:
                skipped[name] = "; ".join(missing)
            else:
                runs[name] = []
        self._run(job, "prepare", {})
        for number in range(job.sizes["rounds"]):
            for name in runs:
                if name in failed:
                    continue
                print(f"{self.name} {job.case} {number + 1} {name}", file=sys.stderr, flush=True)
                try:
                    runs[name].append(self._run(job, name, self.contenders[name].environment))
                except RuntimeError as error:
                    failed[name] = str(error)
                    print(f"  failed: {error}", file=sys.stderr)
        measured = {name: found for name, found in runs.items() if found and name not in failed}
        return self._case(measured, skipped, failed)

    def _measure_together(self, job: Job, only: Sequence[str] | None) -> dict[str, Any]:
        """As `_measure_case`, a process a round."""
        names = [name for name in self.contenders if only is None or name in only]
        chosen = [argument for name in names for argument in ("--only", name)]
        runs: dict[str, list[Figures]] = {}
        skipped, failed = {}, {}
        for number in range(job.sizes["rounds"]):
            print(f"{self.name} {job.case} {number + 1}", file=sys.stderr, flush=True)
            try:
                found = self._run(job, "together", {}, chosen)
            except RuntimeError as error:
                failed["all"] = str(error)
                print(f"  failed: {error}", file=sys.stderr)
                break
            for name, figures in found.items():
                if isinstance(figures, str):
                    skipped[name] = figures
                else:
                    runs.setdefault(name, []).append(figures)
        return self._case(runs, skipped, failed)

    def _case(
        self, measured: dict[str, list[Figures]], skipped: dict[str, str], failed: dict[str, str]
    ) -> dict[str, Any]:
        return {
            "skipped": skipped,
            "failed": failed,
            "contenders": {name: _summary(found) for name, found in measured.items()},
            "ratios": [
                judged(target, measured)
                for target in self.targets
                if {target.ours, target.peer} <= {*measured, *skipped, *failed, None}
                if all(
                    target.figure in runs[0]
                    for name, runs in measured.items()
                    if name in (target.ours, target.peer)
                )
            ],
            "claims": [
                found for claim in self.claims if (found := outcome(claim, measured)) is not None
            ],
        }

    def _run(
        self, job: Job, name: str, environment: dict[str, str], arguments: Sequence[str] = ()
    ) -> dict[str, Any]:
        """One contender once, in a process of its own. Raises RuntimeError."""
        command = [sys.executable, "-m", f"bench.{self.name}", "--child", name]
        command += ["--case", job.case, "--data", str(job.data)]
        for size in job.sizes.items():
            command += ["--size", "{}={}".format(*size)]
        command += arguments
        # The daemons and drivers that a contender starts die with its process group.
        child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=HERE.parent,
            env=os.environ | environment, start_new_session=True,
        )  # fmt: skip
        try:
            out, err = child.communicate(timeout=_DEADLINE_S)
        except BaseException as error:
            os.killpg(child.pid, 9)
            child.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                raise RuntimeError(f"not done after {_DEADLINE_S} s") from None
            raise
        if child.returncode:
            raise RuntimeError((err.strip().splitlines() or [f"exit {child.returncode}"])[-1])
        figures: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
        return figures


def _summary(runs: list[Figures]) -> dict[str, dict[str, Any]]:
    found = {figure: [run[figure] for run in runs if figure in run] for figure in runs[0]}
    return {
        figure: {"median": statistics.median(values), "runs": values}
        for figure, values in found.items()
    }


def judged(target: Target, measured: dict[str, list[Figures]]) -> dict[str, Any]:
    """The ratio of `target`, its spread over the rounds, and whether it is met; nil where either
    contender was skipped or failed.
    """
    if not {target.ours, target.peer} <= {*measured, None}:
        return {**asdict(target), "ratio": None, "least": None, "most": None, "met": None}
    ours = [run[target.figure] for run in measured[target.ours]]
    peers = [1.0] if target.peer is None else [run[target.figure] for run in measured[target.peer]]

    def ratio(a: float, b: float) -> float:
        # How many times better ours is; but against a bound from above, ours over the peer's.
        better = target.lower_is_better and target.peer is not None and target.at_most is None
        return b / a if better else a / b

    single = [ratio(a, b) for a, b in zip(ours, peers * len(ours), strict=False)]
    value = ratio(statistics.median(ours), statistics.median(peers))
    met = None
    if target.at_least is not None:
        met = value >= target.at_least
    elif target.at_most is not None:
        met = value <= target.at_most
    return {**asdict(target), "ratio": value, "least": min(single), "most": max(single), "met": met}
