"""The model's numbers, as a checkpoint's config.json gives them."""

import math
import numbers
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

# A frame is two positions of the transformers: the downsample's stride, the upsample's factor.
LATENTS_PER_FRAME = 2

# Keys of config.json that have one legal value here. Weights that need another are refused.
_FIXED = {
    "audio_channels": 1,
    "use_causal_conv": True,
    "pad_mode": "constant",
    "use_conv_shortcut": False,
    "trim_right_ratio": 1.0,
    "hidden_act": "gelu",
    "attention_bias": False,
}

# The least and the most of each field: far beyond any Mimi that there is, and little enough that
# no file can ask for more memory or time than its own tensors account for.
_BOUNDS: dict[str, tuple[float, float]] = {
    "sampling_rate": (1_000, 384_000),  # what sound files have
    "num_filters": (1, 4096),
    "upsampling_ratios": (1, 64),  # each of them
    "kernel_size": (1, 64),
    "last_kernel_size": (1, 64),
    "residual_kernel_size": (1, 64),
    "num_residual_layers": (1, 16),
    "dilation_growth_rate": (1, 16),
    "compress": (1, 64),
    "hidden_size": (1, 2**16),
    "num_hidden_layers": (1, 256),
    "num_attention_heads": (1, 1024),
    "head_dim": (0, 1024),
    "intermediate_size": (1, 2**18),
    "norm_eps": (1e-12, 1.0),
    "rope_theta": (1.0, 1e12),  # below 1, the later pairs would turn faster than the first
    "sliding_window": (1, 2**16),  # 44 minutes at 25 Hz
    "num_quantizers": (2, 255),  # that many a .mimi file can hold
    "num_semantic_quantizers": (1, 254),
    "codebook_size": (2, 2**16),  # codes of 1 to 16 bits
    "codebook_dim": (1, 2**16),
}

_MOST_RATIOS = 8
_MOST_SAMPLES = 2**16  # of a frame, and of what a dilated convolution remembers
_MOST_PAST = 2**30  # bytes of keys and values that a transformer remembers for each stream

_short = reprlib.Repr()
_short.maxlevel, _short.maxlist, _short.maxstring, _short.maxother = 1, _MOST_RATIOS, 80, 80


def shown(value: object) -> str:
    """A stranger's value in one printable line of some hundred characters."""
    return " ".join(_short.repr(value).split())


