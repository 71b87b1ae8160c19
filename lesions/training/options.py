"""The options of train.py: its own, those of transformers, and a recipe that holds either."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_type_hints

from lesions.faults import InputError
from lesions.options import OptionParser
from lesions.training.recipe import NULL, read_recipe, typed

if TYPE_CHECKING:
    from lesions.training.arguments import LesionTrainingArguments

EPILOG = """Every option of transformers' TrainingArguments works too, --output_dir, --num_train_epochs,
--learning_rate, --per_device_train_batch_size, --gradient_accumulation_steps, --bf16 and --seed among them:
https://huggingface.co/docs/transformers/main_classes/trainer"""

NEEDED = ("dataset", "output_dir")  # checked here, not by argparse, since a recipe may hold them


@dataclass
class TrainOptions:
    """What transformers' TrainingArguments lack."""

    dataset: str = field(default="", metadata={"help": "folder that data_prep.py wrote, or a Hub id (required)"})
    model: str = field(
        default="facebook/deit-base-distilled-patch16-224",
        metadata={"help": "pretrained image classifier to fine-tune: a folder or a Hub id (default: %(default)s)"},
    )
    base_model: str | None = field(
        default=None,
        metadata={
            "help": "Hub id of the model in the folder --model, for the card (default: what the run in it started "
            "from, or the folder's name)",
            "metavar": "ID",
        },
    )
    class_weights: dict[str, float] | str | None = field(
        default="sqrt",
        metadata={
            "help": "weight of a diagnosis in the loss, from its share of the training split: balanced (inverse share),"
            " sqrt (square root of it), none; a recipe may give `diagnosis: weight` (default: %(default)s)"
        },
    )
    layer_decay: float = field(
        default=1.0,
        metadata={
            "help": "learning rate of a layer, as a share of the rate of the layer above it; --learning_rate is the "
            "rate of the heads (default: %(default)s)",
            "metavar": "SHARE",
        },
    )
    side: int | None = field(
        default=None,
        metadata={
            "help": "side of the images that the model sees from now on; a DeiT or ViT interpolates its positions once "
            "(default: the model's own)",
            "metavar": "PIXELS",
        },
    )
    low_side: int = field(
        default=0,
        metadata={
            "help": "side of the images in the first epochs, to save time; a DeiT or ViT interpolates its positions",
            "metavar": "PIXELS",
        },
    )
    low_epochs: float = field(
        default=0.0, metadata={"help": "number of epochs with images of --low_side (default: 0)", "metavar": "N"}
    )
    mixing: float = field(
        default=0.0,
        metadata={
            "help": "share of the batches whose images are mixed in pairs, by mixup or CutMix (default: 0)",
            "metavar": "SHARE",
        },
    )
    exports: float = field(
        default=0.0,
        metadata={
            "help": "share of the training images that become another export of the same photograph: resampled, "
            "sharpened, recolored, recompressed (default: 0)",
            "metavar": "SHARE",
        },
    )
    teacher: list[str] | None = field(
        default=None,
        metadata={
            "help": "trained classifiers of the same diagnoses to learn from, folders or Hub ids; several teach the "
            "mean of their probabilities",
            "metavar": "MODEL",
        },
    )
    distillation: Literal["hard", "soft", "none"] = field(
        default="hard",
        metadata={
            "help": "what DeiT's distillation token learns from --teacher: its decisions or its probabilities "
            "(default: %(default)s)"
        },
    )
    distillation_alpha: float = field(
        default=0.5, metadata={"help": "the teacher's share of the loss (default: %(default)s)", "metavar": "SHARE"}
    )
    distillation_temperature: float = field(
        default=3.0, metadata={"help": "for soft distillation (default: %(default)s)", "metavar": "T"}
    )
    decision: Literal["balanced", "f1", "accuracy", "none"] = field(
        default="none",
        metadata={
            "help": "metric for which the validation split sets a bias for each diagnosis; the saved head holds it, "
            "and a temperature that makes the probabilities honest; none: the temperature alone (default: %(default)s)"
        },
    )
    malignant: list[str] | None = field(
        default=None,
        metadata={
            "help": "the malignant labels; without it, the well-known names of diagnoses count, and if some label is "
            "not among them, the model gives no malignant-or-not answer",
            "metavar": "LABEL",
        },
    )
    from_scratch: bool = field(
        default=False,
        metadata={
            "help": "start from random weights; --model then needs only config.json and preprocessor_config.json",
            "metavar": "true|false",
        },
    )
    new_head: bool = field(
        default=False,
        metadata={
            "help": "train a new head even if the model already knows some of these diagnoses",
            "metavar": "true|false",
        },
    )

    @property
    def teachers(self) -> list[str]:
        """The teachers that the model learns from."""
        return self.teacher if self.teacher and self.distillation != "none" else []

    @property
    def learns_from(self) -> list[str]:
        """Every model that hands its knowledge to this one."""
        return self.teachers + ([] if self.from_scratch else [self.model])


def parse_options(description: str | None = None) -> tuple[TrainOptions, LesionTrainingArguments]:
    """The options from the command line and from the recipe that it names; the command line wins.

    `--help` prints `description` and the script's own options, and ends the program before torch is imported.
    Raises InputError.
    """
    if {"-h", "--help"} & {*sys.argv[1:]}:
        _parser(TrainOptions, description=description, epilog=EPILOG).print_help()
        sys.exit()

    from lesions.training.arguments import LesionTrainingArguments

    parser, words = _parser(TrainOptions, LesionTrainingArguments), sys.argv[1:]
    given, unknown = parser.parse_known_args(words)
    if given.recipe and not unknown:
        words = [*_apply_recipe(given.recipe, parser), *words]
        given, unknown = parser.parse_known_args(words)
    missing = [f"--{name}" for name in NEEDED if not getattr(given, name)]
    if missing and not unknown:
        parser.error(f"these options are required: {', '.join(missing)}")
    options, training, _ = parser.parse(words)
    return options, training


def _parser(*kinds: type, **more: Any) -> OptionParser:
    parser = OptionParser(*kinds, **more)
    parser.add_argument("recipe", nargs="?", type=Path, help="YAML file of options, see recipes/")
    return parser


def _apply_recipe(path: Path, parser: OptionParser) -> list[str]:
    """The recipe's single values as words of a command line, so that they are checked alike. What a command line
    can't say, lists, mappings and null, becomes the parser's default."""
    recipe, where = read_recipe(path), f"the recipe {path}"
    parser.refuse_unknown(recipe, where)
    hints = {name: kind for each in parser.dataclass_types for name, kind in get_type_hints(each).items()}
    kinds = {name: str(kind) for name, kind in hints.items()}
    if blank := [name for name, value in recipe.items() if value in NULL and type(None) not in get_args(hints[name])]:
        raise InputError(f"{where}: {', '.join(blank)}: a value is missing; without the line, the default holds")
    words = []
    for name, value in recipe.items():
        if isinstance(value, str) and value not in NULL:
            words.append(f"--{name}={value}")
            continue
        nested = isinstance(value, list) and not all(isinstance(item, str) for item in value)
        if nested or (not isinstance(value, str) and type(value).__name__ not in kinds[name]):
            raise InputError(
                f"{where}: {name} takes {'a list of single values' if nested else 'one value'}, not {value}"
            )
        parser.set_defaults(**{name: typed(value) if isinstance(value, dict) else None if value in NULL else value})
    try:
        parser.parse_known_args(words)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    return words
