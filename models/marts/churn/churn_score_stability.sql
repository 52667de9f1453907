with stability as (
    select
        model_name,
        horizon_days,
        unnest(stability, recursive := true)
    from {{ ref('py_churn_models') }}
    where is_champion
)

select
    cast(model_name as string) as model_name,
    cast(horizon_days as integer) as horizon_days,
    cast(snapshot_on as date) as snapshot_on,
    cast(n_customers as bigint) as n_customers,
    cast(n_churned as bigint) as n_churned,
    cast(n_churned / cast(n_customers as double) as double) as churn_rate,
    cast(mean_probability as double) as mean_probability,
    cast(psi as double) as psi,
    cast(psi_by_chance as double) as psi_by_chance
from stability
