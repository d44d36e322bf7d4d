# SPDX-License-Identifier: Apache-2.0
"""The echo model's function, as backends/engine_echo.h defines it, written a second time."""

MASK = (1 << 64) - 1


def echo_vector(text):
    """The eight numbers that the echo model answers for `text` (str or bytes)."""
    data = text if isinstance(text, bytes) else text.encode()
    h = 0xCBF29CE484222325
    for byte in data:
        h = ((h ^ byte) * 0x100000001B3) & MASK
    vector = []
    for k in range(8):
        z = (h + (k + 1) * 0x9E3779B97F4A7C15) & MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        z ^= z >> 31
        vector.append((z >> 48) / 65536)
    return vector
