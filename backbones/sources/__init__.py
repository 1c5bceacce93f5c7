"""Sources with exactly known likelihood, against which density models and contrastive estimates are tested."""

from .base import Source
from .channels import AutoregressivePairs, Channel, GaussianChannel, SymmetricChannel
from .class_mixture import ClassMixture
from .copies import LagCopy, ShiftCopy
from .digits import load_digits
from .markov_mesh import MESH, MarkovMesh
from .markov_text import MarkovText
from .mixture import Mixture
from .moving_sprite import MovingSprite
from .topic_text import TopicText

SOURCES: dict[str, type[Source]] = {
    "markov-text": MarkovText,
    "topic-text": TopicText,
    "lag-copy": LagCopy,
    "markov-mesh": MarkovMesh,
    "shift-copy": ShiftCopy,
    "class-mixture": ClassMixture,
    "moving-sprite": MovingSprite,
}
CHANNELS: dict[str, type[Channel]] = {
    "gaussian": GaussianChannel,
    "autoregressive": AutoregressivePairs,
    "symmetric": SymmetricChannel,
}

__all__ = [
    "CHANNELS",
    "MESH",
    "SOURCES",
    "AutoregressivePairs",
    "Channel",
    "ClassMixture",
    "GaussianChannel",
    "LagCopy",
    "MarkovMesh",
    "MarkovText",
    "Mixture",
    "MovingSprite",
    "ShiftCopy",
    "Source",
    "SymmetricChannel",
    "TopicText",
    "load_digits",
]