@dataclass(frozen=True)
class MimiConfig:
    """Sizes of a Mimi model; the defaults are kyutai/mimi's. Fields keep config.json's words.

    Source: transformers' ``MimiConfig``.
    """

    sampling_rate: int = 24000  # samples a second
    num_filters: int = 64  # channels of the first convolution; each downsampling doubles them
    upsampling_ratios: tuple[int, ...] = (8, 6, 5, 4)  # the encoder's strides are these, backwards
    kernel_size: int = 7
    last_kernel_size: int = 3
    residual_kernel_size: int = 3
    num_residual_layers: int = 1  # residual blocks before each downsampling
    dilation_growth_rate: int = 2  # how much more each of them in a row is dilated
    compress: int = 2  # inside a residual block, channels are this many times fewer
    hidden_size: int = 512  # channels of latents
    num_hidden_layers: int = 8  # of each transformer
    num_attention_heads: int = 8
    head_dim: int = 0  # 0 becomes hidden_size / num_attention_heads
    intermediate_size: int = 2048  # channels inside an MLP
    norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    sliding_window: int = 250  # positions that attention sees, its own among them: 10 s at 25 Hz
    num_quantizers: int = 32  # codebooks, the semantic ones among them
    num_semantic_quantizers: int = 1
    codebook_size: int = 2048  # entries
    codebook_dim: int = 256  # numbers in an entry

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(field.default, tuple):
                if not isinstance(value, (list, tuple)) or not 1 <= len(value) <= _MOST_RATIOS:
                    raise _wrong(field.name, value, f"a list of 1 to {_MOST_RATIOS} whole numbers")
                object.__setattr__(self, field.name, tuple(value))
                for number in value:
                    _check(field.name, number, int)
            else:
                _check(field.name, value, type(field.default))
        if self.head_dim == 0:
            object.__setattr__(self, "head_dim", self.hidden_size // self.num_attention_heads)
        for name, fits, rule in self._cross_rules():
            if not fits:
                raise _wrong(name, getattr(self, name), rule)

    def _cross_rules(self) -> Iterator[tuple[str, bool, str]]:
        """Fields that others bound: the name, whether it fits, and what it must be."""
        layers, width = self.num_hidden_layers, self.num_attention_heads * self.head_dim
        yield (
            "num_semantic_quantizers",
            self.num_semantic_quantizers < self.num_quantizers,
            f"less than num_quantizers ({self.num_quantizers})",
        )
        yield "head_dim", self.head_dim > 0 and self.head_dim % 2 == 0, "even, 2 or more"
        yield "compress", self.compress <= self.num_filters, f"at most {self.num_filters} filters"
        yield (
            "upsampling_ratios",
            self.frame_size <= _MOST_SAMPLES,
            f"such that a frame has at most {_MOST_SAMPLES} samples, not {self.frame_size}",
        )
        dilation = self.dilation_growth_rate ** (self.num_residual_layers - 1)
        yield (
            "num_residual_layers",
            self.residual_kernel_size * dilation <= _MOST_SAMPLES,
            f"such that a convolution spans at most {_MOST_SAMPLES} positions",
        )
        yield (
            "sliding_window",
            layers * 2 * self.sliding_window * width * 4 <= _MOST_PAST,
            f"such that {layers} layers of {width} channels remember at most 1 GiB a stream",
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "MimiConfig":
        """Read the fields from a parsed config.json; keys that describe no size are ignored.

        A key that is null is as if it were not there, unless it is a field: of these only
        ``head_dim`` may be null.

        Raises:
            ValueError: A field is not of its type or out of its bounds, or a key asks for
                something that this implementation does not do.
        """
        if not isinstance(values, Mapping):
            raise ValueError(
                f"the values are {shown(values)}; they must be a dict. Give a config's."
            )
        names = {field.name for field in fields(cls)} - {"head_dim"}
        values = {k: v for k, v in values.items() if v is not None or k in names}
        known = {k: v for k, v in values.items() if k in names | {"head_dim"}}
        rope = values.get("rope_parameters", {})
        if not isinstance(rope, dict):
            raise _wrong("rope_parameters", rope, "a JSON object")
        known.setdefault("rope_theta", rope.get("rope_theta", cls.rope_theta))
        config = cls(**known)
        must = {**config._implied(), "frame_rate": config.frame_rate, "rope_type": "default"}
        found = {**values, "rope_type": rope.get("rope_type", "default")}
        for key, legal in must.items():
            if found.get(key, legal) != legal:
                raise ValueError(
                    f"{key} is {shown(found[key])} in config.json; mimi_mlx only does {legal!r}. "
                    "Give a checkpoint of Mimi's architecture."
                )
        return config

    def to_dict(self) -> dict[str, Any]:
        """What a config.json of this model says, in transformers' words and in full."""
        return {**self._implied(), **asdict(self)}

    def _implied(self) -> dict[str, Any]:
        """Keys of config.json that the fields leave no choice."""
        return {
            "model_type": "mimi",
            **_FIXED,
            "num_key_value_heads": self.num_attention_heads,
            "upsample_groups": self.hidden_size,
            "vector_quantization_hidden_dimension": self.codebook_dim,
        }

    @property
    def latent_size(self) -> int:
        """Samples per position of the transformers: 960 (40 ms)."""
        return math.prod(self.upsampling_ratios)

    @property
    def frame_size(self) -> int:
        """Samples per frame: 1920 (80 ms)."""
        return self.latent_size * LATENTS_PER_FRAME

    @property
    def frame_rate(self) -> float:
        """Frames per second: 12.5."""
        return self.sampling_rate / self.frame_size

    @property
    def encodec_frame_rate(self) -> int:
        """Positions of the transformers per second: 25."""
        return math.ceil(self.sampling_rate / self.latent_size)

    @property
    def audio_channels(self) -> int:
        """Channels of the audio: 1."""
        return 1

    @property
    def num_codebooks(self) -> int:
        """Another name of ``num_quantizers``."""
        return self.num_quantizers

    @property
    def bits_per_code(self) -> int:
        """Bits that one code needs: 11."""
        return math.ceil(math.log2(self.codebook_size))

    def kbps(self, num_codebooks: int) -> float:
        """Thousands of bits that a second of so many codebooks' codes takes: 1.1 for 8."""
        return num_codebooks * self.bits_per_code * self.frame_rate / 1000


def _check(name: str, value: object, kind: type) -> None:
    least, most = _BOUNDS[name]
    types = numbers.Integral if kind is int else numbers.Real  # of NumPy's, too
    is_number = isinstance(value, types) and not isinstance(value, bool)
    if not is_number or not least <= value <= most:  # type: ignore[operator]  # NaN fails too
        what = "a whole number" if kind is int else "a number"
        raise _wrong(name, value, f"{what} from {least:g} to {most:g}")


def _wrong(name: str, value: object, rule: str) -> ValueError:
    return ValueError(f"{name} is {shown(value)}; it must be {rule}. Correct config.json.")
