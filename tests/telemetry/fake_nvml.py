"""NVML as drivers answer: a whole card, a MIG slice, and an older driver. No GPU is needed."""

import dataclasses
import types


class NVMLError(Exception):
    """As in pynvml: its text is the meaning of the return code."""


@dataclasses.dataclass
class Card:
    """One GPU and the answers of its driver; a name in `unsupported` is refused."""

    uuid: str = "GPU-8f6ad1b2-0000-1111-2222-333344445555"
    name: str = "NVIDIA H200"
    energy_mj: int = 5_000_000
    power_mw: int = 112_345
    reasons: int = 0x1
    processes: tuple[int, ...] = (4242,)
    mps_processes: tuple[int, ...] = ()
    unsupported: frozenset[str] = frozenset()
    slice_of: "Card | None" = None
    limit_mw: int = 700_000
    locked_mhz: tuple[int, int] | None = None


def module(*cards: Card, unknown: tuple[str, ...] = ()) -> types.SimpleNamespace:
    """The module pynvml with these cards; functions named in `unknown` do not exist."""
    state = {"users": 0}
    answers = {
        "IsMigDeviceHandle": lambda card: int(card.slice_of is not None),
        "GetDeviceHandleFromMigDeviceHandle": lambda card: card.slice_of,
        "GetName": lambda card: card.name,
        "GetUUID": lambda card: card.uuid,
        "GetMemoryInfo": lambda card: types.SimpleNamespace(total=150e9, used=3e9),
        "GetEnforcedPowerLimit": lambda card: 700_000,
        "GetPowerManagementDefaultLimit": lambda card: 700_000,
        "GetMigMode": lambda card: [0, 0],
        "GetEccMode": lambda card: [1, 1],
        "GetMaxClockInfo": lambda card, kind: 1980,
        "GetClockInfo": lambda card, kind: {1: 1755, 2: 3201}[kind],
        "GetPowerUsage": lambda card: card.power_mw,
        "GetTemperature": lambda card, sensor: 41,
        "GetUtilizationRates": lambda card: types.SimpleNamespace(gpu=87, memory=12),
        "GetTotalEccErrors": lambda card, kind, since: 0,
        "GetComputeRunningProcesses": lambda card: list(card.processes),
        "GetMPSComputeRunningProcesses": lambda card: list(card.mps_processes),
        "GetCurrentClocksEventReasons": lambda card: card.reasons,
        "GetCurrentClocksThrottleReasons": lambda card: card.reasons,
        "GetTotalEnergyConsumption": lambda card: card.energy_mj,
        "GetPowerManagementLimit": lambda card: card.limit_mw,
        "SetPowerManagementLimit": lambda card, limit: setattr(card, "limit_mw", limit),
        "SetGpuLockedClocks": lambda card, low, high: setattr(card, "locked_mhz", (low, high)),
        "ResetGpuLockedClocks": lambda card: setattr(card, "locked_mhz", None),
    }

    def answer(name):
        def call(card, *arguments):
            if name in card.unsupported:
                raise NVMLError("Not Supported")
            return answers[name](card, *arguments)

        return call

    def by_uuid(uuid):
        for card in cards:
            if card.uuid == uuid:
                return card
        raise NVMLError("Not Found")

    def init():
        state["users"] += 1

    def shutdown():
        if not state["users"]:
            raise NVMLError("Uninitialized")
        state["users"] -= 1

    made = types.SimpleNamespace(
        __name__="pynvml",
        NVMLError=NVMLError,
        nvmlInit=init,
        nvmlShutdown=shutdown,
        nvmlSystemGetDriverVersion=lambda: "580.159.03",
        nvmlDeviceGetCount=lambda: len(cards),
        nvmlDeviceGetHandleByIndex=lambda index: cards[index],
        nvmlDeviceGetHandleByUUID=by_uuid,
    )
    for name in answers.keys() - set(unknown):
        setattr(made, f"nvmlDevice{name}", answer(name))
    return made
