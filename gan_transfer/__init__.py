"""Transfer learning for DCGANs: pretrain a pair, fine-tune it on your pictures, sample it."""

from __future__ import annotations

__version__ = "0.1.0"
