"""Nets, data and scores of the neural claims. The modules that import torch do so at the top."""
