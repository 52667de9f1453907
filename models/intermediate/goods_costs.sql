with orders as (
    select
        order_id,
        currency,
        exchange_rate,
        net_amount
    from {{ ref('orders') }}
    where
        customer_id is not null
        and not is_cancelled
),

lines as (
    select
        items.order_id,
        items.line_number,
        items.customer_id,
        items.product_id,
        items.ordered_on,
        items.net_amount,
        cast(round(items.quantity * products.unit_cost, 2) as decimal(18, 2))
            as cost_amount
    from {{ ref('order_items') }} as items
    inner join {{ ref('products') }} as products
        on items.product_id = products.product_id
    where
        items.customer_id is not null
        and not items.is_cancelled
),

-- What a refund says came back: so many of a product, or of an order's line.
refunds as (
    select
        refunds.refund_id,
        refunds.customer_id,
        refunds.refunded_at,
        refunds.refunded_on,
        refunds.amount,
        orders.order_id,
        orders.net_amount as order_amount,
        -- In the money of the order's day, so that a rate that has moved makes it no less.
        refunds.amount * orders.exchange_rate / rates.rate as amount_at_order_rate,
        case
            when
                refunds.quantity is null
                or coalesce(refunds.product_id, lines.product_id) is null
                then 0
            else
                cast(
                    round(refunds.quantity * products.unit_cost, 2) as decimal(18, 2)
                )
        end as named_cost
    from {{ ref('refunds') }} as refunds
    left join orders
        on refunds.order_id = orders.order_id
    left join {{ ref('currency_rates') }} as rates
        on
            orders.currency = rates.currency
            and refunds.refunded_on >= rates.valid_from
            and refunds.refunded_on < rates.valid_before
    left join lines
        on
            refunds.order_id = lines.order_id
            and refunds.line_number = lines.line_number
    left join {{ ref('products') }} as products
        on coalesce(refunds.product_id, lines.product_id) = products.product_id
    where
        refunds.customer_id is not null
        and not refunds.is_order_cancelled
),

refunded_orders as (
    select
        order_id,
        {{ perennial.complete_sum('cost_amount') }} as order_cost
    from lines
    where order_id in (select refunds.order_id from refunds)
    group by all
),

running as (
    select
        refunds.*,
        refunded_orders.order_cost,
        sum({{ perennial.exact('refunds.amount_at_order_rate') }}) over so_far
            as given_back,
        {{ perennial.complete_running_sum('refunds.named_cost', 'so_far') }}
            as named_cost_so_far,
        row_number() over so_far as refund_number
    from refunds
    inner join refunded_orders
        on refunds.order_id = refunded_orders.order_id
    window so_far as (
        partition by refunds.order_id
        order by refunds.refunded_at nulls last, refunds.refund_id nulls last
        rows between unbounded preceding and current row
    )
),

-- Once an order's money has gone back, up to a hundredth for what was rounded and kept, all of
-- its goods have come back, named or not; never more than were sold.
returned as (
    select
        *,
        case
            when order_amount > 0 and given_back >= 0.99 * order_amount then order_cost
            when named_cost_so_far is not null then least(named_cost_so_far, order_cost)
        end as returned_cost_so_far
    from running
),

returns as (
    select
        *,
        lag(returned_cost_so_far) over (
            partition by order_id
            order by refund_number nulls last
        ) as returned_cost_before
    from returned
),

facts as (
    select
        customer_id,
        ordered_on as happened_on,
        net_amount as sales_amount,
        case when cost_amount is null then 0 else net_amount end as costed_sales_amount,
        cost_amount
    from lines

    union all

    select
        customer_id,
        refunded_on as happened_on,
        0 as sales_amount,
        0 as costed_sales_amount,
        case
            when refund_number = 1 then -returned_cost_so_far
            else returned_cost_before - returned_cost_so_far
        end as cost_amount
    from returns

    union all

    select
        customer_id,
        refunded_on as happened_on,
        0 as sales_amount,
        0 as costed_sales_amount,
        -named_cost as cost_amount
    from refunds
    where
        order_id is null
        or order_id not in (select refunded_orders.order_id from refunded_orders)
)

select
    cast(customer_id as string) as customer_id,
    cast(happened_on as date) as happened_on,
    cast({{ perennial.complete_sum('sales_amount') }} as decimal(18, 2))
        as sales_amount,
    cast({{ perennial.complete_sum('costed_sales_amount') }} as decimal(18, 2))
        as costed_sales_amount,
    cast({{ perennial.complete_sum('cost_amount') }} as decimal(18, 2)) as cost_amount
from facts
group by all
