with checked as (
    {{ perennial.checked('refunds') }}
)

select
    refund_id,
    refunded_at,
    amount,
    order_id,
    customer_id,
    line_number,
    product_id,
    quantity,
    reason,
    ingested_at,
    first_ingested_at
from checked
where refusal is null
