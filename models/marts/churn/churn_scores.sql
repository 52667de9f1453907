select
    cast(customer_id as string) as customer_id,
    cast(model_name as string) as model_name,
    cast(horizon_days as integer) as horizon_days,
    cast(churn_probability as double) as churn_probability,
    -- Decile 1 holds the tenth of the customers that is most likely to leave.
    cast(
        ntile(10)
            over (order by round(churn_probability, 12) desc, customer_id)
        as integer
    ) as risk_decile,
    cast(reason_1 as string) as reason_1,
    cast(reason_2 as string) as reason_2,
    cast(reason_3 as string) as reason_3,
    cast(scored_at as timestamp) as scored_at
from
    {{ ref(
        'py_churn_scores' if perennial.runs_python() else 'churn_scores_sql'
    ) }}
where horizon_days = {{ perennial.setting('churn_horizon_days') }}
