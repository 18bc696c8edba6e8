"""Pack, run a recurrent net, unpack: the state of each sequence alone, and how much faster?"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from bench.harness import Bench, Figures, Job
from bench.published import Claim

WAYS = ("pack and unpack", "padded, state at the true length")
VOCABULARY = 10_000

bench = Bench(
    name="packed",
    question="Last states of ragged sequences by a GRU: packed, padded, or one at a time",
    caveats=(
        "Sequences of 5 to 45 tokens, padded in one batch; embedding 32, GRU 64, float32, no"
        " gradient, one thread. Sorted by length, packed, run, unpacked, the state at each true"
        " length taken, the caller's order restored: all of it is timed. The other way runs over"
        " the padding and takes the state at the true length: right in one direction only.",
        "`off_by` is the largest difference to the states of each sequence run alone; states lie"
        " between −1 and 1. On CUDA that is with TF32 switched off; `off_by_tf32` is by torch's"
        " default, where cuDNN's recurrent nets round to TF32.",
        "`labels_follow` is 1 where each label is beside its row after the permutation,"
        " `order_restored` where states and labels come back in the caller's order.",
    ),
    short={"rounds": 1, "turns": 3, "sequences": 128},
    full={"rounds": 3, "turns": 5, "sequences": 1024},
    claims=tuple(
        claim
        for device in ("", ", CUDA")
        for claim in (
            *(
                Claim("Packed states are those of one sequence at a time", "within 1e-6",
                      f"torch, {WAYS[0]}{device}", figure, at_most=1e-6, unit=unit)
                for figure, unit in (("off_by", " off"), ("off_by_tf32", " off by default"))
            ),
            Claim("Labels follow their rows", "stated", f"torch, {WAYS[0]}{device}",
                  "labels_follow", at_least=1),
            Claim("The caller's order is restored", "stated", f"torch, {WAYS[0]}{device}",
                  "order_restored", at_least=1),
            Claim("Packing beats one sequence at a time", "stated", f"torch, {WAYS[0]}{device}",
                  "times", at_least=1, unit="×"),
        )
    ),
)  # fmt: skip


def sequences(count: int) -> tuple[list[list[int]], list[int]]:
    """Token ids from 1 on, 5 to 45 a sequence, and labels: the sum of the ids, which tells rows."""
    chance = random.Random(0)
    rows = [
        [chance.randrange(1, VOCABULARY) for _ in range(chance.randint(5, 45))]
        for _ in range(count)
    ]
    return rows, [sum(row) for row in rows]


def _torch(way: str, device: str) -> Callable[[Job], Figures]:
    def run(job: Job) -> Figures:
        import torch

        from bench.nets import gru

        torch.set_num_threads(1)
        torch.manual_seed(0)
        model = gru.Classifier(VOCABULARY, "packed").to(device).eval()
        rows, sums = sequences(job.sizes["sequences"])
        ids, lengths = gru.padded(rows)
        ids, labels = ids.to(device), torch.tensor(sums)
        singles = [(ids[i : i + 1, :n], lengths[i : i + 1]) for i, n in enumerate(lengths.tolist())]

        def together() -> Any:
            if way == WAYS[1]:
                return model.gathered(ids, lengths)
            ordered, longest_first, _, order = gru.in_order_of_length(ids, lengths, labels)
            return gru.restored(model.unpacked(ordered, longest_first), order)

        def alone() -> Any:
            return torch.cat([model.state(*single) for single in singles])

        with torch.inference_mode():
            figures = _off_by(together, alone, device)
            if way == WAYS[0]:
                ordered, _, moved, order = gru.in_order_of_length(ids, lengths, labels)
                back = gru.restored(moved, order)
                figures["labels_follow"] = float(torch.equal(ordered.sum(1).cpu(), moved))
                figures["order_restored"] = float(
                    torch.equal(back, labels) and figures["off_by"] < 1e-4
                )
            one = _median_ms(alone, 1 + job.sizes["turns"] // 2, device)
            all_ = _median_ms(together, 5 * job.sizes["turns"], device)
        return figures | {"one_at_a_time_ms": one, "batched_ms": all_, "times": one / all_}

    return run


def _off_by(together: Callable[[], Any], alone: Callable[[], Any], device: str) -> Figures:
    import torch

    if device == "cpu":
        return {"off_by": float((together() - alone()).abs().max())}
    by_default = float((together() - alone()).abs().max())
    shipped = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    found = float((together() - alone()).abs().max())
    torch.backends.cudnn.allow_tf32 = shipped
    return {"off_by": found, "off_by_tf32": by_default}


def _median_ms(run: Callable[[], Any], turns: int, device: str) -> float:
    import torch

    spent = []
    for _ in range(turns + 1):  # the first warms up
        start = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        spent.append(time.perf_counter() - start)
    return statistics.median(spent[1:]) * 1e3


for _way in WAYS:
    bench.contender(f"torch, {_way}", needs=("torch",))(_torch(_way, "cpu"))
for _way in WAYS:
    bench.contender(f"torch, {_way}, CUDA", needs=("cuda",))(_torch(_way, "cuda"))

if __name__ == "__main__":
    sys.exit(bench.main())
