"""One-line messages of errors, and detection of errors that have a way out."""

import errno
import os

# XLA's file system reports RESOURCE_EXHAUSTED for these errors too, without lack of memory.
_OF_FILES = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)
# What XLA says if no kernel compiles for several products of matrices, or for one.
_NO_KERNEL = ("Failed to get configs for", "No supported config found for")


def one_line(error: BaseException) -> str:
    """Returns the message of an error: its first line, or the file and the system's reason."""
    if isinstance(error, OSError) and error.strerror:
        where = "" if error.filename is None else f"{error.filename}: "
        return f"{where}{error.strerror}."
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether the host or a device ran out of memory."""
    text = str(error)
    if isinstance(error, MemoryError) or "std::bad_alloc" in text:
        return True
    # What CPython makes of a MemoryError for which it has no memory either.
    if isinstance(error, SystemError) and text.endswith("without exception set"):
        return True
    return "RESOURCE_EXHAUSTED" in text and not any(os.strerror(c) in text for c in _OF_FILES)


def lacks_kernel(text: str) -> bool:
    """Returns whether, by its message, XLA found no kernel for a product on a GPU."""
    return any(words in text for words in _NO_KERNEL)
