"""Laws of event times: whatever a source's clock does, nothing is lost, and time of a tag never falls."""

from hypothesis import given
from hypothesis import strategies as st

from agent.core.batch import Layout
from drivers.opcua.readings import Builder, Sample
from drivers.opcua.times import SourceTimes

S = 1_000_000_000
START = 1_795_248_000 * S
SKEW = 5 * S

offsets = st.one_of(st.integers(-2 * SKEW, 2 * SKEW), st.sampled_from([-(10**19), 10**19, -3600 * S, 3600 * S, 0]))
steps = st.lists(
    st.tuples(
        st.integers(0, 2),  # tag
        st.integers(1, 20 * S),  # at moves on
        st.one_of(st.none(), st.just("same"), offsets),  # source time against at
        st.one_of(st.integers(0, 3).map(float), st.none()),  # value; None: bad
        st.booleans(),  # a reconnect before
    ),
    max_size=40,
)


@given(steps)
def test_event_times_of_a_tag_rise_and_stay_within_max_skew(
    walk: list[tuple[int, int, object, float | None, bool]],
) -> None:
    times, at = SourceTimes(3, SKEW), START
    last: dict[int, int] = {}
    source: dict[int, int] = {}
    for tag, step, offset, value, is_reconnect in walk:
        at += step
        if is_reconnect:
            times.reconnect()
        source_ns = source.get(tag) if offset == "same" else None if offset is None else at + int(str(offset))
        if source_ns is not None:
            source[tag] = source_ns
        dt, source_dt, _ = times.judge(tag, at, source_ns, value)
        assert -SKEW <= dt <= SKEW
        assert at + dt > last.get(tag, 0)
        assert -(2**63) <= source_dt < 2**63
        last[tag] = at + dt


@given(steps)
def test_doubt_falls_on_changed_values_only_and_never_on_a_believed_time(
    walk: list[tuple[int, int, object, float | None, bool]],
) -> None:
    times, at = SourceTimes(3, SKEW), START
    values: dict[int, float] = {}
    for tag, step, offset, value, _ in walk:
        at += step
        source_ns = None if not isinstance(offset, int) else at + offset
        dt, source_dt, is_doubtful = times.judge(tag, at, source_ns, value)
        if is_doubtful:
            assert value is not None
            assert value != values.get(tag)
            assert source_dt == max(-(2**62), min(2**62, source_ns - at))  # kept
            assert dt <= 0 or dt < SKEW
        if value is not None:
            values[tag] = value


samples = st.builds(
    Sample,
    st.integers(0, 2),
    st.one_of(st.floats(), st.integers(-(2**64), 2**64), st.booleans(), st.text(max_size=5), st.none(), st.just(b"")),
    st.one_of(st.just(0), st.integers(0, 2**32 - 1)),
    st.one_of(st.none(), st.integers(-(10**19), 10**19).map(lambda d: START + d)),
)


@given(st.lists(samples, max_size=20))
def test_every_sample_becomes_exactly_one_reading_that_can_be_stored(given_samples: list[Sample]) -> None:
    layout = Layout("dcs", ("a", "b", "c"))
    batch, _ = Builder(layout, [None, (0.0, 1.0), None], SourceTimes(3, SKEW)).build(given_samples, START)
    assert batch.tag_ids() == tuple(layout.tags[s.tag] for s in given_samples)
    for i, value in enumerate(batch.values):
        quality = 0 if batch.quality is None else batch.quality[i]
        assert value - value == 0 or quality >= 100 or i in batch.exact  # finite, or bad, or a text
    for text in batch.exact.values():
        text.encode()
