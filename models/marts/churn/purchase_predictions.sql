select
    cast(customer_id as string) as customer_id,
    cast(horizon_days as integer) as horizon_days,
    cast(model_name as string) as model_name,
    cast(1 - churn_probability as double) as purchase_probability,
    cast(scored_at as timestamp) as scored_at
from
    {{ ref(
        'py_churn_scores' if perennial.runs_python() else 'churn_scores_sql'
    ) }}
