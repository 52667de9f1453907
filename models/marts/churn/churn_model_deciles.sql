with deciles as (
    select
        model_name,
        horizon_days,
        risk_decile,
        count(*) as n_customers,
        count_if(is_churned) as n_churned,
        cast(sum({{ perennial.exact('churn_probability') }}) as double)
        / count(*) as mean_probability
    from {{ ref('churn_test_predictions') }}
    group by all
),

totals as (
    select
        *,
        sum(n_customers) over (
            partition by model_name, horizon_days
        ) as n_customers_of_model,
        sum(n_churned) over (
            partition by model_name, horizon_days
        ) as n_churned_of_model,
        sum(n_churned) over (
            partition by model_name, horizon_days
            order by risk_decile
            rows between unbounded preceding and current row
        ) as n_churned_so_far
    from deciles
)

select
    cast(model_name as string) as model_name,
    cast(horizon_days as integer) as horizon_days,
    cast(risk_decile as integer) as risk_decile,
    cast(n_customers as bigint) as n_customers,
    cast(n_churned as bigint) as n_churned,
    cast(mean_probability as double) as mean_probability,
    cast(n_churned / cast(n_customers as double) as double) as churn_rate,
    cast({{ perennial.wilson('low', 'n_churned', 'n_customers') }} as double)
        as churn_rate_low,
    cast({{ perennial.wilson('high', 'n_churned', 'n_customers') }} as double)
        as churn_rate_high,
    cast(
        (n_churned / cast(n_customers as double))
        / nullif(n_churned_of_model / cast(n_customers_of_model as double), 0)
        as double
    ) as lift,
    cast(n_churned_so_far / nullif(cast(n_churned_of_model as double), 0) as double)
        as cumulative_gain
from totals
