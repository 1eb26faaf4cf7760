"""`python -m gan_transfer <same words>`, which is also what torchrun starts."""

from __future__ import annotations

from .cli import main

main()
