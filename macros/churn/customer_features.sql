{#-
What the churn models know of customers at given moments, as a query with one row per customer
and moment at which the customer had bought within churn_activity_days: only of rows that had
happened and were known by then.

Arguments:
  wanted   a relation of customer_id, snapshot_on, snapshot_at: whom to look at, and when
-#}
{% macro customer_features(wanted) -%}
    with known_orders as (
        select
            wanted.customer_id,
            wanted.snapshot_on,
            orders.order_id,
            orders.net_amount,
            orders.gross_amount,
            orders.discount_amount,
            {{ perennial.seconds_between('orders.ordered_at', 'wanted.snapshot_at') }}
            / 86400.0 as age_days
        from {{ wanted }} as wanted
        inner join {{ ref('perennial', 'orders') }} as orders
            on
                wanted.customer_id = orders.customer_id
                and orders.known_at <= wanted.snapshot_at
                and orders.ordered_at <= wanted.snapshot_at
        where not orders.is_cancelled
    ),

    order_features as (
        select
            customer_id,
            snapshot_on,
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

    -- First each product once, then counted: to count distinct ones takes longer.
    products_bought as (
        select
            known_orders.customer_id,
            known_orders.snapshot_on,
            items.product_id,
            items.category
        from known_orders
        inner join {{ ref('perennial', 'order_items') }} as items
            on known_orders.order_id = items.order_id
        group by all
    ),

    category_features as (
        select
            customer_id,
            snapshot_on,
            count(distinct category) as n_categories,
            count(*) as n_products
        from products_bought
        group by all
    ),

    refund_features as (
        select
            wanted.customer_id,
            wanted.snapshot_on,
            sum(refunds.amount) as refund_amount
        from {{ wanted }} as wanted
        inner join {{ ref('perennial', 'refunds') }} as refunds
            on
                wanted.customer_id = refunds.customer_id
                and refunds.known_at <= wanted.snapshot_at
                and refunds.refunded_at <= wanted.snapshot_at
        where not refunds.is_order_cancelled
        group by all
    ),

    -- From the events with the customer's own id, not from sessions: a session may have been
    -- linked to its customer by a login that came after the snapshot.
    visit_days as (
        select
            wanted.customer_id,
            wanted.snapshot_on,
            events.occurred_on,
            min({{ perennial.seconds_between('events.occurred_at', 'wanted.snapshot_at') }})
            / 86400.0 as age_days,
            count_if(
                events.event_type = 'add_to_cart'
                and events.occurred_at > wanted.snapshot_at - interval '90' day
            ) as n_cart_additions_90d
        from {{ wanted }} as wanted
        inner join {{ ref('perennial', 'events') }} as events
            on
                wanted.customer_id = events.customer_id
                and events.known_at <= wanted.snapshot_at
                and events.occurred_at <= wanted.snapshot_at
                and events.occurred_at > wanted.snapshot_at - interval '365' day
        where events.is_visit and events.is_identified
        group by all
    ),

    visit_features as (
        select
            customer_id,
            snapshot_on,
            min(age_days) as days_since_visit,
            count_if(age_days < 30) as n_visit_days_30d,
            count_if(age_days < 90) as n_visit_days_90d,
            sum(n_cart_additions_90d) as n_cart_additions_90d
        from visit_days
        group by all
    )

    select
        features.customer_id,
        features.snapshot_on,
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
        cast(features.net_amount as double) / features.n_orders as average_order_amount,
        cast(features.discount_amount as double)
        / nullif(cast(features.gross_amount as double), 0) as discount_share,
        cast(
            least(
                1,
                cast(coalesce(refund_features.refund_amount, 0) as double)
                / nullif(cast(features.net_amount as double), 0)
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
{%- endmacro %}
