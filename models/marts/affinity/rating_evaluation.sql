select
    cast(predictor as string) as predictor,
    cast(status as string) as status,
    cast(n_ratings as bigint) as n_ratings,
    cast(n_customers as bigint) as n_customers,
    cast(rmse as double) as rmse,
    cast(rmse_low as double) as rmse_low,
    cast(rmse_high as double) as rmse_high,
    cast(mae as double) as mae,
    cast(mae_low as double) as mae_low,
    cast(mae_high as double) as mae_high
from {{ ref('py_rating_evaluation') }}
