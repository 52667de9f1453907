select
    cast(metric as string) as metric,
    cast(week_start_on as date) as week_start_on,
    cast(horizon_weeks as integer) as horizon_weeks,
    cast(status as string) as status,
    cast(model_name as string) as model_name,
    cast(expected as double) as expected,
    cast(expected_low as double) as expected_low,
    cast(expected_high as double) as expected_high,
    cast(n_tests as integer) as n_tests,
    cast(mean_absolute_error as double) as mean_absolute_error,
    cast(naive_mean_absolute_error as double) as naive_mean_absolute_error,
    cast(gain as double) as gain,
    cast(gain_noise as double) as gain_noise,
    cast(is_better_than_naive as boolean) as is_better_than_naive,
    cast(coverage_rate as double) as coverage_rate
from {{ ref('py_weekly_forecasts') }}
