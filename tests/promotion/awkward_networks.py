"""Awkward notebooks whose candidate is a PyTorch module."""

import nbformat

from tests.promotion.cell_text import notebook


def late_network() -> nbformat.NotebookNode:
    """PyTorch: a class, late imports, globals that were shadowed, a class run out of order, unicode."""
    return notebook(r'''
# %% code 1
from takeoff.notebook import open_project

project = open_project()
contract, params = project.contract, project.params

# %% code 2
whole = project.examples("fit")
train = type(whole)(whole.features.iloc[::20], whole.labels[::20])
validation = project.examples("validation")

# %% code 3
width = train.features.shape[1]
ω = train.features['distance'].std()

# %% candidate 12
from pydantic import Field
from takeoff.settings import Settings as Base


class Settings(Base):
    epochs: int = Field(gt=0, description="passes over the rows")
    rate: float = Field(gt=0, description="of Adam; larger is faster until it diverges")

# %% candidate 4
def fit(fit, validation, settings, contract, seed):
    torch.manual_seed(seed)
    vocabularies = vocabularies_of(fit.features, contract)
    codes, numbers = tensors(fit.features, vocabularies, contract)
    labels = torch.from_numpy(fit.labels)
    network = Netz([len(each) + 1 for each in vocabularies.values()], numbers, contract)
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.rate)
    steps = []
    for _ in range(settings.epochs):
        for rows in batches(len(labels)):
            loss = nn.functional.nll_loss(network(codes[rows], numbers[rows]).log(), labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        steps.append({"fit_log_loss": loss.item()})
    return of_network(network, vocabularies, contract, steps)

# %% code 11
import torch
from torch import nn, Tensor
from takeoff.candidates import of_network, tensors, vocabularies_of

# %% code 10
width = 8  # of what each category becomes
ω = 8.0; ε = 1e-6

# %% code 8
Sizes = list[int]


class Netz(nn.Module):
    """Einbettungen und Zahlen, höchstens ω Standardabweichungen weit."""

    def __init__(self, sizes: Sizes, numbers: Tensor, contract) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(size, width) for size in sizes)
        known = torch.nan_to_num(numbers)
        self.register_buffer("mean", known.mean(dim=0))
        self.register_buffer("scale", known.std(dim=0) + ε)
        self.last = nn.Linear(len(sizes) * width + len(self.mean), len(contract.target.classes))

    def forward(self, codes: Tensor, numbers: Tensor) -> Tensor:
        scaled = (torch.where(torch.isnan(numbers), self.mean, numbers) - self.mean) / self.scale
        parts = [embed(codes[:, place]) for place, embed in enumerate(self.embeddings)]
        return torch.softmax(self.last(torch.cat([*parts, scaled.clamp(-ω, ω)], dim=1)), dim=1)

# %% code 9
def batches(rows):
    """Places of the rows of each step, in a random order."""
    return torch.randperm(rows).split(BATCH_ROWS)


BATCH_ROWS = 2**9

# %% code 13
fitted = fit(train, validation, Settings(epochs=2, rate=0.01), contract, params.seed)

# %% code 14
width = 'of a plot'

''')


def clipped_network() -> nbformat.NotebookNode:
    """PyTorch: a closure over a constant, a global in a function, guarded imports, nested functions."""
    return notebook(r"""
# %% markdown
# Clipped

Two layers on clipped numbers, [as others do](https://example.org). Slow.

# %% candidate 1
from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import nn

from takeoff.candidates import of_network, tensors, vocabularies_of
from takeoff.settings import Settings as Base

if TYPE_CHECKING:
    from takeoff.features import Examples


class Settings(Base):
    hidden: list[int] = Field(description="width of each hidden layer")
    rounds: int = Field(gt=0, description="steps over all rows at once")

# %% code 3
from takeoff.notebook import open_project

project = open_project()
contract, params = project.contract, project.params

# %% code 2
whole = project.examples("fit")
train = type(whole)(whole.features.iloc[::20], whole.labels[::20])
validation = project.examples("validation")

# %% code 5
%%time
LIMIT = 2.5
limit = LIMIT
print('noted')

# %% code 4
try:
    from tqdm import tqdm
except ImportError:
    tqdm = None

def clipping(limit):
    class Clip(nn.Module):
        def forward(self, numbers):
            return numbers.clamp(-limit, limit)

    return lambda: Clip()

new_clip = clipping(limit)

# %% candidate 7
class Layers(nn.Module):
    def __init__(self, sizes, mean, scale, settings, classes):
        super().__init__()
        self.clip = new_clip()
        self.register_buffer('mean', mean)
        self.register_buffer('scale', scale)
        self.embeddings = nn.ModuleList([nn.Embedding(size, 4) for size in sizes])
        widths = [4 * len(sizes) + len(mean), *settings.hidden]
        pairs = [widths[i : i + 2] for i in range(len(widths) - 1)]
        hidden = [layer for pair in pairs for layer in (nn.Linear(*pair), nn.Tanh())]
        self.layers = nn.Sequential(*hidden, nn.Linear(widths[-1], classes))

    def forward(self, codes, numbers):
        scaled = self.clip((numbers - self.mean) / self.scale)
        parts = [embed(codes[:, i]) for i, embed in enumerate(self.embeddings)]
        return torch.softmax(self.layers(torch.cat([*parts, filled(scaled)], 1)), 1)


# %% candidate 6
def fit(fit: 'Examples', validation: 'Examples', settings, contract, seed):
    def step():
        nonlocal done
        optimiser.zero_grad()
        loss = nn.functional.nll_loss(network(codes, numbers).log(), labels)
        loss.backward()
        optimiser.step()
        done += 1
        return {'fit_log_loss': float(loss)}

    done = 0
    torch.manual_seed(seed)
    vocabularies = vocabularies_of(fit.features, contract)
    codes, numbers = tensors(fit.features, vocabularies, contract)
    labels = torch.from_numpy(fit.labels)
    known = filled(numbers)
    network = Layers(
        [len(each) + 1 for each in vocabularies.values()],
        known.mean(0), known.std(0) + 1e-6, settings, len(contract.target.classes),
    )
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    every = range(settings.rounds) if tqdm is None else tqdm(range(settings.rounds), disable=True)
    steps = [step() for _ in every]
    assert done == len(steps)
    return of_network(network, vocabularies, contract, steps)

# %% code 9
filled = lambda numbers: torch.nan_to_num(numbers, nan=FILLER)  # noqa: E731
FILLER = 0.0

# %% code 10
limit = 99  # of a plot
fitted = None

# %% code 8
def trial(**chosen):
    return fit(train, validation, Settings(**chosen), contract, params.seed)


fitted = trial(hidden=[16], rounds=5)

""")
