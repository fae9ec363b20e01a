"""Which world model a command uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..storage.keys import key

if TYPE_CHECKING:
    from ..world_model.world_model import WorldModel


@dataclass(frozen=True)
class OfWorldModel:
    """A world model, and where it computes."""

    world_model: str = key("shipped name, folder, or org/name of the Hub", "tabletop-small")
    device: str = key("of the world model: cpu, cuda", "cpu")

    def load_world_model(self) -> WorldModel:
        """The one that is named."""
        from ..world_model.world_model import WorldModel

        return WorldModel.from_pretrained(self.world_model, self.device)
