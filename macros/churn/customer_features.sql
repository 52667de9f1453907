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
            wanted.snapshot_at,
            orders.order_id,
            orders.ordered_at,
            orders.sales_channel,
            orders.coupon_code,
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

    spaced_orders as (
        select
            *,
            lag(age_days) over (
                partition by customer_id, snapshot_on
                order by ordered_at, order_id
            ) - age_days as gap_days
        from known_orders
    ),

    order_features as (
        select
            customer_id,
            snapshot_on,
            snapshot_at,
            max(ordered_at) as last_ordered_at,
            min(age_days) as recency_days,
            max(age_days) as tenure_days,
            max(gap_days) as longest_gap_days,
            count(*) as n_orders,
            count_if(age_days < 30) as n_orders_30d,
            count_if(age_days < 90) as n_orders_90d,
            count_if(age_days < 365) as n_orders_365d,
            count_if(coupon_code is not null) as n_coupon_orders,
            -- A year ago lay the days that now lie ahead: a gift each winter, seeds each spring.
            count_if(
                age_days > 365 - {{ perennial.setting('churn_horizon_days') }}
                and age_days < 365
            ) as n_orders_ahead_a_year_ago,
            count(distinct sales_channel) as n_sales_channels,
            sum(net_amount) as net_amount,
            coalesce(sum(net_amount) filter (where age_days < 90), 0) as net_amount_90d,
            coalesce(
                sum(net_amount) filter (where age_days >= 90 and age_days < 180), 0
            ) as net_amount_90d_before,
            coalesce(sum(net_amount) filter (where age_days < 365), 0) as net_amount_365d,
            sum(discount_amount) as discount_amount,
            sum(gross_amount) as gross_amount
        from spaced_orders
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
            buyers.customer_id,
            buyers.snapshot_on,
            sum(refunds.amount) as refund_amount
        from order_features as buyers
        inner join {{ ref('perennial', 'refunds') }} as refunds
            on
                buyers.customer_id = refunds.customer_id
                and refunds.known_at <= buyers.snapshot_at
                and refunds.refunded_at <= buyers.snapshot_at
        where not refunds.is_order_cancelled
        group by all
    ),

    review_features as (
        select
            buyers.customer_id,
            buyers.snapshot_on,
            count(*) as n_reviews,
            sum(reviews.rating) / cast(count(*) as double) as mean_rating
        from order_features as buyers
        inner join {{ ref('perennial', 'reviews') }} as reviews
            on
                buyers.customer_id = reviews.customer_id
                and reviews.known_at <= buyers.snapshot_at
                and reviews.reviewed_at <= buyers.snapshot_at
        group by all
    ),

    -- From the events with the customer's own id, not from sessions: a session may have been
    -- linked to its customer by a login that came after the snapshot. First by day, so that the
    -- days can be counted.
    event_days as (
        select
            buyers.customer_id,
            buyers.snapshot_on,
            events.occurred_on,
            min({{ perennial.seconds_between('events.occurred_at', 'buyers.snapshot_at') }})
                filter (where events.is_visit)
            / 86400.0 as age_days,
            count_if(events.is_visit and events.device = 'mobile') as n_mobile_events,
            count_if(events.is_visit and events.device is not null) as n_device_events,
            count_if(events.event_type in ('page_view', 'product_view')) as n_views,
            count_if(
                events.event_type = 'search'
                and events.occurred_at > buyers.last_ordered_at
            ) as n_searches_since_order,
            count_if(
                events.event_type = 'add_to_cart'
                and events.occurred_at > buyers.last_ordered_at
            ) as n_cart_additions_since_order,
            count_if(
                events.event_type = 'add_to_cart'
                and events.occurred_at > buyers.snapshot_at - interval '90' day
            ) as n_cart_additions_90d,
            count_if(events.event_type = 'email_sent') as n_emails_sent,
            count_if(events.event_type = 'email_open') as n_emails_opened
        from order_features as buyers
        inner join {{ ref('perennial', 'events') }} as events
            on
                buyers.customer_id = events.customer_id
                and events.known_at <= buyers.snapshot_at
                and events.occurred_at <= buyers.snapshot_at
                and events.occurred_at > buyers.snapshot_at - interval '365' day
        where
            events.is_identified
            and (events.is_visit or events.event_type in ('email_sent', 'email_open'))
        group by all
    ),

    event_features as (
        select
            customer_id,
            snapshot_on,
            min(age_days) as days_since_visit,
            count_if(age_days is not null) as n_visit_days,
            coalesce(count_if(age_days < 30), 0) as n_visit_days_30d,
            coalesce(count_if(age_days < 90), 0) as n_visit_days_90d,
            sum(n_views) as n_views,
            sum(n_mobile_events) as n_mobile_events,
            sum(n_device_events) as n_device_events,
            sum(n_searches_since_order) as n_searches_since_order,
            sum(n_cart_additions_since_order) as n_cart_additions_since_order,
            sum(n_cart_additions_90d) as n_cart_additions_90d,
            sum(n_emails_sent) as n_emails_sent,
            sum(n_emails_opened) as n_emails_opened
        from event_days
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
        cast(features.longest_gap_days as double) as longest_gap_days,
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
        cast(
            case
                when features.tenure_days >= 365 then features.n_orders_ahead_a_year_ago
            end
            as double
        ) as n_orders_ahead_a_year_ago,
        cast(features.net_amount as double) as net_amount,
        cast(features.net_amount_90d as double) as net_amount_90d,
        cast(features.net_amount_365d as double) as net_amount_365d,
        cast(features.net_amount as double) / features.n_orders as average_order_amount,
        cast(features.net_amount_90d - features.net_amount_90d_before as double)
        / nullif(
            cast(features.net_amount_90d + features.net_amount_90d_before as double), 0
        ) as net_amount_trend,
        cast(features.discount_amount as double)
        / nullif(cast(features.gross_amount as double), 0) as discount_share,
        cast(features.n_coupon_orders as double) / features.n_orders as coupon_share,
        cast(
            least(
                1,
                cast(coalesce(refund_features.refund_amount, 0) as double)
                / nullif(cast(features.net_amount as double), 0)
            ) as double
        ) as refund_share,
        cast(coalesce(category_features.n_categories, 0) as double) as n_categories,
        cast(coalesce(category_features.n_products, 0) as double) as n_products,
        cast(features.n_sales_channels as double) as n_sales_channels,
        cast(coalesce(review_features.n_reviews, 0) as double) as n_reviews,
        cast(review_features.mean_rating as double) as mean_rating,
        cast(event_features.days_since_visit as double) as days_since_visit,
        {%- for count in [
            'n_visit_days_30d', 'n_visit_days_90d', 'n_searches_since_order',
            'n_cart_additions_since_order', 'n_cart_additions_90d',
        ] %}
        cast(coalesce(event_features.{{ count }}, 0) as double) as {{ count }},
        {%- endfor %}
        cast(event_features.n_views as double)
        / nullif(event_features.n_visit_days, 0) as views_per_visit_day,
        cast(event_features.n_mobile_events as double)
        / nullif(event_features.n_device_events, 0) as mobile_share,
        cast(event_features.n_emails_opened as double)
        / nullif(event_features.n_emails_sent, 0) as email_open_share
    from order_features as features
    {%- for other in [
        'category_features', 'refund_features', 'review_features', 'event_features'
    ] %}
    left join {{ other }}
        on
            features.customer_id = {{ other }}.customer_id
            and features.snapshot_on = {{ other }}.snapshot_on
    {%- endfor %}
{%- endmacro %}
