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
    cast(features.customer_id as varchar) as customer_id,
    cast(features.snapshot_on as date) as snapshot_on,
    cast(clock.as_of as timestamp) as snapshot_at,
    cast({{ perennial.setting('churn_horizon_days') }} as integer) as horizon_days,
    features.recency_days,
    features.tenure_days,
    features.n_orders,
    features.n_orders_30d,
    features.n_orders_90d,
    features.n_orders_365d,
    features.mean_gap_days,
    features.lateness,
    features.net_amount,
    features.net_amount_90d,
    features.net_amount_365d,
    features.average_order_amount,
    features.discount_share,
    features.refund_share,
    features.n_categories,
    features.n_products,
    features.days_since_visit,
    features.n_visit_days_30d,
    features.n_visit_days_90d,
    features.n_cart_additions_90d
from features
cross join {{ ref('clock') }} as clock
