{%- set horizon = perennial.setting('churn_horizon_days') %}
-- Segments as they would have been told at the end of earlier days, a churn horizon apart, from
-- the orders and refunds that were known by then.
with moments as (
    select
        {{ perennial.add_days('clock.as_of_on', '-numbers.n * ' ~ horizon) }}
            as moment_on,
        {{ perennial.start_of_day_utc(
            perennial.add_days('clock.as_of_on', '1 - numbers.n * ' ~ horizon)
        ) }} as ended_at
    from {{ ref('clock') }} as clock
    cross join ({{ perennial.numbers(1, 4) }}) as numbers
),

bought as (
    select
        moments.moment_on,
        orders.customer_id,
        cast(moments.moment_on - max(orders.ordered_on) as integer) as recency_days,
        count(*) as frequency,
        {{ perennial.complete_sum('orders.net_amount') }} as net_amount
    from moments
    inner join {{ ref('orders') }} as orders
        on
            orders.ordered_at < moments.ended_at
            and orders.known_at < moments.ended_at
    where
        orders.customer_id is not null
        and not orders.is_cancelled
    group by moments.moment_on, orders.customer_id
),

refunded as (
    select
        moments.moment_on,
        refunds.customer_id,
        {{ perennial.complete_sum('refunds.amount') }} as refund_amount
    from moments
    inner join {{ ref('refunds') }} as refunds
        on
            refunds.refunded_at < moments.ended_at
            and refunds.known_at < moments.ended_at
    where
        refunds.customer_id is not null
        and not refunds.is_order_cancelled
    group by moments.moment_on, refunds.customer_id
),

-- No refund is an amount of 0; one that lacks its exchange rate leaves the value unknown.
buyers as (
    select
        bought.moment_on,
        bought.customer_id,
        bought.recency_days,
        bought.frequency,
        bought.net_amount
        - case
            when refunded.customer_id is null then 0
            else refunded.refund_amount
        end as monetary_amount
    from bought
    left join refunded
        on
            bought.moment_on = refunded.moment_on
            and bought.customer_id = refunded.customer_id
),

segmented as (
    {{ perennial.rfm_segments_of('buyers') }}
)

select
    moment_on,
    customer_id,
    segment
from segmented
