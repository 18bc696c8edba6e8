"""Learn and evaluate a ranking by files of pairs."""

from __future__ import annotations

import argparse
import contextlib
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from onlinesvm.data.codec import cut_body
from onlinesvm.data.pieces import Decoded
from onlinesvm.readers.pairs import PAIRS_PER_QUERY, PairReader, Pairs
from onlinesvm.service.cli.flags import count, from_flags
from onlinesvm.service.cli.interrupt import uninterrupted
from onlinesvm.service.cli.output import naming
from onlinesvm.service.cli.parser import Parser
from onlinesvm.service.cli.progress import ProgressBar
from onlinesvm.service.cli.run import Run
from onlinesvm.service.cli.shuffle import shuffled
from onlinesvm.service.cli.target import figures_of
from onlinesvm.service.errors import StreamBroken

if TYPE_CHECKING:
    from onlinesvm.service.cli.models import Model
    from onlinesvm.service.client.client import Client
    from onlinesvm.svm import OnlineSVM

__all__ = ["add_pairs", "learn_by_daemon", "learn_pass", "report_of", "table"]

_SHUFFLED = 1024  # pairs of a batch


def add_pairs(parser: Parser) -> None:
    """Add the flag of commands that read pairs."""
    parser.add_argument(
        "--max-pairs-per-query",
        type=count,
        default=PAIRS_PER_QUERY,
        metavar="N",
        help="of a ranking: the pairs that a query of svmlight lines (qid:) makes at most, evenly"
        f" spaced (default: {PAIRS_PER_QUERY:,})",
    )


def pairs_of(arguments: argparse.Namespace, files: list[str], run: Run) -> Iterator[Pairs]:
    """The pairs of all files, in batches, with a progress bar for each file."""
    for source in files:
        with from_flags():
            reader = PairReader(
                source,
                limits=run.limits,
                extractor=run.extractor,
                format=arguments.format,
                skip_bad=arguments.skip_bad,
                max_pairs_per_query=arguments.max_pairs_per_query,
                batch_samples=run.limits.max_samples_per_batch,
            )
        with naming("stdin" if source == "-" else source), reader:
            try:
                with ProgressBar(reader, run.samples) as bar:
                    for pairs in reader:
                        yield pairs
                        bar.update(run.samples, lambda: run.error)
                    bar.update(run.samples, lambda: run.error, last=True)
            finally:
                run.skipped += reader.skipped
                run.first_bad = run.first_bad or reader.first_skipped


def learn_pass(
    arguments: argparse.Namespace, files: list[str], run: Run, model: OnlineSVM, number: int
) -> None:
    """Learn the pairs of all files once, in an order of the pass's own with --shuffle. number: of
    the pass, from 0.
    """

    def decode(body: bytes) -> Decoded:
        return model.decode(body, labelled=True)

    bodies = ((pairs.learned, len(pairs)) for pairs in pairs_of(arguments, files, run))
    batches: Iterator[Decoded] = (decode(body) for body, _ in bodies)
    if arguments.shuffle is not None:
        order = random.Random(f"{arguments.shuffle} {number}")
        most = arguments.max_memory
        batches = shuffled(bodies, order, decode, batch_samples=_SHUFFLED, max_bytes=most)
    for batch in batches:
        with uninterrupted():
            run.count_pairs(model.learn_batch(batch), batch.importances, seen=number > 0)


def learn_by_daemon(
    arguments: argparse.Namespace, files: list[str], run: Run, client: Client
) -> dict[str, Any]:
    """Stream the pairs of the files to a daemon; features and position of its model."""
    importances: dict[int, list[float]] = {}  # of the batches under way, by their first pair

    def take(start: int, margins: NDArray[np.float64]) -> None:
        first = max(index for index in importances if index <= start)
        known = importances[first][start - first :][: len(margins)]
        run.count_pairs(margins, known)
        if start - first + len(margins) >= len(importances[first]):
            del importances[first]

    stream = client.stream(arguments.producer, on_margins=take)
    before, start = stream.applied, 0
    try:
        with stream:
            for pairs in pairs_of(arguments, files, run):
                known = min(max(before - start, 0), len(pairs))  # learned in an earlier run
                if known < len(pairs):
                    body = cut_body(pairs.learned, known)[-1] if known else pairs.learned
                    importances[start + known] = pairs.importances[known:]
                    with uninterrupted():
                        stream.learn_packed(body, len(pairs) - known)
                start += len(pairs)
            with uninterrupted():
                stream.flush()
    except BaseException as error:
        with contextlib.suppress(Exception):
            error.add_note(f"{stream.applied - before:,} pairs were learned before it")
        raise
    if start < before:
        raise StreamBroken(
            f"expected the {before} pairs that producer {arguments.producer} has learned, and"
            f" those after them, got {start}",
            before,
        )
    run.samples = stream.applied - before
    figures = figures_of(client)
    return {
        **({"known": before} if arguments.producer is not None else {}),
        "labels": [],
        "features": figures["features"],
        "position": figures["position"],
    }


def report_of(
    arguments: argparse.Namespace, files: list[str], run: Run, model: Model
) -> dict[str, float | None]:
    """How many of the files' pairs come in the wrong order by the scores of their items; equal
    scores are wrong, too.
    """
    weight = wrong = tied = 0.0
    for pairs in pairs_of(arguments, files, run):
        scores = np.concatenate(
            [
                model.scores(body, n, 2 * run.samples)
                for n, body in pairs.cut(run.limits.max_samples_per_batch)
            ]
        )
        better, worse = scores[::2], scores[1::2]
        importances = np.asarray(pairs.importances)
        weight += float(importances.sum())
        wrong += float(importances[better <= worse].sum())
        tied += float(importances[better == worse].sum())
        run.samples += len(pairs)
    run.report_lines()
    return {
        "pairs": run.samples,
        "importance": weight,
        "pair_error": wrong / weight if weight else None,
        "tied": tied / weight if weight else None,
    }


def table(report: dict[str, float | None]) -> str:
    """The figures one below the other."""
    lines = []
    for name, value in report.items():
        shown = "-" if value is None else f"{value:,.15g}"
        if value is not None and name in ("pair_error", "tied"):
            shown = f"{value:.6f}"
        lines.append(f"{name.replace('_', ' '):18} {shown:>14}")
    return "\n".join(lines) + "\n"
