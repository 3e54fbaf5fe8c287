"""Waveform tables from a model bundle: sampled, similar to a recording, between recordings, with exchanged latents.

See docs/control.md.
"""

from hcvae.generation.combining import decode, interpolate, swap
from hcvae.generation.conditions import complete_condition, parse_conditions
from hcvae.generation.drawing import generate, vary
from hcvae.generation.families import Family, families
from hcvae.generation.recordings import EncodedRecording, encode_recording, read_recording

__all__ = [
    "EncodedRecording",
    "Family",
    "complete_condition",
    "decode",
    "encode_recording",
    "families",
    "generate",
    "interpolate",
    "parse_conditions",
    "read_recording",
    "swap",
    "vary",
]
