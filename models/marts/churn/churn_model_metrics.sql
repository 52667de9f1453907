select
    cast(model_name as string) as model_name,
    cast(horizon_days as integer) as horizon_days,
    cast(group_type as string) as group_type,
    cast(group_value as string) as group_value,
    cast(metric as string) as metric,
    cast(n_customers as bigint) as n_customers,
    cast(n_churned as bigint) as n_churned,
    cast(value as double) as value,
    cast(value_low as double) as value_low,
    cast(value_high as double) as value_high
from {{ ref('py_churn_metrics') }}
