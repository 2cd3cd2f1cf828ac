"""What the sources for GPUs share, whichever management library they ask."""

from typing import Any

from mlpf_jax.telemetry import source


class Gpu:
    """One GPU. A subclass names its library, and what the names of its functions begin with."""

    part: source.Part = "device"
    settle_s = 0.0
    library: str
    prefix: str

    def __init__(self, api: Any, refusal: type[Exception], handle: Any, name: str):
        self.name = name
        self._api, self._handle = api, handle
        self._asker = source.Asker(refusal)
        self.refused = self._asker.refused

    def _get(self, function: str, *arguments: Any) -> Any:
        return getattr(self._api, self.prefix + function)(*arguments)

    def _ask(self, name: str, function: str, *arguments: Any) -> Any:
        """Asks a function, which this release of the library or this driver may not have."""
        return self._asker.ask(name, self._get, function, *arguments)

    def _number_of_others(self, function: str, *arguments: Any) -> int | None:
        """Returns the number of processes on the GPU but this one, from a function for all.

        Inside a container the process numbers are the host's, so they cannot be compared with ours:
        one of them is this process. Where none is shown, the number is unknown.
        """
        found = self._ask("other_processes", function, *arguments)
        if found is not None and not found:
            text = f"{self.library} shows no process, not even this one"
            self.refused.setdefault("other_processes", text)
        return len(found) - 1 if found else None
