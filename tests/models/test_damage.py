"""Every kind of damaged checkpoint gets its own clear error, before any weight is read."""

import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from sa2va_cli import Sa2VA
from sa2va_cli.errors import CheckpointError
from sa2va_cli.models.sa2va.checkpoint import Placement

INDEX = "model.safetensors.index.json"
GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "internvl-qwen2" / "checkpoint"


@pytest.fixture
def checkpoint(golden_checkpoint, tmp_path):
    return Path(shutil.copytree(golden_checkpoint, tmp_path / "checkpoint"))


def edit_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def edit_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    (folder / "model.safetensors").unlink()
    save_file(weights, folder / "model.safetensors")


def shard(folder):
    weights = load_file(folder / "model.safetensors")
    names = sorted(weights)
    parts = {
        "model-00001-of-00002.safetensors": names[::2],
        "model-00002-of-00002.safetensors": names[1::2],
    }
    for file, own in parts.items():
        save_file({name: weights[name] for name in own}, folder / file)
    (folder / "model.safetensors").unlink()
    weight_map = {name: file for file, own in parts.items() for name in own}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def missing_shard(folder):
    shard(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()


def truncated_shard(folder):
    shard(folder)
    path = folder / "model-00001-of-00002.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def truncated_header(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100])


def empty_file(folder):
    (folder / "model.safetensors").write_bytes(b"")


def broken_header(folder):
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 4) + b"{,,}")


def wrong_shape(folder):
    edit_weights(
        folder, lambda w: w.update({"mlp1.1.weight": w["mlp1.1.weight"][:, :-1].contiguous()})
    )


def extra_tensor(folder):
    edit_weights(folder, lambda w: w.update({"mlp7.weight": torch.zeros(2)}))


def tensor_of_a_layer_too_many(folder):
    name = "language_model.model.layers.9.input_layernorm.weight"
    edit_weights(folder, lambda w: w.update({name: torch.zeros(64)}))


def missing_tensor(folder):
    edit_weights(folder, lambda w: w.pop("text_hidden_fcs.2.bias"))


def index_lies(folder):
    shard(folder)
    edit_json(
        folder / INDEX, lambda c: c["weight_map"].update(ghost="model-00001-of-00002.safetensors")
    )


def index_leaves_the_folder(folder):
    shard(folder)
    edit_json(folder / INDEX, lambda c: c["weight_map"].update(x="../../etc/passwd"))


def broken_index(folder):
    shard(folder)
    (folder / INDEX).write_text("[1, 2")


def pickled_weights_only(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n")


def no_weights(folder):
    (folder / "model.safetensors").unlink()


def no_config(folder):
    (folder / "config.json").unlink()


def config_is_no_json(folder):
    (folder / "config.json").write_text("{'architectures': 1")


def nan_in_config(folder):
    edit_json(folder / "config.json", lambda c: c["llm_config"].update(rms_norm_eps=float("nan")))


def size_is_text(folder):
    edit_json(folder / "config.json", lambda c: c["llm_config"].update(hidden_size="64"))


def heads_do_not_divide(folder):
    edit_json(folder / "config.json", lambda c: c["llm_config"].update(num_attention_heads=7))


def config_of_another_model(folder):
    edit_json(folder / "config.json", lambda c: c["llm_config"].update(num_hidden_layers=4))


def unknown_architecture(folder):
    edit_json(folder / "config.json", lambda c: c.update(architectures=["LlamaForCausalLM"]))


def unknown_language_model(folder):
    edit_json(folder / "config.json", lambda c: c["llm_config"].update(architectures=["Gemma"]))


def unknown_template(folder):
    edit_json(folder / "config.json", lambda c: c.update(template="vicuna"))


def missing_seg_token(folder):
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace("[SEG]", "[SAG]"))
    for name in ("added_tokens.json", "tokenizer_config.json"):
        path = folder / name
        path.write_text(path.read_text().replace("[SEG]", "[SAG]"))


def no_tokenizer(folder):
    for name in ("tokenizer.json", "vocab.json"):
        (folder / name).unlink()


def broken_tokenizer(folder):
    (folder / "tokenizer.json").write_text("{}")


def nested_too_deeply(folder):
    (folder / "config.json").write_text("[" * 100_000)


def header_nested_too_deeply(folder):
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 100_000) + b"[" * 100_000)


def more_layers_than_any_model(folder):
    edit_json(folder / "config.json", lambda c: c["llm_config"].update(num_hidden_layers=10**7))


def wider_than_any_model(folder):
    edit_json(folder / "config.json", lambda c: c["llm_config"].update(hidden_size=2**40))


def pictures_larger_than_any(folder):
    edit_json(
        folder / "config.json", lambda c: c["grounding_encoder_config"].update(image_size=2**20)
    )


def no_rope(folder):
    edit_json(folder / "config.json", lambda c: c["llm_config"].update(rope_theta=0))


