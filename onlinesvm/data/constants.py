"""The bounds of labels, for Python and C.

onlinesvm.kernel.constants writes them into a C header at build time, without this package, so
nothing is imported here.
"""

MAX_LABEL_BYTES = 256
MOST_IN_SET = 64  # labels that a sample may have
