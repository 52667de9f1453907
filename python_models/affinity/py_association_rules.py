"""Find association rules in orders; see perennial.affinity.rules."""

from perennial.affinity.rules import association_rules


def model(dbt, session):
    """Return one row per rule."""
    dbt.config(materialized="table")
    asked = dbt.ref("affinity_settings").pl().row(0, named=True)
    return association_rules(
        dbt.ref("item_counts").filter("basis = 'order'").pl(),
        dbt.ref("item_lists").filter("basis = 'order'").select("items").to_arrow_table(),
        asked["min_support"],
        asked["min_confidence"],
        asked["max_items"],
        asked["max_itemsets"],
    ).to_arrow()
