"""Small PyTorch networks: embeddings for categories, standardised numbers, early stopping, averaged."""

import copy
import os
from itertools import zip_longest
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import nn
from tqdm import tqdm

from takeoff.candidates import Fitted, of_network, tensors, vocabularies_of
from takeoff.contract import Contract
from takeoff.errors import TakeoffError
from takeoff.features import Examples
from takeoff.settings import Settings as Base

# Share of categories hidden in training, so that the embedding of the unseen one learns something too.
HIDDEN_CATEGORIES = 0.01


class Settings(Base):
    """Shape of the network and pace of its training."""

    members: int = Field(gt=0)
    hidden: tuple[int, ...] = Field(min_length=1)
    dropout: float = Field(ge=0, lt=1)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    batch_rows: int = Field(gt=0)
    epochs: int = Field(gt=0)
    patience: int = Field(gt=0)
    device: Literal["auto", "cpu", "cuda"]


class Network(nn.Module):
    """Codes of categories and raw numbers to class probabilities.

    Args:
        sizes: number of codes of each category, the unseen one included.
        mean, scale: of each number over the fit rows, float32, shape (numbers,).
        classes: number of classes.
        settings: widths and dropout.
    """

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(
        self, sizes: list[int], mean: torch.Tensor, scale: torch.Tensor, classes: int, settings: Settings
    ) -> None:
        super().__init__()
        widths = [min(24, 1 + size // 2) for size in sizes]
        self.embeddings = nn.ModuleList(
            nn.Embedding(size, width) for size, width in zip(sizes, widths, strict=True)
        )
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        layers: list[nn.Module] = []
        width = sum(widths) + 2 * len(mean)
        for hidden in settings.hidden:
            layers += [nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(settings.dropout)]
            width = hidden
        self.layers = nn.Sequential(*layers, nn.Linear(width, classes))

    def logits(self, codes: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """Scores before softmax, shape (n, classes)."""
        missing = torch.isnan(numbers)
        scaled = (numbers - self.mean) / self.scale
        # Far outliers would otherwise decide alone; 8 standard deviations still says "extreme".
        numbers = torch.where(missing, torch.zeros_like(scaled), scaled).clamp(-8.0, 8.0)
        parts = [embed(codes[:, place]) for place, embed in enumerate(self.embeddings)]
        return torch.as_tensor(self.layers(torch.cat([*parts, numbers, missing.to(numbers.dtype)], dim=1)))

    def forward(self, codes: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """Probabilities, float32, shape (n, classes).

        Args:
            codes: int64, shape (n, categories); 0 is the unseen category.
            numbers: float32, shape (n, numbers), NaN where missing.
        """
        return torch.softmax(self.logits(codes, numbers), dim=1)


class Ensemble(nn.Module):
    """The mean prediction of networks that differ in their random start (Lakshminarayanan et al. 2017)."""

    def __init__(self, members: list[Network]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, codes: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """Probabilities, as `Network` gives them."""
        return torch.stack([member(codes, numbers) for member in self.members]).mean(dim=0)


Arrays = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def fit(fit: Examples, validation: Examples, settings: Settings, contract: Contract, seed: int) -> Fitted:
    """Train each member with AdamW, keep its weights of the epoch with the lowest log loss on validation.

    Raises:
        TakeoffError: the loss became NaN or infinite, or a GPU was asked for and is not there.
    """
    device = _device(settings.device)
    torch.use_deterministic_algorithms(True)
    vocabularies = vocabularies_of(fit.features, contract)
    mean, scale = _moments(fit.features[contract.numbers].to_numpy("float32"))
    sizes = [len(known) + 1 for known in vocabularies.values()]
    learn, check = (_arrays(rows, vocabularies, contract, device) for rows in (fit, validation))
    members: list[Network] = []
    losses: list[list[dict[str, float]]] = []
    for member in range(settings.members):
        torch.manual_seed(seed + member)
        network = Network(sizes, mean, scale, len(contract.target.classes), settings).to(device)
        title = f"network {member + 1} of {settings.members}"
        losses.append(_train(network, learn, check, settings, seed + member, title))
        members.append(network)
    return of_network(Ensemble(members), vocabularies, contract, steps=_by_epoch(losses))


def _by_epoch(losses: list[list[dict[str, float]]]) -> list[dict[str, float]]:
    """The members' losses side by side; one that stopped early is missing in later epochs."""
    return [
        {
            f"{name}_{place}": value
            for place, each in enumerate(epoch, start=1)
            for name, value in each.items()
        }
        for epoch in zip_longest(*losses, fillvalue={})
    ]


def _train(
    network: Network, fit: Arrays, validation: Arrays, settings: Settings, seed: int, title: str
) -> list[dict[str, float]]:
    """Train in place, end with the best epoch's weights, return the log losses by epoch."""
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    generator = torch.Generator().manual_seed(seed)
    steps: list[dict[str, float]] = []
    best, best_loss, best_epoch = copy.deepcopy(network.state_dict()), np.inf, 0
    # disable=None: a bar in a terminal, nothing in a log file.
    bar = tqdm(range(1, settings.epochs + 1), desc=title, unit="epoch", disable=None)
    for epoch in bar:
        loss = _train_epoch(network, fit, optimizer, settings, generator)
        validation_loss = _log_loss(network, validation)
        if not np.isfinite(loss) or not np.isfinite(validation_loss):
            raise TakeoffError(
                f"network: the loss became {loss} in epoch {epoch}: training diverged. Lower "
                f"candidates.network.settings.learning_rate in params.yaml (now {settings.learning_rate:g})."
            )
        steps.append({"fit_log_loss": loss, "validation_log_loss": validation_loss})
        bar.set_postfix(validation_log_loss=f"{validation_loss:.4f}")
        if validation_loss < best_loss:
            best, best_loss, best_epoch = copy.deepcopy(network.state_dict()), validation_loss, epoch
        if epoch - best_epoch >= settings.patience:
            break
    network.load_state_dict(best)
    return steps


def _train_epoch(
    network: Network,
    rows: Arrays,
    optimizer: torch.optim.Optimizer,
    settings: Settings,
    generator: torch.Generator,
) -> float:
    """One pass over the rows in random order; the mean loss."""
    codes, numbers, labels = rows
    network.train()
    order = torch.randperm(len(labels), generator=generator).to(labels.device)
    total = torch.zeros((), device=labels.device)
    for batch in torch.split(order, settings.batch_rows):
        hidden = torch.rand(len(batch), codes.shape[1], generator=generator) < HIDDEN_CATEGORIES
        seen = codes[batch].masked_fill(hidden.to(codes.device), 0)
        loss = nn.functional.cross_entropy(network.logits(seen, numbers[batch]), labels[batch])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total += loss.detach() * len(batch)
    return float(total) / len(labels)


def _log_loss(network: Network, rows: Arrays) -> float:
    codes, numbers, labels = rows
    network.eval()
    with torch.inference_mode():
        return float(nn.functional.cross_entropy(network.logits(codes, numbers), labels))


def _arrays(
    rows: Examples, vocabularies: dict[str, list[str]], contract: Contract, device: torch.device
) -> Arrays:
    codes, numbers = tensors(rows.features, vocabularies, contract)
    return codes.to(device), numbers.to(device), torch.from_numpy(rows.labels).to(device)


def _moments(numbers: npt.NDArray[np.float32]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each column, missing values left out, never zero."""
    mean = np.nan_to_num(np.nanmean(numbers, axis=0, dtype="float64"))
    scale = np.nan_to_num(np.nanstd(numbers, axis=0, dtype="float64"))
    scale[scale == 0] = 1.0
    return torch.from_numpy(mean.astype("float32")), torch.from_numpy(scale.astype("float32"))


def _device(wanted: str) -> torch.device:
    if wanted == "cuda" and not torch.cuda.is_available():
        raise TakeoffError(
            "params.yaml: candidates.network.settings.device is cuda, but PyTorch finds no GPU here. "
            "Choose auto or cpu."
        )
    # What CUDA needs to give the same sums twice; read when its libraries first start.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")
