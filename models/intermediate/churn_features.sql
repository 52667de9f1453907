{%- set horizon = perennial.setting('churn_horizon_days') %}
{%- set step = perennial.setting('churn_step_days') %}
-- The moments at which we look back: as_of itself, then every step before it.
with snapshots as (
    select
        clock.as_of_on - cast(numbers.n * {{ step }} as integer) as snapshot_on,
        -- Up to the same time of day as as_of, so that the last snapshot is as_of itself.
        clock.as_of - numbers.n * {{ step }} * interval '1' day as snapshot_at,
        numbers.n = 0 as is_as_of,
        numbers.n * {{ step }} >= {{ horizon }} as is_label_mature
    from {{ ref('clock') }} as clock
    cross join
        ({{ perennial.numbers(0, perennial.setting('churn_snapshots')) }}) as numbers
),

orders as (
    select *
    from {{ ref('orders') }}
    where customer_id is not null and not is_cancelled
),

-- What was known at the snapshot: it had happened, and it had reached the shop.
known_orders as (
    select
        snapshots.snapshot_on,
        snapshots.snapshot_at,
        snapshots.is_as_of,
        snapshots.is_label_mature,
        orders.customer_id,
        orders.order_id,
        orders.ordered_at,
        orders.net_amount,
        orders.gross_amount,
        orders.discount_amount,
        {{ perennial.seconds_between('orders.ordered_at', 'snapshots.snapshot_at') }}
        / 86400.0 as age_days
    from snapshots
    inner join orders
        on
            orders.known_at <= snapshots.snapshot_at
            and orders.ordered_at <= snapshots.snapshot_at
),

order_features as (
    select
        customer_id,
        snapshot_on,
        snapshot_at,
        is_as_of,
        is_label_mature,
        min(age_days) as recency_days,
        max(age_days) as tenure_days,
        count(*) as n_orders,
        count_if(age_days < 30) as n_orders_30d,
        count_if(age_days < 90) as n_orders_90d,
        count_if(age_days < 365) as n_orders_365d,
        sum(net_amount) as net_amount,
        coalesce(sum(net_amount) filter (where age_days < 90), 0) as net_amount_90d,
        coalesce(sum(net_amount) filter (where age_days < 365), 0) as net_amount_365d,
        sum(discount_amount) as discount_amount,
        sum(gross_amount) as gross_amount
    from known_orders
    group by all
    -- Scoreable: bought at least once in the window that the setting names.
    having min(age_days) < {{ perennial.setting('churn_activity_days') }}
),

category_features as (
    select
        known_orders.customer_id,
        known_orders.snapshot_on,
        count(distinct items.category) as n_categories,
        count(distinct items.product_id) as n_products
    from known_orders
    inner join {{ ref('order_items') }} as items
        on known_orders.order_id = items.order_id
    group by all
),

refund_features as (
    select
        refunds.customer_id,
        snapshots.snapshot_on,
        sum(refunds.amount) as refund_amount
    from snapshots
    inner join {{ ref('refunds') }} as refunds
        on
            refunds.known_at <= snapshots.snapshot_at
            and refunds.refunded_at <= snapshots.snapshot_at
    where refunds.customer_id is not null and not refunds.is_order_cancelled
    group by all
),

-- From the events with the customer's own id, not from sessions: a session may have been
-- linked to its customer by a login that came after the snapshot.
visit_features as (
    select
        events.customer_id,
        snapshots.snapshot_on,
        min({{ perennial.seconds_between(
            'events.occurred_at', 'snapshots.snapshot_at'
        ) }}) / 86400.0 as days_since_visit,
        count(distinct events.occurred_on) filter (
            where events.occurred_at > snapshots.snapshot_at - interval '30' day
        ) as n_visit_days_30d,
        count(distinct events.occurred_on) filter (
            where events.occurred_at > snapshots.snapshot_at - interval '90' day
        ) as n_visit_days_90d,
        count_if(
            events.event_type = 'add_to_cart'
            and events.occurred_at > snapshots.snapshot_at - interval '90' day
        ) as n_cart_additions_90d
    from snapshots
    inner join {{ ref('events') }} as events
        on
            events.known_at <= snapshots.snapshot_at
            and events.occurred_at <= snapshots.snapshot_at
            and events.occurred_at > snapshots.snapshot_at - interval '365' day
    inner join {{ ref('stg_events') }} as as_sent
        on
            events.event_id = as_sent.event_id
            and as_sent.customer_id is not null
    where events.is_visit
    group by all
),

