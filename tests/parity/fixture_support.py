"""What the generators of tiny transformers checkpoints share (make_llama_fixture.py and others)."""

import json
import pathlib

import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
NUM_NEW_TOKENS = 12


def check_version():
    assert transformers.__version__ == "4.57.1", transformers.__version__


def save_model(model, folder):
    """A Hugging Face folder of config.json and model.safetensors."""
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)


def save_tensors(tensors, folder, version):
    """Writes expected.safetensors, unless the one that is there has the same content: safetensors
    writes metadata in any order, so that the bytes would change without a reason."""
    path = folder / "expected.safetensors"
    if path.exists():
        with safe_open(path, "pt") as old:
            if (old.metadata()["fixture_version"] == version and set(old.keys()) == set(tensors)
                    and all(torch.equal(old.get_tensor(name), tensors[name]) for name in tensors)):
                return
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path,
              metadata={"format": "pt", "fixture_version": version,
                        "transformers": transformers.__version__})


def save_expected(tensors, folder, version):
    """Writes expected.safetensors; refuses values that no float32 tolerance could be held to."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point():
            largest = tensor.abs().max().item()
            assert 0.3 < largest < 50, (folder.name, name, largest)
    save_tensors(tensors, folder, version)


def edit_config(folder, edit):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    edit(config)
    path.write_text(json.dumps(config, indent=2) + "\n")


def to_version_5(config):
    """The keys that transformers 5 writes in place of version 4's."""
    if "rope_theta" in config:
        scaling = config.pop("rope_scaling", None) or {"rope_type": "default"}
        config["rope_parameters"] = scaling | {"rope_theta": config.pop("rope_theta")}
    config["dtype"] = config.pop("torch_dtype", config.get("dtype"))


@torch.no_grad()
def check_parameters_matter(model, run, unused=()):
    """Every parameter, changed on its own, must change what `run` gives by more than a tolerance
    would hide; names that end in one of `unused` must change nothing."""
    before = run(model)
    for name, parameter in model.named_parameters():
        kept = parameter.data.clone()
        parameter.data += 0.2 * torch.randn(kept.shape, generator=torch.Generator().manual_seed(0))
        difference = ((run(model) - before).abs().max() / before.abs().max()).item()
        parameter.data = kept
        matters = not name.endswith(tuple(unused))
        assert (difference > 3e-3) if matters else (difference < 1e-5), (name, difference)


@torch.no_grad()
def greedy(model, ids, mask=None, eos=None):
    """The ids that transformers' greedy generation adds to `ids`, up to and with the first of
    `eos`; refuses a step whose two best logits are too close to tell apart in float32."""
    model.generation_config.eos_token_id = eos
    out = model.generate(ids, attention_mask=torch.ones_like(ids) if mask is None else mask,
                         max_new_tokens=NUM_NEW_TOKENS, do_sample=False, pad_token_id=0,
                         output_logits=True, return_dict_in_generate=True)
    for logits in out.logits:
        best = logits.topk(2).values
        assert (best[:, 0] - best[:, 1]).min() > 1e-3 * logits.abs().max(), "a tie: another seed"
    return out.sequences[:, ids.size(1):]


def greedy_batch(model, ids, mask):
    """Greedy generation of each left-padded row on its own; that of the batch must be the same."""
    rows = torch.cat([greedy(model, row[keep.bool()][None]) for row, keep in zip(ids, mask)])
    assert torch.equal(greedy(model, ids, mask), rows)
    return rows


def check_generated(config, generated):
    """No end of text inside, and more than one token over and over."""
    assert config.eos_token_id not in generated, generated
    assert all(row.unique().numel() > 3 for row in generated), generated
