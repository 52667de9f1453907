{%- call perennial.touched() %}
    -- Which keys to do again.
    {{ perennial.changes('checked_orders', 'order_id') }}
    union
    select order_id
    from {{ ref('stg_orders') }}
    where {{ perennial.newly_happened('ordered_at') }}
    union
    select order_id
    from {{ ref('stg_orders') }}
    where 'orders' in ({{ perennial.changes('first_loads', 'table_name') }})
    union
    select orders.order_id
    from {{ ref('stg_orders') }} as orders
    inner join ({{ perennial.changes('currency_rates', 'span') }}) as rates
        on {{ perennial.in_span('orders.currency', 'orders.ordered_at', 'rates.span') }}
{%- endcall %}
-- The orders that have happened by as_of, with the exchange rate of their day.
with orders as (
    select
        *,
        {{ perennial.local_date('ordered_at') }} as ordered_on,
        (
            select load_began_at
            from {{ ref('first_loads') }}
            where table_name = 'orders'
        ) as load_began_at
    from {{ ref('stg_orders') }}
    {{ perennial.touched_only('order_id') }}
)

select
    orders.order_id,
    orders.customer_id,
    orders.ordered_at,
    orders.ordered_on,
    orders.status,
    orders.status = 'cancelled' as is_cancelled,
    orders.sales_channel,
    orders.coupon_code,
    orders.currency,
    rates.rate as exchange_rate,
    coalesce(orders.discount_amount, 0) as discount_amount,
    {{ perennial.in_reporting_currency(
        'coalesce(orders.shipping_amount, 0)', 'rates.rate'
    ) }} as shipping_amount,
    {{ perennial.in_reporting_currency(
        'coalesce(orders.tax_amount, 0)', 'rates.rate'
    ) }} as tax_amount,
    orders.ingested_at,
    {{ perennial.known_at(
        'orders.ordered_at', 'orders.first_ingested_at', 'orders.load_began_at'
    ) }} as known_at
from orders
cross join {{ ref('clock') }} as clock
left join {{ ref('currency_rates') }} as rates
    on
        orders.currency = rates.currency
        and orders.ordered_on >= rates.valid_from
        and orders.ordered_on < rates.valid_before
where orders.ordered_at <= clock.as_of