-- An order that has happened counts, whenever it became known: this is the truth to predict.
next_orders as (
    select
        order_features.customer_id,
        order_features.snapshot_on,
        count(orders.order_id) as n_orders_in_horizon
    from order_features
    inner join orders
        on
            order_features.customer_id = orders.customer_id
            and orders.ordered_at > order_features.snapshot_at
            and orders.ordered_at
            <= order_features.snapshot_at + {{ horizon }} * interval '1' day
    where order_features.is_label_mature
    group by all
)

select
    cast(features.customer_id as varchar) as customer_id,
    cast(features.snapshot_on as date) as snapshot_on,
    cast(features.snapshot_at as timestamp) as snapshot_at,
    cast({{ horizon }} as integer) as horizon_days,
    cast(features.is_as_of as boolean) as is_as_of,
    cast(features.is_label_mature as boolean) as is_label_mature,
    -- Null where the horizon has not passed: nobody can know yet.
    cast(
        case
            when features.is_label_mature then next_orders.n_orders_in_horizon is null
        end as boolean
    ) as is_churned,
    cast(features.recency_days as double) as recency_days,
    cast(features.tenure_days as double) as tenure_days,
    cast(features.n_orders as double) as n_orders,
    cast(features.n_orders_30d as double) as n_orders_30d,
    cast(features.n_orders_90d as double) as n_orders_90d,
    cast(features.n_orders_365d as double) as n_orders_365d,
    cast(
        (features.tenure_days - features.recency_days)
        / nullif(features.n_orders - 1, 0)
        as double
    ) as mean_gap_days,
    -- Two orders within the hour are no rhythm: a gap counts as a day at least.
    cast(
        case
            when features.n_orders > 1 then
                features.recency_days
                / greatest(
                    1,
                    (features.tenure_days - features.recency_days)
                    / (features.n_orders - 1)
                )
        end
        as double
    ) as lateness,
    cast(features.net_amount as double) as net_amount,
    cast(features.net_amount_90d as double) as net_amount_90d,
    cast(features.net_amount_365d as double) as net_amount_365d,
    cast(features.net_amount / features.n_orders as double) as average_order_amount,
    cast(features.discount_amount / nullif(features.gross_amount, 0) as double)
        as discount_share,
    cast(
        least(
            1,
            coalesce(refund_features.refund_amount, 0) / nullif(features.net_amount, 0)
        ) as double
    ) as refund_share,
    cast(coalesce(category_features.n_categories, 0) as double) as n_categories,
    cast(coalesce(category_features.n_products, 0) as double) as n_products,
    cast(visit_features.days_since_visit as double) as days_since_visit,
    cast(coalesce(visit_features.n_visit_days_30d, 0) as double) as n_visit_days_30d,
    cast(coalesce(visit_features.n_visit_days_90d, 0) as double) as n_visit_days_90d,
    cast(coalesce(visit_features.n_cart_additions_90d, 0) as double)
        as n_cart_additions_90d
from order_features as features
left join category_features
    on
        features.customer_id = category_features.customer_id
        and features.snapshot_on = category_features.snapshot_on
left join refund_features
    on
        features.customer_id = refund_features.customer_id
        and features.snapshot_on = refund_features.snapshot_on
left join visit_features
    on
        features.customer_id = visit_features.customer_id
        and features.snapshot_on = visit_features.snapshot_on
left join next_orders
    on
        features.customer_id = next_orders.customer_id
        and features.snapshot_on = next_orders.snapshot_on