def unknown_rope_scaling(folder):
    edit_json(
        folder / "config.json", lambda c: c["llm_config"].update(rope_scaling={"type": "ntk"})
    )


def rope_scaling_without_a_factor(folder):
    edit_json(
        folder / "config.json", lambda c: c["llm_config"].update(rope_scaling={"type": "dynamic"})
    )


def another_activation(folder):
    edit_json(folder / "config.json", lambda c: c["vision_config"].update(hidden_act="relu"))


def quantised_tensor(folder):
    edit_weights(
        folder, lambda w: w.update({"mlp1.0.bias": w["mlp1.0.bias"].to(torch.float8_e4m3fn)})
    )


def tokenizer_of_another_kind(folder):
    edit_json(folder / "tokenizer.json", lambda c: c["model"].update(type="Unigram"))


def tokenizer_of_a_larger_model(folder):
    edit_json(folder / "tokenizer.json", lambda c: c["model"]["vocab"].update(zebra=99_999))


def truncated_vocabulary(folder):
    (folder / "tokenizer.json").unlink()
    path = folder / "vocab.json"
    path.write_bytes(path.read_bytes()[:500])


def merges_that_are_no_text(folder):
    (folder / "tokenizer.json").unlink()
    (folder / "merges.txt").write_bytes(b"\xff\xfe\x00")


