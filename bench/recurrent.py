"""A recurrent net over padded text: does a mask keep the padding out of its state?"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from bench import streams
from bench.harness import Bench, Figures, Job, Target
from bench.published import Claim

if TYPE_CHECKING:
    from bench.nets.gru import Classifier

SET = "sms_spam"
UNKNOWN = 1  # the id of words that the training rows lack; 0 is the padding
BATCH = 64
DRIFTS = (1, 2, 5, 10, 20, 40, 80, 160)  # steps of padding after a text

bench = Bench(
    name="recurrent",
    question="Spam by a recurrent net over padded token ids, beside a linear model of the words",
    caveats=(
        "sms_spam, shuffled once: 4,459 rows to learn, 1,115 to test. Words of the latter alone"
        " share one id. Embedding 32, GRU 64, last hidden state, two class scores; Adam, 0.003,"
        " batches of 64 at random, padded to the longest. One thread.",
        "learned: padding is a token like others. masked: `padding_idx`, and a mask multiplied into"
        " the embeddings. packed: packed sequences.",
        "`drift@N` is how far the last hidden state of a text moves when N steps of padding follow"
        " it, in units of the state's own norm, the median text of the test. `flips@N` is the share"
        " of texts whose predicted class changes.",
        "`masked_is_padding_idx` is 1 where the mask changes nothing, bit for bit: the embedding of"
        " the padding is zero already.",
        "`error` is of the test, after `passes` over the rows; `error_1_pass` after one; both are"
        " means over nets of several seeds, `drift` and `flips` are of the first. `f1` is of spam."
        " Rates are of learning, and of scoring in batches of 256. Ours learns one pass from"
        " the distinct words of each text, one text after another, and is handed lists of them.",
    ),
    axis="steps of padding",
    cases=(SET,),
    short={"rounds": 1, "passes": 2, "seeds": 1, "texts": 50},
    full={"rounds": 1, "passes": 5, "seeds": 3, "texts": 300},
    targets=(
        Target("ours, hedge", "torch, packed", "error", lower_is_better=True),
        Target("ours, hedge", "torch, packed", "learn_per_s"),
        Target("ours, hedge", "torch, packed", "score_per_s"),
    ),
    claims=tuple(
        Claim(f"{what} keeps 20 steps of padding out of a recurrent state", published,
              f"torch, {way}{device}", "drift@20", at_most=1e-6, unit=" drift")
        for device in ("", ", CUDA")
        for what, published, way in (
            ("A mask", "recipe", "masked"), ("Packing", "stated", "packed"),
        )
    ),
)  # fmt: skip

Row = tuple[int, list[str]]  # 1 for spam, the words


def split(name: str = SET) -> tuple[list[Row], list[Row]]:
    """The rows to learn, four fifths, and those to test, in an order of chance that stays."""
    rows = [(int(label == "spam"), words) for label, words in streams.texts(name)]
    random.Random(0).shuffle(rows)
    return rows[: len(rows) * 4 // 5], rows[len(rows) * 4 // 5 :]


def numbered(train: Sequence[Row], rows: Sequence[Row]) -> list[list[int]]:
    """The ids of the words of `rows`; a text without words is one unknown word."""
    words = dict.fromkeys(word for _, text in train for word in text)
    ids = {word: id for id, word in enumerate(words, UNKNOWN + 1)}
    return [[ids.get(word, UNKNOWN) for word in text] or [UNKNOWN] for _, text in rows]


def error_and_f1(labels: Sequence[int], predicted: Sequence[int]) -> Figures:
    """`error`, and `f1` of class 1."""
    counts = Counter(zip(labels, predicted, strict=True))
    hit, wrong = counts[1, 1], counts[0, 1] + counts[1, 0]
    return {"error": wrong / len(labels), "f1": 2 * hit / max(1, 2 * hit + wrong)}


# Ours.


@bench.contender("ours, hedge", kernel="native")
def hedge(job: Job) -> Figures:
    return _ours("hedge")


@bench.contender("ours, sgd", kernel="native")
def sgd(job: Job) -> Figures:
    return _ours("sgd")


def _ours(rule: str) -> Figures:
    from onlinesvm import OnlineSVM

    train, test = split()
    samples = [(list(dict.fromkeys(text)), 2 * label - 1) for label, text in train]
    texts = [list(dict.fromkeys(text)) for _, text in test]
    model = OnlineSVM(rule=rule)
    start = time.perf_counter()
    model.learn(samples)
    learned = time.perf_counter()
    margins = model.decision_function(texts)
    scored = time.perf_counter()
    found = error_and_f1([label for label, _ in test], [int(margin > 0) for margin in margins])
    return {
        **found,
        "error_1_pass": found["error"],
        "passes": 1,
        "learn_per_s": len(train) / (learned - start),
        "score_per_s": len(test) / (scored - learned),
    }


# torch.


def _torch(way: str, device: str) -> Callable[[Job], Figures]:
    def run(job: Job) -> Figures:
        nets = [_trained(way, device, job.sizes["passes"], n) for n in range(job.sizes["seeds"])]
        figures = {
            figure: statistics.mean(found[figure] for _, found in nets) for figure in nets[0][1]
        }
        train, test = split()
        texts = numbered(train, test)[: job.sizes["texts"]]
        return figures | _drift(nets[0][0], texts, device)

    return run


def _trained(way: str, device: str, passes: int, seed: int) -> tuple[Classifier, Figures]:
    import torch

    from bench.nets import gru

    train, test = split()
    ids, texts = numbered(train, train), numbered(train, test)
    labels = [label for label, _ in test]
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model = gru.Classifier(max(map(max, ids)) + 1, way).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    _warm_up(model, ids, device)
    figures: Figures = {"passes": passes}
    seconds = 0.0
    for number in range(passes):
        start = time.perf_counter()
        for rows, y in _batches(ids, [label for label, _ in train], (seed + 1) * 1000 + number):
            loss = torch.nn.functional.cross_entropy(
                model(*_to(device, rows)), torch.tensor(y, device=device)
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        _wait(device)
        seconds += time.perf_counter() - start
        if number == 0:
            figures["error_1_pass"] = error_and_f1(labels, _predicted(model, texts, device))[
                "error"
            ]
    start = time.perf_counter()
    predicted = _predicted(model, texts, device)
    figures["score_per_s"] = len(test) / (time.perf_counter() - start)
    figures["learn_per_s"] = passes * len(train) / seconds
    return model, error_and_f1(labels, predicted) | figures


def _batches(
    ids: list[list[int]], labels: list[int], seed: int
) -> Iterator[tuple[list[list[int]], list[int]]]:
    order = list(range(len(ids)))
    random.Random(seed).shuffle(order)
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        yield [ids[i] for i in chosen], [labels[i] for i in chosen]


def _to(device: str, rows: Sequence[list[int]], extra: int = 0) -> tuple[Any, Any]:
    from bench.nets import gru

    ids, lengths = gru.padded(rows, extra)
    return ids.to(device), lengths  # packing wants the lengths on the CPU


def _wait(device: str) -> None:
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def _warm_up(model: Classifier, ids: list[list[int]], device: str) -> None:
    model(*_to(device, ids[:BATCH])).sum().backward()
    model.zero_grad()
    _wait(device)


def _predicted(model: Classifier, texts: list[list[int]], device: str) -> list[int]:
    import torch

    found: list[int] = []
    with torch.inference_mode():
        for start in range(0, len(texts), 256):
            scores = model(*_to(device, texts[start : start + 256]))
            found += scores.argmax(1).tolist()
    return found


def _drift(model: Classifier, texts: list[list[int]], device: str) -> Figures:
    """Each text alone, so that no other's length pads it, then with padding after it."""
    import torch

    moved: dict[int, list[float]] = {steps: [] for steps in DRIFTS}
    flips = Counter[int]()
    same = True
    with torch.inference_mode():
        for text in texts:
            alone = model.state(*_to(device, [text]))
            label = int(model.scores(alone).argmax())
            for steps in DRIFTS:
                state = model.state(*_to(device, [text], steps))
                moved[steps].append(float((state - alone).norm() / alone.norm()))
                flips[steps] += int(model.scores(state).argmax()) != label
        if model.way == "masked":
            ids, _ = _to(device, texts)
            same = torch.equal(model.gru(model.embedding(ids))[1][0], model.state(ids, _))
    figures = {f"drift@{steps}": statistics.median(found) for steps, found in moved.items()}
    figures |= {f"flips@{steps}": flips[steps] / len(texts) for steps in DRIFTS}
    return figures | ({"masked_is_padding_idx": float(same)} if model.way == "masked" else {})


for _way in ("learned", "masked", "packed"):
    bench.contender(f"torch, {_way}", needs=("torch",))(_torch(_way, "cpu"))
for _way in ("learned", "masked", "packed"):
    bench.contender(f"torch, {_way}, CUDA", needs=("cuda",))(_torch(_way, "cuda"))

if __name__ == "__main__":
    sys.exit(bench.main())
