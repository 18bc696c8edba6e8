"""Raw text to features.

`tokenize` cuts a text into words. May import nothing of the house.
"""
