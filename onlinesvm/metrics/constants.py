"""The constants of the metrics. Python's formulas and the compiled kernel's use the same ones.

onlinesvm.kernel.constants writes them into a C header under the same names. That happens at build
time, without this package, so nothing is imported here.
"""

# Figures of the recent past: each sample counts this much times the one after it.
RECENT_DISCOUNT = 0.9999
# Discounted sums let the summand grow instead, by this much a sample. At LARGEST_GAIN sum and gain
# are divided by the gain.
RECENT_GROWTH = 1.0 / RECENT_DISCOUNT
LARGEST_GAIN = 1e100

# The totals of progressive validation, in the order of the array that a kernel adds to.
TOTALS = ("count", "weight", "errors", "loss", "recent_weight", "recent_errors", "recent_loss")

# The calibration moves after every sample up to this position, then after each group of so many.
CALIBRATION_SINGLE = 4096
CALIBRATION_GROUP = 8
CALIBRATION_CUT = 8.0
CALIBRATION_RETURN = 1e-4
CALIBRATION_SIZE_DISCOUNT = 0.999
CALIBRATION_SIZE_DISCOUNT_GROUP = 0.9920279440699441  # the same over a group
CALIBRATION_MOST_SIZE = 10.0  # in multiples of the mean: the most that one margin adds to it
CALIBRATION_KNOTS = 17
CALIBRATION_KNOT_RATE = 1e-3
CALIBRATION_KNOT_PRIOR = 20.0
CALIBRATION_BINS = 15

AUC_BINS = 128

# The temperature of the probabilities of many classes.
TEMPERATURE_START = 0.7
TEMPERATURE_LEAST, TEMPERATURE_MOST = -3.0, 5.0
TEMPERATURE_STEP = 0.1
TEMPERATURE_RETURN = 1e-3
TEMPERATURE_DISCOUNT = 0.999
TEMPERATURE_MOST_SQUARE = 25.0
TEMPERATURE_LEAST_SIZE = 1e-6
TEMPERATURE_MOST_SIZE = 1e6
TEMPERATURE_CUT = 80.0  # e to minus this is a normal float32

# exp and log.
LOG2_E = 1.4426950408889634
# ln 2 in two parts: k times the first is exact for |k| < 2**20 (fdlibm's split).
LN2_HIGH = 0.6931471803691238
LN2_LOW = 1.9082149292705877e-10
SQRT_HALF = 0.7071067811865476
EXP_MOST = 700.0  # beyond, exp is 0 or exp(700): nothing here can use more
EXP2_MOST = 1000.0
# 1/13! … 1/2!, the last terms of exp's series; |r| ≤ ln(2)/2 leaves an error below 2**-57.
EXP_SERIES = (
    1 / 6227020800, 1 / 479001600, 1 / 39916800, 1 / 3628800, 1 / 362880, 1 / 40320, 1 / 5040,
    1 / 720, 1 / 120, 1 / 24, 1 / 6, 1 / 2,
)  # fmt: skip
# The same in float32: ln 2 in two parts, the first of few bits; 1.5 * 2**23 rounds what it is added
# to; 1/7! … 1/2!.
EXP_SINGLE_LN2_HIGH, EXP_SINGLE_LN2_LOW = 0.693359375, -2.12194440e-4
EXP_SINGLE_ROUND = 12582912.0
EXP_SINGLE_SERIES = (1 / 5040, 1 / 720, 1 / 120, 1 / 24, 1 / 6, 1 / 2)
# 2/(2k + 1), k = 10 … 0: log((1 + f)/(1 − f)) = 2f + 2f³/3 + …, |f| ≤ 0.1716.
LOG_SERIES = (
    2 / 21, 2 / 19, 2 / 17, 2 / 15, 2 / 13, 2 / 11, 2 / 9, 2 / 7, 2 / 5, 2 / 3, 2.0,
)  # fmt: skip

SET_BINS = 200  # of scores from -1 to 1, among which the threshold of several labels is chosen
SET_DISCOUNT = 0.9999  # of the counts in these, a sample
