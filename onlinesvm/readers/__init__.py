"""Text files to batches of samples.

`reader` finds the format and walks a file: `chunks` reads it, `prefetch` parses it on a thread of
its own, `parsing` and one file a format turn lines into samples, `labels` reads their labels.
May import `data`, `text` and the kernels.
"""
