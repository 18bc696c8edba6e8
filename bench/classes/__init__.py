"""Learn many classes untuned: how many mistakes, how fast, how much memory, beside the peers?

    python -m bench.classes                        every set, in one order
    python -m bench.classes --shuffles 5           in five others too, where the set has no order
    python -m bench.classes --sets kdd99 --peers "VW oaa hinge" AROW
    python -m bench.classes --rates                rates and memory at 20, 100 and 700 labels
    python -m bench.classes --page                 the results so far as tables

Caveats first. Every error is progressive: a sample is predicted, then learned, once; a label's
first sample is a mistake of everybody's. kdd99 is in its own order, the others are shuffled (seed
0, and 1 to N with --shuffles). Text is its distinct lower-cased words. VW is its driver at its
defaults but for the bits of its table, and knows the number of labels beforehand; scikit-learn
learns in batches of 32, each predicted as a whole; river's are its defaults. Multi-class PA-I
(C = 1) and AROW (r = 0.1) are our own, dense, on raw values with a bias, as Jubatus has them. K
hedges are our binary hedges, one against the rest each. Slow peers are measured in the first order
alone, and figures of several orders are means without it. A peer that is not installed or too slow
for a set's labels, and a set that is not there, is named and left out.

debtags has several labels a row: the figure there is micro-F1, of the labels predicted before each
row was learned. PA-I and AROW are one of each a label, a label predicted above a score of 0, as
scikit-learn's are; VW is its multilabel_oaa.

Peers' errors are kept in build/bench/classes, by set, order, peer and its version, so that a run
that was stopped goes on; ours are measured anew. Results join those of earlier runs of the same
folder. Rates are of one process: ours from the bytes of a request of names to learned and counted
samples; VW's driver from its text file, less its start-up. On a busy machine compare those of a
second of processor time; VW parses in a second thread, whose time counts there.

sets · debian (its package lists) · peers (one label a row) · tags (several) · errors (compared,
kept) · rates · page (tables)
"""
