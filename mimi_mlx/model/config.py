"""The model's numbers, as a checkpoint's config.json gives them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
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
        object.__setattr__(self, "upsampling_ratios", tuple(self.upsampling_ratios))
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "head_dim" and not value:
                continue
            for number in value if isinstance(value, tuple) else (value,):
                if isinstance(number, bool) or not isinstance(number, (int, float)) or number <= 0:
                    raise ValueError(
                        f"{field.name} is {value!r}; it must be positive. Correct config.json."
                    )
        if not self.head_dim:
            object.__setattr__(self, "head_dim", self.hidden_size // self.num_attention_heads)
        if self.num_semantic_quantizers >= self.num_quantizers:
            raise ValueError(
                f"num_semantic_quantizers is {self.num_semantic_quantizers}; it must be at least 1 "
                f"and less than num_quantizers ({self.num_quantizers}). Correct config.json."
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "MimiConfig":
        """Read the fields from a parsed config.json; keys that describe no size are ignored.

        Raises:
            ValueError: A key asks for something that this implementation does not do.
        """
        values = {k: v for k, v in values.items() if v is not None}
        if values.get("model_type", "mimi") != "mimi":
            raise ValueError(
                f"model_type is {values['model_type']!r}; only 'mimi' can be loaded. "
                "Give a folder with Mimi weights."
            )
        names = {field.name for field in fields(cls)}
        known = {k: v for k, v in values.items() if k in names}
        rope = values.get("rope_parameters") or {}
        known.setdefault("rope_theta", rope.get("rope_theta", cls.rope_theta))
        config = cls(**known)
        must = {
            **_FIXED,
            "num_key_value_heads": config.num_attention_heads,
            "upsample_groups": config.hidden_size,
            "vector_quantization_hidden_dimension": config.codebook_dim,
            "frame_rate": config.frame_rate,
        }
        for key, legal in must.items():
            if values.get(key, legal) != legal:
                raise ValueError(
                    f"{key} is {values[key]!r} in config.json; mimi_mlx only does {legal!r}. "
                    "Give a checkpoint of Mimi's architecture."
                )
        if rope.get("rope_type", "default") != "default":
            raise ValueError(
                f"rope_type is {rope['rope_type']!r} in config.json; mimi_mlx only does 'default'. "
                "Give a checkpoint of Mimi's architecture."
            )
        return config

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
