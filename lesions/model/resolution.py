"""How many pixels the model sees."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel, ViTImageProcessorPil
from transformers.image_processing_utils import BaseImageProcessor

from lesions.faults import InputError

LEVELS = ("do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std")  # what normalizes a processor


def see_whole_image(processor: BaseImageProcessor) -> BaseImageProcessor:
    """The processor without its center crop, so that the model sees the whole frame, squashed to its square.

    ImageNet's preprocessing crops an eighth off each side, and with it the edge of large lesions.
    """
    side = image_side(processor)
    if getattr(processor, "crop_pct", None):  # of ConvNeXt and ResNet, which crop while they resize
        kept = {name: getattr(processor, name) for name in LEVELS}
        return ViTImageProcessorPil(size={"height": side, "width": side}, resample=processor.resample, **kept)
    if getattr(processor, "do_center_crop", False):
        processor.size, processor.do_center_crop = processor.crop_size, False
    return processor


def image_side(processor: BaseImageProcessor) -> int:
    """Side in pixels of the square image that the model sees."""
    size = processor.crop_size if getattr(processor, "do_center_crop", False) else processor.size
    height, width = size.height or size.shortest_edge, size.width or size.shortest_edge
    if height != width or not height:
        raise InputError(f"the model's preprocessing must give square images, not {width} x {height}")
    return height


def size_options(model: PreTrainedModel, side: int) -> dict[str, bool]:
    """What `model` must be called with to interpolate its positions for images of `side` pixels, if these are not its
    own. CLIP and SigLIP say their own in the part of their config that is about images."""
    config = getattr(model.config, "vision_config", model.config)
    return {"interpolate_pos_encoding": True} if side != getattr(config, "image_size", side) else {}


def check_low_side(side: int, model: PreTrainedModel) -> None:
    """Raises InputError unless images of `side` pixels hold a patch of the model's."""
    patch = getattr(getattr(model.config, "vision_config", model.config), "patch_size", None)
    if isinstance(patch, int) and 0 < side < patch:
        raise InputError(f"--low_side {side} is less than one of the model's patches, of {patch} pixels")


@torch.no_grad()
def take_images_of(side: int, model: PreTrainedModel, processor: BaseImageProcessor) -> None:
    """Makes a DeiT or ViT, and its preprocessing, take images of `side` pixels, in patches of its own size.

    The positions of the patches are interpolated once (Touvron et al. 2019, "Fixing the train-test resolution
    discrepancy"). Raises InputError if the model has none, or if `side` is not a whole number of patches.
    """
    found = [module for module in model.modules() if hasattr(module, "interpolate_pos_encoding")]
    if not found or not hasattr(found[0], "position_embeddings"):
        raise InputError(f"{type(model).__name__} has no positions to interpolate; leave --side out")
    embeddings, patch = found[0], model.config.patch_size
    if side < patch or side % patch:
        raise InputError(f"--side {side} is not a whole number of the model's patches of {patch} pixels")
    patches = (side // patch) ** 2
    tokens = embeddings.position_embeddings.shape[1] - embeddings.patch_embeddings.num_patches + patches
    like = embeddings.position_embeddings.new_empty(1, tokens, model.config.hidden_size)
    embeddings.position_embeddings = torch.nn.Parameter(embeddings.interpolate_pos_encoding(like, side, side).clone())
    embeddings.image_size = embeddings.patch_embeddings.image_size = (side, side)
    embeddings.patch_embeddings.num_patches = patches
    model.config.image_size = side
    processor.size = type(processor.size)(height=side, width=side)
