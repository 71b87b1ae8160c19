"""Where a DeiT or ViT looked: attention weighted by its gradient, and a test of whether that means anything.

Chefer, Gur and Wolf (2021): in each layer, the attention of every head times the gradient of the diagnosis's logit
with respect to it, negative parts dropped, averaged over heads, is added to the identity; the product over the
layers says how much each patch told the tokens that the heads read.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import torch
from torch.utils.data import Subset
from tqdm import tqdm
from transformers import PreTrainedModel

from lesions.arrays import Array
from lesions.evaluation.prediction import Predictor, in_batches
from lesions.faults import InputError
from lesions.metrics.intervals import estimate
from lesions.metrics.measured import Measured
from lesions.model.inputs import LesionImages
from lesions.model.loading import load_for_prediction
from lesions.model.resolution import image_side

DELETED_SHARES = (0.1, 0.2, 0.4)  # of the patches
EXAMPLES = 4  # images of each kind
TESTED = 300  # images of the deletion test


def load_to_explain(predictor: Predictor) -> PreTrainedModel:
    """The predictor's model, loaded again so that it gives its attention.

    Raises InputError if no map can be drawn of such a model: a CNN has no attention, and others have one for a part of
    the image.
    """
    model = load_for_prediction(predictor.folder)[0].to(predictor.device)
    side = image_side(predictor.processor)
    try:
        model.set_attn_implementation("eager")  # other implementations return no attention
        pixels, first = torch.zeros(1, 3, side, side), torch.zeros(1, dtype=torch.int64)
        found = relevance(model, pixels.to(predictor.device), first.to(predictor.device))
        if found.shape != (1, (side // model.config.patch_size) ** 2):
            raise ValueError(f"{found.shape[1]} patches")
    except Exception as error:  # each architecture fails in a way of its own
        raise InputError(
            f"--maps needs attention between all patches of an image, as a ViT or DeiT has; {type(model).__name__} "
            "has none. Leave --maps out"
        ) from error
    return model


def relevance(model: PreTrainedModel, pixels: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """How much each patch of pixels (n, 3, side, side) speaks for the class (n,): shape (n, patches a side squared).

    Raises InputError where the model gives no attention.
    """
    with torch.enable_grad():
        # A copy that asks for gradients, so that attention has them whatever the weights do.
        outputs = model(pixel_values=pixels.clone().requires_grad_(), output_attentions=True)
        attentions = getattr(outputs, "attentions", None)
        if not attentions:
            raise InputError(f"{type(model).__name__} gives no attention, so no map can be drawn of it")
        logits = outputs.logits.gather(1, classes[:, None]).sum()
        gradients = torch.autograd.grad(logits, attentions)
    tokens = attentions[0].shape[-1]
    total = torch.eye(tokens, device=pixels.device).expand(len(pixels), -1, -1)
    for attention, gradient in zip(attentions, gradients, strict=True):
        total = total + (attention * gradient).clamp(min=0).mean(dim=1).detach() @ total
    # Before the patches: the class token, and DeiT's distillation token.
    prefix = tokens - (model.config.image_size // model.config.patch_size) ** 2
    return total[:, :prefix, prefix:].mean(dim=1)  # what the class token, and DeiT's distillation token, took from each


def choose_examples(measured: Measured) -> dict[str, list[int]]:
    """Numbers of the most confident right, the most confident wrong and the most uncertain images."""
    top = measured.probabilities.max(axis=1)
    right = measured.right
    order = np.argsort(-top, kind="stable")
    return {
        "most confident, and right": order[right[order]][:EXAMPLES].tolist(),
        "most confident, and wrong": order[~right[order]][:EXAMPLES].tolist(),
        "most uncertain": order[::-1][:EXAMPLES].tolist(),
    }


def explain_examples(
    predictor: Predictor, model: PreTrainedModel, rows: Any, measured: Measured
) -> dict[str, list[dict[str, Any]]]:
    """The chosen examples by kind, each with `image`, `map` and `title`, for `figures.save_examples`.

    `model` is what `load_to_explain` gives of the predictor.
    """
    images = LesionImages(rows, predictor.processor)
    explained: dict[str, list[dict[str, Any]]] = {}
    for kind, numbers in choose_examples(measured).items():
        explained[kind] = []
        for number in numbers:
            decided = int(measured.probabilities[number].argmax())
            pixels = images[number]["pixel_values"][None].to(predictor.device)
            patches = relevance(model, pixels, torch.tensor([decided], device=predictor.device))
            side = round(patches.shape[1] ** 0.5)
            enlarged = torch.nn.functional.interpolate(
                patches.view(1, 1, side, side), size=pixels.shape[-2:], mode="bilinear", align_corners=False
            )[0, 0]
            low, high = pixels.min(), pixels.max()
            answer, truth = measured.labels[decided], measured.labels[measured.truth[number]]
            share = f"{answer} {100 * measured.probabilities[number, decided]:.0f} %"
            explained[kind].append(
                {
                    "image": ((pixels[0] - low) / (high - low)).permute(1, 2, 0).cpu().numpy(),
                    "map": (enlarged / enlarged.max()).cpu().numpy(),
                    "title": f"{share}, and so it is" if answer == truth else f"{share}; it is {truth}",
                }
            )
    return explained


def deletion_test(
    predictor: Predictor, model: PreTrainedModel, rows: Any, measured: Measured, batch_size: int
) -> dict[str, Any]:
    """Whether the map means something: how much the probability of the decided diagnosis drops, on average, if the
    patches that the map ranks highest are set to the mean color of the training images.

    Its rival is the center of the image, since that is where lesions lie: a map that does not beat it says nothing
    about this image. Random patches are the floor. On 300 sampled images, or all if they are fewer.

    `model` is what `load_to_explain` gives of the predictor. For each of DELETED_SHARES: the drops by `map`, `center`
    and `random`, and `advantage`, the drop by the map minus that by the center, with intervals over lesions.
    """
    random = np.random.default_rng(0)
    numbers = np.sort(random.choice(len(measured), min(TESTED, len(measured)), replace=False))
    images = Subset(LesionImages(rows, predictor.processor), numbers.tolist())
    drops: dict[tuple[float, str], list[Array]] = {}
    with tqdm(total=len(numbers), desc="deletion test", unit="image", leave=False) as progress:
        for batch in in_batches(images, batch_size):
            pixels = batch["pixel_values"].to(predictor.device)
            with torch.inference_mode():
                before, classes = predictor.model(pixel_values=pixels).logits.softmax(1).max(dim=1)
            ranked = relevance(model, pixels.clone(), classes.clone()).cpu()
            at_random = torch.tensor(random.random(tuple(ranked.shape)))
            orders = {"map": ranked, "center": nearness_to_center(ranked), "random": at_random}
            for share, (name, order) in product(DELETED_SHARES, orders.items()):
                with torch.inference_mode():
                    left = predictor.model(pixel_values=_delete(pixels, order, share)).logits.softmax(1)
                after = left.gather(1, classes[:, None])[:, 0]
                drops.setdefault((share, name), []).append((before - after).double().cpu().numpy())
            progress.update(len(pixels))
    drop = {key: np.concatenate(parts) for key, parts in drops.items()}
    drop |= {(share, "advantage"): drop[share, "map"] - drop[share, "center"] for share in DELETED_SHARES}

    def means(weights: Array) -> dict[tuple[float, str], Array]:
        return {key: weights @ values / weights.sum(axis=1) for key, values in drop.items()}

    found = estimate(means, measured.lesions[numbers])
    shares = [
        {"deleted_share": share, **{name: found[share, name] for name in ("map", "center", "random", "advantage")}}
        for share in DELETED_SHARES
    ]
    return {"n_images": len(numbers), "shares": shares}


def nearness_to_center(patches: torch.Tensor) -> torch.Tensor:
    """For each patch of a square image, in the shape (n, patches), how near it is to the center."""
    side = round(patches.shape[1] ** 0.5)
    steps = torch.arange(side) - (side - 1) / 2
    return -(steps[:, None] ** 2 + steps**2).flatten().expand(patches.shape)


def _delete(pixels: torch.Tensor, order: torch.Tensor, share: float) -> torch.Tensor:
    """The pixels with the `share` of the patches of the highest `order` (n, patches) set to 0, the mean color."""
    side = round(order.shape[1] ** 0.5)
    top = order.topk(round(share * order.shape[1]), dim=1).indices
    kept = torch.ones(order.shape).scatter(1, top, 0).view(-1, 1, side, side).to(pixels.device)
    return pixels * torch.nn.functional.interpolate(kept, size=pixels.shape[-2:], mode="nearest")
