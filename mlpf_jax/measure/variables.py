"""The environment variables that can change the measured work or its speed. Each is refused, pinned
(removed, so that it has no effect) or recorded in the report.

Reports contain values of known variables only, and none that could contain a path, a host or a
secret. Pure functions of an environment; does not import JAX.
"""

import dataclasses
import re
from collections.abc import Mapping, MutableMapping

from mlpf_jax.measure import jax_options

_FALSE = frozenset({"", "0", "f", "false", "n", "no", "off"})  # as JAX reads them


@dataclasses.dataclass(frozen=True)
class Refusal:
    """A variable with which a run is meaningless."""

    names: str  # a regular expression for the whole name
    reason: str
    way_out: str = "Unset it."
    off: frozenset[str] = _FALSE  # values without effect


_IS_DEBUGGING = "it checks every step while it is measured"
REFUSED = (
    Refusal("JAX_DISABLE_JIT", "nothing would be compiled"),
    Refusal("JAX_DISABLE_MOST_OPTIMIZATIONS", "the compiler would skip its optimizations"),
    Refusal("JAX_NO_(EXECUTION|TRACING)", "nothing would be computed"),
    Refusal("JAX_DEBUG_(NANS|INFS)", _IS_DEBUGGING),
    Refusal("JAX_ERROR_CHECKING_BEHAVIOR_.*", _IS_DEBUGGING, off=_FALSE | {"ignore"}),
    Refusal("JAX_PALLAS_(POISON_BUFFERS|ENABLE_DEBUG_CHECKS)", _IS_DEBUGGING),
    Refusal("JAX_ENABLE_PGLE", "it compiles a step again while it is measured"),
    Refusal("JAX_MOCK_GPU_TOPOLOGY|MOCK_NUM_GPU_PROCESSES", "the devices would not be real"),
    Refusal("JAX_(XLA_BACKEND|BACKEND_TARGET)", "the devices would not be local"),
    Refusal(
        "NVIDIA_TF32_OVERRIDE",
        "it changes the precision of products without a trace in the score",
        "Unset it, and choose with --precision.",
        off=frozenset({""}),
    ),
    # Of cuBLAS since CUDA 12.9; takes effect on Blackwell.
    Refusal(
        "CUBLAS_EMULATE_SINGLE_PRECISION",
        "it computes products in float32 from parts in bf16, without a trace in the score",
    ),
)
_JAX = re.compile(
    "|".join([*map(re.escape, jax_options.FIXED), *jax_options.UNSET, *jax_options.OURS])
)
_RECORDED = re.compile(
    r"(JAX|JAX2TF|XLA|PJRT|TSL|LIBTPU|TPU|MOSAIC)_.*"
    r"|TF_(AUTOTUNE|CPP|CUBLAS|CUDA|CUDNN|DETERMINISTIC|DISABLE|ENABLE|FORCE|GPU|NUM|USE|XLA)_.*"
    r"|(CUDA|CUBLAS|CUBLASLT|CUDNN|NCCL|NVIDIA|UCX)_.*"
    r"|(ROCM|HIP|HSA|ROCR|GPU|AMD|MIOPEN|RCCL|HIPBLASLT|ROCBLAS)_.*"
    r"|(OMP|GOMP|KMP|MKL|OPENBLAS|GOTO|BLIS|VECLIB|NUMEXPR|DNNL|ONEDNN)_.*"
    r"|(MALLOC|TCMALLOC|MIMALLOC|SNMALLOC)_.*|_?RJEM_.*|GLIBC_TUNABLES|NPROC"
    r"|LD_(PRELOAD|LIBRARY_PATH|BIND_NOW|AUDIT)"
    r"|PYTHON(MALLOC|DEVMODE|OPTIMIZE|TRACEMALLOC|FAULTHANDLER|PERFSUPPORT|GIL|_GIL|_JIT)"
    r"|CHECK_VMA|EAGER_CONSTANT_FOLDING|MOCK_NUM_GPU_PROCESSES"
)
# Covered by other fields of a report, or set by launchers anew for every job.
_IGNORED = re.compile(
    r"(CUDA|HIP|ROCR|NVIDIA|GPU)_.*(VISIBLE_DEVICES|DEVICE_ORDINAL)|CUDA_(HOME|ROOT|PATH|VERSION)"
    r"|NVIDIA_(DRIVER_CAPABILITIES|REQUIRE_.*|PRODUCT_NAME)|TF_CPP_MIN_LOG_LEVEL|XLA_FLAGS"
    r"|JAX_PLATFORMS|JAX_PLATFORM_NAME|JAX_(ENABLE|PERSISTENT|RAISE_PERSISTENT)_.*CACHE.*"
    r"|JAX_(COORDINATOR|MTLS)_.*|JAX_(PROCESS_ID|NUM_PROCESSES|LOCAL_DEVICE_IDS|COMPILATION_CACHE_DIR)"
    r"|TPU_(WORKER|PROCESS|SKIP|NAME|ACCELERATOR|HOST|CHIPS|TOPOLOGY).*|AMD_(ENTRY|LICENSE).*"
)
_VALUE_HIDDEN = re.compile(
    r".*(ADDRESS|HOST|HOSTID|HOSTNAME|URL|URI|PATH|DIR|FILE|ROOT|USER|PROJECT|REGEX|_TO)S?"
    r"|.*(CREDENTIAL|TOKEN|SECRET|PASS)S?|LD_(LIBRARY_PATH|AUDIT)|NCCL_COMM_ID"
    # Anywhere, as in TPU_ACCESS_KEY_ID; the keys of JAX's own options are no secrets.
    r"|(?!JAX_).*(KEY|PASS|TOKEN|SECRET|CREDENTIAL|AUTH|USERNAME|LOGIN|ACCOUNT|MAIL).*"
)
_PLAIN = re.compile(r"[\w.,:;=+\- ]{0,200}")
# Reasons to distrust a measurement, by variable and value.
_DOUBTS = (
    ("CUDA_LAUNCH_BLOCKING|HIP_LAUNCH_BLOCKING|AMD_SERIALIZE_.*", "the host waits for each kernel"),
    ("JAX_ENABLE_CHECKS|JAX_CHECK_TRACER_LEAKS|JAX_DEBUG_KEY_REUSE", "JAX checks itself"),
    ("JAX_(OPTIMIZATION_LEVEL|EXEC_TIME_.*|MEMORY_FITTING_.*)", "the compiler's effort is changed"),
    ("JAX_DUMP_IR_TO|TF_CPP_(MAX_VLOG_LEVEL|VMODULE)|AMD_LOG_LEVEL", "the run writes logs"),
    ("MALLOC_(PERTURB_|CHECK_)|PYTHONDEVMODE|PYTHONTRACEMALLOC", "memory is checked"),
    ("(PJRT_)?NPROC", "it sets the number of threads of the CPU back end"),
)


