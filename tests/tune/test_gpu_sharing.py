"""How many trials share a GPU. No GPU is at hand: sizes are checked against what PyTorch allocates on the CPU."""

import pytest
import torch

from hcvae.config import Config
from hcvae.data.dataset import Dataset, prepare
from hcvae.errors import UserError
from hcvae.models import build
from hcvae.training.configuration import resolve
from hcvae.training.footprint import footprint
from tune.config import SearchConfig
from tune.placement.gpu_sharing import CUDA_BYTES, needed_bytes, part_of_gpu, with_gpus_shared
from tune.placement.resources import WorkerGroup, make_plan
from tune.search import plan_search
from tune.space.search_space import corners

GIB = 2**30


def config(batch_size: int = 64, **model: object) -> Config:
    return Config.model_validate(
        {
            "model": {"width": 0.1} | model,
            "data": {"simulator": {"rows": 600}},
            "training": {"batch_size": batch_size},
        }
    )


@pytest.fixture(scope="module")
def data() -> Dataset:
    return prepare(config())


def test_a_training_is_as_large_as_its_tensors(data):
    found = footprint(config(), data)
    model = build(resolve(config(), data, 1).model)
    weights = 4 * sum(parameter.numel() for parameter in model.parameters())
    optimizer = torch.optim.AdamW(model.parameters())
    sum(parameter.sum() for parameter in model.parameters()).backward()
    optimizer.step()
    moments = sum(tensor.nbytes for slots in optimizer.state.values() for tensor in slots.values() if tensor.ndim)
    gradients = sum(parameter.grad.nbytes for parameter in model.parameters())
    assert found.parameters == weights + gradients + moments + weights  # the last: those of the best epoch
    waveforms = 4 * 200 * (len(data.train) + len(data.validation))
    assert waveforms < found.data < 1.2 * waveforms


def test_activations_grow_with_the_batch_and_the_width(data):
    small, twice = footprint(config(64), data), footprint(config(128), data)
    assert twice.activations == pytest.approx(2 * small.activations, rel=0.02)
    wide = footprint(config(width=0.5), data)
    assert wide.activations > 3 * small.activations
    assert wide.total == wide.parameters + 2 * wide.activations + wide.data


@pytest.mark.parametrize(("needed_gib", "trials"), [(1, 24), (3, 8), (3.1, 7), (12.1, 1), (30, 1)])
def test_so_many_trials_as_fit_share_a_gpu(needed_gib, trials):
    part = part_of_gpu(int(needed_gib * GIB), 24 * GIB)
    assert part == 1 / trials
    settings = SearchConfig.model_validate({"search": {"gpus_per_worker": part}}).search
    assert make_plan(WorkerGroup.of(settings), [{"CPU": 64, "GPU": 2}]).at_once == 2 * trials


def test_the_largest_trial_of_the_space_decides(data):
    space = {
        "model.local_latent_dim": {"type": "int", "low": 32, "high": 128},
        "training.batch_size": {"type": "choice", "choices": [64, 512, 128]},
        "model.width": {"type": "float", "low": 0.1, "high": 0.5},
    }
    search = SearchConfig.model_validate(config().model_dump() | {"search": {"space": space}})
    [chosen] = corners(search, max)
    assert (chosen.model.local_latent_dim, chosen.training.batch_size, chosen.model.width) == (128, 512, 0.5)
    assert needed_bytes(chosen, data) == CUDA_BYTES + footprint(chosen, data).total
    assert needed_bytes(chosen, data) > needed_bytes(config(), data)


def test_the_part_that_is_chosen_takes_the_place_of_the_wish(data, monkeypatch):
    search = SearchConfig.model_validate(config().model_dump() | {"search": {"share_gpus": True}})
    needed = max(needed_bytes(training, data) for training in corners(search, max))
    monkeypatch.setattr("tune.placement.gpu_sharing.smallest_gpu_bytes", lambda: 4 * needed + 1)
    chosen = with_gpus_shared(search, data)
    assert chosen.search.gpus_per_worker == 0.25
    assert SearchConfig.model_validate_json(chosen.model_dump_json()) == chosen  # as study.json keeps it
    assert with_gpus_shared(chosen, data) == chosen


@pytest.mark.parametrize("other", [{"gpus_per_worker": 0.5}, {"workers": 2}])
def test_a_gpu_is_shared_in_one_way(other):
    with pytest.raises(ValueError, match="share_gpus chooses gpus_per_worker"):
        SearchConfig.model_validate({"search": {"share_gpus": True} | other})


def test_a_cluster_without_a_gpu_is_refused_before_the_first_trial(tmp_path):
    search = {"share_gpus": True, "storage": str(tmp_path)}
    with pytest.raises(UserError, match=r"search\.share_gpus: the cluster has no GPU"):
        plan_search(SearchConfig.model_validate(config().model_dump() | {"search": search}))