DAMAGE = {
    nested_too_deeply: "config.json is not JSON: .*recursion",
    header_nested_too_deeply: "header is broken",
    more_layers_than_any_model: "more than 1000 layers",
    wider_than_any_model: "'hidden_size' in .* is 1099511627776, not at most 16,777,216",
    pictures_larger_than_any: "image_size is too large",
    no_rope: "'rope_theta' in .* is 0, not above 0",
    unknown_rope_scaling: "Unknown rope_scaling 'ntk'",
    rope_scaling_without_a_factor: "'factor' in rope_scaling of .* is missing",
    another_activation: "'hidden_act' in vision_config .* is 'relu', not 'gelu'",
    quantised_tensor: "'mlp1.0.bias' is stored as F8_E4M3",
    tokenizer_of_another_kind: "tokenizer in .* cannot be read",
    tokenizer_of_a_larger_model: "token 'zebra' has the id 99999, but the model knows",
    truncated_vocabulary: "tokenizer in .* cannot be read",
    merges_that_are_no_text: "tokenizer in .* cannot be read",
    missing_shard: "Shard model-00002-of-00002.safetensors .* is missing",
    truncated_shard: "model-00001-of-00002.safetensors is truncated",
    truncated_header: "model.safetensors is truncated",
    empty_file: "model.safetensors is truncated",
    broken_header: "header is broken",
    wrong_shape: r"'mlp1.1.weight' has the shape \(64, 255\); config.json makes it \(64, 256\)",
    extra_tensor: "Unknown tensor 'mlp7.weight'",
    tensor_of_a_layer_too_many: "layers.9.input_layernorm.weight' has no place",
    missing_tensor: "1 tensors are missing .* 'text_hidden_fcs.2.bias'",
    index_lies: "in no shard, the first is 'ghost'",
    index_leaves_the_folder: "which is no safetensors file of the folder",
    broken_index: "is not an index of shards",
    pickled_weights_only: "pickled weights only",
    no_weights: "No weights in",
    no_config: "No config.json",
    config_is_no_json: "is not JSON",
    nan_in_config: "'rms_norm_eps' in llm_config of config.json is nan, not a finite",
    size_is_text: "'hidden_size' in .* is '64', not a positive integer",
    heads_do_not_divide: "heads must divide the width",
    config_of_another_model: "tensors are missing .*layers.3",
    unknown_architecture: "Unknown architecture 'LlamaForCausalLM'",
    unknown_language_model: "Unknown language model 'Gemma'",
    unknown_template: "Unknown chat template 'vicuna'",
    missing_seg_token: r"no token '\[SEG\]'",
    no_tokenizer: "No tokenizer in",
    broken_tokenizer: "tokenizer in .* cannot be read",
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_a_damaged_checkpoint_is_refused_with_its_reason(damage, checkpoint):
    damage(checkpoint)
    with pytest.raises(CheckpointError, match=DAMAGE[damage]) as caught:
        Sa2VA.from_pretrained(str(checkpoint), device="cpu")
    assert "\nHint: " in str(caught.value)


@pytest.mark.parametrize(
    ("tensor", "what"),
    [("language_model.model.norm.weight", "words"), ("text_hidden_fcs.2.bias", "masks")],
)
def test_what_is_not_a_number_fails_its_item_and_is_never_stored(checkpoint, tensor, what):
    edit_weights(checkpoint, lambda w: w.update({tensor: w[tensor] * float("nan")}))
    model = Sa2VA.from_pretrained(str(checkpoint), device="cpu")
    with pytest.raises(CheckpointError, match=f"computes {what} that are not numbers"):
        model.predict(Image.new("RGB", (64, 64)), text="<image>Please segment the red circle.")


def test_a_sharded_checkpoint_loads_like_a_single_file(checkpoint, golden_model, golden_checkpoint):
    shard(checkpoint)
    weights = Sa2VA.from_pretrained(str(checkpoint), device="cpu").model.state_dict()
    for name, weight in golden_model.model.state_dict().items():
        assert torch.equal(weight, weights[name]), name


def test_a_tokenizer_of_vocab_and_merges_gives_the_same_ids(checkpoint, golden_model):
    from sa2va_cli.models.sa2va.tokenizer import Tokenizer

    (checkpoint / "tokenizer.json").unlink()
    text = "<|im_start|>user\n<img></img>Please segment the red circle, [SEG].<|im_end|>\n"
    assert Tokenizer(checkpoint).encode(text) == golden_model.tokenizer.encode(text)


def test_code_in_the_checkpoint_never_runs(checkpoint, tmp_path):
    """auto_map names these files; a marker shows if any of them was executed."""
    marker = tmp_path / "ran"
    for name in ("modeling_sa2va_chat", "configuration_sa2va_chat", "tokenization_qwen2", "setup"):
        (checkpoint / f"{name}.py").write_text(f"open({str(marker)!r}, 'w').write('x')\n")
    edit_json(
        checkpoint / "tokenizer_config.json",
        lambda c: c.update(auto_map={"AutoTokenizer": ["tokenization_qwen2.Tok", None]}),
    )
    Sa2VA.from_pretrained(str(checkpoint), device="cpu")
    assert not marker.exists()


PARTS = [
    "vision_encoder.embeddings.cls_token",
    "language_model.lm_head.weight",
    "seg_bridge.layers.0.weight",
]


@pytest.mark.parametrize(
    ("device", "dtype", "kept"),
    [
        ("cpu", "float32", ("float32", "float32", "float32")),
        ("cpu", "float16", ("float16", "float16", "float32")),
        ("cpu", "bfloat16", ("bfloat16", "float32", "float32")),
        ("cuda", "bfloat16", ("bfloat16", "bfloat16", "float32")),
    ],
)
def test_each_part_is_kept_in_the_form_that_its_masks_bear(device, dtype, kept):
    placement = Placement(torch.device(device), getattr(torch, dtype))
    assert [placement.dtype_of(part) for part in PARTS] == [getattr(torch, one) for one in kept]


def test_weights_take_the_device_and_dtype_asked_for(checkpoint):
    model = Sa2VA.from_pretrained(str(checkpoint), device="cpu", dtype="float16").model
    weights = dict(model.named_parameters())
    dtypes = [weights[part].dtype for part in PARTS]
    assert dtypes == [torch.float16, torch.float16, torch.float32]
    assert not any(weight.requires_grad for weight in model.parameters())
    assert not any(tensor.is_meta for tensor in [*model.parameters(), *model.buffers()])


@pytest.mark.parametrize("damage", [missing_shard, nan_in_config, missing_seg_token, wrong_shape])
def test_the_command_line_exits_with_2(damage, checkpoint, tmp_path):
    """Some damage shows in the parent process, some only when a worker loads the model."""
    damage(checkpoint)
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    command = [sys.executable, "-m", "sa2va_cli.cli", "annotate", str(tmp_path / "a.png")]
    command += ["-p", "x", "-o", str(tmp_path / "out"), "-m", str(checkpoint), "-d", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "Error: " in done.stderr and "Hint: " in done.stderr
    assert "Traceback" not in done.stderr


def test_loading_holds_no_more_than_the_model_and_one_shard(checkpoint):
    """Two shards of 100 MB in float32 become 100 MB of float16: 200 MB while loading, not 300."""
    edit_json(checkpoint / "config.json", lambda c: c["llm_config"].update(vocab_size=400_000))
    weights = load_file(checkpoint / "model.safetensors")
    (checkpoint / "model.safetensors").unlink()
    big = ["language_model.model.embed_tokens.weight", "language_model.lm_head.weight"]
    files = {name: f"model-{number}.safetensors" for number, name in enumerate(big)}
    for name, file in files.items():
        save_file({name: torch.zeros(400_000, 64)}, checkpoint / file)
    rest = {name: weight for name, weight in weights.items() if name not in big}
    save_file(rest, checkpoint / "model-2.safetensors")
    files |= dict.fromkeys(rest, "model-2.safetensors")
    (checkpoint / INDEX).write_text(json.dumps({"weight_map": files}))
    code = (
        "import resource, sys\n"
        "import sa2va_cli.models.sa2va.predictor as p\n"
        "p.Sa2VA.from_pretrained(sys.argv[2], device='cpu', dtype='float16')\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "before = peak()\n"
        "model = p.Sa2VA.from_pretrained(sys.argv[1], device='cpu', dtype='float16')\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(checkpoint), str(GOLDEN)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(done.stdout) < 250
