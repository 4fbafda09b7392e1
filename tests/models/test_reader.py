"""Our pass of the language model says what transformers' own says."""

import pytest
import torch
from transformers import DynamicCache

from sa2va_cli.models.sa2va.config import LanguageConfig
from sa2va_cli.models.sa2va.key_values import GROWTH
from sa2va_cli.models.sa2va.language import build_language_model
from sa2va_cli.models.sa2va.reader import Chunk, Reader

WIDTH = 48
TRAINED = 32  # positions
SCALINGS = {
    "plain": None,
    "linear": {"type": "linear", "factor": 2.0},
    "dynamic": {"type": "dynamic", "factor": 2.0},
    "yarn": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": TRAINED},
}


def language_model(heads=6, groups=2, scaling=None, dtype=torch.float32):
    torch.manual_seed(0)
    config = LanguageConfig(
        architecture="Qwen2ForCausalLM",
        vocab_size=32,
        hidden_size=WIDTH,
        intermediate_size=64,
        num_layers=3,
        num_heads=heads,
        num_key_value_heads=groups,
        rms_norm_eps=1e-6,
        max_position_embeddings=TRAINED,
        rope_theta=10000.0,
        rope_scaling=scaling,
        tie_word_embeddings=False,
    )
    return build_language_model(config, "sdpa").to(dtype).eval()


def theirs(model, embeddings, positions, mask, cache):
    return model.model(
        inputs_embeds=embeddings[None],
        past_key_values=cache,
        attention_mask={"full_attention": None if mask is None else mask[None, None]},
        position_ids=positions[None],
        use_cache=True,
    ).last_hidden_state[0]


def passes(beginning):
    """A beginning, two prompts packed behind it, a token of each, and one token alone."""
    yield torch.arange(beginning), None
    packed = torch.cat((torch.arange(4), torch.arange(7))) + beginning
    for positions in (packed, packed[[3, 10]] + 1, packed[[10]] + 2):
        yield positions, torch.rand(len(positions), 1) > 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize(("heads", "groups"), [(6, 2), (4, 4), (3, 1)])
@torch.inference_mode()
def test_every_pass_gives_the_states_of_transformers(heads, groups, scaling, dtype):
    model = language_model(heads, groups, SCALINGS[scaling], dtype)
    reader, cache = Reader(model), DynamicCache(config=model.config)
    cells = reader.new_cells()
    for positions, seed in passes(beginning=40):  # longer than trained: scaling acts
        embeddings = torch.randn(len(positions), WIDTH).to(dtype)
        mask = None
        if seed is not None:
            mask = torch.rand(len(positions), cells.length + len(positions)) > 0.3
            mask[:, 0] = True
        states = reader(embeddings, Chunk(positions, mask, cells))
        expected = theirs(model, embeddings, positions, mask, cache)
        tolerance = 1e-5 if dtype == torch.float32 else 0.05
        torch.testing.assert_close(states, expected, atol=tolerance, rtol=tolerance)
        assert cells.length == cache.get_seq_length()


@pytest.mark.parametrize("scaling", SCALINGS)
@torch.inference_mode()
def test_chunks_of_several_pictures_see_nothing_of_each_other(scaling):
    model = language_model(scaling=SCALINGS[scaling])
    reader = Reader(model)
    texts = [torch.randn(length, WIDTH) for length in (5, 2 * TRAINED, 9)]
    apart, together = ([reader.new_cells() for _ in texts] for _ in range(2))
    for text, *both in zip(texts, apart, together, strict=True):
        for cells in both:
            reader(text, Chunk(torch.arange(len(text)), None, cells))

    def chunk(cells, count):
        positions = torch.arange(cells.length, cells.length + count)
        return Chunk(positions, positions[:, None] >= torch.arange(cells.length + count), cells)

    for counts in ((1, 1, 1), (3, 1, 2)):
        new = [torch.randn(count, WIDTH) for count in counts]
        alone = [
            reader(some, chunk(cells, len(some))) for some, cells in zip(new, apart, strict=True)
        ]
        joint = [chunk(cells, len(some)) for some, cells in zip(new, together, strict=True)]
        states = reader(torch.cat(new), *joint)
        torch.testing.assert_close(states, torch.cat(alone), atol=1e-5, rtol=0)
        for one, other in zip(apart, together, strict=True):
            assert one.length == other.length


@torch.inference_mode()
def test_of_what_is_read_for_the_cache_only_keys_and_values_are_kept():
    model = language_model()
    reader, embeddings, positions = Reader(model), torch.randn(9, WIDTH), torch.arange(9)
    whole, cached = reader.new_cells(), reader.new_cells()
    asked: list[int] = []
    last = model.model.layers[-1].mlp.gate_proj
    hook = last.register_forward_hook(lambda *_: asked.append(1))
    states = reader(embeddings, Chunk(positions, None, cached, cache_only=True))
    assert states.shape == (0, WIDTH) and not asked
    assert reader(embeddings, Chunk(positions, None, whole)).shape == (9, WIDTH) and asked
    hook.remove()
    assert cached.length == whole.length == 9
    assert torch.equal(cached.store[..., :9, :], whole.store[..., :9, :])


