"""Draws an event: its tracks and towers, targets and candidates.

    python -m tools.draw_event DIR --event=0 --out=event.png

DIR is a set of events, simulated or imported. It needs the extra `plots`. Exit status: 0 if the
picture was written, 1 if events are damaged, 2 for wrong usage.
"""

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from mlpf_jax import cli, keeping
from mlpf_jax.events import manifest, store

_EVENT = flags.DEFINE_integer("event", 0, "Index of the event in the set.", lower_bound=0)
_OUT = flags.DEFINE_string("out", "event.png", "Picture to write (.png).")


def main(argv: Sequence[str]) -> int:
    if len(argv) != 2:
        return cli.complain("give one set: python -m tools.draw_event DIR", cli.USAGE)
    try:
        _draw(Path(argv[1]))
    except (OSError, manifest.DamagedError) as error:
        return cli.complain(error, cli.FAILURE)
    except (ValueError, IndexError) as error:
        return cli.complain(error, cli.USAGE)
    print(_OUT.value)
    return 0


def _draw(folder: Path) -> None:
    out = Path(_OUT.value)
    if out.suffix != ".png":
        raise ValueError(f"--out={out}: the name of the picture must end in .png.")
    events = store.open_store(folder)
    event = events.event(_EVENT.value)
    if importlib.util.find_spec("matplotlib") is None:
        raise ValueError("Matplotlib is not installed: pip install 'mlpf_jax[plots]'")
    display = importlib.import_module("mlpf_jax.events.display")
    origin = events.provenance
    seed = f" of seed {origin['seed']}" if "seed" in origin else ""
    title = f"{origin['process']}, {origin['kind']} event {_EVENT.value}{seed}"
    keeping.write_file(out, display.png(display.draw(event, title)))


if __name__ == "__main__":
    cli.run(main, takes_files=True)
