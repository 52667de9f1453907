with rows_found as (
    select
        model_name,
        horizon_days,
        unnest(stability) as found
    from {{ ref('py_churn_models') }}
    where is_champion
)

select
    cast(model_name as string) as model_name,
    cast(horizon_days as integer) as horizon_days,
    cast(found.snapshot_on as date) as snapshot_on,
    cast(found.n_customers as bigint) as n_customers,
    cast(found.n_churned as bigint) as n_churned,
    cast(found.n_churned / cast(found.n_customers as double) as double) as churn_rate,
    cast(found.mean_probability as double) as mean_probability,
    cast(found.psi as double) as psi,
    cast(found.psi_by_chance as double) as psi_by_chance
from rows_found
