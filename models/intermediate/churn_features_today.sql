with wanted as (
    select
        customers.customer_id,
        clock.as_of_on as snapshot_on,
        clock.as_of as snapshot_at
    from {{ ref('customers') }} as customers
    cross join {{ ref('clock') }} as clock
    where customers.n_orders > 0
),

features as (
    {{ perennial.customer_features('wanted') }}
)

select
    cast(features.customer_id as string) as customer_id,
    cast(features.snapshot_on as date) as snapshot_on,
    cast(clock.as_of as timestamp) as snapshot_at,
    {%- for feature in perennial.churn_feature_names() %}
    features.{{ feature }},
    {%- endfor %}
    cast({{ perennial.setting('churn_horizon_days') }} as integer) as horizon_days
from features
cross join {{ ref('clock') }} as clock
