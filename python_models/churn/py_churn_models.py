"""Train, test and choose the churn models; see perennial.churn.train_models."""

from perennial.churn import rows_to_learn_from, train_models


def model(dbt, session):
    """Return one row per candidate model and horizon."""
    dbt.config(materialized="table")
    features = rows_to_learn_from(dbt.ref("churn_features"))
    today = dbt.ref("churn_features_today").select("horizon_days").pl()
    # A build with --full-refresh has emptied it: see start_increments.
    is_there = session.execute(
        "select count(*) from duckdb_tables() where database_name = ? and schema_name = ? "
        "and table_name = ?",
        [dbt.this.database, dbt.this.schema, dbt.this.identifier],
    ).fetchall()[0][0]
    kept = session.sql(f"from {dbt.this}").pl() if is_there else None
    return train_models(features, today, kept).to_arrow()
