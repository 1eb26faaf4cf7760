"""Transfer learning for DCGANs: pretrain a pair, fine-tune it on your pictures, sample it.

    import gan_transfer

    pair = gan_transfer.load_pair("builtin")
    pictures = gan_transfer.sample(pair.generator, seeds=range(16))  # uint8 [16, 3, 64, 64]

Names are loaded when they are first used, so that importing the package does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .diagnosis import diagnose as diagnose
    from .errors import GanTransferError as GanTransferError
    from .models.dcgan import Discriminator as Discriminator
    from .models.dcgan import Generator as Generator
    from .models.weights import Pair as Pair
    from .notebook import finetune as finetune
    from .notebook import publish as publish
    from .recipe import Model as Model
    from .recipe import Recipe as Recipe
    from .recipe import load_recipe as load_recipe
    from .sampling import sample as sample
    from .transfer.start import open_pair as load_pair

_HOMES = {
    "Discriminator": (".models.dcgan", "Discriminator"),
    "GanTransferError": (".errors", "GanTransferError"),
    "Generator": (".models.dcgan", "Generator"),
    "Model": (".recipe", "Model"),
    "Pair": (".models.weights", "Pair"),
    "Recipe": (".recipe", "Recipe"),
    "diagnose": (".diagnosis", "diagnose"),
    "finetune": (".notebook", "finetune"),
    "load_pair": (".transfer.start", "open_pair"),
    "load_recipe": (".recipe", "load_recipe"),
    "publish": (".notebook", "publish"),
    "sample": (".sampling", "sample"),
}

__all__ = [  # noqa: RUF022 (the version last)
    "Discriminator",
    "GanTransferError",
    "Generator",
    "Model",
    "Pair",
    "Recipe",
    "diagnose",
    "finetune",
    "load_pair",
    "load_recipe",
    "publish",
    "sample",
    "__version__",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(importlib.import_module(module, __name__), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
