with importances as (
    select
        model_name,
        horizon_days,
        unnest(importances, recursive := true)
    from {{ ref('py_churn_models') }}
    where is_champion
)

select
    cast(model_name as string) as model_name,
    cast(horizon_days as integer) as horizon_days,
    cast(theme as string) as theme,
    cast(feature as string) as feature,
    cast(auc_drop as double) as auc_drop,
    cast(auc_drop_low as double) as auc_drop_low,
    cast(auc_drop_high as double) as auc_drop_high
from importances
