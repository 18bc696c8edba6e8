"""Speed: one file a question, each contender in its own process, on the same data."""
