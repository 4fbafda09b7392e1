"""The real sizes, on no memory: names and shapes are exactly those of the published checkpoints."""

import gzip
from pathlib import Path

import pytest

from sa2va_cli.demo.build import demo_config
from sa2va_cli.errors import UsageError
from sa2va_cli.models.sa2va.checkpoint import check_inventory, published_state_dict
from sa2va_cli.models.sa2va.checkpoint_files import TensorInfo
from sa2va_cli.models.sa2va.config import parse_config
from sa2va_cli.models.sa2va.keys import KeyMap
from sa2va_cli.models.sa2va.model import meta_model
from sa2va_cli.models.sa2va.published import PUBLISHED, published_config

LISTS = Path(__file__).parents[1] / "data" / "checkpoints"


def published_shapes(name: str) -> dict[str, tuple[int, ...]]:
    text = gzip.decompress((LISTS / f"{name.split('/')[1]}.tsv.gz").read_bytes()).decode()
    rows = (line.split("\t") for line in text.splitlines())
    return {key: tuple(int(side) for side in shape.split("x")) for key, shape in rows}


@pytest.mark.parametrize("name", PUBLISHED)
def test_names_and_shapes_equal_the_published_lists(name):
    published = published_shapes(name)
    model = meta_model(published_config(name))
    inventory = {
        key: TensorInfo(LISTS, key, shape, "F32", 0, 0) for key, shape in published.items()
    }
    keys = KeyMap(two_decoders=False)
    check_inventory(inventory, model, keys)

    ours = {key: tuple(value.shape) for key, value in published_state_dict(model).items()}
    dropped = {key for key in published if keys.target(key).names == ()}
    assert ours.keys() == published.keys() - dropped
    assert all(ours[key] == published[key] for key in ours)


def test_what_is_dropped_is_what_only_clicks_and_mask_prompts_need():
    key_map = KeyMap(two_decoders=False)
    keys = published_shapes("ByteDance/Sa2VA-4B")
    dropped = {
        key.removeprefix("grounding_encoder.sam2_model.")
        for key in keys
        if not key_map.target(key).names
    }
    assert len(dropped) == 17
    assert {key.split(".")[0] for key in dropped} == {
        "no_mem_pos_enc",
        "mask_downsample",
        "sam_prompt_encoder",
    }


def test_an_unpublished_name_is_refused():
    with pytest.raises(UsageError, match="Sa2VA-4B"):
        published_config("ByteDance/Sa2VA-999B")


@pytest.mark.parametrize("kind", ["linear", "dynamic", "yarn"])
def test_stretched_positions_of_fine_tuned_models_are_built(kind):
    raw = demo_config(627)
    raw["llm_config"]["rope_scaling"] = {"type": kind, "factor": 2.0}
    rotary = meta_model(parse_config(raw), "sdpa").language_model.model.rotary_emb
    assert rotary.rope_type == kind
