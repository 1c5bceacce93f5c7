"""SplitMix64 in Python's integers."""

GOLDEN, WORD = 0x9E3779B97F4A7C15, 2**64


def mixed(x):
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % WORD
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % WORD
    return x ^ (x >> 31)


def chained(seed, *keys):
    """64 bits as a Python integer."""
    x = mixed((seed + GOLDEN) % WORD)
    for key in keys:
        x = mixed((x + (key + 1) * GOLDEN) % WORD)
    return x
