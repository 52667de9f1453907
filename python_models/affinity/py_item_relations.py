"""Count how often products are viewed and bought together; see perennial.affinity.relations."""

from perennial.affinity.relations import item_relations


def model(dbt, session):
    """Return one row per pair of products that any list of similar ones has."""
    dbt.config(materialized="table")
    asked = dbt.ref("affinity_settings").pl().row(0, named=True)
    return item_relations(
        dbt.ref("viewed_counts").pl(),
        dbt.ref("viewed_lists").to_arrow_table(),
        dbt.ref("item_counts").filter("basis = 'order'").pl(),
        dbt.ref("item_lists").filter("basis = 'order'").select("items").to_arrow_table(),
        asked["top_k"],
        asked["min_count"],
    ).to_arrow()
