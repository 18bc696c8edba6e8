"""The convolutional autoencoder: its shapes, its unpooling, and how far its loss falls."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from bench.harness import Bench, Figures, Job
from bench.published import Claim

if TYPE_CHECKING:
    from bench.nets.convolution import Autoencoder

PUBLISHED = [44, 42, 21, 19, 21, 42, 44]  # frames after each step
BATCH = 64

bench = Bench(
    name="autoencoder",
    question="A convolutional autoencoder of spectrogram frames",
    caveats=(
        "Conv1d(128, 64, 3), MaxPool1d(2) with indices, Conv1d(64, 32, 3), and the mirror with"
        " ConvTranspose1d(3) and MaxUnpool1d(2); synthetic voices of 128 bins and 44 frames, eight"
        " of 40 speakers held out; Adam, 0.001, batches of 64, one thread.",
        "`shapes` is 1 where the frames are 44, 42, 21, 19, 21, 42, 44. `places` is 1 where"
        " unpooling by indices restores the place of each maximum and leaves zeros elsewhere, bit"
        " for bit. `short_at_45` is how many frames the mirror lacks of 45: pooling drops the last"
        " of an odd number.",
        "Losses are mean squared errors of the held out, whose variance is 1. `mean_loss` is that"
        " of the mean spectrogram for all, `first_loss` that of the untrained net. `half_s` is the"
        " time until the latter had halved, `fell_to` is the last loss over it.",
        "The indices tell the mirror where the maxima were. `blind_loss` is the last loss with the"
        " indices of another spectrogram.",
    ),
    axis="second",
    short={"rounds": 1, "seconds": 5, "utterances": 10},
    full={"rounds": 1, "seconds": 60, "utterances": 40},
    claims=tuple(
        claim
        for name in ("torch", "torch, CUDA")
        for claim in (
            Claim("The autoencoder's frames are 44, 42, 21, 19, and back", "stated", name, "shapes",
                  at_least=1),
            Claim("Unpooling by indices restores the maxima's places, zeros elsewhere", "stated",
                  name, "places", at_least=1),
            Claim("The reconstruction loss falls by half within a minute", "0.5×", name, "fell_to",
                  at_most=0.5, unit="×"),
        )
    ),
)  # fmt: skip


def _torch(device: str) -> Callable[[Job], Figures]:
    def run(job: Job) -> Figures:
        import torch

        from bench.nets import convolution

        figures = {
            "shapes": float(convolution.shapes(PUBLISHED[0]) == PUBLISHED),
            "places": float(places_restored(device)),
            "short_at_45": 45.0 - convolution.shapes(45)[-1],
        }
        torch.set_num_threads(1)
        torch.manual_seed(0)
        return figures | _trained(convolution.Autoencoder().to(device), job, device)

    return run


def places_restored(device: str) -> bool:
    """True if unpooling puts each maximum where it was, and zeros elsewhere."""
    import torch

    x = torch.randn(8, 16, 42, device=device)
    pooled, indices = torch.nn.functional.max_pool1d(x, 2, return_indices=True)
    back = torch.nn.functional.max_unpool1d(pooled, indices, 2)
    pairs = x.unflatten(2, (21, 2))
    expected = torch.where(pairs == pairs.amax(3, keepdim=True), pairs, 0).flatten(2)
    return torch.equal(back, expected)


def _trained(model: Autoencoder, job: Job, device: str) -> Figures:
    import torch

    from bench.nets import spectrogram

    found, _ = spectrogram.spectrograms(40, job.sizes["utterances"], seed=0)
    x = torch.from_numpy(found).to(device)
    x, held = x[: len(x) * 4 // 5], x[len(x) * 4 // 5 :]
    loss_of = torch.nn.functional.mse_loss

    def held_loss() -> float:
        with torch.no_grad():
            return float(loss_of(model(held), held))

    first = last = held_loss()
    figures = {"mean_loss": float(loss_of(x.mean(0).expand_as(held), held)), "first_loss": first}
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    marks = [second for second in (1, 2, 5, 10, 20, 30, 60) if second <= job.sizes["seconds"]]
    steps, spent = 0, 0.0
    while spent < job.sizes["seconds"]:
        start = time.perf_counter()
        for _ in range(10):
            rows = x[torch.randint(len(x), (BATCH,), device=device)]
            optimizer.zero_grad()
            loss_of(model(rows), rows).backward()
            optimizer.step()
        steps += 10
        if device == "cuda":
            torch.cuda.synchronize()
        spent += time.perf_counter() - start  # looking at the held out is not timed
        if "half_s" in figures and spent < (marks or [job.sizes["seconds"]])[0]:
            continue
        last = held_loss()
        if last <= first / 2:
            figures.setdefault("half_s", spent)
        while marks and spent >= marks[0]:
            figures[f"loss@{marks.pop(0)}"] = last
    last = held_loss()
    with torch.no_grad():
        _, indices = model.pool(torch.relu(model.conv1(held.roll(1, 0))))
        blind = loss_of(model.deconv1(model.unpool(model.steps(held)[4], indices)), held)
    return figures | {
        "last_loss": last,
        "fell_to": last / first,
        "blind_loss": float(blind),
        "steps_per_s": steps / spent,
    }


bench.contender("torch", needs=("torch",))(_torch("cpu"))
bench.contender("torch, CUDA", needs=("cuda",))(_torch("cuda"))

if __name__ == "__main__":
    sys.exit(bench.main())
