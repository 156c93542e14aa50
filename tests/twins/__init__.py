"""Small twins of the families' own pipelines: the same classes with random weights, by name. A new one is a line."""

from twins import flux
from twins.twin import Twin

TWINS: dict[str, Twin] = {
    "flux-dev": flux.dev,
    "flux-schnell": flux.schnell,
}
