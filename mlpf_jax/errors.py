"""What errors say, in one line, and which of them mean that memory or a disk is full."""

import errno
import os

# Of these XLA's file system, too, says RESOURCE_EXHAUSTED: no memory is.
_OF_FILES = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)


def one_line(error: BaseException) -> str:
    """Returns what an error says: the first line of it, or the file and what happened to it."""
    if isinstance(error, OSError) and error.strerror:
        where = "" if error.filename is None else f"{error.filename}: "
        return f"{where}{error.strerror}."
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether the memory of the host or of a device did not suffice."""
    text = str(error)
    if isinstance(error, MemoryError) or "std::bad_alloc" in text:
        return True
    return "RESOURCE_EXHAUSTED" in text and not any(os.strerror(c) in text for c in _OF_FILES)