def refusal(environ: Mapping[str, str]) -> str | None:
    """Returns an error message for the first refused variable; None if there is none."""
    for name in sorted(environ):
        for rule in REFUSED:
            is_on = environ[name].strip().lower() not in rule.off
            if is_on and re.fullmatch(rule.names, name):
                return f"{name}={_shown(name, environ[name])}: {rule.reason}. {rule.way_out}"
    return None


def pin(environ: MutableMapping[str, str]) -> tuple[str, ...]:
    """Removes the variables that would change the work; returns their names."""
    taken = tuple(sorted(name for name in environ if name.isupper() and is_pinned(name.lower())))
    for name in taken:
        del environ[name]
    return taken


def is_pinned(option: str) -> bool:
    """Whether the run sets this option of JAX itself, regardless of the environment."""
    return bool(_JAX.fullmatch(option))


def recorded(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns the variables that can change the speed, sorted, with publishable values."""
    names = sorted(n for n in environ if _RECORDED.fullmatch(n) and not _IGNORED.fullmatch(n))
    return {name: _shown(name, environ[name]) for name in names}


def doubts(found: Mapping[str, str]) -> list[str]:
    """Returns reasons to distrust a run because of its recorded variables."""
    return [
        f"{name}={value}: {reason}"
        for name, value in found.items()
        for names, reason in _DOUBTS
        if value.strip().lower() not in _FALSE and re.fullmatch(names, name)
    ]


def _shown(name: str, value: str) -> str:
    """Returns the value, or "(set)" if it could identify a user or a site."""
    if name == "LD_PRELOAD":
        return " ".join(part.rpartition("/")[2] for part in re.split(r"[ :]+", value) if part)
    is_plain = _PLAIN.fullmatch(value) and not _VALUE_HIDDEN.fullmatch(name)
    return value if is_plain else "(set)"
