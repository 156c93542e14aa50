"""Small twins of the families' own pipelines: the same classes with random weights, by name. A new one is a line."""

from twins import (
    auraflow,
    chroma,
    cogview_4,
    flux,
    flux_2,
    hidream,
    hunyuan_image,
    kolors,
    lumina_2,
    pixart,
    qwen_image,
    sana,
    stable_diffusion,
    z_image,
)
from twins.twin import Twin

TWINS: dict[str, Twin] = {
    "auraflow": auraflow.plain,
    "chroma": chroma.chroma,
    "cogview-4": cogview_4.plain,
    "flux-dev": flux.dev,
    "flux-schnell": flux.schnell,
    "flux2-dev": flux_2.dev,
    "flux2-klein": flux_2.klein,
    "flux2-klein-distilled": flux_2.klein_distilled,
    "hidream": hidream.full,
    "hunyuan-image": hunyuan_image.two,
    "kolors": kolors.plain,
    "lumina-2": lumina_2.plain,
    "pixart-sigma": pixart.sigma,
    "qwen-image": qwen_image.qwen_image,
    "sana": sana.plain,
    "sd-eps": stable_diffusion.eps,
    "sd-v": stable_diffusion.v,
    "sd3": stable_diffusion.three,
    "sd3-t5": stable_diffusion.three_with_t5,
    "sdxl": stable_diffusion.xl,
    "sdxl-refiner": stable_diffusion.refiner,
    "z-image": z_image.turbo_and_base,
}
