with rows_found as (
    select
        model_name,
        horizon_days,
        unnest(importances) as found
    from {{ ref('py_churn_models') }}
    where is_champion
)

select
    cast(model_name as string) as model_name,
    cast(horizon_days as integer) as horizon_days,
    cast(found.theme as string) as theme,
    cast(found.feature as string) as feature,
    cast(found.auc_drop as double) as auc_drop,
    cast(found.auc_drop_low as double) as auc_drop_low,
    cast(found.auc_drop_high as double) as auc_drop_high
from rows_found
