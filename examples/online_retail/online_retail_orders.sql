-- One row per invoice that is no return. An invoice on which nothing was sold at a price (a
-- stock adjustment, a bad-debt entry, a free sample) is kept, as cancelled.
with distinct_lines as (
    -- Of lines that are equal in everything, one counts.
    select distinct *
    from {{ ref('online_retail_lines') }}
    where kind not in ('return', 'shipping return')
)

select
    invoice as order_id,
    max(customer_id) as customer_id,
    -- A few invoices run over two minutes.
    min(invoiced_at) as ordered_at,
    case when bool_or(is_sold) then 'completed' else 'cancelled' end as status,
    'GBP' as currency,
    'wholesale' as sales_channel,
    -- Postage and carriage are written as lines of the invoice; here they are no revenue.
    sum(case when kind = 'shipping' and is_sold then round(quantity * unit_price, 2) end) as shipping_amount
from distinct_lines
group by invoice
