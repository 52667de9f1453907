"""The page of the raw contract says what the contract says."""

import yaml

from perennial.contract_page import CONTRACT, PAGE, render


def test_the_page_is_up_to_date():
    assert PAGE.read_text("utf-8") == render(yaml.safe_load(CONTRACT.read_text("utf-8"))), (
        "run python -m perennial.contract_page"
    )
