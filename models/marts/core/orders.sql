{%- call perennial.touched() %}
    -- Which keys to do again.
    {{ perennial.changes('priced_orders', 'order_id') }}
    union
    {{ perennial.changes('order_items', 'order_id') }}
    union
    {{ perennial.changes('refunds', 'order_id') }}
    -- An order that comes late, or goes, moves the numbers of the customer's others.
    union
    select order_id
    from {{ ref('priced_orders') }}
    where customer_id in ({{ perennial.changes('priced_orders', 'customer_id') }})
{%- endcall %}
with priced as (
    select *
    from {{ ref('priced_orders') }}
    {{ perennial.touched_only('order_id') }}
),

items as (
    select
        order_id,
        count(*) as n_lines,
        sum(quantity) as n_units,
        {{ perennial.complete_sum('gross_amount') }} as gross_amount,
        {{ perennial.complete_sum('line_discount_amount + order_discount_amount') }}
            as discount_amount,
        {{ perennial.complete_sum('net_amount') }} as net_amount
    from {{ ref('order_items') }}
    {{ perennial.touched_only('order_id') }}
    group by all
),

refunds as (
    select
        order_id,
        {{ perennial.complete_sum('amount') }} as refund_amount
    from {{ ref('refunds') }}
    where
        order_id is not null
        and not is_order_cancelled
        {{ perennial.touched_only('order_id', 'and') }}
    group by all
),

-- Nothing bought and nothing given back are amounts of 0; an amount that lacks its exchange
-- rate stays null.
amounts as (
    select
        orders.order_id,
        case when items.order_id is null then 0 else items.gross_amount end
            as gross_amount,
        case when items.order_id is null then 0 else items.discount_amount end
            as discount_amount,
        case when items.order_id is null then 0 else items.net_amount end as net_amount,
        case when refunds.order_id is null then 0 else refunds.refund_amount end
            as refund_amount
    from priced as orders
    left join items
        on orders.order_id = items.order_id
    left join refunds
        on orders.order_id = refunds.order_id
),

-- Guests cannot be told apart and cancelled orders never happened: neither has a number.
numbered as (
    select
        order_id,
        row_number() over (
            partition by customer_id
            order by ordered_at, order_id
        ) as order_number,
        cast(
            ordered_on - lag(ordered_on) over (
                partition by customer_id
                order by ordered_at, order_id
            ) as integer
        ) as days_since_previous_order
    from {{ ref('priced_orders') }}
    where
        customer_id is not null
        and not is_cancelled
        {{ "and customer_id in (select customer_id from priced)"
            if perennial.is_increment() }}
)

select
    cast(orders.order_id as string) as order_id,
    cast(orders.customer_id as string) as customer_id,
    cast(orders.status as string) as status,
    cast(orders.sales_channel as string) as sales_channel,
    cast(orders.coupon_code as string) as coupon_code,
    cast(orders.currency as string) as currency,
    cast(orders.customer_id is null as boolean) as is_guest,
    cast(orders.is_cancelled as boolean) as is_cancelled,
    cast(coalesce(numbered.order_number = 1, false) as boolean) as is_first_order,
    cast(numbered.order_number as bigint) as order_number,
    cast(numbered.days_since_previous_order as bigint) as days_since_previous_order,
    cast(coalesce(items.n_lines, 0) as bigint) as n_lines,
    cast(coalesce(items.n_units, 0) as decimal(18, 3)) as n_units,
    cast(orders.exchange_rate as double) as exchange_rate,
    cast(amounts.gross_amount as decimal(18, 2)) as gross_amount,
    cast(amounts.discount_amount as decimal(18, 2)) as discount_amount,
    cast(amounts.net_amount as decimal(18, 2)) as net_amount,
    cast(amounts.refund_amount as decimal(18, 2)) as refund_amount,
    cast(
        case when orders.is_cancelled then 0 else amounts.net_amount end
        - amounts.refund_amount
        as decimal(18, 2)
    ) as revenue_amount,
    cast(orders.shipping_amount as decimal(18, 2)) as shipping_amount,
    cast(orders.tax_amount as decimal(18, 2)) as tax_amount,
    cast(orders.ordered_at as timestamp) as ordered_at,
    cast(orders.ordered_on as date) as ordered_on,
    cast(orders.ingested_at as timestamp) as ingested_at,
    cast(orders.known_at as timestamp) as known_at
from priced as orders
inner join amounts
    on orders.order_id = amounts.order_id
left join items
    on orders.order_id = items.order_id
left join numbered
    on orders.order_id = numbered.order_id
