"""The files of a checkpoint: a fingerprint that follows the weights, and headers that lie."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from sa2va_cli.errors import CheckpointError
from sa2va_cli.models.sa2va.checkpoint_files import files_fingerprint


@pytest.mark.parametrize("name", ["a.frozen", "m.small", "m.tuned", "z.frozen"])
@pytest.mark.parametrize("place", ["start", "middle", "end"])
def test_the_revision_of_a_folder_follows_every_tensor(tmp_path, name, place):
    """Names sort the tensors of a file: first and last are often parts that nobody trains."""
    weights = {
        key: np.zeros(size, np.float16)
        for key, size in (
            ("a.frozen", 2**20), ("m.small", 6), ("m.tuned", 2**20), ("z.frozen", 2**20)
        )
    }  # fmt: skip
    before, after = tmp_path / "before.safetensors", tmp_path / "after" / "before.safetensors"
    after.parent.mkdir()
    save_file(weights, before)
    save_file(weights, after)
    assert files_fingerprint([after]) == files_fingerprint([before]), "a copy is the same model"
    count = weights[name].size
    weights[name][{"start": 0, "middle": count // 2, "end": count - 1}[place]] = 1
    save_file(weights, after)
    assert files_fingerprint([after]) != files_fingerprint([before])


def test_offsets_that_lie_end_with_a_message(tmp_path):
    header = json.dumps({"a": {"dtype": "U8", "shape": [4], "data_offsets": [-4, 0]}}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(CheckpointError, match="header is broken"):
        files_fingerprint([path])
