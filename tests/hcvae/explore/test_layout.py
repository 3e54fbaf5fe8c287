import re
from collections import Counter

from hcvae.explore.layout import layout, slider_ids
from hcvae.explore.server import application


def test_every_component_has_a_name_of_its_own_and_every_control_a_label(explorer):
    page = layout(explorer, "model")
    names = Counter(part.id for part in page._traverse() if getattr(part, "id", None))
    assert set(names.values()) == {1}
    assert {name for ids in slider_ids(explorer).values() for name in ids} <= set(names)
    labels = {getattr(part, "data-label", None) for part in page._traverse()}
    assert {"stimulus level (dB)", "global 1", "local 4", "Global of A"} <= labels


def test_scripts_and_styles_come_from_the_page_itself(explorer):
    html = application(explorer, "model").test_client().get("/").get_data(as_text=True)
    addresses = re.findall(r'(?:src|href)="([^"]+)"', html)
    assert any("explore.css" in address for address in addresses)
    assert any("explore.js" in address for address in addresses)
    assert all(address.startswith("/") for address in addresses)
