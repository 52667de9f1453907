"""The page of the raw contract says what the contract says."""

from perennial.contract import PAGE, render_page


def test_the_page_is_up_to_date():
    assert PAGE.read_text("utf-8") == render_page(), "run python -m perennial.contract"
