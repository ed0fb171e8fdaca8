"""The tokens that mean the same in every vocabulary. All others are numbered from `len(SPECIAL)` on."""

from typing import Final

PAD: Final = 0
"""Fills what is left of a sequence, at its end."""
UNKNOWN: Final = 1
"""Stands for all that is not in the vocabulary."""
BEGIN: Final = 2
"""What a decoder is given before its first token."""
END: Final = 3
"""Ends a sentence; of a text that is read as a stream, a line."""
SPECIAL: Final = ("<pad>", "<unk>", "<bos>", "<eos>")
"""Their names, in order."""
