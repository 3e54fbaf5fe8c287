import numpy as np
import pyarrow as pa

from hcvae.data.table import signals_of
from hcvae.generation import families, generate, interpolate, swap


def test_a_family_is_a_condition(bundle):
    conditions = [{"sex": sex, "stimulus_level_db": level} for sex in ("F", "M") for level in (40.0, 60.0)]
    table = generate(bundle, conditions, 3)
    found = list(families(table))
    shown = [{name: family.condition[name] for name in ("sex", "stimulus_level_db")} for family in found]
    assert shown == conditions
    for number, family in enumerate(found):
        np.testing.assert_array_equal(family.signals_uv, signals_of(table)[3 * number : 3 * number + 3])
        waves = [table["peak_latency_ms"][3 * number].as_py()[wave] for wave in (0, 2, 4)]
        np.testing.assert_allclose(family.latency_ms[0], waves)


def test_an_interpolation_is_one_family_and_each_exchange_another(bundle, two):
    found = list(families(interpolate(bundle, *two, steps=5)))
    assert [family.signals_uv.shape for family in found] == [(5, 200)]
    exchanged = pa.concat_tables([swap(bundle, *two), swap(bundle, *two[::-1])])
    assert [family.signals_uv.shape for family in families(exchanged)] == [(1, 200)] * 2


def test_without_a_peak_head_no_latency_is_known(bundle):
    table = generate(bundle, [{"sex": "F"}], 2).drop_columns(["peak_latency_ms"])
    (family,) = families(table)
    assert family.condition["sex"] == "F"
    assert np.isnan(family.latency_ms).all()
