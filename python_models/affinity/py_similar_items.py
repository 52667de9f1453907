"""Find the most similar items of each; see perennial.affinity.similarity."""

from perennial.affinity.similarity import similar_items


def model(dbt, session):
    """Return up to top_k rows per basis and item; none where SQL counts."""
    dbt.config(materialized="table")
    asked = dbt.ref("affinity_settings").pl().row(0, named=True)
    lists = dbt.ref("item_lists")
    bases = ("order", "customer") if asked["way"] == "python" else ()
    return similar_items(
        dbt.ref("item_counts").pl(),
        {basis: lists.filter(f"basis = '{basis}'").to_arrow_table() for basis in bases},
        asked["top_k"],
        asked["min_count"],
        asked["half_life_days"],
    ).to_arrow()
