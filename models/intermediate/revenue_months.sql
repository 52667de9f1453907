-- A guest is a customer of one order.
with orders as (
    select
        coalesce(customer_id, 'guest of ' || order_id) as buyer_id,
        customer_id,
        {{ perennial.period_start('month', 'ordered_on') }} as period_start_on,
        n_units,
        net_amount
    from {{ ref('orders') }}
    where not is_cancelled
),

refunds as (
    select
        customer_id,
        {{ perennial.period_start('month', 'refunded_on') }} as period_start_on,
        amount
    from {{ ref('refunds') }}
    where not is_order_cancelled
),

facts as (
    select
        period_start_on,
        customer_id,
        buyer_id,
        1 as n_orders,
        n_units,
        net_amount,
        0 as refund_amount
    from orders

    union all

    select
        period_start_on,
        customer_id,
        null as buyer_id,
        0 as n_orders,
        0 as n_units,
        0 as net_amount,
        amount as refund_amount
    from refunds
),

buyers as (
    select
        period_start_on,
        customer_id,
        buyer_id,
        sum(n_orders) as n_orders,
        sum(n_units) as n_units,
        {{ perennial.complete_sum('net_amount') }} as net_amount,
        {{ perennial.complete_sum('refund_amount') }} as refund_amount
    from facts
    group by all
),

buyers_of_segments as (
    select
        buyers.*,
        buyers.customer_id is null
        or {{ perennial.period_start('month', 'customers.first_ordered_on') }}
        = buyers.period_start_on as is_new,
        coalesce(segments.country, 'guest') as country,
        coalesce(segments.channel, 'guest') as channel,
        coalesce(segments.first_category, 'guest') as first_category,
        coalesce(segments.first_order_coupon, 'guest') as first_order_coupon,
        coalesce(segments.device, 'guest') as device
    from buyers
    left join {{ ref('customers') }} as customers
        on buyers.customer_id = customers.customer_id
    left join {{ ref('customer_segments') }} as segments
        on buyers.customer_id = segments.customer_id
)

{% for segment_type, segment in perennial.segment_types() -%}
select
    period_start_on,
    '{{ segment_type }}' as segment_type,
    {{ segment }} as segment,
    coalesce(is_new, false) as is_new,
    count(distinct buyer_id) as n_customers,
    sum(n_orders) as n_orders,
    sum(n_units) as n_units,
    {{ perennial.complete_sum('net_amount') }} as net_amount,
    {{ perennial.complete_sum('refund_amount') }} as refund_amount
from buyers_of_segments
group by all
{{ 'union all' if not loop.last }}
{% endfor %}
