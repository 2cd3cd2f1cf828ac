"""The network in PyTorch, with optimised algebra: merged products, doubled inputs read once.

All events of a batch are rows of one matrix; `real` [rows, 1] is 1 for rows that are not padding.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch  # pyrefly: ignore[missing-import]
from torch import nn  # pyrefly: ignore[missing-import]
from torch.nn import functional as F  # pyrefly: ignore[missing-import]

from benchmarks.peers import constants, layout
from benchmarks.peers.pytorch import pairs
from mlpf_jax import config as config_lib


class Candidates(NamedTuple):
    """The output of the network, [events, elements] each and [..., classes] for the logits."""

    logits: torch.Tensor
    charge: torch.Tensor
    pt: torch.Tensor
    eta: torch.Tensor
    sin_phi: torch.Tensor
    cos_phi: torch.Tensor
    energy: torch.Tensor


class _Weights(nn.Module):
    """Stores arrays of the layout as parameters, by the last part of their names."""

    def __init__(self, arrays: Mapping[str, np.ndarray], prefix: str):
        super().__init__()
        for name, array in arrays.items():
            folder, _, own = name.rpartition("/")
            if folder != prefix:
                continue
            value = torch.tensor(array)
            if own == layout.ROTATIONS:
                self.register_buffer(own, value)
            else:
                self.register_parameter(own, nn.Parameter(value))


class GraphLayer(_Weights):
    """Embeds the elements, bins them by LSH and passes messages inside each bin.

    `fused` lets the pair operator take its elementwise parts from torch.compile; `batched` computes
    all bins at once.
    """

    def __init__(
        self,
        config: config_lib.ModelConfig,
        arrays: Mapping[str, np.ndarray],
        name: str,
        *,
        fused: bool,
        batched: bool,
    ):
        super().__init__(arrays, name)
        self._config, self._fused, self._batched = config, fused, batched
        width = len(arrays[f"{name}/projections"])
        self._passes_input = layout.passes_input(config, width)
        self._widths = layout.projections(config, width)

    def forward(self, x: torch.Tensor, real: torch.Tensor, num_events: int) -> torch.Tensor:
        """Takes `x` [rows, width]; the result is zero at padding."""
        hidden, own, gate, *values = (x @ self.projections).split(self._widths, dim=1)
        hidden = F.elu(hidden + self.bias_hidden)
        embedding = torch.addmm(self.bias_embedding, hidden, self.kernel_embedding)
        order = self._sorted_by_hash(embedding.detach(), real, num_events)
        passed = pairs.pass_messages(
            embedding,
            x if self._passes_input else values[0],
            real,
            order,
            bin_size=self._config.bin_size,
            scale=self._config.distance_scale,
            fused=self._fused,
            batched=self._batched,
        )
        if self._passes_input:
            passed = passed @ self.theta
        share = torch.sigmoid(gate + self.bias_gate).to(own.dtype)  # autocast mixes them
        return F.elu(torch.lerp(own, passed, share)) * real

    def _sorted_by_hash(
        self, embedding: torch.Tensor, real: torch.Tensor, num_events: int
    ) -> torch.Tensor:
        """Returns the rows, event by event, in the stable order of their hashes."""
        num_elements = len(real) // num_events
        num_bins = num_elements // self._config.bin_size
        projection = embedding @ self.rotations[:, : num_bins // 2]
        axis = torch.cat([projection, -projection], dim=1).argmax(1)
        bucket = torch.where(real[:, 0] != 0, axis, axis + (num_bins - 1)).view(num_events, -1)
        # Bucket and position form one unique key, so any sort is stable.
        position = torch.arange(num_elements, device=embedding.device)
        order = (bucket * num_elements + position).int().sort(dim=1).values % num_elements
        first = torch.arange(num_events, device=embedding.device)[:, None] * num_elements
        return (order + first).flatten()


class FeedForward(_Weights):
    """The layers after a head's first product: repeatedly elu, product and bias."""

    def __init__(self, config: config_lib.ModelConfig, arrays: Mapping[str, np.ndarray], head: str):
        super().__init__(arrays, f"decoder/{head}")
        self._numbers = range(1, len(layout.head_widths(config, head)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for i in self._numbers:
            kernel, bias = self.get_parameter(f"kernel_{i}"), self.get_parameter(f"bias_{i}")
            x = torch.addmm(bias, F.elu(x), kernel)
        return x


class Decoder(_Weights):
    """The six heads; their first layers are one product for each kind of input."""

    def __init__(self, config: config_lib.ModelConfig, arrays: Mapping[str, np.ndarray]):
        super().__init__(arrays, "decoder")
        self._width = config.decoder_dim
        self.heads = nn.ModuleDict(
            {head: FeedForward(config, arrays, head) for head in layout.HEADS}
        )

    def forward(
        self, decoded: torch.Tensor, energies: torch.Tensor, real: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Takes [rows, _]; returns the heads' outputs, of which the logits are zero at padding."""
        width, epsilon = self._width, constants.LAYER_NORM_EPSILON
        z = F.layer_norm(decoded, decoded.shape[1:], self.norm_scale, self.norm_bias, epsilon)
        first = torch.addmm(self.bias, z, self.kernel)
        from_id, charge, rest = first.split([width, width, 4 * width], dim=1)
        logits = self.heads["id"](from_id) * real
        known = logits.detach()
        rest = torch.addmm(rest, known, self.kernel_logits)
        eta, phi, rest = rest.split([width, width, 2 * width], dim=1)
        # The encodings and the logits are used twice, so their weights are added instead.
        rest = torch.addmm(rest, known, self.kernel_logits_again)
        rest = torch.addmm(rest, energies, self.kernel_energies.sum(0))
        energy, pt = rest.split([width, width], dim=1)
        inputs = {"charge": charge, "eta": eta, "phi": phi, "energy": energy, "pt": pt}
        return {"id": logits} | {head: self.heads[head](x) for head, x in inputs.items()}


class PFNet(nn.Module):
    """Reconstructs particle candidates, at most one per detector element."""

    def __init__(
        self,
        config: config_lib.ModelConfig,
        arrays: Mapping[str, np.ndarray],
        *,
        fused: bool,
        batched: bool,
    ):
        super().__init__()
        self.layers = nn.ModuleDict(
            {
                name: GraphLayer(config, arrays, name, fused=fused, batched=batched)
                for name in layout.layers(config)
            }
        )
        self.decoder = Decoder(config, arrays)

    def forward(self, elements: torch.Tensor) -> Candidates:
        """Takes [events, elements, 12]."""
        num_events, num_elements, _ = elements.shape
        mask = elements[..., 0] != 0
        real = mask.to(elements.dtype).view(-1, 1)
        element_type = F.one_hot(elements[..., 0].long(), layout.NUM_TYPES).to(elements.dtype)
        encoded = torch.cat([element_type, elements[..., 1:]], dim=-1).flatten(0, 1)
        chains: dict[str, list[torch.Tensor]] = {"cg": [], "cg_energy": []}
        for name, layer in self.layers.items():
            encodings = chains[name.rpartition("_")[0]]
            x = encodings[-1] if encodings else encoded
            encodings.append(layer(x, real, num_events))
        decoded = torch.cat([encoded * real, *chains["cg"]], dim=1)
        heads = self.decoder(decoded, torch.cat(chains["cg_energy"], dim=1), real)
        shaped = {head: x.view(num_events, num_elements, -1) for head, x in heads.items()}
        return _candidates(elements, mask, shaped)

    def arrays_of(self, values: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
        """Names values by parameter, e.g. gradients, as the layout does."""
        renamed = {}
        for name, value in values.items():
            folder, _, own = name.rpartition(".")
            folder = folder.removeprefix("layers.").replace(".heads", "").replace(".", "/")
            renamed[f"{folder}/{own}"] = value.cpu().numpy().copy()
        return renamed


def _candidates(
    elements: torch.Tensor, mask: torch.Tensor, heads: Mapping[str, torch.Tensor]
) -> Candidates:
    """Turns the heads' outputs into candidates; two gates of phi and one of eta go unused.

    Source: OutputDecoding in the reference's tfmodel/model.py.
    """

    def at_real(x: torch.Tensor) -> torch.Tensor:
        return torch.where(mask, x, 0)

    logits = heads["id"]
    choice = torch.softmax(constants.ID_SHARPNESS * logits.detach(), dim=-1)
    energy = at_real((choice * heads["energy"]).sum(-1))
    eta = at_real(elements[..., 2] + heads["eta"][..., 1])
    pt_from_energy = (energy / torch.cosh(eta.clamp(-8, 8))).detach()
    pt_gate, pt_shift = heads["pt"].unbind(-1)
    return Candidates(
        logits=logits,
        charge=at_real(heads["charge"][..., 0]),
        pt=at_real(pt_from_energy + torch.sigmoid(pt_gate) * pt_shift),
        eta=eta,
        sin_phi=at_real(elements[..., 3] + heads["phi"][..., 1]),
        cos_phi=at_real(elements[..., 4] + heads["phi"][..., 3]),
        energy=energy,
    )
