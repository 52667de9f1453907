"""Judge the recommenders by what came, and choose one; see perennial.recommend.judge."""

from perennial.recommend import judge


def model(dbt, session):
    """Return one row per recommender, with its measures."""
    dbt.config(materialized="table")
    asked = dbt.ref("affinity_settings").pl().row(0, named=True)
    return judge(
        dbt.ref("item_purchases").pl(),
        dbt.ref("products").pl(),
        dbt.ref("customers").select("customer_id, country").pl(),
        asked["embeddings"],
    ).to_arrow()
