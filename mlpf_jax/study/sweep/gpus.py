"""Sets the clock and the power limit of NVIDIA GPUs for a while, and restores them in all cases.

A process of its own does it, the guardian: `python -m mlpf_jax.study.sweep.gpus FILE`. It restores
when its standard input ends, that is, at any end of the program that started it, even by SIGKILL.
Before it changes anything, it writes what is to be restored to the file, which it removes
afterwards. If the guardian itself is killed, its next start with this file restores first.
"""

import contextlib
import importlib
import json
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlpf_jax import atomic, errors
from mlpf_jax.telemetry import nvidia, runtimes

FILE_NAME = "gpus_before.json"
_COMMAND = (sys.executable, "-m", "mlpf_jax.study.sweep.gpus")
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PATIENCE_S = 120.0  # with a driver that does not answer


class Guardian:
    """Starts the guardian when it is needed; leaving the context restores the GPUs."""

    def __init__(self, state: Path, command: Sequence[str] = _COMMAND):
        """`state` is the file for what is to be restored, in the folder of the sweep."""
        self._state, self._command = state, command
        self._process: subprocess.Popen[str] | None = None
        self._answers = True  # until it once did not

    def __enter__(self) -> "Guardian":
        if self._state.exists():  # left by one that was killed
            self.apply({})  # the next one restores before it answers
            if self._state.exists():
                self.__exit__()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        if self._state.exists() and self._process is not None and self._process.poll() is not None:
            self._process = self._start()  # it was killed: the next one restores at its start
            self._end()
        if self._state.exists():
            raise RuntimeError(f"the GPUs were not restored: {self._state} has their settings.")

    def apply(self, settings: Mapping[str, int]) -> str | None:
        """Sets `gpu_clock` in MHz, `power_limit` in W; returns the reason if it is refused."""
        if self._process is None:
            self._process = self._start()
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None
        assert answers is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended: no answer
            requests.write(json.dumps(dict(settings)) + "\n")
            requests.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(answers, selectors.EVENT_READ)
            # A late answer would be taken for that of the next request.
            self._answers = self._answers and bool(selector.select(_PATIENCE_S))
        answer = answers.readline() if self._answers else ""
        return json.loads(answer)["refusal"] if answer else "the settings of GPUs: no answer"

    def _end(self) -> None:
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.communicate(timeout=_PATIENCE_S)  # ends its input, and waits

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self._command, str(self._state)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the sweep alone
        )


class Gpus:
    """Some GPUs, and a file with what is to be restored."""

    def __init__(self, nvml: Any, uuids: Sequence[str], state: Path):
        self._nvml, self._state = nvml, state
        self._handles = {uuid: nvidia.find(nvml, uuid) for uuid in uuids}

    def apply(self, settings: Mapping[str, int]) -> None:
        """Sets the clock in MHz and the power limit in W; raises NVMLError if that is refused."""
        if settings and not self._state.exists():
            self._save(settings)
        for handle in self._handles.values():
            if "gpu_clock" in settings:
                mhz = settings["gpu_clock"]
                self._nvml.nvmlDeviceSetGpuLockedClocks(handle, mhz, mhz)
            if "power_limit" in settings:
                milliwatts = 1000 * settings["power_limit"]
                self._nvml.nvmlDeviceSetPowerManagementLimit(handle, milliwatts)

    def _save(self, settings: Mapping[str, int]) -> None:
        """Notes what is to be restored. NVML does not tell whether a clock was locked before."""
        read = self._nvml.nvmlDeviceGetPowerManagementLimit
        before = {
            uuid: {
                "gpu_clock": "gpu_clock" in settings,
                "power_limit_mw": read(handle) if "power_limit" in settings else None,
            }
            for uuid, handle in self._handles.items()
        }
        self._put(before)  # which changes nothing: it raises if changes are not permitted
        atomic.write_file(self._state, (json.dumps(before) + "\n").encode())

    def restore(self) -> None:
        """Restores what the file says, and removes it; raises NVMLError if that is refused."""
        if self._state.exists():
            self._put(json.loads(self._state.read_text(encoding="utf-8")))
            self._state.unlink()

    def _put(self, before: Mapping[str, Any]) -> None:
        """Puts everything back that can be; then raises the first error, if there was one."""
        failures: list[Exception] = []
        for uuid, values in before.items():
            try:
                handle = self._handles.get(uuid) or nvidia.find(self._nvml, uuid)
                if values["gpu_clock"]:
                    self._nvml.nvmlDeviceResetGpuLockedClocks(handle)
                if values["power_limit_mw"] is not None:
                    self._nvml.nvmlDeviceSetPowerManagementLimit(handle, values["power_limit_mw"])
            except (self._nvml.NVMLError, LookupError) as error:
                failures.append(error)
        if failures:
            raise failures[0]


def serve(
    nvml: Any,
    uuids: Sequence[str],
    state: Path,
    requests: Iterable[str],
    answer: Callable[[str | None], None],
) -> None:
    """Answers requests until there are no more, then restores.

    `answer` is called after each with the reason if it was refused, or None.

    Raises:
        nvml.NVMLError: if NVML does not work here, or does not let the GPUs be restored.
        LookupError: if it does not show a GPU.
        ValueError: if the file is damaged.
    """
    nvml.nvmlInit()
    gpus = Gpus(nvml, uuids, state)
    gpus.restore()  # after a guardian that was killed
    try:
        for request in requests:
            settings = json.loads(request)
            refusal = None
            try:
                gpus.apply(settings)
            except (nvml.NVMLError, OSError) as error:
                told = ", ".join(f"--{name}={value}" for name, value in settings.items())
                refusal = f"{told}: {errors.one_line(error)}"
            answer(refusal)
    finally:
        gpus.restore()


def _answer(refusal: str | None) -> None:
    with contextlib.suppress(BrokenPipeError):  # the sweep is gone; the requests end, too
        print(json.dumps({"refusal": refusal}), flush=True)


def main() -> None:
    """Serves the program at the other end of the standard streams."""
    for number in _IGNORED:  # the end of the requests is what counts
        signal.signal(number, signal.SIG_IGN)
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        _answer("to set clocks or power limits of GPUs, install nvidia-ml-py")
        return
    try:
        serve(nvml, runtimes.cuda_uuids(), Path(sys.argv[1]), sys.stdin, _answer)
    except (nvml.NVMLError, OSError, LookupError, ValueError, TypeError) as error:
        text = f"clocks and power limits of GPUs cannot be set: {errors.one_line(error)}"
        print(text, file=sys.stderr)  # at the end, nobody reads an answer
        _answer(text)


if __name__ == "__main__":
    main()
