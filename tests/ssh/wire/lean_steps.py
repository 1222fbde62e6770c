"""Steps of a connection's life, drawn at random: what `lean_script` plays."""

from __future__ import annotations

from hypothesis import strategies as st

from ssh.wire.lean_script import Step

HIGH_WATER_BYTES = 256 * 1024
CHANNEL_WINDOW_BYTES = 768 * 1024
SIZES = st.sampled_from([0, 1, 4, 5, 15, 16, 17, 100, 4095, 32_767, 32_768, 32_769, 65_536, HIGH_WATER_BYTES + 1])
OPEN = st.tuples(st.just("open"), st.sampled_from([0, 1, 5000, 2**21]), st.sampled_from([300, 32_768, 2**31]))
_NUMBER = st.integers(0, 3)


def steps(sizes: st.SearchStrategy[int] = SIZES) -> st.SearchStrategy[Step]:
    """One step. `sizes` are those of the data."""
    return st.one_of(
        st.tuples(st.sampled_from(["write", "data"]), _NUMBER, sizes),
        st.tuples(st.sampled_from(["write", "data"]), _NUMBER, sizes),
        st.tuples(st.just("data"), _NUMBER, st.just(CHANNEL_WINDOW_BYTES)),
        st.tuples(st.just("adjust"), _NUMBER, st.sampled_from([0, 1, 16, 5000, 2**20])),
        st.tuples(st.sampled_from(["ours", "theirs", "debug", "odd", "settle"])),
        st.tuples(st.just("ignore"), st.integers(0, 40)),
        st.tuples(st.sampled_from(["write eof", "peer eof", "pause", "resume"]), _NUMBER),
        st.tuples(st.sampled_from(["close", "abort", "peer close"]), _NUMBER),
        OPEN,
    )
