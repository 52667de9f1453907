select
    cast(models.cut as string) as cut,
    cast(models.model_name as string) as model_name,
    cast(models.status as string) as status,
    cast(models.is_chosen as boolean) as is_chosen,
    cast(models.n_customers as bigint) as n_customers,
    cast(models.n_repeat_customers as bigint) as n_repeat_customers,
    cast(models.r as double) as r,
    cast(models.alpha_days as double) as alpha_days,
    cast(models.a as double) as a,
    cast(models.b as double) as b,
    cast(models.log_likelihood as double) as log_likelihood,
    cast(models.bic as double) as bic,
    cast(models.holdout_log_score as double) as holdout_log_score,
    cast(models.spend_status as string) as spend_status,
    cast(models.p as double) as p,
    cast(models.q as double) as q,
    cast(models.v as double) as v
from {{ ref('py_value_models') }} as models
