"""What sums of 8-bit products a processor can do without saturation.

Without VNNI, x86 processors multiply unsigned by signed bytes and add two products in 16 bits (``vpmaddubsw``), which
is too few: 2 * 255 * 127 is over 32 767. Runtimes then get weights of 7 bits, or unsigned ones, for which they have
other instructions. With VNNI, and on Arm, sums have 32 bits.
"""

import os
import platform
from dataclasses import dataclass

from benchmark.measuring.machine import processor_flags

_VNNI = ("avx512_vnni", "avx_vnni", "avx_vnni_int8")
_X86 = ("x86_64", "AMD64", "i386", "i686")
# oneDNN, which OpenVINO computes with, takes no newer instructions than this variable says; these are without VNNI.
LIMIT = "ONEDNN_MAX_CPU_ISA"
_LIMITS_WITHOUT_VNNI = ("SSE41", "AVX", "AVX2", "AVX512_CORE")


@dataclass(frozen=True)
class Arithmetic:
    """What a processor does with bytes.

    Attributes:
        exact: no sum of products saturates, so that weights may have all 8 bits, signed.
        title: in words.
    """

    exact: bool
    title: str


def arithmetic_here() -> Arithmetic:
    """Return what the processor at hand does."""
    if platform.machine() not in _X86:
        return Arithmetic(True, f"{platform.machine()}: sums of 32 bits")
    limit = os.environ.get(LIMIT, "")
    if limit.upper() in _LIMITS_WITHOUT_VNNI:
        return Arithmetic(False, f"{LIMIT}={limit}: no VNNI")
    found = sorted(processor_flags().intersection(_VNNI))
    return Arithmetic(True, f"VNNI ({found[0]})") if found else Arithmetic(False, "no VNNI")
