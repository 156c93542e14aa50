"""Small twins of the families' own pipelines: the same classes with random weights, by name. A new one is a line."""

from twins import flux, stable_diffusion, z_image
from twins.twin import Twin

TWINS: dict[str, Twin] = {
    "flux-dev": flux.dev,
    "flux-schnell": flux.schnell,
    "sd-eps": stable_diffusion.eps,
    "sd-v": stable_diffusion.v,
    "sd3": stable_diffusion.three,
    "sd3-t5": stable_diffusion.three_with_t5,
    "sdxl": stable_diffusion.xl,
    "sdxl-refiner": stable_diffusion.refiner,
    "z-image": z_image.turbo_and_base,
}
