"""The magnitudes that numbers from outside may have.

Values, importances and rates stay within them, so that no product or sum of the learner can
overflow: applying a validated batch cannot fail. onlinesvm.kernel.constants writes them into a C
header at build time, without this package, so nothing is imported here.
"""

MIN_MAGNITUDE = 1e-50  # smaller ones count as 0
MAX_MAGNITUDE = 1e50
