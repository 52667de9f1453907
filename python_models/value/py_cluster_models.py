"""Find groups of customers; see perennial.value.clusters.fit_clusters."""

from perennial.value.clusters import fit_clusters


def model(dbt, session):
    """Return one row per method and number of clusters."""
    dbt.config(materialized="table")
    return fit_clusters(dbt.ref("rfm").pl()).to_arrow()