@torch.inference_mode()
def test_what_was_read_stays_while_memory_grows_and_can_be_cut():
    model = language_model()
    reader, cells = Reader(model), None
    embeddings = torch.randn(3 * GROWTH, WIDTH)
    whole = reader(embeddings, Chunk(torch.arange(len(embeddings)), None, reader.new_cells()))
    cells = reader.new_cells()
    for start in (0, 1, GROWTH, 2 * GROWTH, len(embeddings)):
        new = embeddings[cells.length : start]
        if not len(new):
            continue
        positions = torch.arange(cells.length, start)
        mask = positions[:, None] >= torch.arange(start)
        states = reader(new, Chunk(positions, mask, cells))
        torch.testing.assert_close(
            states, whole[cells.length - len(new) : start], atol=1e-5, rtol=0
        )
    cells.cut(7)
    assert cells.length == 7
    mask = torch.ones(1, 8, dtype=torch.bool)
    again = reader(embeddings[7:8], Chunk(torch.tensor([7]), mask, cells))
    torch.testing.assert_close(again, whole[7:8], atol=1e-5, rtol=0)


@torch.inference_mode()
def test_a_pass_that_is_broken_off_leaves_no_trace(monkeypatch):
    model = language_model()
    reader = Reader(model)
    cells = reader.new_cells()
    embeddings, positions = torch.randn(5, WIDTH), torch.arange(5)
    expected = reader(embeddings, Chunk(positions, None, reader.new_cells()))

    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(model.model.layers[1].mlp.gate_proj, "forward", stop)
        reader(embeddings, Chunk(positions, None, cells))
    assert cells.length == 0
    assert torch.equal(reader(embeddings, Chunk(positions, None, cells)), expected)


@pytest.mark.parametrize("count", [1, 4])
@torch.inference_mode()
def test_without_a_mask_each_token_sees_all_before_it(count):
    model = language_model()
    reader, embeddings = Reader(model), torch.randn(9 + count, WIDTH)
    positions = torch.arange(9 + count)
    states = []
    for mask in (None, positions[9:, None] >= positions):
        cells = reader.new_cells()
        reader(embeddings[:9], Chunk(positions[:9], None, cells))
        states.append(reader(embeddings[9:], Chunk(positions[9:], mask, cells)))
    torch.testing.assert_close(*states, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_settled_it_multiplies_once_what_was_three_with_the_same_weights(dtype):
    model = language_model(dtype=dtype)
    reader, embeddings = Reader(model), torch.randn(7, WIDTH).to(dtype)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    states = []
    for settle in (lambda: None, reader.settle):
        settle()
        states.append(reader(embeddings, Chunk(torch.arange(7), None, reader.new_cells())))
    torch.testing.assert_close(*states, atol=1e-5 if dtype == torch.float32 else 0.02, rtol=0)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    attention = model.model.layers[1].self_attn
    for part in ("weight", "bias"):
        own = [getattr(p, part) for p in (attention.q_proj, attention.k_proj, attention.v_proj)]
        assert len({one.untyped_storage().data_ptr() for one in own}) == 1
    assert not attention.q_proj.weight.requires_grad


@torch.inference_mode()
def test_positions_are_asked_for_only_where_the_model_was_not_trained():
    """On a GPU, asking waits for everything that is under way."""
    model = language_model(scaling=SCALINGS["dynamic"])
    asked: list[int] = []
    model.model.rotary_emb.register_forward_hook(lambda *_: asked.append(1))
    reader = Reader(model)
    cells = reader.new_cells()
    for length, times in ((TRAINED - 1, 0), (1, 0), (1, 1)):
        positions = torch.arange(cells.length, cells.length + length)
        reader(torch.randn(length, WIDTH), Chunk(positions, None, cells))
        assert len(asked) == times


@pytest.mark.parametrize("scaling", SCALINGS)
@torch.inference_mode()
def test_what_is_read_does_not_depend_on_what_was_read_of_others(scaling):
    texts = [torch.randn(length, WIDTH) for length in (2 * TRAINED, TRAINED + 8, TRAINED - 4)]
    used, said = Reader(language_model(scaling=SCALINGS[scaling])), []
    for text in texts:
        fresh = Reader(language_model(scaling=SCALINGS[scaling]))
        said = [
            reader(text, Chunk(torch.arange(len(text)), None, reader.new_cells()))
            for reader in (used, fresh)
        ]
        assert torch.equal(*said)


def test_the_reader_has_no_weights_of_its_own(golden_model):
    assert not list(golden_model.model.reader.parameters())
    assert not [name for name in golden_model.model.state_dict() if "reader" in name]


def test_a_cell_takes_what_its_keys_and_values_take():
    cells = Reader(language_model(dtype=torch.bfloat16)).new_cells()
    assert cells.cell_bytes == 3 * 2 * 2 * 8 * 2  # layers, keys and values, heads, width, bytes
