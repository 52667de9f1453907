"""Put each customer into a group; see perennial.value.clusters.assign_clusters."""

from perennial.value.clusters import assign_clusters


def model(dbt, session):
    """Return one row per customer in a cluster."""
    dbt.config(materialized="table")
    return assign_clusters(dbt.ref("rfm").pl(), dbt.ref("py_cluster_models").pl()).to_arrow()
