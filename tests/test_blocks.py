"Blocks: they tile a recording, keep memory flat, and join without seams."

import numpy
import torch
from hypothesis import given
from hypothesis import strategies as st

from specdehaze.blocks import clean_in_blocks, in_context


def cut(sound: torch.Tensor, lengths: list[int]) -> list[torch.Tensor]:
    "Chunks of these lengths, and the rest."
    ends = numpy.cumsum(lengths).tolist()
    return list(torch.tensor_split(sound, ends, -1))


@given(
    total=st.integers(0, 400),
    lengths=st.lists(st.integers(0, 120), max_size=8),
    length=st.integers(1, 90),
    before=st.integers(0, 130),
    after=st.integers(0, 130),
)
def test_blocks_and_their_context_tile_the_recording(total, lengths, length, before, after):
    sound = torch.arange(float(total)).repeat(2, 1)
    position = 0
    for block, begin, size in in_context(cut(sound, lengths), length=length, before=before, after=after):
        start, stop = max(0, position - before), min(total, position + size + after)
        assert torch.equal(block, sound[:, start:stop]) and begin == position - start
        assert 0 < size <= length
        position += size
    assert position == total


@given(
    total=st.integers(1, 700),
    lengths=st.lists(st.integers(1, 200), max_size=8),
    length=st.integers(1, 150),
    reach=st.integers(0, 20),
    fade=st.integers(0, 30),
)
def test_a_local_method_is_the_same_in_blocks(total, lengths, length, reach, fade):
    def smooth(sound):  # looks `reach` samples to both sides
        padded = torch.nn.functional.pad(sound, (reach, reach))
        return padded.unfold(-1, 2 * reach + 1, 1).mean(-1)

    sound = torch.randn(1, total)
    parts = clean_in_blocks(cut(sound, lengths), smooth, length=length, context=reach, fade=fade)
    joined = torch.cat([torch.zeros(1, 0), *parts], -1)
    torch.testing.assert_close(joined, smooth(sound), atol=1e-5, rtol=0)


def test_blocks_come_as_soon_as_their_context_is_there():
    read = []

    def chunks():
        for k in range(100):
            read.append(k)
            yield torch.zeros(1, 1000)

    blocks = in_context(chunks(), length=5000, before=2000, after=2000)
    assert next(blocks)[0].shape[-1] == 7000 and len(read) == 7
    assert max(block.shape[-1] for block, *_ in blocks) == 9000


def test_blocks_that_disagree_are_faded_into_each_other():
    levels = iter([0.0, 1.0, 0.0])
    parts = clean_in_blocks([torch.zeros(1, 300)], lambda block: block + next(levels), length=100, context=20, fade=40)
    joined = torch.cat(list(parts), -1)[0]
    assert joined[:100].eq(0).all() and joined[140:200].eq(1).all() and joined[240:].eq(0).all()
    assert joined.diff().abs().max() < 0.03
