with predictions as (
    select
        model_name,
        horizon_days,
        is_champion,
        unnest(test_predictions) as prediction
    from {{ ref('py_churn_models') }}
)

select
    model_name,
    horizon_days,
    is_champion,
    prediction.customer_id as customer_id,
    prediction.is_churned as is_churned,
    prediction.probability as churn_probability,
    ntile(10) over (
        partition by model_name, horizon_days
        order by round(prediction.probability, 12) desc, prediction.customer_id
    ) as risk_decile
from predictions
