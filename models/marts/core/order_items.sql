{%- call perennial.touched() %}
    -- Which keys to do again.
    {{ perennial.changes('checked_order_items', 'order_id') }}
    union
    {{ perennial.changes('priced_orders', 'order_id') }}
    -- A product may have changed its category.
    union
    select order_id
    from {{ this }}
    where product_id in ({{ perennial.changes('checked_products', 'product_id') }})
{%- endcall %}
with lines as (
    select
        items.order_id,
        items.line_number,
        orders.customer_id,
        items.product_id,
        orders.ordered_at,
        orders.ordered_on,
        orders.is_cancelled,
        items.quantity,
        orders.exchange_rate,
        cast(round(items.quantity * items.unit_price, 2) as decimal(18, 2)) as gross,
        coalesce(items.discount_amount, 0) as line_discount,
        orders.discount_amount as order_discount,
        items.ingested_at
    from {{ ref('stg_order_items') }} as items
    inner join {{ ref('priced_orders') }} as orders
        on items.order_id = orders.order_id
    {{ perennial.touched_only('items.order_id') }}
),

running as (
    select
        *,
        sum(gross - line_discount) over (partition by order_id) as order_total,
        sum(gross - line_discount) over (
            partition by order_id
            order by line_number
            rows between unbounded preceding and current row
        ) as total_so_far
    from lines
),

-- The order's discount falls on its lines in proportion to what they cost. Rounding the
-- running share, not each share, makes the parts add up to the whole cent for cent. No more
-- is given off than the order costs.
shared as (
    select
        *,
        case
            when order_total <= 0 then 0
            else
                {{ perennial.share(
                    'least(order_discount, order_total)', 'total_so_far', 'order_total'
                ) }}
                - {{ perennial.share(
                    'least(order_discount, order_total)',
                    '(total_so_far - (gross - line_discount))',
                    'order_total'
                ) }}
        end as order_discount_share
    from running
),

converted as (
    select
        *,
        {{ perennial.in_reporting_currency('gross', 'exchange_rate') }} as gross_amount,
        {{ perennial.in_reporting_currency('line_discount', 'exchange_rate') }}
            as line_discount_amount,
        {{ perennial.in_reporting_currency('order_discount_share', 'exchange_rate') }}
            as order_discount_amount
    from shared
)

select
    cast(converted.order_id as string) as order_id,
    cast(converted.line_number as bigint) as line_number,
    cast(converted.customer_id as string) as customer_id,
    cast(converted.product_id as string) as product_id,
    cast(coalesce(products.category, 'unknown') as string) as category,
    cast(converted.is_cancelled as boolean) as is_cancelled,
    cast(converted.quantity as decimal(18, 3)) as quantity,
    cast(converted.gross_amount as decimal(18, 2)) as gross_amount,
    cast(converted.line_discount_amount as decimal(18, 2)) as line_discount_amount,
    cast(converted.order_discount_amount as decimal(18, 2)) as order_discount_amount,
    cast(
        converted.gross_amount
        - converted.line_discount_amount
        - converted.order_discount_amount
        as decimal(18, 2)
    ) as net_amount,
    cast(converted.ordered_at as timestamp) as ordered_at,
    cast(converted.ordered_on as date) as ordered_on,
    cast(converted.ingested_at as timestamp) as ingested_at
from converted
left join {{ ref('stg_products') }} as products
    on converted.product_id = products.product_id
