{{ config(
    materialized='incremental',
    incremental_strategy='append',
    on_schema_change='append_new_columns',
    full_refresh=false
) }}
-- What was once trained stays: a run is added when the models are not those of the last build.
with metrics as (
    select
        model_name,
        horizon_days,
        {%- for metric in [
            'pr_auc', 'brier_score', 'log_loss', 'expected_calibration_error',
            'top_decile_lift', 'empc'
        ] %}
        max(value) filter (where metric = '{{ metric }}') as {{ metric }},
        {%- endfor %}
        max(value) filter (where metric = 'roc_auc') as roc_auc
    from {{ ref('churn_model_metrics') }}
    where group_type = 'all'
    group by model_name, horizon_days
)

select
    cast(models.run_id as string) as run_id,
    cast(models.model_name as string) as model_name,
    cast(models.horizon_days as integer) as horizon_days,
    cast(clock.as_of as timestamp) as as_of,
    cast(models.status as string) as status,
    cast(models.is_champion as boolean) as is_champion,
    cast(models.incumbent as string) as incumbent,
    cast(models.selection_gain as double) as selection_gain,
    cast(models.selection_noise as double) as selection_noise,
    cast(models.fitted_from_on as date) as fitted_from_on,
    cast(models.fitted_until_on as date) as fitted_until_on,
    cast(models.calibrated_on as date) as calibrated_on,
    cast(models.selected_on as date) as selected_on,
    cast(models.tested_on as date) as tested_on,
    cast(models.n_training_rows as bigint) as n_training_rows,
    cast(models.data_fingerprint as string) as data_fingerprint,
    cast(models.parameters as string) as parameters,
    cast(models.seed as bigint) as seed,
    cast(models.libraries as string) as libraries,
    cast(models.calibration as string) as calibration,
    cast(models.calibration_slope as double) as calibration_slope,
    cast(models.calibration_intercept as double) as calibration_intercept,
    models.calibration_corners,
    cast(models.shift as double) as shift,
    cast(metrics.roc_auc as double) as roc_auc,
    cast(metrics.pr_auc as double) as pr_auc,
    cast(metrics.brier_score as double) as brier_score,
    cast(metrics.log_loss as double) as log_loss,
    cast(metrics.expected_calibration_error as double) as expected_calibration_error,
    cast(metrics.top_decile_lift as double) as top_decile_lift,
    cast(metrics.empc as double) as empc,
    models.fitted_model
from {{ ref('py_churn_models') }} as models
cross join {{ ref('clock') }} as clock
left join metrics
    on
        models.model_name = metrics.model_name
        and models.horizon_days = metrics.horizon_days
{% if is_incremental() -%}
where models.run_id not in (select run_id from {{ this }})
{%- endif %}
