-- Equal scores share the mean of their ranks, so that ties count half in the AUC.
with ranked as (
    select
        *,
        rank() over scores
        + (count(*) over equal_scores - 1) / 2.0 as mean_rank
    from {{ ref('churn_test_predictions') }}
    window
        scores as (
            partition by model_name, horizon_days
            order by churn_probability
        ),
        equal_scores as (
            partition by model_name, horizon_days, churn_probability
        )
),

scored as (
    select
        model_name,
        horizon_days,
        count(*) as n_customers,
        count_if(is_churned) as n_churned,
        -- The area under the ROC curve is the Mann-Whitney statistic as a share.
        (
            sum(mean_rank) filter (where is_churned)
            - count_if(is_churned) * (count_if(is_churned) + 1) / 2.0
        )
        / nullif(count_if(is_churned) * cast(count_if(not is_churned) as double), 0)
            as roc_auc,
        -- Decimals add up to the same in any order of the rows; floats do not.
        cast(
            sum({{ perennial.exact(
                'power(churn_probability - cast(is_churned as integer), 2)'
            ) }}) as double
        ) / count(*) as brier_score,
        -cast(
            sum({{ perennial.exact(
                'ln(greatest(case when is_churned then churn_probability'
                ~ ' else 1 - churn_probability end, 1e-15))'
            ) }}) as double
        ) / count(*) as log_loss
    from ranked
    group by all
),

by_decile as (
    select
        model_name,
        horizon_days,
        sum({{ perennial.exact('n_customers * abs(mean_probability - churn_rate)') }})
        / cast(sum(n_customers) as double) as calibration_error,
        max(lift) filter (where risk_decile = 1) as top_decile_lift
    from {{ ref('churn_model_deciles') }}
    group by all
)

select
    cast(models.model_name as string) as model_name,
    cast(models.status as string) as status,
    cast(models.is_champion as boolean) as is_champion,
    cast(models.horizon_days as integer) as horizon_days,
    cast(coalesce(scored.n_customers, 0) as bigint) as n_customers,
    cast(coalesce(scored.n_churned, 0) as bigint) as n_churned,
    cast(scored.n_churned / cast(scored.n_customers as double) as double) as churn_rate,
    cast(scored.roc_auc as double) as roc_auc,
    cast(scored.brier_score as double) as brier_score,
    cast(scored.log_loss as double) as log_loss,
    cast(by_decile.calibration_error as double) as calibration_error,
    cast(by_decile.top_decile_lift as double) as top_decile_lift,
    cast(models.calibration as string) as calibration,
    cast(models.incumbent as string) as incumbent,
    cast(models.selection_gain as double) as selection_gain,
    cast(models.selection_noise as double) as selection_noise,
    cast(models.trained_until_on as date) as trained_until_on,
    cast(models.selected_on as date) as selected_on,
    cast(models.tested_on as date) as tested_on
from {{ ref('py_churn_models') }} as models
left join scored
    on
        models.model_name = scored.model_name
        and models.horizon_days = scored.horizon_days
left join by_decile
    on
        models.model_name = by_decile.model_name
        and models.horizon_days = by_decile.horizon_days
