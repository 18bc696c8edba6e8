"""The constants of the rules. Python's formulas and the compiled kernel's use the same ones.

onlinesvm.kernel.constants writes them into a C header under the same names. That happens at build
time, without this package, so nothing is imported here.
"""

# The experts of the hedge, in the order of their weights.
EXPERTS = ("scw", "scw_wide", "arow", "adaptive_slow", "adaptive_fast", "adaptive_fastest")
HEDGE_C, HEDGE_PHI = 1.0, 1.0
HEDGE_C_WIDE, HEDGE_PHI_WIDE = 10.0, 0.3
HEDGE_AROW_R = 0.1
HEDGE_ETA_SLOW, HEDGE_ETA_FAST, HEDGE_ETA_FASTEST = 0.25, 4.0, 64.0
# Both are the float32 nearest to 1e-30: G and S are float32.
HEDGE_LEAST_SQUARE = 1.0000000031710769e-30  # G starts here, so that its root can be divided by
HEDGE_LEAST_VARIANCE = 1.0000000031710769e-30

# Importance, relative to the geometric mean of the stream.
HEDGE_LEAST_IMPORTANCE = 1e-12
HEDGE_MOST_IMPORTANCE = 1e3
HEDGE_IMPORTANCE_MEMORY = 10_000.0  # samples that the geometric mean reaches back

# The scale of a feature. Its first values may be outliers: a mean of fewer than YOUNG values is
# dropped where a value is far below it. A later value counts for at most 10 times the scale. RUN
# values in a row out of all PROPORTION mean that the unit has changed: the scale starts anew.
HEDGE_YOUNG = 16
HEDGE_MOST_AGE = 2**18 - 1
HEDGE_OUTLIER_BELOW = 1e-12
HEDGE_OUTLIER_ABOVE = 100.0
HEDGE_PROPORTION = 1e4
HEDGE_RUN = 32  # at most 63: the kernel has 6 bits for it

MIXTURE_LOSS_DISCOUNT = 0.9997
MIXTURE_SCALE_DISCOUNT = 0.999
MIXTURE_RATE = 2.0
MIXTURE_RATE_DECAY = 0.1
MIXTURE_STACK_VARIANCE = 0.1
MIXTURE_STACK_RETURN = 1e-3
MIXTURE_MARGIN_CUT = 3.0
# The most that one sample adds to a running mean, in multiples of it: one wild value must not
# shrink all later ones.
MIXTURE_MOST_MARGIN = 10.0
MIXTURE_MOST_NORM = 10.0
# After a long time of zero margins the next margin is huge in units of their mean. It counts for at
# most as many units as the mean reaches back.
MIXTURE_MOST_SCALED = 1e3
# An expert whose mean margin is smaller than this is not scaled up to size 1.
MIXTURE_LEAST_SIZE = 1e-6

AROW_LEAST_VARIANCE = 1e-300

HEDGE_IDF_RATE = 0.6931471805599453  # ln 2: the weight of a text's feature counts by ln, not log2
HEDGE_IDF_LOGS = 4096  # of counts of samples that are kept
# The experts of many classes, in the order of their weights: a label's four lanes. Their constants
# are those of the hedge of the same names.
CLASS_EXPERTS = ("arow", "adaptive_slow", "adaptive_fast", "adaptive_fastest")
CLASS_BIRTH = -1.0  # the score of a label that no feature knows
CLASS_RIVALS = 4
CLASS_MOST_LOSS = 2.0  # of the adaptive experts
# Honest losses of AROW stay far below; those after a forged snapshot must not overflow a float32.
CLASS_MOST_AROW_LOSS = 1024.0
CLASS_MOST_COEFFICIENT = 1048576.0
SET_RIVALS = 16  # of a sample with several labels
SET_MOST_PREDICTED = 256  # labels that learning a sample reports
CLASS_LEAST_ROW = 8  # the fewest labels a feature may be bound to: more than one sample updates
CLASS_MOST_LABELS = 2**24  # a bound of max_labels
