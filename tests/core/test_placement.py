import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cirrus.core.placement import key_of, local_row, rows_on, shard_of


@given(st.integers(0, 2_000), st.integers(1, 64))
def test_every_row_has_exactly_one_place(rows: int, shards: int) -> None:
    places = [(shard_of(key, shards), local_row(key, shards)) for key in range(rows)]
    wanted = [(shard, local) for shard in range(shards) for local in range(rows_on(shard, rows, shards))]
    assert sorted(places) == wanted


@given(st.integers(0, 2**32 - 1), st.integers(1, 64))
def test_a_key_is_found_again_from_its_place(key: int, shards: int) -> None:
    assert key_of(local_row(key, shards), shard_of(key, shards), shards) == key


@given(st.lists(st.integers(0, 2**32 - 1)), st.integers(1, 64))
def test_arrays_are_placed_like_their_elements_and_keep_their_type(keys: list[int], shards: int) -> None:
    array = np.array(keys, dtype=np.uint32)
    assert shard_of(array, shards).dtype == local_row(array, shards).dtype == np.uint32
    assert shard_of(array, shards).tolist() == [shard_of(key, shards) for key in keys]
    assert local_row(array, shards).tolist() == [local_row(key, shards) for key in keys]
    for shard in range(shards):
        mine = array[shard_of(array, shards) == shard]
        assert key_of(local_row(mine, shards), shard, shards).tolist() == mine.tolist()
