-- Computed again from the orders known at each snapshot, by other means than the model: the
-- days since the last order, the number of orders, and what happened in the horizon.
with facts as (
    select
        features.customer_id,
        features.snapshot_on,
        {{ perennial.seconds_between('orders.ordered_at', 'features.snapshot_at') }}
        / 86400 as age_days,
        greatest(orders.ordered_at, orders.known_at) <= features.snapshot_at
            as is_known,
        orders.ordered_at > features.snapshot_at
        and orders.ordered_at - features.horizon_days * interval '1' day
        <= features.snapshot_at
            as is_in_horizon
    from {{ ref('churn_features') }} as features
    inner join {{ ref('orders') }} as orders
        on
            features.customer_id = orders.customer_id
            and not orders.is_cancelled
),

again as (
    select
        customer_id,
        snapshot_on,
        min(case when is_known then age_days end) as recency_days,
        count_if(is_known) as n_orders,
        count_if(is_in_horizon) as n_orders_in_horizon
    from facts
    group by all
)

select features.*
from {{ ref('churn_features') }} as features
left join again
    on
        features.customer_id = again.customer_id
        and features.snapshot_on = again.snapshot_on
where
    again.customer_id is null
    or abs(features.recency_days - again.recency_days) > 1e-6
    or features.n_orders <> again.n_orders
    or features.is_churned <> (again.n_orders_in_horizon = 0)
