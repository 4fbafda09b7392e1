"""Writes a trained state as a checkpoint in the published layout.

python -m sa2va_cli.demo.export demo-state sa2va_cli/demo/checkpoint
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file

from sa2va_cli.demo.build import fresh_model, write_config
from sa2va_cli.demo.learner import Learner
from sa2va_cli.demo.script import run_script, writable_folder
from sa2va_cli.demo.tokenizer import train_tokenizer, write_tokenizer
from sa2va_cli.demo.train import STAGES, load_model_of, load_stages
from sa2va_cli.errors import UsageError
from sa2va_cli.models.sa2va.checkpoint import published_state_dict
from sa2va_cli.models.sa2va.model import Sa2vaModel


def write_checkpoint(model: Sa2vaModel, folder: Path, dtype: torch.dtype = torch.bfloat16) -> None:
    """config.json, tokenizer files and model.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(folder)
    write_config(folder, train_tokenizer().get_vocab_size())
    weights = {
        name: weight.detach().to(dtype).contiguous()
        for name, weight in published_state_dict(model).items()
    }
    path = folder / "model.safetensors"
    save_file(weights, str(path), metadata={"format": "pt"})
    path.chmod(0o644)  # it is made readable for its owner only


def trained_model(state: Path) -> Sa2vaModel:
    """The weights of every stage that has begun, the later ones over the earlier ones.

    Raises UsageError if none has.
    """
    begun = [name for name in STAGES if (state / f"{name}.pt").exists()]
    if not begun:
        raise UsageError(
            f"No stage was trained in {state}.", hint="name the --state folder of demo.train"
        )
    learner = Learner(fresh_model())
    load_model_of(learner, state / f"{begun[-1]}.pt")
    load_stages(learner, state, begun)
    return learner.model


def main() -> None:
    """Parse the command line and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("state", type=Path, help="the folder that training wrote")
    parser.add_argument("checkpoint", type=Path, help="the folder to write")
    options = parser.parse_args()
    model = trained_model(options.state)
    writable_folder(options.checkpoint)
    write_checkpoint(model, options.checkpoint)


if __name__ == "__main__":
    run_script(main)
