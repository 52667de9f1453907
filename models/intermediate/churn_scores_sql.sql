-- Churn scored with nothing but SQL, for any engine: a logistic regression, or a linear support
-- vector machine with its calibration, is a sum.
{%- set features = perennial.churn_feature_names() %}
with weights as (
    select
        model_name,
        horizon_days,
        {%- for feature in features %}
        max(weight) filter (where feature = '{{ feature }}') as {{ feature }}_weight,
        max(fill_value) filter (where feature = '{{ feature }}') as {{ feature }}_fill,
        max(weight_if_missing) filter (where feature = '{{ feature }}')
            as {{ feature }}_missing,
        {%- endfor %}
        max(weight) filter (where feature = 'intercept') as intercept_weight
    from {{ ref('churn_weights') }}
    group by model_name, horizon_days
),

summed as (
    select
        customers.customer_id,
        customers.snapshot_at,
        weights.model_name,
        weights.horizon_days,
        weights.intercept_weight
        {%- for feature in features %}
        -- Counts, days and amounts weigh on a logarithmic scale.
        + coalesce(
            weights.{{ feature }}_weight
            * sign(customers.{{ feature }}) * ln(1 + abs(customers.{{ feature }})),
            weights.{{ feature }}_weight * weights.{{ feature }}_fill
            + weights.{{ feature }}_missing
        )
        {%- endfor %} as log_odds
    from {{ ref('churn_features_today') }} as customers
    cross join weights
)

select
    customer_id,
    snapshot_at as scored_at,
    model_name,
    horizon_days,
    1 / (1 + exp(-log_odds)) as churn_probability,
    -- Reasons are told by Python.
    cast(null as string) as reason_1,
    cast(null as string) as reason_2,
    cast(null as string) as reason_3
from summed
