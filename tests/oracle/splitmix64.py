"""The generator of tests/tokenizer/splitmix64.h."""
from itertools import islice


def splitmix64(state):
    while True:
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        yield z ^ (z >> 31)


def named_bits(name, count):
    """The first `count` numbers from the FNV-1a hash of a name on (tests/support/family_models.h)."""
    state = 0xcbf29ce484222325
    for byte in name.encode():
        state = (state ^ byte) * 0x100000001b3 % 2**64
    return list(islice(splitmix64(state), count))
